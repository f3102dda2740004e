"""Describe the eight checks for the inspector."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from verifier.core.reasons import Check, Reason
from verifier.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckText:
    """What a check asks. `codes` are the reasons with which it refuses; each has a page."""

    title: str
    question: str
    codes: tuple[Reason, ...]


#: In the order of the appraisal.
CHECKS: Final[Mapping[Check, CheckText]] = MappingProxyType(
    {
        Check.FORMAT: CheckText(
            title="Format",
            question="The document is one CMS signature of one signer, in DER.",
            codes=(Reason.MALFORMED_EVIDENCE, Reason.UNSUPPORTED_ENCODING, Reason.TOO_LARGE),
        ),
        Check.SIGNATURE: CheckText(
            title="Signature",
            question="The signature matches the content, and its algorithms are strong.",
            codes=(Reason.SIGNATURE_INVALID, Reason.ALGORITHM_REFUSED),
        ),
        Check.SIGNER_NAME: CheckText(
            title="Signer name",
            question="The signer's names are in the domain of one Azure cloud.",
            codes=(Reason.SIGNER_NAME_MISMATCH,),
        ),
        Check.CLAIMS: CheckText(
            title="Claims",
            question="The content has every claim that the other checks need.",
            codes=(Reason.CLAIMS_INCOMPLETE,),
        ),
        Check.VALIDITY_WINDOW: CheckText(
            title="Validity window",
            question="The document is neither expired, nor too old, nor from the future.",
            codes=(Reason.DOCUMENT_EXPIRED, Reason.DOCUMENT_NOT_YET_VALID),
        ),
        Check.CHAIN: CheckText(
            title="Chain",
            question="The signer's certificate chains to a trust anchor of its cloud.",
            codes=(Reason.CHAIN_UNTRUSTED, Reason.ISSUER_UNPINNED),
        ),
        Check.NONCE: CheckText(
            title="Nonce",
            question="The document answers an unused nonce of this service.",
            codes=(Reason.NONCE_MISMATCH, Reason.NONCE_UNKNOWN, Reason.NONCE_REPLAYED),
        ),
        Check.POLICY: CheckText(
            title="Policy",
            question="The claims satisfy every policy that applies.",
            codes=(Reason.POLICY_DENIED,),
        ),
    }
)
