"""Describe the tenants of a service: the policy that their documents must satisfy, and their rate limits."""

import re
from dataclasses import field
from datetime import timedelta
from enum import StrEnum
from typing import Self

from verifier.core.values import dataclass

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
        return _WINDOWS[self]


_WINDOWS = {Unit.SECOND: timedelta(seconds=1), Unit.MINUTE: timedelta(minutes=1), Unit.HOUR: timedelta(hours=1)}


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
    #: Decisions and usage.
    DECISIONS = "decisions"
    INSPECTIONS = "inspections"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """Describe what a rate limit leaves to a caller after one request.

    `reset` is the time until `remaining` grows or, if the request was not admitted, until a request is admitted.
    """

    admitted: bool
    rate: Rate
    remaining: int
    reset: timedelta


class KeyKind(StrEnum):
    """Name the two kinds of a tenant's keys."""

    #: A secret of the relying party. It may do everything that the tenant may do.
    BACKEND = "backend"
    #: It may be on customers' VMs, so it counts as public. It may get nonces and post documents.
    AGENT = "agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLimits:
    """Limit the callers with agent keys, of which each customer of the tenant has one.

    `address_rate` limits the requests of one source address, nonces and attestations each with its own count.
    `vm_rate` limits the documents of one VM whose nonce was redeemed. The last two limit outstanding nonces.
    """

    address_rate: Rate = Rate(amount=600, unit=Unit.MINUTE)
    vm_rate: Rate = Rate(amount=30, unit=Unit.MINUTE)
    address_nonces: int = 500
    tenant_nonces: int = 20_000

    def __post_init__(self) -> None:
        if not 1 <= self.address_nonces <= self.tenant_nonces <= MAX_OUTSTANDING_NONCES:
            raise ValueError(
                f"outstanding nonces: expected 1 to {MAX_OUTSTANDING_NONCES}, and not more for an address than for "
                "the tenant"
            )


#: The highest limit of one tenant. On Redis, the counts take about 400 MB. The unused nonces take 300 MB by default,
#: because the store keeps each for less than two lifetimes (docs/operate/redis.md).
MAX_OUTSTANDING_NONCES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Describe one party that a service works for.

    Every document of its requests must satisfy `policy`. A nonce or a request can only add policies. `rate` limits
    the nonces and attestations of its backend keys, each with its own count. None means no limit. `agents` limits the
    callers with agent keys, which never count against `rate`.

    Not checked: that a policy of that name exists.
    """

    name: str
    policy: str = "default"
    rate: Rate | None = None
    agents: AgentLimits = field(default_factory=AgentLimits)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError("the name of a tenant is 1 to 64 letters, digits or . _ @ -")
