"""Describe the tenants of a service: the policy that their documents must satisfy, and their rate limits."""

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Self

#: The form of the names of tenants and administrators. Without a colon, a name cannot imitate `cli:NAME`, which names
#: an operator on the command line. Without a slash or colon, it cannot leave its part of a store key.
NAME_PATTERN = "[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"
_NAME = re.compile(NAME_PATTERN)
_RATE = re.compile(r"([1-9][0-9]{0,6})/(second|minute|hour)")


class Unit(StrEnum):
    """Name the length of the window of a rate."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"

    @property
    def window(self) -> timedelta:
        return timedelta(seconds={Unit.SECOND: 1, Unit.MINUTE: 60, Unit.HOUR: 3600}[self])


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Limit requests to `amount` in any window of one `unit`."""

    amount: int
    unit: Unit

    def __post_init__(self) -> None:
        if not 1 <= self.amount <= MAX_RATE:
            raise ValueError(f"a rate is 1 to {MAX_RATE} requests")

    def __str__(self) -> str:
        return f"{self.amount}/{self.unit}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a rate such as `600/minute`. Raises ValueError."""
        parts = _RATE.fullmatch(text)
        if parts is None:
            raise ValueError("a rate is written as 600/minute: a number, a slash, and second, minute or hour")
        return cls(amount=int(parts[1]), unit=Unit(parts[2]))


#: No service answers more requests than this, so a higher rate is a mistake.
MAX_RATE = 1_000_000


class LimitedPath(StrEnum):
    """Name the requests that are limited. Each has its own count."""

    NONCES = "nonces"
    ATTESTATIONS = "attestations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """Describe what a rate limit leaves to a tenant after one request.

    `reset` is the time until `remaining` grows or, if the request was not admitted, until a request is admitted.
    """

    admitted: bool
    rate: Rate
    remaining: int
    reset: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Describe one party that a service works for.

    Every document of its requests must satisfy `policy`. A nonce or a request can only add policies. `rate` limits
    nonces and attestations, each with its own count. None means no limit.

    Not checked: that a policy of that name exists.
    """

    name: str
    policy: str = "default"
    rate: Rate | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError("the name of a tenant is 1 to 64 letters, digits or . _ @ -")
