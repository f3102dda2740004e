"""Steps 2 to 6, in order: from bytes to content that is authentic. Pure: the same arguments, the same answer.

A running service remembers chains, and so puts `verifier.usecases.chain_cache` in the place of step 6.
"""

from datetime import datetime
from typing import Protocol

from verifier.core import freshness
from verifier.core.chain import build_chain
from verifier.core.claims import decode_claims
from verifier.core.envelope import read_envelope
from verifier.core.model import AuthenticContent, Limits, RawDocument, UnverifiedClaims
from verifier.core.names import identify_cloud
from verifier.core.reasons import Check
from verifier.core.signature import verify_signature
from verifier.core.trust.bundle import TrustBundle
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud


class Observer(Protocol):
    """Is told how far an appraisal has come, and gives nothing back: whoever reads a clock does so in it. What it is
    told before the chain is built is what a stranger says."""

    def begin(self, check: Check) -> None:
        """The check is made next; the one before was passed."""

    def find_signer(self, signer: Certificate) -> None: ...

    def find_cloud(self, cloud: Cloud) -> None: ...

    def find_policies(self, names: tuple[str, ...]) -> None: ...


class Unobserved:
    """Nobody looks on. Implements the Observer protocol."""

    def begin(self, check: Check) -> None: ...

    def find_signer(self, signer: Certificate) -> None: ...

    def find_cloud(self, cloud: Cloud) -> None: ...

    def find_policies(self, names: tuple[str, ...]) -> None: ...


def read_in_time(
    document: RawDocument, *, now: datetime, limits: Limits, observer: Observer | None = None
) -> UnverifiedClaims:
    """What a well-signed document says whose window holds at `now`: it is worth building a chain.

    Not checked: who signed it. Where the document has no times, nothing but its nonce can show that it is fresh.
    Raises Refused.
    """
    seen = observer or Unobserved()
    seen.begin(Check.FORMAT)
    envelope = read_envelope(document)
    seen.find_signer(envelope.signer)
    seen.begin(Check.SIGNATURE)
    signed = verify_signature(envelope)
    seen.begin(Check.SIGNER_NAME)
    named = identify_cloud(signed)
    seen.find_cloud(named.cloud)
    seen.begin(Check.CLAIMS)
    decoded = decode_claims(named)
    seen.begin(Check.VALIDITY_WINDOW)
    return freshness.check_window(decoded, now=now, limits=limits)


def authenticate_archived(
    document: RawDocument, *, at: datetime, bundle: TrustBundle, limits: Limits
) -> AuthenticContent:
    """The document was signed by its cloud's metadata service, its window holds as of `at`, and it says itself
    when it was made.

    Not checked: the nonce, and so whether it was made for anybody, or seen before; the policy. Raises Refused.
    """
    in_time = freshness.require_times(read_in_time(document, now=at, limits=limits))
    return build_chain(in_time, now=at, bundle=bundle)
