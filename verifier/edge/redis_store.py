"""The nonce store for several hosts: one Redis (6.2 or later) or Valkey, of which every replica asks the same.

Each operation is one command on one key, so that the server alone decides which of several callers was first.

What it stands on, beyond this module: a server that forgets nothing early (`maxmemory-policy noeviction`) and keeps its
data over a restart (`appendonly yes`). One that loses a nonce makes a genuine document `nonce-unknown`; a *used* nonce
comes back as an unused one only where the server itself returns to an older state (a restored snapshot, a failover to
a replica that lagged).
"""

from datetime import datetime, timedelta
from typing import Self

import redis

from verifier.core.model import AlreadyUsed, FirstUse, NonceRecord, Redemption, UnknownNonce
from verifier.edge.nonce_records import decode_record, encode_record, encode_text
from verifier.edge.redis_client import CONNECTIONS, TIMEOUT, client_for, failures_named
from verifier.ports import DocumentKey, NonceKey

__all__ = ["CONNECTIONS", "TIMEOUT", "RedisNonceStore", "client_for"]

_USED = b"used"
_MILLISECOND = timedelta(milliseconds=1)


class RedisNonceStore:
    """A NonceStore in the Redis that `client` reaches.

    `client` answers in octets and repeats no command by itself (client_for makes such a one): a redemption that was
    sent twice would find its own mark, and refuse a genuine document as a replay.
    Another kind of client (Sentinel's, a cluster's, over TLS) is another way to make it, and changes nothing here.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    @classmethod
    def from_url(cls, url: str, *, connections: int = CONNECTIONS, timeout: timedelta = TIMEOUT) -> Self:
        """A store that has not connected yet. Raises ValueError as client_for does."""
        return cls(client_for(url, connections=connections, timeout=timeout))

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:  # noqa: ARG002 -- the server's clock counts `keep` from here on, for all replicas alike
        """As the port says; `keep` is rounded up to whole milliseconds."""
        if keep <= timedelta(0):
            raise ValueError("keep is not positive")
        with failures_named():
            answer = self._client.set(_name(key), encode_record(record), nx=True, px=-(-keep // _MILLISECOND))
        return bool(answer)

    def redeem(self, key: NonceKey, *, now: datetime) -> Redemption:  # noqa: ARG002 -- what is forgotten is gone from the server
        """As the port says. The mark takes the record's place and keeps its expiry (XX, GET, KEEPTTL)."""
        with failures_named():
            before = self._client.set(_name(key), _USED, xx=True, get=True, keepttl=True)
        match before:
            case None:
                return UnknownNonce()
            case bytes() if before == _USED:
                return AlreadyUsed()
            case bytes():
                return FirstUse(record=decode_record(before.decode("ascii", errors="replace")))
            case _:
                raise TypeError("the Redis client decodes answers: it must leave them in octets")

    def remember(self, key: DocumentKey, *, keep: timedelta, now: datetime) -> bool:  # noqa: ARG002 -- the server's clock counts `keep`, as for issue
        """As the port says; `keep` is rounded up to whole milliseconds."""
        if keep <= timedelta(0):
            raise ValueError("keep is not positive")
        name = f"imds-verifier:document:{encode_text(key.tenant)}:{encode_text(key.digest)}"
        with failures_named():
            answer = self._client.set(name, _USED, nx=True, px=-(-keep // _MILLISECOND))
        return bool(answer)

    def ping(self) -> None:
        """Returns where the server answers. Not checked: that it takes writes."""
        with failures_named():
            self._client.ping()

    def close(self) -> None:
        """Closes the connections of this process. The next call opens another."""
        self._client.close()


def _name(key: NonceKey) -> str:
    """The key's name in Redis.

    Without a hash tag (Redis Cluster specification, "Hash tags"): every operation touches one key, so any slot will do,
    and a tag on the tenant would bring all of a tenant's load on one node. encode_text leaves no braces, so that
    nobody names one in, and no colon, so that the parts stay apart.
    """
    return f"imds-verifier:nonce:{encode_text(key.tenant)}:{encode_text(key.nonce)}"
