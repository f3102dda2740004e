"""The core as benches call it: from the bytes of a document to authentic claims, with the CPU time of a call."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from time import process_time

from verifier.core import pipeline
from verifier.core.evidence import from_der
from verifier.core.model import AuthenticContent, Limits, Redeemed
from verifier.core.policy import Policies
from verifier.core.trust.bundle import TrustBundle
from verifier.usecases.chain_cache import ChainCache

Authenticate = Callable[[bytes], AuthenticContent]


class _Authentic(Exception):
    """End an appraisal after its check 6."""

    def __init__(self, content: AuthenticContent) -> None:
        super().__init__()
        self.content = content


def authenticator(bundle: TrustBundle, *, at: datetime) -> Authenticate:
    """Return a function that makes checks 1 to 6 as the service does, with a chain cache of its own.

    The function raises Refused.
    """

    def stop(content: AuthenticContent) -> Redeemed:
        raise _Authentic(content)

    appraise = partial(
        pipeline.appraise,
        now=at,
        limits=Limits(),
        needs_times=False,
        build_chain=partial(ChainCache().build, now=at, bundle=bundle),
        establish_freshness=stop,
        policies=Policies(),
        tenant_policy=Policies.DEFAULT,
        request_policy=None,
    )

    def authenticate(document: bytes) -> AuthenticContent:
        try:
            appraise(from_der(document))
        except _Authentic as authentic:
            return authentic.content
        raise AssertionError("unreachable: the freshness check always raises")

    return authenticate


def cpu_seconds_of(call: Callable[[], object], times: int = 1) -> float:
    """Return the CPU seconds of this process for one call, as the mean of several calls."""
    started = process_time()
    for _ in range(times):
        call()
    return (process_time() - started) / times


def interleave(calls: Mapping[str, tuple[Callable[[], object], int]], rounds: int) -> list[dict[str, float]]:
    """Return the CPU seconds of each call in each round.

    Each round makes each call as many times as it says. So another load of the machine disturbs all calls alike. One
    round more goes before, and fills the caches.
    """
    return [{name: cpu_seconds_of(call, times) for name, (call, times) in calls.items()} for _ in range(rounds + 1)][1:]
