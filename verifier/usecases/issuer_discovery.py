"""The use case of an unknown issuer: recorded always, fetched and admitted where the mode says so."""

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from verifier.core.discovery import (
    DiscoveryMode,
    IssuerObservation,
    admissible,
    confirm_authorities,
    observe_issuer,
    read_candidates,
)
from verifier.core.model import UnverifiedClaims
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.trust.bundle import Role, TrustBundle
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import IssuerObserved, NonconformingGenuine, Recorder
from verifier.ports.trust import FetchFailed, IssuerFetcher, LiveTrustSource, TrustRegistry

#: All that one document may cost in fetching, in seconds, waiting for its turn included.
FETCH_SECONDS = 5.0
#: With less time than this left, no fetch is begun: that it failed would say nothing about its URL.
LEAST_FETCH_SECONDS = 2.0
#: Certificates between a signer and its anchor that are fetched at most.
MAX_HOPS = 3
#: URLs that are tried at most, between one certificate and the next above it.
MAX_URLS = 4
#: Between two fetches, whoever makes them.
FETCH_INTERVAL = timedelta(seconds=1)
FAILURE_MEMORY = timedelta(minutes=5)
SUCCESS_MEMORY = timedelta(hours=24)
#: Sightings that one process records in a second: what a sender makes up must not become the store's load.
RECORDS_PER_SECOND = 20

_TURN = "fetch"
_PAUSE_SECONDS = 0.05


class IssuerDiscovery:
    """What an issuer that nobody pinned means, by the mode. Thread-safe where its ports are."""

    def __init__(
        self,
        *,
        mode: DiscoveryMode,
        trust: LiveTrustSource,
        registry: TrustRegistry,
        fetcher: IssuerFetcher,
        recorder: Recorder,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._mode = mode
        self._trust = trust
        self._registry = registry
        self._fetcher = fetcher
        self._recorder = recorder
        self._pause = pause
        # Two budgets: a flood of documents under made-up issuers must not hide a change of Azure's.
        self._budget = _RecordBudget()
        self._nonconforming_budget = _RecordBudget()
        # One walk a process: it may wait for seconds, and forged documents must not make every thread do so.
        self._walking = threading.Semaphore(1)

    def consider(self, claims: UnverifiedClaims, *, now: datetime, bundle: TrustBundle) -> TrustBundle:
        """The bundle to build the chain over once more: another one than `bundle` where the issuer is admitted.

        Afterwards the sighting is recorded, within the budget, with every authority that was found and checked.
        The document passed format, signature, signer-name and window before this, and nothing else. Raises
        StoreUnavailable in the mode `admit` alone, in which the registry decides.
        """
        try:
            self._consider(claims, now=now, bundle=bundle)
            if self._mode is DiscoveryMode.ADMIT:
                self._trust.refresh()
                return self._trust.bundle()
        except StoreUnavailable:
            if self._mode is DiscoveryMode.ADMIT:
                raise
        return bundle

    def report_nonconforming(self, document: NonconformingDocument) -> None:
        """Record a genuine document that exactness or a bound refused, within the budget.

        An unavailable registry loses the record, never the log line and the metric: the document is refused anyway.
        """
        if self._nonconforming_budget.allows(document.seen_at):
            self._recorder.record(NonconformingGenuine(document=document))
            with suppress(StoreUnavailable):
                self._registry.record_nonconforming(document)

    def _consider(self, claims: UnverifiedClaims, *, now: datetime, bundle: TrustBundle) -> None:
        if not self._budget.allows(now):
            return
        observation = observe_issuer(claims, now=now)
        decisions, _ = self._registry.decisions()
        embedded = read_candidates(claims.decoded.named.signed.unverified_candidates)
        authorities = confirm_authorities(claims, embedded, now=now, bundle=bundle, decisions=decisions)
        found = f"found:{observation.id}"
        if not authorities and self._mode.fetches and not self._registry.is_claimed(found):
            authorities = self._fetch_authorities(observation, claims, embedded, decisions, now=now, bundle=bundle)
        # A sender who alternates two forms of one authority (direct, cross-signed) must not make each document a
        # change of trust on all replicas.
        recorded = f"recorded:{observation.id}:{authorities[0].sha256}" if authorities else ""
        news = () if not authorities or self._registry.is_claimed(recorded) else authorities
        if self._registry.record(observation, [authority.der for authority in news]):
            self._recorder.record(IssuerObserved(observation=observation, authorities=len(authorities)))
        if news:
            # Not before they are recorded: what was found and then lost has to be found again.
            self._registry.claim(recorded, lasting=FAILURE_MEMORY)
            self._registry.claim(found, lasting=SUCCESS_MEMORY)

    def _fetch_authorities(
        self,
        observation: IssuerObservation,
        claims: UnverifiedClaims,
        embedded: Sequence[Certificate],
        decisions: OperatorDecisions,
        *,
        now: datetime,
        bundle: TrustBundle,
    ) -> tuple[Certificate, ...]:
        """The authorities between the signer and an anchor, fetched; empty where they do not chain, another
        replica is fetching them, or that was tried a while ago."""
        # By the signer, not the issuer: the issuer's name and key identifier are a stranger's to write, and what he
        # made up must not keep anybody from looking for the genuine one.
        missed = f"missed:{claims.decoded.named.signed.signer.sha256}"
        if self._registry.is_claimed(missed):
            return ()
        if not any(self._fetcher.accepts(url) for url in claims.decoded.named.signed.signer.unverified_issuer_urls):
            return ()
        if not self._walking.acquire(blocking=False):
            return ()  # the other threads go on serving
        try:
            if not self._registry.claim(f"in-flight:{observation.id}", lasting=timedelta(seconds=2 * FETCH_SECONDS)):
                return ()
            authorities = self._walk(claims, embedded, decisions, now=now, bundle=bundle)
        except _NoTurnError:
            return ()  # nothing was learned: the next document tries again
        finally:
            self._walking.release()
        if not authorities:
            self._registry.claim(missed, lasting=FAILURE_MEMORY)
        return authorities

    def _walk(
        self,
        claims: UnverifiedClaims,
        embedded: Sequence[Certificate],
        decisions: OperatorDecisions,
        *,
        now: datetime,
        bundle: TrustBundle,
    ) -> tuple[Certificate, ...]:
        """Up from the signer, to what an anchor issued. Raises _NoTurnError."""
        deadline = time.monotonic() + FETCH_SECONDS
        known = [entry.certificate for entry in bundle.entries]
        anchors = [entry.certificate for entry in bundle.entries if entry.role is Role.ROOT]
        candidates = list(embedded)
        below: tuple[Certificate, ...] = (claims.decoded.named.signed.signer,)
        for _ in range(MAX_HOPS):
            issuers = self._fetch_issuers(below, deadline)
            candidates.extend(issuers)
            authorities = confirm_authorities(claims, candidates, now=now, bundle=bundle, decisions=decisions)
            if authorities:
                return authorities
            # A CA that is not admissible leads nowhere, so its own issuers are not fetched.
            climbing = admissible(issuers, decisions=decisions, known=known)
            below = tuple(one for one in climbing if not any(one.is_issued_by(anchor) for anchor in anchors))
            if not below:
                break
        return ()

    def _fetch_issuers(self, below: Sequence[Certificate], deadline: float) -> tuple[Certificate, ...]:
        """Those certificates at one of the URLs of `below` that issued one of them, by name and signature: one
        authority may have several (direct, cross-signed). Raises _NoTurnError."""
        named = dict.fromkeys(url for one in below for url in one.unverified_issuer_urls)
        urls = [url for url in named if self._fetcher.accepts(url)]
        for url in urls[:MAX_URLS]:
            failed = f"failed:{hashlib.sha256(url.encode()).hexdigest()}"
            if self._registry.is_claimed(failed):
                continue
            self._take_turn(deadline)
            try:
                fetched = self._fetcher.fetch(url, seconds=deadline - time.monotonic())
            except FetchFailed:
                self._registry.claim(failed, lasting=FAILURE_MEMORY)
                continue
            issuers = tuple(
                candidate for candidate in read_candidates(fetched) if any(one.is_issued_by(candidate) for one in below)
            )
            if issuers:
                return issuers
            # The URL is not remembered as bad: what is there may well have issued what is genuine.
        return ()

    def _take_turn(self, deadline: float) -> None:
        """The caller has the one fetch of its second, with LEAST_FETCH_SECONDS left. Raises _NoTurnError."""
        while time.monotonic() < deadline - LEAST_FETCH_SECONDS:
            if self._registry.claim(_TURN, lasting=FETCH_INTERVAL):
                return
            self._pause(_PAUSE_SECONDS)
        raise _NoTurnError


class _NoTurnError(Exception):
    """Others fetched until the time was over."""


class _RecordBudget:
    """RECORDS_PER_SECOND, by the clock of whoever asks."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._second = 0
        self._spent = 0

    def allows(self, now: datetime) -> bool:
        second = int(now.timestamp())
        with self._turn:
            if second != self._second:
                self._second, self._spent = second, 0
            self._spent += 1
            return self._spent <= RECORDS_PER_SECOND
