"""Keep decisions in Redis (6.2 or later) or Valkey, for all replicas of the service.

All keys of a tenant share one hash tag, so that one script changes them atomically, also on a cluster. The decisions
must leave the server's memory to the nonces. So they stop growing before it is full (FEW, SCARCE).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Final

from verifier.adapters.clock import SystemClock
from verifier.adapters.records.decisions import Entry, decision_of, decode_text, entry_of, filters_of
from verifier.adapters.records.nonces import encode_text, microseconds
from verifier.adapters.redis.decision_keys import PREFIX, STAGES, key_of, keys_of, list_of, text_of
from verifier.adapters.redis.decision_scripts import (
    APPEND,
    ERASE,
    REGISTER,
    SCAN,
    SEQUENCE_DIGITS,
    TIME_DIGITS,
)
from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.nodes import Word
from verifier.adapters.redis.vm_counts import MOST_VALUES, count_vms, counts_of, parts
from verifier.ports.clock import Clock
from verifier.ports.decisions import (
    KEEP_DECISIONS,
    KEEP_USAGE,
    SHARES,
    AppraisalRecord,
    Decision,
    Dimension,
    Position,
    Scan,
    Selection,
    Usage,
)
from verifier.ports.stores import StoreUnavailable

#: The share of the server's `maxmemory` from which each new record replaces older ones, and the share from which no
#: record is kept and no VM is counted.
FEW: Final = 0.8
SCARCE: Final = 0.9

#: What a record uses in memory besides its own bytes: entries of a hash and of three sorted sets. Measured with 20,000
#: records: 620 on Redis 7.0, and less on Redis 6.2 and Valkey 9.1. A table that grows needs more for a while.
ENTRY_BYTES: Final = 750

#: How many records one script adds, and how many more than that it deletes. One record takes Redis about 40 us, and
#: before that it takes a worker 30 us. Meanwhile neither serves a request. A smaller script takes more for each record.
BATCH: Final = 50
_DELETED = 100
#: How many records one script erases and looks at. Each of these takes some milliseconds.
_ERASED = 200
_SCANNED = 500
#: How many scripts one call sends to delete what is beyond a bound. A larger backlog shrinks with each call.
_TRIMS = 4

#: How often a process repeats that a tenant exists, in seconds. If Redis loses it, the next record restores it.
_REGISTERED = 60

_TENANTS = f"{PREFIX}tenants"
_MILLISECOND = timedelta(milliseconds=1)
_DAY = timedelta(days=1)

_NEVER = 16**TIME_DIGITS - 1
_LAST = Position(_NEVER, 16**SEQUENCE_DIGITS - 1)

_VMS, _SUBSCRIPTIONS = 1, 2

_SHORT = "Redis is short of memory, and its maxmemory has to be enough for the nonces."


class RedisDecisionStore:
    """Keep decisions in the Redis that `link` leads to. Implements the DecisionStore port.

    The decisions of a tenant use at most `bytes_per_tenant` of memory. Its counts are not among these bytes: a count
    of many VMs takes 12 KiB for each day and value. `clock` decides what is too old. New records delete old ones, so
    a tenant without new records keeps its old ones up to twice as long, but no method returns them.

    A batch of more than BATCH records of one tenant is written in several parts, each of them atomically.
    If a key of a tenant is lost, its records are deleted with the next one, because they would not be consistent.
    Not erased: a VM from the counts. They are HyperLogLogs and hold no ids.
    """

    def __init__(
        self,
        link: RedisLink,
        *,
        bytes_per_tenant: int,
        clock: Clock | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if bytes_per_tenant <= 0:
            raise ValueError("bytes_per_tenant is not positive")
        self._link = link
        self._limits = [int(bytes_per_tenant * SHARES[stage]) for stage in STAGES]
        self._clock = clock or SystemClock()
        self._monotonic = monotonic
        self._registered: dict[str, float] = {}

    def append(self, records: Sequence[AppraisalRecord]) -> None:
        """Keep the records as the port says. The records of one tenant are kept even if those of another are not.

        Raises StoreUnavailable also if the server is short of memory, and the tenant has too few records that new ones
        may replace. A part of the batch may be kept then.
        """
        failed: StoreUnavailable | None = None
        for tenant, batch in groupby(sorted(records, key=attrgetter("tenant")), key=attrgetter("tenant")):
            try:
                self._register(encode_text(tenant))
                for part in parts(list(batch), BATCH):
                    self._append(encode_text(tenant), part)
            except StoreUnavailable as error:
                failed = error
        if failed is not None:
            raise failed

    def _register(self, tenant: str) -> None:
        now = self._monotonic()
        if now - self._registered.get(tenant, -_REGISTERED) < _REGISTERED:
            return
        seconds = int(self._clock.now().timestamp())
        kept = KEEP_USAGE + _DAY
        self._link.repeatably(
            "EVAL", REGISTER, 1, _TENANTS, seconds, tenant, seconds - int(kept.total_seconds()), kept // _MILLISECOND
        )
        self._registered[tenant] = now

    def _append(self, tenant: str, records: Sequence[AppraisalRecord]) -> None:
        entries = [entry_of(record) for record in records]
        keys, groups, counted = counts_of(tenant, entries)
        added = [_argument(entry) for entry in entries]
        more = self._trim(keys, [len(entries), groups, *added, *counted])
        for _ in range(_TRIMS):
            if not more:
                break
            more = self._trim(keys_of(tenant), [0, 0])

    def _trim(self, keys: Sequence[str], added: Sequence[str | int]) -> bool:
        """Send APPEND, and return whether it left records to delete."""
        now = self._clock.now()
        arguments = (
            _time(microseconds(now - KEEP_DECISIONS)),
            KEEP_DECISIONS // _MILLISECOND,
            ENTRY_BYTES,
            *self._limits,
            BATCH + _DELETED,
            str(FEW),
            str(SCARCE),
            MOST_VALUES,
            (KEEP_USAGE + _DAY) // _MILLISECOND,
            *added,
        )
        match self._link.repeatably("EVAL", APPEND, len(keys), *keys, *arguments):
            case [1, 0, int(more)]:
                return bool(more)
            case [0, _, _]:
                raise self._link.unavailable(f"{_SHORT} It kept no decisions.")
            case [1, int(), _]:
                raise self._link.unavailable(f"{_SHORT} It did not keep all decisions.")
        raise TypeError("Redis answered the script of the decisions with something else than three numbers")

    def find(self, request_id: str, *, tenant: str) -> Decision | None:
        record = self._link.repeatably("HGET", key_of(encode_text(tenant), "requests"), encode_text(request_id))
        if record is None:
            return None
        with self._readable():
            place, _, _, line = text_of(record).split("|", 3)
            decision = decision_of(line, _position(place))
        return decision if decision.position.moment >= self._oldest() else None

    def scan(self, selection: Selection, *, tenant: str, before: Position | None, limit: int, most: int) -> Scan:
        """Scan a stage or an index, in scripts that look at no more than _SCANNED records each.

        A selection of an empty vmId or subscription finds no decision.
        """
        filters = filters_of(selection)
        index = _VMS if "vm_id" in filters else _SUBSCRIPTIONS if "subscription_id" in filters else 0
        value = filters.get(("", "vm_id", "subscription_id")[index], "")
        if "" in (filters.get("vm_id"), filters.get("subscription_id")):
            return Scan(decisions=(), scanned=0, reached=None)
        words = [f"={filters[name]}" if name in filters else "" for name in ("verdict", "code", "plan")]
        both = filters.get("subscription_id", "") if index == _VMS else ""
        low = _time(max(self._oldest(), microseconds(selection.since) if selection.since else 0))
        high = _LAST if before is None else before
        if selection.until:
            high = min(high, Position(microseconds(selection.until), 0))
        keys = keys_of(encode_text(tenant))

        found: list[Decision] = []
        scanned = 0
        reached: Position | None = high
        while reached is not None and len(found) < limit and scanned < most:
            bounds = (limit - len(found), min(_SCANNED, most - scanned))
            arguments: tuple[Word, ...] = (index, value, _place(reached), low, *words, both, *bounds)
            match self._link.repeatably("EVAL", SCAN, len(keys), *keys, *arguments):
                case [int(more), int(count), bytes(place), list(decisions)]:
                    scanned += count
                    with self._readable():
                        found += map(_decision, decisions[::2], decisions[1::2])
                        reached = _position(text_of(place)) if more else None
                case _:
                    raise TypeError("Redis answered the scan with something else than numbers and decisions")
        return Scan(decisions=tuple(found), scanned=scanned, reached=reached)

    def tenants(self) -> tuple[str, ...]:
        """Return the tenants as the port says. It costs one command for each of them."""
        names = map(text_of, list_of(self._link.repeatably("ZRANGE", _TENANTS, 0, -1)))
        kept = (
            name
            for name in names
            if self._link.repeatably("EXISTS", key_of(name, "requests"), key_of(name, "first-day"))
        )
        return tuple(sorted(map(decode_text, kept)))

    def erase(self, *, tenant: str, vm_id: str | None = None, subscription_id: str | None = None) -> int:
        """Delete the records as the port says, in several scripts.

        Not erased: the VM from the counts, which hold no ids, and the bytes in the append-only file of Redis, until it
        rewrites that file.
        """
        match vm_id, subscription_id:
            case str(value), None:
                index = _VMS
            case None, str(value):
                index = _SUBSCRIPTIONS
            case _:
                raise ValueError("erase needs exactly one of a VM and a subscription")
        if not value:
            return 0
        keys = keys_of(encode_text(tenant))
        erased, looked = 0, _ERASED
        while looked == _ERASED:
            # A lost answer must not hide the number, so this is sent once.
            match self._link.once("EVAL", ERASE, len(keys), *keys, index, encode_text(value), _ERASED):
                case [int(looked), int(count)]:
                    erased += count
                case _:
                    raise TypeError("Redis answered the erasure with something else than two numbers")
        return erased

    def usage(self, first: date, last: date, *, tenant: str, by: Dimension) -> Usage:
        with self._readable():
            return count_vms(self._link, first, last, tenant=encode_text(tenant), by=by, now=self._clock.now())

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except ValueError:
            # `from None`: a traceback would show the value.
            raise self._link.unavailable("Redis holds a decision that this release cannot read.") from None

    def close(self) -> None:
        self._link.close()

    def _oldest(self) -> int:
        return microseconds(self._clock.now() - KEEP_DECISIONS)


def _argument(entry: Entry) -> str:
    """Write an entry as APPEND reads it. Only the last field may have separators."""
    stage = str(1 + STAGES.index(entry.stage))
    compared = (stage, _time(entry.at), entry.verdict, entry.code, entry.plan)
    return "|".join((*compared, entry.vm_id, entry.subscription_id, entry.request_id, entry.line))


def _time(moment: int) -> str:
    return f"{min(max(0, moment), _NEVER):0{TIME_DIGITS}x}"


def _place(position: Position) -> str:
    """Write a position so that texts have the order of positions. One beyond the last place becomes the last one."""
    within = min(max(Position(0, 0), position), _LAST)
    return f"{_time(within.moment)}{min(within.sequence, _LAST.sequence):0{SEQUENCE_DIGITS}x}"


def _position(place: str) -> Position:
    return Position(int(place[:TIME_DIGITS], 16), int(place[TIME_DIGITS:], 16))


def _decision(place: object, line: object) -> Decision:
    return decision_of(text_of(line), _position(text_of(place)))
