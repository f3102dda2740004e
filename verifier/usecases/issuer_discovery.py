"""Handle issuers that are not pinned: record them, and fetch and admit them if the mode allows it."""

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import field
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
from verifier.core.values import dataclass
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import IssuerObserved, NonconformingGenuine, Recorder
from verifier.ports.trust import FetchFailed, IssuerFetcher, LiveTrustSource, TrustRegistry

#: The time limit for all fetches for one document, in seconds, including the wait for its turn.
FETCH_SECONDS = 5.0
#: No fetch starts with fewer seconds left: a timeout would not mean that the URL is bad.
LEAST_FETCH_SECONDS = 2.0
#: The maximum number of fetched certificates between a signer and its anchor.
MAX_HOPS = 3
#: The maximum number of URLs to try for the issuer of one certificate.
MAX_URLS = 4
#: The minimum time between two fetches, over all replicas.
FETCH_INTERVAL = timedelta(seconds=1)
FAILURE_MEMORY = timedelta(minutes=5)
SUCCESS_MEMORY = timedelta(hours=24)
#: The maximum number of issuers that one process records in a second. It limits the load that a sender can cause.
RECORDS_PER_SECOND = 20

_TURN = "fetch"
_PAUSE_SECONDS = 0.05


class _RecordBudget:
    """Allow RECORDS_PER_SECOND. The caller passes the time."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """Search the authorities of one signer, at one moment and with one state of trust."""

    claims: UnverifiedClaims
    now: datetime
    bundle: TrustBundle
    decisions: OperatorDecisions

    def confirm(self, candidates: Sequence[Certificate]) -> tuple[Certificate, ...]:
        return confirm_authorities(self.claims, candidates, now=self.now, bundle=self.bundle, decisions=self.decisions)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerDiscovery:
    """Handle documents whose issuer is not pinned, as the mode says. Thread-safe if its ports are.

    A mode that fetches needs a fetcher.
    """

    mode: DiscoveryMode
    trust: LiveTrustSource
    registry: TrustRegistry
    fetcher: IssuerFetcher | None
    recorder: Recorder
    pause: Callable[[float], None] = time.sleep
    # Separate budgets: a flood of documents with made-up issuers must not hide a change of Azure's documents.
    _budget: _RecordBudget = field(default_factory=_RecordBudget, init=False)
    _nonconforming_budget: _RecordBudget = field(default_factory=_RecordBudget, init=False)
    # One walk for each process: it may take seconds, and forged documents must not block every thread.
    _walking: threading.Semaphore = field(default_factory=threading.Semaphore, init=False)

    def consider(self, claims: UnverifiedClaims, *, now: datetime, bundle: TrustBundle) -> TrustBundle:
        """Record the issuer within the budget, with its checked authorities, and return the bundle to try again.

        The result differs from `bundle` if the issuer is admitted. Raises StoreUnavailable only in the mode `admit`,
        because the registry decides there.
        Not checked: the document, beyond its format, its signature, the signer's name and the validity window.
        """
        try:
            self._consider(claims, now=now, bundle=bundle)
            if self.mode is DiscoveryMode.ADMIT:
                self.trust.refresh()
                return self.trust.bundle()
        except StoreUnavailable:
            if self.mode is DiscoveryMode.ADMIT:
                raise
        return bundle

    def report_nonconforming(self, document: NonconformingDocument) -> None:
        """Record, within the budget, a genuine document that a strictness rule or a bound refused.

        If the registry is unavailable, it misses the document, and the log and the metrics still have it.
        """
        if self._nonconforming_budget.allows(document.seen_at):
            self.recorder.record(NonconformingGenuine(document=document))
            with suppress(StoreUnavailable):
                self.registry.record_nonconforming(document)

    def _consider(self, claims: UnverifiedClaims, *, now: datetime, bundle: TrustBundle) -> None:
        if not self._budget.allows(now):
            return
        observation = observe_issuer(claims, now=now)
        decisions, _ = self.registry.decisions()
        embedded = read_candidates(claims.unverified_candidates)
        search = _Search(claims=claims, now=now, bundle=bundle, decisions=decisions)
        authorities = search.confirm(embedded)
        found = f"found:{observation.id}"
        fetcher = self.fetcher if self.mode.fetches else None
        if not authorities and fetcher is not None and not self.registry.is_claimed(found):
            authorities = self._fetch_authorities(fetcher, observation, search, embedded)
        # A sender may alternate two certificates of one authority (direct, cross-signed). That must not change trust on
        # all replicas with each document.
        news = () if authorities and self.registry.is_claimed(_recorded(observation, authorities)) else authorities
        if self.registry.record(observation, [authority.der for authority in news]):
            self.recorder.record(IssuerObserved(observation=observation, authorities=len(authorities)))
        if news:
            # Claim only after recording: if the record is lost, the next document must search again.
            self.registry.claim(_recorded(observation, news), lasting=FAILURE_MEMORY)
            self.registry.claim(found, lasting=SUCCESS_MEMORY)

    def _fetch_authorities(
        self, fetcher: IssuerFetcher, observation: IssuerObservation, search: _Search, embedded: Sequence[Certificate]
    ) -> tuple[Certificate, ...]:
        """Fetch the authorities between the signer and an anchor.

        The result is empty if they form no chain, if another replica fetches them now, or if a recent attempt failed.
        """
        # The key is the signer and not the issuer: a sender can copy the issuer's name and key identifier, and a failed
        # fetch for such a copy must not stop the fetch for the genuine issuer.
        signer = search.claims.signer
        missed = f"missed:{signer.sha256}"
        if self.registry.is_claimed(missed):
            return ()
        if not any(fetcher.accepts(url) for url in signer.unverified_issuer_urls):
            return ()
        if not self._walking.acquire(blocking=False):
            return ()  # only one thread of a process fetches
        try:
            if not self.registry.claim(f"in-flight:{observation.id}", lasting=timedelta(seconds=2 * FETCH_SECONDS)):
                return ()
            authorities = self._walk(fetcher, search, embedded)
        except _NoTurnError:
            return ()  # the attempt has no result, so the next document tries again
        finally:
            self._walking.release()
        if not authorities:
            self.registry.claim(missed, lasting=FAILURE_MEMORY)
        return authorities

    def _walk(
        self, fetcher: IssuerFetcher, search: _Search, embedded: Sequence[Certificate]
    ) -> tuple[Certificate, ...]:
        """Fetch issuers from the signer upwards until an anchor issued one. Raises _NoTurnError."""
        deadline = time.monotonic() + FETCH_SECONDS
        known = [entry.certificate for entry in search.bundle.entries]
        anchors = [entry.certificate for entry in search.bundle.entries if entry.role is Role.ROOT]
        candidates = list(embedded)
        below: tuple[Certificate, ...] = (search.claims.signer,)
        for _ in range(MAX_HOPS):
            issuers = self._fetch_issuers(fetcher, below, deadline)
            candidates.extend(issuers)
            authorities = search.confirm(candidates)
            if authorities:
                return authorities
            # Do not fetch the issuers of a CA that is not admissible.
            climbing = admissible(issuers, decisions=search.decisions, known=known)
            below = tuple(one for one in climbing if not any(one.is_issued_by(anchor) for anchor in anchors))
            if not below:
                break
        return ()

    def _fetch_issuers(
        self, fetcher: IssuerFetcher, below: Sequence[Certificate], deadline: float
    ) -> tuple[Certificate, ...]:
        """Fetch the URLs in `below`, and return the issuers of these certificates in the first useful answer.

        An issuer has the name that a certificate gives, and its key verifies the signature. One authority may have
        several certificates (direct, cross-signed). Raises _NoTurnError.
        """
        named = dict.fromkeys(url for one in below for url in one.unverified_issuer_urls)
        urls = [url for url in named if fetcher.accepts(url)]
        for url in urls[:MAX_URLS]:
            failed = f"failed:{hashlib.sha256(url.encode()).hexdigest()}"
            if self.registry.is_claimed(failed):
                continue
            self._take_turn(deadline)
            try:
                fetched = fetcher.fetch(url, seconds=deadline - time.monotonic())
            except FetchFailed:
                self.registry.claim(failed, lasting=FAILURE_MEMORY)
                continue
            issuers = tuple(
                candidate for candidate in read_candidates(fetched) if any(one.is_issued_by(candidate) for one in below)
            )
            if issuers:
                return issuers
            # Do not claim the URL as failed: its certificate may be the issuer of a genuine document.
        return ()

    def _take_turn(self, deadline: float) -> None:
        """Wait for the next fetch that FETCH_INTERVAL allows.

        Raises _NoTurnError if fewer than LEAST_FETCH_SECONDS are left.
        """
        while time.monotonic() < deadline - LEAST_FETCH_SECONDS:
            if self.registry.claim(_TURN, lasting=FETCH_INTERVAL):
                return
            self.pause(_PAUSE_SECONDS)
        raise _NoTurnError


def _recorded(observation: IssuerObservation, authorities: Sequence[Certificate]) -> str:
    """Name the claim that these authorities of the issuer were recorded."""
    return f"recorded:{observation.id}:{authorities[0].sha256}"


class _NoTurnError(Exception):
    """Report that other fetches used all of the time limit."""
