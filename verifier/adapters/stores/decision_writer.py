"""Write decisions to their store in batches, so that the store never delays an answer."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final, NamedTuple

from verifier.ports.decisions import DECISION_STORE_SETTING, AppraisalRecord, DecisionStore, Stage
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import (
    DecisionOutageChanged,
    DecisionsKept,
    DecisionsLost,
    LossReason,
    Recorder,
)

#: A crash of a worker loses the decisions of this time, and of the write that was going on.
FLUSH_SECONDS: Final = 0.5
#: A batch has at most this many decisions. The writer writes at once when so many wait.
MAX_BATCH: Final = 500
#: How long a decision may wait for its store.
MAX_WAIT_SECONDS: Final = 60.0
#: How long the end of a worker may wait for the store.
CLOSE_SECONDS: Final = 2.0
#: How many decisions of each stage may wait besides the batch. Each stage has its own queue, so that documents that
#: anyone can post do not displace decisions on fresh ones.
CAPACITIES: Final[Mapping[Stage, int]] = {Stage.FRESH: 10_000, Stage.AUTHENTIC: 1_000, Stage.UNVERIFIED: 1_000}


_TOO_SLOW: Final = StoreUnavailable(f"The decision store is slower than decisions arrive ({DECISION_STORE_SETTING}).")


class _Waiting(NamedTuple):
    since: float
    record: AppraisalRecord


class DecisionWriter:
    """Queue the decisions of one worker, and write them in batches. Implements the DecisionLog port.

    `append` never waits for the store and never fails. If the store does not take a batch, the writer tries the same
    batch again: the store ignores decisions that it already has. Decisions that wait longer than MAX_WAIT_SECONDS are
    lost. If a queue is full, a new FRESH decision is lost, or the oldest one of another stage. The recorder gets the
    number of lost decisions, and the beginning and the end of each outage once.

    Call `start` after the fork: threads do not survive one.
    """

    def __init__(self, store: DecisionStore, recorder: Recorder, *, clock: Callable[[], float] = monotonic) -> None:
        self._store = store
        self._recorder = recorder
        self._clock = clock
        # Taken for no longer than it takes to move records, never during a call of the store.
        self._turn = threading.Lock()
        self._queues: Mapping[Stage, deque[_Waiting]] = {stage: deque() for stage in CAPACITIES}
        self._displaced: Counter[Stage] = Counter()
        #: Of each stage, the decisions that the store did not take yet.
        self._batches: dict[Stage, list[_Waiting]] = {stage: [] for stage in CAPACITIES}
        self._in_outage = False
        self._lost = 0
        self._wake = threading.Event()
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def append(self, record: AppraisalRecord) -> None:
        """Queue the record."""
        waiting = _Waiting(self._clock(), record)
        queue = self._queues[record.stage]
        with self._turn:
            if len(queue) >= CAPACITIES[record.stage]:
                self._displaced[record.stage] += 1
                if record.stage is Stage.FRESH:
                    return
                queue.popleft()
            queue.append(waiting)
            if len(queue) >= MAX_BATCH and not self._in_outage:
                self._wake.set()

    def flush(self, now: float) -> None:
        """Write all that waits at `now`, in seconds of the clock, until the store does not take a batch.

        A batch has decisions of one stage. FRESH ones that wait are written before each batch of another stage, so
        that neither garbage that keeps arriving nor a store without room for it delays them. Others that arrive
        meanwhile wait for the next call. No error leaves this method: the worker would lose all later decisions.
        """
        lost_before = self._lost
        due = {stage: self._waiting(stage) for stage in CAPACITIES}
        try:
            while any(due.values()):
                if not due[Stage.FRESH]:
                    due[Stage.FRESH] = self._waiting(Stage.FRESH)
                stage = next(stage for stage, number in due.items() if number)
                batch = self._next_batch(stage, max(now, self._clock()))
                if batch:
                    self._store.append([waiting.record for waiting in batch])
                    self._batches[stage] = []
                    self._recorder.record(DecisionsKept(kept=len(batch), waiting=self._count()))
                due[stage] = max(0, due[stage] - len(batch)) if batch else 0
        except Exception as error:  # noqa: BLE001 - see above
            self._recorder.record(DecisionsKept(kept=0, waiting=self._count()))
            self._begin_outage(error)
        else:
            if self._in_outage and self._lost == lost_before:
                self._end_outage()

    def start(self) -> None:
        """Start the thread that writes every FLUSH_SECONDS, and when MAX_BATCH decisions of one stage wait."""
        self._thread = threading.Thread(target=self._run, name="decisions", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write all that waits, and stop. Decisions that are not written within CLOSE_SECONDS are lost."""
        self._is_closing = True
        self._wake.set()
        if self._thread is None:
            self.flush(self._clock())
        else:
            self._thread.join(CLOSE_SECONDS)
        with self._turn:
            left = Counter({stage: len(self._batches[stage]) + len(queue) for stage, queue in self._queues.items()})
        self._lose(LossReason.STOPPED, left)
        if self._in_outage:
            self._end_outage(is_stopping=True)

    def _run(self) -> None:
        while not self._is_closing:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            self.flush(self._clock())
        # What arrived during the last write.
        self.flush(self._clock())

    def _begin_outage(self, error: Exception) -> None:
        if not self._in_outage:
            self._in_outage = True
            self._recorder.record(DecisionOutageChanged(error=error, lost=0))

    def _end_outage(self, *, is_stopping: bool = False) -> None:
        lost, self._lost, self._in_outage = self._lost, 0, False
        self._recorder.record(DecisionOutageChanged(error=None, lost=lost, is_stopping=is_stopping))

    def _next_batch(self, stage: Stage, now: float) -> list[_Waiting]:
        """Return the batch that the store did not take, or a new one, without the decisions that waited too long."""
        expired = 0
        with self._turn:
            queue = self._queues[stage]
            while True:
                batch = self._batches[stage] or [queue.popleft() for _ in range(min(len(queue), MAX_BATCH))]
                self._batches[stage] = [waiting for waiting in batch if now - waiting.since <= MAX_WAIT_SECONDS]
                expired += len(batch) - len(self._batches[stage])
                if self._batches[stage] or not batch:
                    break
            displaced, self._displaced = self._displaced, Counter()
        self._lose(LossReason.FULL, displaced)
        self._lose(LossReason.WAITED, Counter({stage: expired}))
        return self._batches[stage]

    def _lose(self, reason: LossReason, stages: Counter[Stage]) -> None:
        for stage, count in stages.items():
            if count == 0:
                continue
            self._begin_outage(_TOO_SLOW)
            self._lost += count
            self._recorder.record(DecisionsLost(stage=stage, reason=reason, count=count))

    def _waiting(self, stage: Stage) -> int:
        with self._turn:
            return len(self._batches[stage]) + len(self._queues[stage])

    def _count(self) -> int:
        with self._turn:
            return sum(map(len, (*self._batches.values(), *self._queues.values())))


class RequiredDecisions:
    """Write each decision to the store before the answer. Implements the DecisionLog port.

    `append` raises StoreUnavailable if the store does not take the record. The store may have kept it all the same, if
    only its answer was lost.
    """

    def __init__(self, store: DecisionStore) -> None:
        self._store = store

    def append(self, record: AppraisalRecord) -> None:
        self._store.append((record,))
