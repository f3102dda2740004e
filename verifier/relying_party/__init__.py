"""Verify the result tokens of imds-verifier in a licensing backend. docs/integrate/relying-party.md explains it.

This package is a distribution of its own, `imds-verifier-relying-party`. It needs PyJWT and cryptography, and imports
no other part of `verifier`.

    verifier = ResultVerifier(
        issuer="https://verifier.example.com",
        audience="contoso",
        tenant="contoso",
        policies=["appliance"],
        jwks="https://verifier.example.com/.well-known/jwks.json",
        replay_store=MemoryReplayStore(),
    )
    machine = verifier.verify(token)
"""

from verifier.relying_party.machine import Plan, VerifiedMachine
from verifier.relying_party.public_keys import KeyRefused
from verifier.relying_party.refusals import NotVerified, RefusalCode
from verifier.relying_party.replay import MemoryReplayStore, ReplayStore, ReplayStoreError
from verifier.relying_party.result_verifier import ResultVerifier

__version__ = "0.1.0"

__all__ = [
    "KeyRefused",
    "MemoryReplayStore",
    "NotVerified",
    "Plan",
    "RefusalCode",
    "ReplayStore",
    "ReplayStoreError",
    "ResultVerifier",
    "VerifiedMachine",
]
