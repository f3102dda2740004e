"""Count the verified VMs of each day on Redis, with HyperLogLogs: they hold no ids."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, TypeVar

from verifier.adapters.records.decisions import Entry, decode_text
from verifier.adapters.records.nonces import microseconds, moment
from verifier.adapters.redis.decision_keys import key_of, keys_of, list_of, number_of, text_of
from verifier.adapters.redis.decision_scripts import COUNTS, MEMBERS
from verifier.adapters.redis.link import RedisLink
from verifier.ports.decisions import KEEP_USAGE, Dimension, Usage

_T = TypeVar("_T")

#: How many values of a dimension are counted apart on one day. The VMs of further values, and of values with a longer
#: encoding, count together.
MOST_VALUES: Final = 1000
_MOST_VALUE = 300
_OTHERS = "+"  # encode_text does not write it
OTHER_VALUES: Final = "…"
#: The relative standard error of a HyperLogLog with 16384 registers.
ERROR: Final = 0.0081
#: How many keys one script reads. To merge 200 HyperLogLogs takes some milliseconds.
_KEYS_READ = 200
_DAYS_READ = 31

_DAY = timedelta(days=1)


def count_vms(link: RedisLink, first: date, last: date, *, tenant: str, by: Dimension, now: datetime) -> Usage:
    """Count as the port says, with a HyperLogLog for each day and value. Raises ValueError for an unreadable day.

    If a day has more than MOST_VALUES values, the group OTHER_VALUES counts the VMs of the others.
    """
    answer = link.repeatably("GET", key_of(tenant, "first-day"))
    since = None
    if answer is not None:
        since = max(date.fromisoformat(text_of(answer)), (now - KEEP_USAGE).date())
        first, last = max(first, since), min(last, (now + _DAY).date())
    days = (last - first).days + 1 if since else 0
    within = [first + number * _DAY for number in range(days)]
    counts: dict[str, list[str]] = defaultdict(list)
    for some in parts(within, _DAYS_READ):
        sets = [_values(tenant, day, by) for day in some]
        answer = list_of(link.repeatably("EVAL", MEMBERS, len(sets), *sets))
        for day, members in zip(some, answer, strict=True):
            for value in map(text_of, list_of(members)):
                counts[value].append(_count(tenant, day, by, value))
    totals = [_count(tenant, day, None, "") for day in within]
    return Usage(
        total=sum(_counted(link, {"": totals} if totals else {}).values()),
        groups={
            OTHER_VALUES if value == _OTHERS else decode_text(value): number
            for value, number in _counted(link, counts).items()
        },
        exact=False,
        error=ERROR,
        counted_since=since,
    )


def _counted(link: RedisLink, counts: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return the number of VMs of each value. The value has at least one key."""
    numbers: list[int] = []
    for some in _up_to(_KEYS_READ, list(counts.values())):
        keys = [key for names in some for key in names]
        lengths = [len(names) for names in some]
        numbers += map(number_of, list_of(link.repeatably("EVAL", COUNTS, len(keys), *keys, *lengths)))
    return dict(zip(counts, numbers, strict=True))


def _values(tenant: str, day: date, dimension: Dimension) -> str:
    return key_of(tenant, f"usage:{day.isoformat()}:{dimension}")


def _count(tenant: str, day: date, dimension: Dimension | None, value: str) -> str:
    if dimension is None:
        return key_of(tenant, f"usage:{day.isoformat()}")
    return f"{_values(tenant, day, dimension)}:{value}"


def counts_of(tenant: str, entries: Iterable[Entry]) -> tuple[list[str], int, list[str | int]]:
    """Return all keys of APPEND, the number of counts to change, and the arguments that describe them."""
    vms: dict[tuple[date, Dimension | None, str], set[str]] = defaultdict(set)
    for entry in entries:
        if not entry.groups:
            continue
        day = moment(entry.at).date()
        vms[day, None, ""].add(entry.vm_id)
        for dimension, value in entry.groups.items():
            vms[day, dimension, value if len(value) <= _MOST_VALUE else _OTHERS].add(entry.vm_id)

    numbers = {name: place for place, name in enumerate(keys_of(tenant), 1)}
    arguments: list[str | int] = []
    for (day, of, value), counted in vms.items():
        names = [_count(tenant, day, of, value)]
        if of is not None:
            names += (_values(tenant, day, of), _count(tenant, day, of, _OTHERS))
        places = [numbers.setdefault(name, len(numbers) + 1) for name in names]
        count, values, others = (*places, 0, 0)[:3]
        expires = microseconds(datetime(day.year, day.month, day.day, tzinfo=UTC) + KEEP_USAGE + _DAY) // 1000
        arguments += (day.isoformat(), count, values, value, others, expires, "|".join(sorted(counted)))
    return list(numbers), len(vms), arguments


def parts(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _up_to(most: int, groups: Iterable[Sequence[str]]) -> Iterator[list[Sequence[str]]]:
    """Divide groups into lists with at most `most` members together. A larger group is alone."""
    some: list[Sequence[str]] = []
    for group in groups:
        if some and sum(map(len, some)) + len(group) > most:
            yield some
            some = []
        some.append(group)
    if some:
        yield some
