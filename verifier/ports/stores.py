"""Define the stores that all workers and replicas of one service share.

They keep nonces, documents, request rates, and the number of outstanding nonces.
"""

from dataclasses import field
from datetime import datetime, timedelta
from typing import Final, Protocol

from verifier.core.nonces import NonceRecord, Redemption
from verifier.core.tenancy import Allowance, Rate
from verifier.core.values import dataclass

#: The setting that names the store of nonces, trust decisions and rates. Sentences about a store repeat it.
STORE_SETTING: Final = "VERIFIER_NONCE_STORE"


class Unavailable(Exception):
    """Report that something the service depends on is unavailable.

    It is neither a refusal nor a pass: the API answers 503. `detail` is one sentence without secrets. It is for the
    operator, because it may name files and hosts. The caller may retry after `retry_after`.
    """

    def __init__(self, detail: str, *, retry_after: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after


class StoreUnavailable(Unavailable):
    """Report that a store did not answer or did not accept a value. It is unknown if the store made the change."""

    def located(self, place: str) -> "StoreUnavailable":
        """Return the same report with the place of the store at the end of its sentence."""
        return StoreUnavailable(f"{self.detail.removesuffix('.')} ({place}).", retry_after=self.retry_after)


@dataclass(frozen=True, slots=True, kw_only=True)
class NonceKey:
    """Identify one tenant's nonce. The same text under two tenants gives two different keys."""

    tenant: str
    nonce: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentKey:
    """Identify one document of one tenant by its hexadecimal `digest`. It never equals a NonceKey."""

    tenant: str
    digest: str


class NonceStore(Protocol):
    """Keep issued nonces, and the documents that were accepted without a nonce.

    Every method raises StoreUnavailable if the store is unavailable, full, read-only or slower than its timeout.
    """

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:
        """Add the nonce. Return False, without a change, if the store already has `key`.

        The store keeps an unused nonce for `keep` from `now`, and deletes it soon afterwards.
        """

    def redeem(self, key: NonceKey, *, keep: timedelta, now: datetime) -> Redemption:
        """Redeem the nonce in one atomic operation of the store, which keeps it for `keep` from `now` on.

        Exactly one of any number of concurrent callers gets FirstUse, and the others get AlreadyUsed, which extends the
        time again. The result is UnknownNonce, without a change, if the store never had the nonce or has deleted it.
        Not checked: the expiry and the bindings of the record. The appraisal checks them.
        """

    def remember(self, key: DocumentKey, *, keep: timedelta, now: datetime) -> bool:
        """Remember the document in one atomic operation of the store. Return False if the store already has it.

        Exactly one of any number of concurrent callers gets True. The store keeps the document for `keep` from `now`,
        and deletes it soon afterwards.
        """

    def ping(self) -> None:
        """Check that the store answers."""


class RateLimiter(Protocol):
    """Count recent requests by key."""

    def hit(self, key: str, rate: Rate) -> Allowance:
        """Count one request under `key` if the rate admits it.

        Concurrent callers are counted one after the other. A refused request is not counted. The counts of one key at
        two rates are independent. Raises StoreUnavailable if the count is unknown. The service must not process the
        request then. Raises ValueError if `key` is longer than MAX_RATE_KEY.
        """


#: The maximum length of a rate key and of the name of a group, in characters.
MAX_RATE_KEY = 256


class OutstandingNonces(Protocol):
    """Count the outstanding nonces of groups, such as all agents at one address."""

    def reserve(self, group: str, nonce: str, *, limit: int, lifetime: timedelta) -> timedelta | None:
        """Count the nonce in the group for `lifetime` unless the group already has `limit` outstanding nonces.

        Returns None if the nonce is counted, or the time until the group has fewer. Concurrent callers are counted one
        after the other. Raises StoreUnavailable if the count is unknown: the service must not issue the nonce then.
        Raises ValueError if `group` is longer than MAX_RATE_KEY, or if `limit` or `lifetime` is not positive.
        """

    def release(self, group: str, nonce: str) -> None:
        """Count the nonce no longer. An unknown nonce changes no count. Raises StoreUnavailable."""
