"""Steps 2 to 6, in order: from octets to content that is authentic. Pure: the same arguments, the same answer."""

from datetime import datetime

from verifier.core import freshness
from verifier.core.chain import build_chain
from verifier.core.claims import decode_claims
from verifier.core.envelope import read_envelope
from verifier.core.model import AuthenticContent, DecodedClaims, Limits, RawDocument
from verifier.core.names import identify_cloud
from verifier.core.signature import verify_signature
from verifier.core.trust import TrustBundle


def authenticate(document: RawDocument, *, now: datetime, bundle: TrustBundle, limits: Limits) -> AuthenticContent:
    """The document was signed by its cloud's metadata service, and its window holds at `now`.

    Not checked: the nonce, and so whether it was made for the caller or seen before; the policy. Where the
    document has no times, nothing but its nonce can show that it is fresh. Raises Refused.
    """
    in_time = freshness.check_window(read_unverified(document), now=now, limits=limits)
    return build_chain(in_time, now=now, bundle=bundle)


def authenticate_archived(
    document: RawDocument, *, at: datetime, bundle: TrustBundle, limits: Limits
) -> AuthenticContent:
    """As `authenticate`, as of the moment `at`; and the document says itself when it was made. Raises Refused."""
    in_time = freshness.require_times(freshness.check_window(read_unverified(document), now=at, limits=limits))
    return build_chain(in_time, now=at, bundle=bundle)


def read_unverified(document: RawDocument) -> DecodedClaims:
    """What a well-signed document says, whoever signed it: nobody vouches for any of it. Raises Refused."""
    return decode_claims(identify_cloud(verify_signature(read_envelope(document))))
