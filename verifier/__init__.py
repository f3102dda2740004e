"""Verifies Azure IMDS attested documents: the library. The service and the command line stand on it.

Names are imported when they are first used: the agent is part of this package, and runs where nothing but the
standard library is installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from verifier.core.clouds import Cloud
    from verifier.core.evidence import from_der, from_fields, from_file, from_imds_answer, from_text
    from verifier.core.model import AttestationResult, Claims, Limits, NonceMode, RawDocument
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
    from verifier.edge.clock import SystemClock
    from verifier.edge.redis_store import RedisNonceStore
    from verifier.edge.redis_urls import RedisOptions
    from verifier.edge.sqlite_store import SqliteNonceStore
    from verifier.edge.trust_files import TrustDirectory
    from verifier.ports import Unavailable
    from verifier.service import ArchiveVerifier, Verifier

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
    "verifier.core.clouds": ("Cloud",),
    "verifier.core.evidence": ("from_der", "from_fields", "from_file", "from_imds_answer", "from_text"),
    "verifier.core.model": ("AttestationResult", "Claims", "Limits", "NonceMode", "RawDocument"),
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
    "verifier.edge.clock": ("SystemClock",),
    "verifier.edge.redis_store": ("RedisNonceStore",),
    "verifier.edge.redis_urls": ("RedisOptions",),
    "verifier.edge.sqlite_store": ("SqliteNonceStore",),
    "verifier.edge.trust_files": ("TrustDirectory",),
    "verifier.ports": ("Unavailable",),
    "verifier.service": ("ArchiveVerifier", "Verifier"),
}


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'verifier' has no attribute {name!r}")
