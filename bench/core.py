"""Measure the core: from the bytes of a real document to its authentic claims.

The unit is one RSA-2048 verification (PKCS#1 v1.5, SHA-256) by pyca, with the key loaded before. Rounds of both take
turns, so another load of the machine disturbs both alike.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from time import perf_counter

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from support.documents import raw, sample

from bench.figures import Figure
from verifier.adapters.trust.files import load_bundle
from verifier.core.chain import build_chain
from verifier.core.claims import decode_claims
from verifier.core.envelope import read_envelope
from verifier.core.freshness import check_window
from verifier.core.model import AuthenticContent, Limits, RawDocument, UnverifiedClaims
from verifier.core.names import identify_cloud
from verifier.core.signature import verify_signature
from verifier.core.trust.bundle import TrustBundle
from verifier.usecases.chain_cache import ChainCache

_AT = datetime(2026, 7, 28, 13, 24, tzinfo=UTC)
_LIMITS = Limits()


def measure(*, rounds: int = 15, repeats: int = 400) -> list[Figure]:
    """Return the cost of a document with a cached chain and with a chain that has to be built."""
    document, bundle, chains = raw(sample("public-eastus-2026-07-28")), load_bundle(), ChainCache()
    envelope = read_envelope(document)
    key, signature = envelope.signer.public_key, envelope.signature
    attributes = envelope.signed_attributes
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != 2048:  # noqa: PLR2004 - the unit
        raise RuntimeError("the document of the benchmark has another key")
    signed = envelope.unverified_content if attributes is None else attributes.signed_bytes
    pkcs1, sha256 = padding.PKCS1v15(), hashes.SHA256()
    warm: list[float] = []
    cold: list[float] = []
    for _ in range(rounds):
        unit = _seconds(lambda: key.verify(signature, signed, pkcs1, sha256), repeats)
        warm.append(_seconds(lambda: chains.build(_claims(document), now=_AT, bundle=bundle), repeats) / unit)
        cold.append(_seconds(lambda: _uncached(document, bundle), max(1, repeats // 40)) / unit)
    return [
        Figure(part="core", name="document with a cached chain / RSA-2048 verification", value=median(warm), bar=8),
        Figure(part="core", name="document with a new chain / RSA-2048 verification", value=median(cold), bar=250),
    ]


def _claims(document: RawDocument) -> UnverifiedClaims:
    """Make the checks before the chain."""
    decoded = decode_claims(identify_cloud(verify_signature(read_envelope(document))))
    return check_window(decoded, now=_AT, limits=_LIMITS)


def _uncached(document: RawDocument, bundle: TrustBundle) -> AuthenticContent:
    return build_chain(_claims(document), now=_AT, bundle=bundle)


def _seconds(call: Callable[[], object], repeats: int) -> float:
    """Return the time of one call."""
    started = perf_counter()
    for _ in range(repeats):
        call()
    return (perf_counter() - started) / repeats
