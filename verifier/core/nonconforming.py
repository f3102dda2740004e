"""A genuine document that exactness or a bound refuses: Azure may have changed its format."""

from dataclasses import dataclass
from datetime import datetime

from verifier.core.clouds import Cloud


@dataclass(frozen=True, slots=True, kw_only=True)
class NonconformingDocument:
    """A refused document whose signature verifies and whose signer's certificate a pin issued.

    `issuer` and `pin_sha256` name that pin, `clouds` are those that it serves. `detail` is the refusal's sentence.
    """

    issuer: str
    pin_sha256: str
    clouds: frozenset[Cloud]
    signer_sha256: str
    document_sha256: str
    detail: str
    seen_at: datetime
