"""Count outstanding nonces on Redis (6.2 or later) or Valkey: one sorted set for each group.

Each operation is one command or script on one key, so it works on a cluster. The scores are the times of expiry in
milliseconds since 1970, by the server's clock.
"""

from datetime import timedelta

from verifier.adapters.records.nonces import encode_text
from verifier.adapters.records.outstanding import check_reservation
from verifier.adapters.redis.link import RedisLink

_PREFIX = "imds-verifier:outstanding:"
_MILLISECOND = timedelta(milliseconds=1)

_RESERVE = """
    local limit, lifetime = tonumber(ARGV[2]), tonumber(ARGV[3])
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
    local count = redis.call('ZCARD', KEYS[1])
    if count >= limit then
        local freeing = redis.call('ZRANGE', KEYS[1], count - limit, count - limit, 'WITHSCORES')
        return math.max(1, tonumber(freeing[2]) - now)
    end
    redis.call('ZADD', KEYS[1], now + lifetime, ARGV[1])
    redis.call('PEXPIRE', KEYS[1], lifetime)
    return 0
"""


class RedisOutstandingNonces:
    """Count nonces in the Redis that `link` leads to. Implements the OutstandingNonces port."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def reserve(self, group: str, nonce: str, *, limit: int, lifetime: timedelta) -> timedelta | None:
        """Count the nonce as the port says. `lifetime` is rounded up to whole milliseconds."""
        check_reservation(group, limit=limit, lifetime=lifetime)
        milliseconds = -(-lifetime // _MILLISECOND)
        name = _PREFIX + encode_text(group)
        match self._link.once("EVAL", _RESERVE, 1, name, encode_text(nonce), limit, milliseconds):
            case 0:
                return None
            case int(wait):
                return wait * _MILLISECOND
            case _:
                raise TypeError("Redis answered the script of the outstanding nonces with something else than a number")

    def release(self, group: str, nonce: str) -> None:
        """Count the nonce no longer."""
        self._link.repeatably("ZREM", _PREFIX + encode_text(group), encode_text(nonce))

    def close(self) -> None:
        self._link.close()
