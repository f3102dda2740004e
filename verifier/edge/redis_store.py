"""The nonce store for several hosts: one Redis (6.2 or later) or Valkey, of which every replica asks the same.

Each operation is one command on one key, so that the server alone decides which of several callers was first.

What it stands on, beyond this module: a server that forgets nothing early (`maxmemory-policy noeviction`) and keeps its
data over a restart (`appendonly yes`). One that loses a nonce makes a genuine document `nonce-unknown`; a *used* nonce
comes back as an unused one only where the server itself returns to an older state (a restored snapshot, a failover to
a replica that lagged). Against the second, a redemption waits for as many replicas as the settings say (docs/redis.md).
"""

from datetime import datetime, timedelta
from typing import Self

from verifier.core.model import AlreadyUsed, FirstUse, NonceRecord, Redemption, UnknownNonce
from verifier.edge.nonce_records import decode_record, encode_record, encode_text
from verifier.edge.redis_client import CONNECTIONS, TIMEOUT, RedisLink
from verifier.edge.redis_urls import RedisOptions
from verifier.ports import DocumentKey, NonceKey

_USED = b"used"
_MILLISECOND = timedelta(milliseconds=1)


class RedisNonceStore:
    """A NonceStore in the Redis that `link` leads to."""

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
        """A store that has not connected yet. Raises ValueError as RedisLink.open does."""
        return cls(RedisLink.open(url, options=options, connections=connections, timeout=timeout))

    def issue(self, key: NonceKey, record: NonceRecord, *, keep: timedelta, now: datetime) -> bool:  # noqa: ARG002 -- the server's clock counts `keep` from here on, for all replicas alike
        """As the port says; `keep` is rounded up to whole milliseconds.

        It may be sent again where its connection broke: if the first one acted, the second one finds the nonce known,
        and the caller takes another, as for any nonce that is known. No replica is waited for: one that is lost makes a
        genuine document `nonce-unknown`, and accepts none twice.
        """
        answer = self._link.repeatably("SET", _name(key), encode_record(record), "NX", "PX", _milliseconds(keep))
        return answer is not None

    def redeem(self, key: NonceKey, *, now: datetime) -> Redemption:  # noqa: ARG002 -- what is forgotten is gone from the server
        """As the port says. The mark takes the record's place and keeps its expiry (XX, GET, KEEPTTL). It counts when
        as many replicas have it as the settings say; until then it is StoreUnavailable, and the nonce is used."""
        match self._link.durably("SET", _name(key), _USED, "XX", "GET", "KEEPTTL"):
            case None:
                return UnknownNonce()
            case bytes() as before if before == _USED:
                return AlreadyUsed()
            case bytes() as before:
                return FirstUse(record=decode_record(before.decode("ascii", errors="replace")))
            case _:
                raise TypeError("Redis answered a SET with something else than octets")

    def remember(self, key: DocumentKey, *, keep: timedelta, now: datetime) -> bool:  # noqa: ARG002 -- the server's clock counts `keep`, as for issue
        """As the port says; `keep` is rounded up to whole milliseconds. It counts as a redemption does: when as many
        replicas have it as the settings say, and sent once."""
        name = f"imds-verifier:document:{encode_text(key.tenant)}:{encode_text(key.digest)}"
        return self._link.durably("SET", name, _USED, "NX", "PX", _milliseconds(keep)) is not None

    def ping(self) -> None:
        """Returns where the server answers. Not checked: that it takes writes."""
        self._link.ping()

    def close(self) -> None:
        """Closes the connections of this process. The next call opens another."""
        self._link.close()


def _milliseconds(keep: timedelta) -> int:
    if keep <= timedelta(0):
        raise ValueError("keep is not positive")
    return -(-keep // _MILLISECOND)


def _name(key: NonceKey) -> str:
    """The key's name in Redis.

    Without a hash tag (Redis Cluster specification, "Hash tags"): every operation touches one key, so any slot will do,
    and a tag on the tenant would bring all of a tenant's load on one node. encode_text leaves no braces, so that
    nobody names one in, and no colon, so that the parts stay apart.
    """
    return f"imds-verifier:nonce:{encode_text(key.tenant)}:{encode_text(key.nonce)}"
