"""The appraisal: eight checks in one order, for live and for archived documents.

The way to build a chain and the freshness check are passed in, so that a service can use its cache and its nonce
store. With pure arguments, the appraisal is pure: the same arguments give the same answer.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from verifier.core import unchallenged
from verifier.core.claims import decode_claims
from verifier.core.envelope import read_envelope
from verifier.core.freshness import challenge, check_window
from verifier.core.model import (
    Archived,
    ArchivedResult,
    AuthenticContent,
    FirstSight,
    Limits,
    RawDocument,
    Redeemed,
    UnverifiedClaims,
    Verified,
)
from verifier.core.names import identify_cloud
from verifier.core.policy import Policies, applicable_policies
from verifier.core.reasons import NO_REMARKS, Check, PolicyRefused, Refused, Remarks, progress
from verifier.core.signature import verify_signature
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud

_Freshness = TypeVar("_Freshness", bound=Redeemed | FirstSight | Archived)

_ARCHIVED = "an archived document is appraised as of a moment, without a challenge"
_COMPARED = "compared with the given nonce; this appraisal does not know if it was issued or used before"


class Observer:
    """Ignore the progress of an appraisal. Subclasses note it for logs and metrics, and cannot influence the verdict.

    What an observer receives before the chain check is unverified.
    """

    def begin(self, check: Check) -> None:
        """Note that the previous check passed and this one begins."""

    def find_signer(self, signer: Certificate) -> None: ...

    def find_cloud(self, cloud: Cloud) -> None: ...

    def find_content(self, content: AuthenticContent) -> None:
        """Note the content of a document whose chain check passed."""

    def find_policies(self, names: tuple[str, ...]) -> None:
        """Note the policies that a fresh document must satisfy."""


def appraise(  # noqa: PLR0913 - each is an input of some check
    document: RawDocument,
    *,
    now: datetime,
    limits: Limits,
    needs_times: bool,
    build_chain: Callable[[UnverifiedClaims], AuthenticContent],
    establish_freshness: Callable[[AuthenticContent], _Freshness],
    policies: Policies,
    tenant_policy: str,
    request_policy: str | None,
    observer: Observer | None = None,
) -> Verified[_Freshness]:
    """Make all eight checks on one document, in this order.

    The content is out of reach before its signature is verified, and each check uses the signer that the signature
    check used. Only check 7 may have a side effect, so every check that can fail without it comes first.
    Raises Refused, and what `build_chain` and `establish_freshness` raise.
    """
    seen = observer or Observer()

    seen.begin(Check.FORMAT)  # 1. One SignedData in exact DER, with one signer.
    envelope = read_envelope(document)
    seen.find_signer(envelope.signer)

    seen.begin(Check.SIGNATURE)  # 2. The signer's key signed the content.
    signed = verify_signature(envelope)

    seen.begin(Check.SIGNER_NAME)  # 3. The signer names one cloud.
    named = identify_cloud(signed)
    seen.find_cloud(named.cloud)

    seen.begin(Check.CLAIMS)  # 4. The content is strict JSON with the required claims.
    decoded = decode_claims(named)

    seen.begin(Check.VALIDITY_WINDOW)  # 5. The document is valid now.
    claims = check_window(decoded, now=now, limits=limits, needs_times=needs_times)

    seen.begin(Check.CHAIN)  # 6. The signer chains to an anchor of that cloud.
    content = build_chain(claims)
    seen.find_content(content)

    seen.begin(Check.NONCE)  # 7. The document answers a challenge, is seen first, or is archived.
    fresh = establish_freshness(content)

    names = applicable_policies(fresh, tenant=tenant_policy, asked=request_policy)
    seen.find_policies(names)
    seen.begin(Check.POLICY)  # 8. It satisfies the tenant's, the nonce's and the request's policy.
    try:
        return policies.apply(fresh, names, now=now)
    except PolicyRefused as refused:
        raise refused.with_remarks(remarks_on(fresh)) from refused


def appraise_archived(
    document: RawDocument,
    *,
    at: datetime,
    limits: Limits,
    build_chain: Callable[[UnverifiedClaims], AuthenticContent],
    nonce: str | None,
    policies: Policies,
    policy: str,
) -> ArchivedResult:
    """Appraise a document as of `at`: all checks but the nonce, which is compared with `nonce` if one is given.

    Not checked, and `checks` says so: that the nonce was issued, or unused. Raises Refused.
    """

    def archive(content: AuthenticContent) -> Archived:
        if nonce is not None:
            challenge(content, expected=nonce)
        return Archived(content=content, has_expected_nonce=nonce is not None)

    try:
        verified = appraise(
            document,
            now=at,
            limits=limits,
            needs_times=True,
            build_chain=build_chain,
            establish_freshness=archive,
            policies=policies,
            tenant_policy=policy,
            request_policy=None,
        )
    except Refused as refused:
        raise refused.with_remarks(_archived(has_expected_nonce=nonce is not None)).as_final() from refused
    checks = progress(remarks=remarks_on(verified.fresh))
    return ArchivedResult(verified=verified, checks=checks, evaluated_at=at)


def remarks_on(fresh: Redeemed | FirstSight | Archived) -> Remarks:
    """Return what `checks` says of an unusual nonce check."""
    match fresh:
        case Redeemed():
            return NO_REMARKS
        case FirstSight():
            return Remarks(noted=unchallenged.NOTE)
        case Archived(has_expected_nonce=has_expected_nonce):  # pragma: no branch - mypy proves that the cases are all
            return _archived(has_expected_nonce=has_expected_nonce)


def _archived(*, has_expected_nonce: bool) -> Remarks:
    return Remarks(omitted={Check.NONCE: _COMPARED if has_expected_nonce else _ARCHIVED})
