"""Checks 5 and 7: the document's own validity window, and the challenge that it answers (RFC 9334 section 10).

verifier.core.unchallenged is check 7 for documents that answer no challenge.
"""

import hmac
from datetime import datetime

from verifier.core.encoding.moments import moment_json
from verifier.core.model import AuthenticContent, DecodedClaims, Limits, Redeemed, UnverifiedClaims
from verifier.core.nonces import DEFAULT_NONCE, AlreadyUsed, FirstUse, NonceRecord, Redemption, UnknownNonce
from verifier.core.reasons import NONCE_RETRY_AFTER, NonceRefused, Reason, WindowRefused
from verifier.core.vm_ids import swap_bytes


def check_window(
    decoded: DecodedClaims, *, now: datetime, limits: Limits, needs_times: bool = False
) -> UnverifiedClaims:
    """Check that the document is valid at `now`, within the clock skew, and not older than the maximum age.

    Documents of classic VMs carry no times. A missing time is refused only with `needs_times`: for archived documents,
    of which no nonce proves the freshness. Raises WindowRefused.
    """
    # An archived document has no new one.
    remedy = "" if needs_times else ": get a new one"
    created_on, expires_on = decoded.claims.created_on, decoded.claims.expires_on
    if needs_times and (created_on is None or expires_on is None):
        raise WindowRefused(
            Reason.CLAIMS_INCOMPLETE,
            "The document does not say when it was made, and no nonce proves that it is fresh.",
        )
    if expires_on is not None and expires_on < now - limits.clock_skew:
        raise WindowRefused(
            Reason.DOCUMENT_EXPIRED,
            f"The document expired on {_rfc3339(expires_on)}{remedy}.",
            retry_after=NONCE_RETRY_AFTER,
        )
    if created_on is not None:
        if created_on > now + limits.clock_skew:
            ahead = "after the moment of the appraisal" if needs_times else "which is still to come: compare the clocks"
            raise WindowRefused(
                Reason.DOCUMENT_NOT_YET_VALID, f"The document was created on {_rfc3339(created_on)}, {ahead}."
            )
        if now - created_on > limits.maximum_age:
            raise WindowRefused(
                Reason.DOCUMENT_EXPIRED,
                f"The document was created on {_rfc3339(created_on)}, too long ago{remedy}.",
                retry_after=NONCE_RETRY_AFTER,
            )
        if expires_on is not None and created_on > expires_on:
            raise WindowRefused(Reason.DOCUMENT_EXPIRED, "The document expired before it was created.")
    return UnverifiedClaims(decoded=decoded)


def challenge(content: AuthenticContent, *, expected: str | None = None) -> str:
    """Return the signed nonce. If the caller names the `expected` one, both must be equal. Raises NonceRefused."""
    nonce = content.claims.nonce
    if not nonce:
        raise NonceRefused(
            Reason.CLAIMS_INCOMPLETE,
            "The document carries no nonce: ask IMDS with `&nonce=` and a nonce of this service.",
        )
    if expected is not None and not hmac.compare_digest(nonce.encode(), expected.encode("utf-8", "surrogatepass")):
        raise NonceRefused(
            Reason.NONCE_MISMATCH,
            "The document carries another nonce than the one named, perhaps a cached one: ask IMDS again.",
            retry_after=NONCE_RETRY_AFTER,
        )
    return nonce


def accept_redemption(content: AuthenticContent, redemption: Redemption, *, now: datetime, limits: Limits) -> Redeemed:
    """Accept a redemption: the nonce was issued to the caller, is unused and unexpired, and fits its bindings.

    The nonce must also be older than the document. A document made earlier was made by guessing nonces in advance.
    Not checked: the policy that the nonce is bound to (core.policy). Raises NonceRefused.
    """
    match redemption:
        case AlreadyUsed():
            raise NonceRefused(
                Reason.NONCE_REPLAYED,
                "A document with this nonce was appraised before: get a new nonce and a new document.",
                retry_after=NONCE_RETRY_AFTER,
            )
        case UnknownNonce() if DEFAULT_NONCE.fullmatch(content.claims.nonce or ""):
            raise NonceRefused(
                Reason.NONCE_UNKNOWN,
                "The document carries the default nonce of IMDS, a time: ask IMDS with `&nonce=` and a nonce of this "
                "service.",
            )
        case UnknownNonce():
            raise NonceRefused(
                Reason.NONCE_UNKNOWN,
                "The document's nonce was not issued here, or it expired: get a new nonce and a new document.",
                retry_after=NONCE_RETRY_AFTER,
            )
        case FirstUse(record=record):  # pragma: no branch - mypy proves that the cases are all
            _check_record(content, record, now=now, limits=limits)
            return Redeemed(content=content, record=record)


def _check_record(content: AuthenticContent, record: NonceRecord, *, now: datetime, limits: Limits) -> None:
    if now > record.expires_at:
        raise NonceRefused(
            Reason.NONCE_UNKNOWN,
            f"The document's nonce expired on {_rfc3339(record.expires_at)}: get a new nonce and a new document.",
            retry_after=NONCE_RETRY_AFTER,
        )
    created_on = content.claims.created_on
    # createdOn is whole seconds, rounded down; the skew covers that too.
    if created_on is not None and created_on < record.issued_at - limits.clock_skew:
        raise NonceRefused(
            Reason.NONCE_MISMATCH,
            "The document was made before its nonce was issued: get a new nonce and a new document.",
            retry_after=NONCE_RETRY_AFTER,
        )
    if record.vm_id and record.vm_id.lower() != content.claims.vm_id.lower():
        detail = "The document's nonce was issued for another VM."
        if record.vm_id.lower() == swap_bytes(content.claims.vm_id):
            detail = (
                "The document's nonce was issued for this VM's id in the byte order of dmidecode on Gen1 VMs: get the "
                "nonce with the vmId of IMDS."
            )
        raise NonceRefused(Reason.NONCE_MISMATCH, detail)


def _rfc3339(moment: datetime) -> str:
    return moment_json(moment.replace(microsecond=0))
