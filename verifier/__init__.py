"""Verify Azure IMDS attested documents: the public names of the library.

Each name is imported when it is first used, because the agent is part of this package and needs only the standard
library.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from verifier.adapters.clock import SystemClock
    from verifier.adapters.redis.nonce_store import RedisNonceStore
    from verifier.adapters.redis.urls import RedisOptions
    from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
    from verifier.adapters.trust.files import TrustDirectory
    from verifier.core.evidence import from_der, from_fields, from_file, from_imds_answer, from_text
    from verifier.core.model import AttestationResult, Claims, Limits, RawDocument
    from verifier.core.nonces import NonceMode
    from verifier.core.policy import (
        AllOf,
        AnyOf,
        ClaimIn,
        ClaimName,
        CloudIn,
        MaximumAge,
        Not,
        Policies,
        RequirePlan,
        Rule,
    )
    from verifier.core.reasons import Reason, Refused
    from verifier.core.trust.clouds import Cloud
    from verifier.ports.stores import Unavailable
    from verifier.usecases.appraise import Verifier
    from verifier.usecases.archive import ArchiveVerifier

__version__ = "0.1.0"

__all__ = [
    "AllOf",
    "AnyOf",
    "ArchiveVerifier",
    "AttestationResult",
    "ClaimIn",
    "ClaimName",
    "Claims",
    "Cloud",
    "CloudIn",
    "Limits",
    "MaximumAge",
    "NonceMode",
    "Not",
    "Policies",
    "RawDocument",
    "Reason",
    "RedisNonceStore",
    "RedisOptions",
    "Refused",
    "RequirePlan",
    "Rule",
    "SqliteNonceStore",
    "SystemClock",
    "TrustDirectory",
    "Unavailable",
    "Verifier",
    "from_der",
    "from_fields",
    "from_file",
    "from_imds_answer",
    "from_text",
]

_MODULES = {
    "verifier.adapters.clock": ("SystemClock",),
    "verifier.adapters.redis.nonce_store": ("RedisNonceStore",),
    "verifier.adapters.redis.urls": ("RedisOptions",),
    "verifier.adapters.sqlite.nonce_store": ("SqliteNonceStore",),
    "verifier.adapters.trust.files": ("TrustDirectory",),
    "verifier.core.evidence": ("from_der", "from_fields", "from_file", "from_imds_answer", "from_text"),
    "verifier.core.model": ("AttestationResult", "Claims", "Limits", "RawDocument"),
    "verifier.core.nonces": ("NonceMode",),
    "verifier.core.policy": (
        "AllOf",
        "AnyOf",
        "ClaimIn",
        "ClaimName",
        "CloudIn",
        "MaximumAge",
        "Not",
        "Policies",
        "RequirePlan",
        "Rule",
    ),
    "verifier.core.reasons": ("Reason", "Refused"),
    "verifier.core.trust.clouds": ("Cloud",),
    "verifier.ports.stores": ("Unavailable",),
    "verifier.usecases.appraise": ("Verifier",),
    "verifier.usecases.archive": ("ArchiveVerifier",),
}


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'verifier' has no attribute {name!r}")
