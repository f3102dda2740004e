"""What the use cases need from the outside, as protocols. The edge implements them; tests run them for real."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from verifier.core.nonces import NonceRecord, Redemption
from verifier.core.tenancy import Allowance, Rate


class Unavailable(Exception):
    """Something that the service stands on is away. Never a refusal and never a pass: HTTP says 503.

    `detail` is one sentence without secrets; `retry_after` says when it is worth trying again.
    """

    def __init__(self, detail: str, *, retry_after: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after


class StoreUnavailable(Unavailable):
    """The nonce store did not answer, or did not take what it was given. Whether it acted is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NonceKey:
    """One tenant's nonce. Nonces of two tenants never meet, whatever their text."""

    tenant: str
    nonce: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentKey:
    """What one tenant showed: `digest` is in hexadecimal. It never meets a nonce, whatever that one's text."""

    tenant: str
    digest: str


class NonceStore(Protocol):
    """Where the nonces that were issued live, and the documents that answered none, shared by all workers and
    replicas of one service.

    Every method raises StoreUnavailable where the store is away, full, read-only or slow beyond its timeout.
    """

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:
        """True where `key` is now outstanding; False, and nothing changed, where it is already known.

        It is remembered, used or not, for `keep` from `now`, and not much longer.
        """

    def redeem(self, key: NonceKey, *, now: datetime) -> Redemption:
        """FirstUse to exactly one of any number of callers, however simultaneous; AlreadyUsed to the others;
        UnknownNonce where it was never issued or is forgotten. One atomic operation of the store.

        Not checked: the record's own expiry and bindings, which are the appraisal's to judge.
        """

    def remember(self, key: DocumentKey, *, keep: timedelta, now: datetime) -> bool:
        """True to exactly one of any number of callers, however simultaneous; False to the others, for `keep` from
        `now`, and not much longer. One atomic operation of the store."""

    def ping(self) -> None:
        """Returns where the store answers."""


class RateLimiter(Protocol):
    """Count recent requests by key, for all workers and replicas of one service."""

    def hit(self, key: str, rate: Rate) -> Allowance:
        """Count one request under `key` if the rate admits it.

        Concurrent callers are counted one after the other. A refused request is not counted. The counts of one key at
        two rates are independent. Raises StoreUnavailable if it is unknown whether the rate admits the request, which
        the service must not answer then. Raises ValueError if `key` is longer than MAX_RATE_KEY.
        """


#: How many characters the key of a rate has at most.
MAX_RATE_KEY = 256
