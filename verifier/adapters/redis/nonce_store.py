"""The nonce store for several hosts: all replicas of the service share one Redis (6.2 or later) or Valkey.

Each operation is one command on one key, so the server decides which of several callers is first.

The server must not evict keys (`maxmemory-policy noeviction`) and must keep its data over a restart (`appendonly yes`).
If it loses a nonce, a genuine document becomes `nonce-unknown`. A *used* nonce becomes unused only if the server
returns to an older state: a restored snapshot, or a failover to a replica that lagged. Against such a failover, a
redemption waits for as many replicas as the settings say (docs/operate/redis.md).
"""

from datetime import datetime, timedelta
from typing import Self

from verifier.adapters.records.nonces import decode_record, encode_record, encode_text
from verifier.adapters.redis.link import CONNECTIONS, TIMEOUT, RedisLink
from verifier.adapters.redis.urls import RedisOptions
from verifier.core.nonces import AlreadyUsed, FirstUse, NonceRecord, Redemption, UnknownNonce
from verifier.ports.stores import DocumentKey, NonceKey

_USED = b"used"
_MILLISECOND = timedelta(milliseconds=1)


class RedisNonceStore:
    """Keep nonces in the Redis that `link` leads to. Implements the NonceStore port."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        options: RedisOptions | None = None,
        connections: int = CONNECTIONS,
        timeout: timedelta = TIMEOUT,
    ) -> Self:
        """Return a store that has not connected yet. Raises ValueError as RedisLink.open does."""
        return cls(RedisLink.open(url, options=options, connections=connections, timeout=timeout))

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:  # noqa: ARG002 -- the server's clock counts `keep` from here on, for all replicas alike
        """Issue a nonce as the port says. `keep` is rounded up to whole milliseconds.

        The command is sent again if its connection broke. If the first one acted, the second one finds the nonce known,
        and the caller takes another nonce. The command does not wait for replicas: a lost nonce makes a genuine
        document `nonce-unknown`, and no document is accepted twice.
        """
        answer = self._link.repeatably("SET", _name(key), encode_record(record), "NX", "PX", _milliseconds(keep))
        return answer is not None

    def redeem(self, key: NonceKey, *, keep: timedelta, now: datetime) -> Redemption:  # noqa: ARG002 -- the server's clock counts `keep`, as for issue
        """Redeem a nonce as the port says. A mark replaces the record and its expiry (XX, GET, PX).

        `keep` is rounded up to whole milliseconds, and counts from the last redemption.
        Raises StoreUnavailable if fewer replicas confirm the mark than the settings ask for. The nonce is used then.
        """
        match self._link.durably("SET", _name(key), _USED, "XX", "GET", "PX", _milliseconds(keep)):
            case None:
                return UnknownNonce()
            case bytes() as before if before == _USED:
                return AlreadyUsed()
            case bytes() as before:
                return FirstUse(record=decode_record(before.decode("ascii", errors="replace")))
            case _:
                raise TypeError("Redis answered a SET with something else than bytes")

    def remember(self, key: DocumentKey, *, keep: timedelta, now: datetime) -> bool:  # noqa: ARG002 -- the server's clock counts `keep`, as for issue
        """Remember a document as the port says, and as `redeem` does. `keep` is rounded up to whole milliseconds."""
        name = f"imds-verifier:document:{encode_text(key.tenant)}:{encode_text(key.digest)}"
        return self._link.durably("SET", name, _USED, "NX", "PX", _milliseconds(keep)) is not None

    def ping(self) -> None:
        """Raise StoreUnavailable unless the server answers. Not checked: that it takes writes."""
        self._link.ping()

    def close(self) -> None:
        """Close the connections of this process. The next call opens another one."""
        self._link.close()


def _milliseconds(keep: timedelta) -> int:
    milliseconds = -(-keep // _MILLISECOND)
    if milliseconds <= 0:
        raise ValueError("keep is not positive")
    return milliseconds


def _name(key: NonceKey) -> str:
    """Return the key's name in Redis.

    It has no hash tag (Redis Cluster specification, "Hash tags"): every operation touches one key, and a tag with the
    tenant would put all of a tenant's load on one node. encode_text leaves no braces, so that a caller cannot name a
    tag, and no colon, so that the parts stay apart.
    """
    return f"imds-verifier:nonce:{encode_text(key.tenant)}:{encode_text(key.nonce)}"
