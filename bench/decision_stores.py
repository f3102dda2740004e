"""Measure a store of decisions: pages of queries, bytes for each record, and the time to append.

Run from the repository: `PYTHONPATH=.:tests python bench/decision_stores.py sqlite|redis://HOST:PORT/DB
[--records 1000000] [--directory DIRECTORY]`. The database of Redis should be empty, and it keeps the records. The
SQLite file is created in a temporary directory.

All records are those of one tenant, over 29 days: 10 % without claims, 10 % of refused replays, 80 % with an unused
nonce, of 100,000 VMs of 5,000 subscriptions. One VM has 2 % of all records.
"""

import argparse
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles

import redis
from support.decisions import PLAN, claims_of, garbage_of, record_of

from verifier.adapters.redis.link import RedisLink
from verifier.adapters.sqlite.decision_store import SqliteDecisionStore
from verifier.core.reasons import Check
from verifier.ports.decisions import AppraisalRecord, DecisionStore, Dimension, Selection, Stage, Verdict
from verifier.usecases.decisions import MAX_LIMIT, MAX_SCANNED

TENANT = "bench"
NOW = datetime.now(UTC)
SPAN = timedelta(days=29)
BATCH = 500
ROUNDS = 50
VMS, SUBSCRIPTIONS = 100_000, 5_000
BUSY_VM = 50  # every 50th record is of one VM
STEPS = tuple((check, 0.0003) for check in Check)


def guid(number: int) -> str:
    return str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))


def record(number: int, records: int) -> AppraisalRecord:
    """Return the record of this number. The first is the oldest."""
    at = NOW - SPAN * (records - number) / records
    seen = {
        "request_id": guid(number),
        "key": "agent:3f2a91bc",
        "route": "POST /v1/attestations",
        "seconds": 0.004,
        "steps": STEPS,
        "signer_serial": "33000ab5b1c5f1e6d4d5c9d1a80000000ab5b1",
    }
    vm = 0 if number % BUSY_VM == BUSY_VM - 1 else number * 7919 % VMS
    seen["claims"] = claims_of(guid(10**9 + vm), guid(10**10 + vm % SUBSCRIPTIONS))
    match number % 10:
        case 0:
            seen["claims"] = None
            return garbage_of(at, TENANT, detail="The signer's certificate does not chain to a trust anchor.", **seen)
        case 1:
            replay = {"verdict": Verdict.REFUSED, "code": "nonce-already-used", "stage": Stage.AUTHENTIC}
            return record_of(at, TENANT, failed_check=Check.NONCE, **replay, **seen)
        case _:
            return record_of(at, TENANT, **seen)


def fill(store: DecisionStore, records: int) -> list[float]:
    """Append all records. Return the microseconds for each record, of each batch."""
    times = []
    for start in range(0, records, BATCH):
        batch = [record(number, records) for number in range(start, min(start + BATCH, records))]
        started = time.perf_counter()
        store.append(batch)
        times.append((time.perf_counter() - started) * 1e6 / len(batch))
    return times


def queries(records: int) -> Iterator[tuple[str, Callable[[DecisionStore], object]]]:
    """Yield the queries with their names. Each call asks for another record, if the query names one."""
    chosen = random.Random(15)  # noqa: S311 - repeatable, and no secret

    def number() -> int:
        return chosen.randrange(records)

    def page(selection: Selection, store: DecisionStore) -> object:
        return store.scan(selection, tenant=TENANT, before=None, limit=MAX_LIMIT, most=MAX_SCANNED)

    def vm(number: int) -> str:
        return guid(10**9 + number * 7919 % VMS)

    busy = guid(10**9)
    deep = NOW - SPAN * 0.9
    yield "request id", lambda store: store.find(guid(number()), tenant=TENANT)
    yield "request id, unknown", lambda store: store.find(str(uuid.uuid4()), tenant=TENANT)
    yield "vmId", lambda store: page(Selection(vm_id=vm(number())), store)
    yield "vmId with 2 % of the records", lambda store: page(Selection(vm_id=busy), store)
    yield "the same, a code that none has", lambda store: page(Selection(vm_id=busy, code="none"), store)
    yield "the same, another subscription", lambda store: page(Selection(vm_id=busy, subscription_id=vm(1)), store)
    yield "subscriptionId", lambda store: page(Selection(subscription_id=guid(10**10 + number() % 5_000)), store)
    yield "newest", lambda store: page(Selection(), store)
    yield "a code that none has", lambda store: page(Selection(code="none"), store)
    yield "a plan that none has", lambda store: page(Selection(plan="none"), store)
    yield "verdict refused", lambda store: page(Selection(verdict=Verdict.REFUSED), store)
    yield "verdict unavailable (none)", lambda store: page(Selection(verdict=Verdict.UNAVAILABLE), store)
    yield "code nonce-already-used", lambda store: page(Selection(code="nonce-already-used"), store)
    yield "plan gold", lambda store: page(Selection(plan=str(PLAN.name).casefold()), store)
    yield "deep in the past", lambda store: page(Selection(until=deep), store)
    yield (
        "deep in the past, a code that none has",
        lambda store: page(Selection(until=deep, since=deep - SPAN / 20, code="none"), store),
    )
    yield "before all", lambda store: page(Selection(until=NOW - SPAN * 2), store)


def write_row(*cells: str) -> None:
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


def measure(store: DecisionStore, size: Callable[[], int], records: int) -> None:
    empty = size()
    times = fill(store, records)
    write_row("append", "µs for each record")
    write_row("---", "---")
    for name, part in (
        ("first tenth", times[: len(times) // 10 or 1]),
        ("last tenth", times[-(len(times) // 10 or 1) :]),
    ):
        write_row(name, f"{median(part):.0f}")
    write_row("all", f"{sum(times) / len(times):.0f}")
    write_row("bytes for each record", f"{(size() - empty) / records:.0f}")
    write_row("query", "median ms", "p99 ms", "median ms of CPU, without that of a server")
    write_row("---", "---", "---", "---")
    for name, query in queries(records):
        walls, processors = zip(*(timed(query, store) for _ in range(ROUNDS)), strict=True)
        write_row(name, *(f"{each:.2f}" for each in (median(walls), quantiles(walls, n=100)[-1], median(processors))))
    for days in (0, 29):
        started = time.perf_counter()
        usage = store.usage((NOW - timedelta(days=days)).date(), NOW.date(), tenant=TENANT, by=Dimension.PLAN)
        write_row(
            f"usage of {days + 1} days, {usage.total} VMs", f"{(time.perf_counter() - started) * 1e3:.0f}", "", ""
        )


def timed(query: Callable[[DecisionStore], object], store: DecisionStore) -> tuple[float, float]:
    """Return the time of the call and that of the processor, in ms."""
    started, processor = time.perf_counter(), time.process_time()
    query(store)
    return (time.perf_counter() - started) * 1e3, (time.process_time() - processor) * 1e3


@contextmanager
def on_sqlite(directory: Path | None, most: int) -> Iterator[tuple[DecisionStore, Callable[[], int]]]:
    with (
        tempfile.TemporaryDirectory(dir=directory, prefix="bench-decisions-") as own,
        closing(SqliteDecisionStore(Path(own) / "decisions.sqlite3", bytes_per_tenant=most)) as store,
    ):
        yield store, lambda: sum(file.stat().st_size for file in Path(own).iterdir())


@contextmanager
def on_redis(url: str, most: int) -> Iterator[tuple[DecisionStore, Callable[[], int]]]:
    from verifier.adapters.redis.decision_store import RedisDecisionStore  # noqa: PLC0415 - only this part needs it

    link = RedisLink.open(url, connections=2, timeout=timedelta(seconds=10))
    with (
        closing(RedisDecisionStore(link, bytes_per_tenant=most)) as store,
        closing(redis.Redis.from_url(url)) as client,
    ):
        yield store, lambda: int(client.info("memory")["used_memory"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", help="sqlite, or the URL of a Redis")
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path, help="where the SQLite file is created")
    options = parser.parse_args()
    most = options.records * 10_000  # so that no record gives way
    opened = on_sqlite(options.directory, most) if options.store == "sqlite" else on_redis(options.store, most)
    with opened as (store, size):
        measure(store, size, options.records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
