"""Steps 2 to 6, in order: from octets to content that is authentic. Pure: the same arguments, the same answer.

A running service remembers chains, and so puts `verifier.chains` in the place of step 6.
"""

from datetime import datetime

from verifier.core import freshness
from verifier.core.chain import build_chain
from verifier.core.claims import decode_claims
from verifier.core.envelope import read_envelope
from verifier.core.model import AuthenticContent, Limits, RawDocument, UnverifiedClaims
from verifier.core.names import identify_cloud
from verifier.core.signature import verify_signature
from verifier.core.trust import TrustBundle


def read_in_time(document: RawDocument, *, now: datetime, limits: Limits) -> UnverifiedClaims:
    """What a well-signed document says whose window holds at `now`: it is worth building a chain.

    Not checked: who signed it. Where the document has no times, nothing but its nonce can show that it is fresh.
    Raises Refused.
    """
    named = identify_cloud(verify_signature(read_envelope(document)))
    return freshness.check_window(decode_claims(named), now=now, limits=limits)


def authenticate_archived(
    document: RawDocument, *, at: datetime, bundle: TrustBundle, limits: Limits
) -> AuthenticContent:
    """The document was signed by its cloud's metadata service, its window holds as of `at`, and it says itself
    when it was made.

    Not checked: the nonce, and so whether it was made for anybody, or seen before; the policy. Raises Refused.
    """
    in_time = freshness.require_times(read_in_time(document, now=at, limits=limits))
    return build_chain(in_time, now=at, bundle=bundle)
