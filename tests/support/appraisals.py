"""Parts of the appraisal, by way of the function that makes all checks."""

from datetime import datetime
from functools import partial

from verifier.core import pipeline
from verifier.core.chain import build_chain
from verifier.core.model import AuthenticContent, Limits, RawDocument, Redeemed, UnverifiedClaims
from verifier.core.policy import Policies
from verifier.core.trust.bundle import TrustBundle


class _ReachedTheChain(Exception):
    def __init__(self, claims: UnverifiedClaims) -> None:
        super().__init__()
        self.claims = claims


def read_in_time(
    document: RawDocument, *, now: datetime, limits: Limits, observer: pipeline.Observer | None = None
) -> UnverifiedClaims:
    """Make the checks before the chain. Raises Refused."""

    def stop(claims: UnverifiedClaims) -> AuthenticContent:
        raise _ReachedTheChain(claims)

    def refuse(_: AuthenticContent) -> Redeemed:
        raise AssertionError

    try:
        pipeline.appraise(
            document,
            now=now,
            limits=limits,
            needs_times=False,
            build_chain=stop,
            establish_freshness=refuse,
            policies=Policies(),
            tenant_policy=Policies.DEFAULT,
            request_policy=None,
            observer=observer,
        )
    except _ReachedTheChain as reached:
        return reached.claims
    raise AssertionError


def authenticate_archived(
    document: RawDocument, *, at: datetime, bundle: TrustBundle, limits: Limits
) -> AuthenticContent:
    """Make all checks on an archived document but the policy's. Raises Refused."""
    result = pipeline.appraise_archived(
        document,
        at=at,
        limits=limits,
        build_chain=partial(build_chain, now=at, bundle=bundle),
        nonce=None,
        policies=Policies(),
        policy=Policies.DEFAULT,
    )
    return result.content
