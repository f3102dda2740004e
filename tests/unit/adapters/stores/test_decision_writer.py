"""Test that decisions are written in batches, that none displaces a better one, and that every loss is counted."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.clocks import ManualSeconds
from support.documents import NOW

from verifier.adapters.sqlite.decision_store import SqliteDecisionStore
from verifier.adapters.stores.decision_writer import (
    CAPACITIES,
    MAX_BATCH,
    MAX_WAIT_SECONDS,
    DecisionWriter,
    RequiredDecisions,
)
from verifier.ports.decisions import AppraisalRecord, Stage, Verdict
from verifier.ports.stores import StoreUnavailable
from verifier.ports.telemetry import DecisionOutageChanged, DecisionsKept, DecisionsLost, Event, LossReason

TENANT = "north"
AWAY = StoreUnavailable("The test took it.")


@dataclass(slots=True)
class Store:
    """Implements the part of the DecisionStore port that a writer calls. `error` makes it fail."""

    batches: list[list[str]] = field(default_factory=list)
    error: Exception | None = None
    #: The stages for which the store has no room.
    full: set[Stage] = field(default_factory=set)

    def append(self, records: Sequence[AppraisalRecord]) -> None:
        if self.error is not None:
            raise self.error
        if self.full & {record.stage for record in records}:
            raise AWAY
        self.batches.append([record.request_id for record in records])


@dataclass(slots=True)
class KeptEvents:
    """Implements the Recorder port: keeps the events of a writer."""

    kept: int = 0
    waiting: int = 0
    lost: list[tuple[Stage, LossReason, int]] = field(default_factory=list)
    outages: list[tuple[Exception | None, int]] = field(default_factory=list)
    stops: list[bool] = field(default_factory=list)

    def record(self, event: Event) -> None:
        match event:
            case DecisionsKept():
                self.kept += event.kept
                self.waiting = event.waiting
            case DecisionsLost():
                self.lost.append((event.stage, event.reason, event.count))
            case DecisionOutageChanged():
                self.outages.append((event.error, event.lost))
                self.stops.append(event.is_stopping)
            case _:
                raise AssertionError(event)


def record(number: int, stage: Stage = Stage.FRESH) -> AppraisalRecord:
    return AppraisalRecord(
        at=NOW, request_id=f"{stage}-{number}", tenant=TENANT, verdict=Verdict.REFUSED, code="c", stage=stage
    )


@dataclass(slots=True)
class Setup:
    store: Store = field(default_factory=Store)
    events: KeptEvents = field(default_factory=KeptEvents)
    clock: ManualSeconds = field(default_factory=ManualSeconds)

    def writer(self) -> DecisionWriter:
        return DecisionWriter(self.store, self.events, clock=self.clock)  # type: ignore[arg-type]  # `append` is enough


@pytest.fixture
def setup() -> Setup:
    return Setup()


def test_flush_writes_all_that_waits_in_a_batch_of_each_stage(setup: Setup) -> None:
    writer = setup.writer()
    writer.append(record(1, Stage.UNVERIFIED))
    writer.append(record(2, Stage.AUTHENTIC))
    writer.append(record(3))
    assert setup.store.batches == []
    writer.flush(setup.clock())
    assert setup.store.batches == [["fresh-3"], ["authentic-2"], ["unverified-1"]]
    assert (setup.events.kept, setup.events.waiting, setup.events.outages) == (3, 0, [])
    writer.flush(setup.clock())
    assert len(setup.store.batches) == 3


def test_batches_are_bounded(setup: Setup) -> None:
    writer = setup.writer()
    for number in range(MAX_BATCH + 1):
        writer.append(record(number))
    writer.flush(setup.clock())
    assert [len(batch) for batch in setup.store.batches] == [MAX_BATCH, 1]


@pytest.mark.parametrize("error", [AWAY, ValueError("a fault of the store")])
def test_batch_is_written_again_after_an_outage_which_is_reported_once(setup: Setup, error: Exception) -> None:
    writer = setup.writer()
    writer.append(record(1))
    setup.store.error = error
    for _ in range(5):
        writer.flush(setup.clock())
        writer.append(record(2, Stage.AUTHENTIC))
    assert (setup.events.outages, setup.events.waiting) == ([(error, 0)], 5)
    setup.store.error = None
    writer.flush(setup.clock())
    assert setup.store.batches == [["fresh-1"], ["authentic-2"] * 5]
    assert (setup.events.kept, setup.events.lost) == (6, [])
    assert setup.events.outages == [(error, 0), (None, 0)]


def test_decisions_that_wait_too_long_are_lost_and_counted(setup: Setup) -> None:
    writer = setup.writer()
    setup.store.error = AWAY
    writer.append(record(1))
    writer.flush(setup.clock())
    writer.append(record(2, Stage.UNVERIFIED))
    setup.clock.seconds += MAX_WAIT_SECONDS + 1
    writer.append(record(3))
    setup.store.error = None
    writer.flush(setup.clock())
    assert setup.store.batches == [["fresh-3"]]
    lost = [(Stage.FRESH, LossReason.WAITED, 1), (Stage.UNVERIFIED, LossReason.WAITED, 1)]
    assert sorted(setup.events.lost) == lost
    # The outage ends with the first flush that loses no decision.
    writer.flush(setup.clock())
    assert setup.events.outages == [(AWAY, 0), (None, 2)]


@pytest.mark.parametrize("stage", [Stage.UNVERIFIED, Stage.AUTHENTIC])
def test_a_flood_of_garbage_displaces_only_garbage(setup: Setup, stage: Stage) -> None:
    writer = setup.writer()
    setup.store.error = AWAY
    writer.append(record(0))
    excess = 7
    for number in range(CAPACITIES[stage] + excess):
        writer.append(record(number, stage))
    setup.store.error = None
    writer.flush(setup.clock())
    written = [request_id for batch in setup.store.batches for request_id in batch]
    assert written == ["fresh-0", *(f"{stage}-{number}" for number in range(excess, CAPACITIES[stage] + excess))]
    assert setup.events.lost == [(stage, LossReason.FULL, excess)]


def test_decisions_that_find_no_room_delay_none_of_a_better_stage(setup: Setup) -> None:
    writer = setup.writer()
    setup.store.full = {Stage.UNVERIFIED}
    writer.append(record(0, Stage.UNVERIFIED))
    for number in range(3):
        writer.append(record(number))
        writer.flush(setup.clock())
        assert setup.store.batches[-1] == [f"fresh-{number}"]
    assert (setup.events.outages, setup.events.lost) == ([(AWAY, 0)], [])


def test_a_full_queue_of_fresh_decisions_keeps_the_oldest(setup: Setup) -> None:
    writer = setup.writer()
    for number in range(CAPACITIES[Stage.FRESH] + 2):
        writer.append(record(number))
    writer.flush(setup.clock())
    assert setup.events.kept == CAPACITIES[Stage.FRESH]
    assert setup.store.batches[0][0] == "fresh-0"
    assert setup.events.lost == [(Stage.FRESH, LossReason.FULL, 2)]
    [(error, _)] = setup.events.outages
    assert "slower" in str(error)
    writer.flush(setup.clock())
    assert setup.events.outages[1:] == [(None, 2)]
    assert setup.events.stops == [False, False]


class TestThread:
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqliteDecisionStore]:
        store = SqliteDecisionStore(tmp_path / "decisions.sqlite3", bytes_per_tenant=2**20)
        yield store
        store.close()

    def test_started_writer_writes_by_itself(self, store: SqliteDecisionStore) -> None:
        writer = DecisionWriter(store, KeptEvents())
        writer.start()
        writer.append(record(1))
        for _ in range(100):
            if store.find("fresh-1", tenant=TENANT):
                break
            threading.Event().wait(0.05)
        else:
            pytest.fail("it did not write within 5 s")
        writer.close()

    def test_close_writes_what_waits(self, store: SqliteDecisionStore) -> None:
        events = KeptEvents()
        writer = DecisionWriter(store, events)
        writer.start()
        for number in range(MAX_BATCH * 3):
            writer.append(record(number))
        writer.close()
        assert store.find(f"fresh-{MAX_BATCH * 3 - 1}", tenant=TENANT)
        assert (events.kept, events.lost) == (MAX_BATCH * 3, [])

    def test_close_waits_no_longer_than_its_bound_and_counts_the_rest(
        self, setup: Setup, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("verifier.adapters.stores.decision_writer.CLOSE_SECONDS", 0.2)
        hangs = threading.Event()
        monkeypatch.setattr(Store, "append", lambda *_: hangs.wait(10))
        writer = setup.writer()
        writer.start()
        writer.append(record(1))
        writer.append(record(2, Stage.UNVERIFIED))
        writer.close()
        assert not hangs.is_set()
        hangs.set()
        lost = [(Stage.FRESH, LossReason.STOPPED, 1), (Stage.UNVERIFIED, LossReason.STOPPED, 1)]
        assert sorted(setup.events.lost) == lost
        assert setup.events.outages[-1] == (None, 2)
        assert setup.events.stops == [False, True]


def test_required_decisions_are_written_one_by_one_and_raise_what_the_store_raises(setup: Setup) -> None:
    log = RequiredDecisions(setup.store)  # type: ignore[arg-type]  # `append` is enough
    for number in (1, 2):
        log.append(record(number))
    assert setup.store.batches == [["fresh-1"], ["fresh-2"]]
    setup.store.error = AWAY
    with pytest.raises(StoreUnavailable):
        log.append(record(3))


def test_garbage_that_keeps_arriving_delays_no_fresh_decision() -> None:
    """One garbage record arrives during each write, and a FRESH one during the first."""
    seconds = ManualSeconds()
    batches: list[Stage] = []

    class Flooded(Store):
        def append(self, records: Sequence[AppraisalRecord]) -> None:
            batches.append(records[0].stage)
            if len(batches) == 1:
                writer.append(record(1))
            if len(batches) < 1000:
                writer.append(record(len(batches), Stage.UNVERIFIED))
                writer.append(record(len(batches), Stage.AUTHENTIC))

    writer = DecisionWriter(Flooded(), KeptEvents(), clock=seconds)  # type: ignore[arg-type]  # the part that is called
    writer.append(record(0, Stage.UNVERIFIED))
    writer.append(record(0, Stage.AUTHENTIC))
    writer.flush(seconds())
    assert batches[1] is Stage.FRESH
    assert len(batches) == 3
