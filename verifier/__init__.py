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
    from verifier.core.policy import ClaimIn, ClaimName, CloudIn, MaximumAge, Policies, RequirePlan, Rule
    from verifier.core.policy_combinators import AllOf, AnyOf, Not
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

#: The modules that define these names. Those that import more come later.
_MODULES = (
    "verifier.core.evidence",
    "verifier.core.model",
    "verifier.core.nonces",
    "verifier.core.policy",
    "verifier.core.policy_combinators",
    "verifier.core.reasons",
    "verifier.core.trust.clouds",
    "verifier.ports.stores",
    "verifier.usecases.appraise",
    "verifier.usecases.archive",
    "verifier.adapters.clock",
    "verifier.adapters.trust.files",
    "verifier.adapters.sqlite.nonce_store",
    "verifier.adapters.redis.urls",
    "verifier.adapters.redis.nonce_store",
)


def __getattr__(name: str) -> object:
    for module in _MODULES if name in __all__ else ():
        names = vars(import_module(module))
        if name in names:
            return names[name]
    raise AttributeError(f"module 'verifier' has no attribute {name!r}")
