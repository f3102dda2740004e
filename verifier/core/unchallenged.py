"""Check 7 without a challenge: a document passes once, and its content is remembered until it expires (ADR 0021).

This stops replays. It does not prove that the document was made for us, or recently.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Final

from verifier.core.model import AuthenticContent, FirstSight, Limits
from verifier.core.nonces import DEFAULT_NONCE
from verifier.core.reasons import NONCE_RETRY_AFTER, Check, NonceRefused, Reason

#: The remark that `checks` carries for a document that passed in this way.
NOTE: Final = {
    Check.NONCE: "the document answers no nonce of this service; it is accepted once, and remembered until it expires"
}

_DOMAIN = b"imds-verifier document 1"

#: A document is remembered for at least this long after its creation: the greatest maximum age that can be set.
LONGEST_LIFE = timedelta(days=7)
#: The least margin on top: twice the greatest clock skew that can be set.
LEAST_MARGIN = timedelta(minutes=20)


def answers_no_challenge(content: AuthenticContent) -> bool:
    """Return whether the document carries no nonce, or one in the form of IMDS's default nonce.

    Not checked: the time that a default nonce spells.
    """
    nonce = content.claims.nonce
    return not nonce or DEFAULT_NONCE.fullmatch(nonce) is not None


def content_digest(content: AuthenticContent) -> str:
    """Return the SHA-256, in hexadecimal, of the signed content and the cloud that signed it.

    Changes to the unsigned parts, the signature or the signer's certificate do not change it.
    """
    # Cloud names have no NUL, so two different pairs of cloud and content never give the same bytes.
    parts = (_DOMAIN, content.cloud.value.encode("ascii"), content.signed_bytes)
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def memory_of(content: AuthenticContent, *, now: datetime, limits: Limits) -> timedelta:
    """Return how long the content must be remembered from `now` on.

    After that, no replica accepts a document with it, under any limits that can be set and with a clock that is behind
    by the skew. Raises NonceRefused if the document lacks one of its times.
    """
    created_on, expires_on = content.claims.created_on, content.claims.expires_on
    if created_on is None or expires_on is None:
        raise NonceRefused(
            Reason.CLAIMS_INCOMPLETE,
            "The document carries no validity times and no nonce of this service: ask IMDS with an issued nonce.",
        )
    last_moment = min(expires_on, created_on + max(limits.maximum_age, LONGEST_LIFE))
    return last_moment - now + max(2 * limits.clock_skew, LEAST_MARGIN)


def accept_first_sight(content: AuthenticContent, *, is_first: bool) -> FirstSight:
    """Accept content that the store sees for the first time. Raises NonceRefused."""
    if not is_first:
        raise NonceRefused(
            Reason.NONCE_REPLAYED,
            "This document was appraised before. Get a new one; ask with a nonce if IMDS answers from its cache.",
            retry_after=NONCE_RETRY_AFTER,
        )
    return FirstSight(content=content)
