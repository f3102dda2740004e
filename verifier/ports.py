"""What the use cases need from the outside, as protocols. The edge implements them; tests run them for real."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from verifier.core.model import NonceRecord, Redemption
from verifier.core.trust import TrustBundle


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


class Clock(Protocol):
    def now(self) -> datetime:
        """The time, aware, in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NonceKey:
    """One tenant's nonce. Nonces of two tenants never meet, whatever their text."""

    tenant: str
    nonce: str = field(repr=False)


class NonceStore(Protocol):
    """Where the nonces that were issued live, shared by all workers and replicas of one service.

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

    def ping(self) -> None:
        """Returns where the store answers."""


class TrustSource(Protocol):
    def bundle(self) -> TrustBundle:
        """The bundle in force: whole, and the same object until another one is in force.

        Raises Unavailable where there is none.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer, in words that are safe to keep: nothing that a caller made up but the id,
    and nothing of a document or a nonce. `code` is empty where the answer is not a problem."""

    request_id: str
    route: str
    status: int
    code: str
    seconds: float


class Recorder(Protocol):
    """Where what happened is told to the operator."""

    def answered(self, exchange: Exchange) -> None:
        """One line of the log for each answer."""

    def failed(self, request_id: str, error: Exception) -> None:
        """The cause of an answer that is no verdict, where the log keeps it."""
