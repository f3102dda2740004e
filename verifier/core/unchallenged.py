"""Step 7 where no challenge is asked for: a document that answers none passes once, since its content is remembered
until it cannot pass any more (ADR 0021).

A replay is stopped by that alone. That the document was made for us, or just now, is not known.
"""

import hashlib
import re
from datetime import datetime, timedelta
from typing import Final

from verifier.core.model import AuthenticContent, FirstSight, Limits, Redeemed
from verifier.core.reasons import NONCE_RETRY_AFTER, Check, NonceRefused, Reason

#: What `checks` says of a document that passed in this way.
NOTE: Final = {
    Check.NONCE: "the document answers no nonce of this service; it is accepted once, and remembered until it expires"
}

# What IMDS puts where nobody named a nonce: a time, as text. No nonce that is issued here has a hyphen.
_DEFAULT_NONCE = re.compile(r"[0-9]{8}-[0-9]{6}")
_DOMAIN = b"imds-verifier document 1"

#: The longest that a document is remembered from its creation on, where the maximum age is not longer: the greatest
#: maximum age that can be set.
LONGEST_LIFE = timedelta(days=7)
#: The least that is added: twice the greatest clock skew that can be set.
LEAST_MARGIN = timedelta(minutes=20)


def answers_nobody(content: AuthenticContent) -> bool:
    """Whether the document carries no nonce that anybody asked for: none at all, or one of the form that IMDS puts by
    itself. The time that such a nonce spells is not looked at."""
    nonce = content.claims.nonce
    return not nonce or _DEFAULT_NONCE.fullmatch(nonce) is not None


def content_digest(content: AuthenticContent) -> str:
    """SHA-256, in hexadecimal, of what was signed and of the cloud that signed it: the same for every document with
    this content, however its unsigned parts, its signature or its signer's certificate are changed."""
    signed = content.decoded.named.signed.content
    # No name of a cloud has a NUL, so that no other cloud and content give the same bytes.
    return hashlib.sha256(b"\0".join((_DOMAIN, content.cloud.value.encode("ascii"), signed))).hexdigest()


def memory_of(content: AuthenticContent, *, now: datetime, limits: Limits) -> timedelta:
    """How long the content has to be remembered from `now` on: until no replica accepts a document with it, whichever
    limits it has of those that can be set, and though its clock is behind this one by the skew.

    Raises NonceRefused where the document does not say both when it was made and when it ends.
    """
    created_on, expires_on = content.claims.created_on, content.claims.expires_on
    if created_on is None or expires_on is None:
        raise NonceRefused(
            Reason.CLAIMS_INCOMPLETE,
            "The document does not say from when to when it is good, and answers no nonce: ask IMDS with one issued "
            "here.",
        )
    last_moment = min(expires_on, created_on + max(limits.maximum_age, LONGEST_LIFE))
    return last_moment - now + max(2 * limits.clock_skew, LEAST_MARGIN)


def accept_first_sight(content: AuthenticContent, *, is_first: bool) -> Redeemed:
    """Nobody showed this content before. Raises NonceRefused."""
    if not is_first:
        raise NonceRefused(
            Reason.NONCE_REPLAYED,
            "This document was appraised before: get a new one, with a nonce where IMDS answers from its cache.",
            retry_after=NONCE_RETRY_AFTER,
        )
    return Redeemed(content=content, record=FirstSight())
