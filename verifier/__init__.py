"""Verifies Azure IMDS attested documents: the library. The service and the command line stand on it."""

from verifier.core.evidence import from_der, from_fields, from_file, from_imds_answer, from_text
from verifier.core.model import AttestationResult, Claims, Limits, RawDocument
from verifier.core.reasons import Reason, Refused
from verifier.ports import Unavailable
from verifier.service import ArchiveVerifier, Verifier

__all__ = [
    "ArchiveVerifier",
    "AttestationResult",
    "Claims",
    "Limits",
    "RawDocument",
    "Reason",
    "Refused",
    "Unavailable",
    "Verifier",
    "from_der",
    "from_fields",
    "from_file",
    "from_imds_answer",
    "from_text",
]
