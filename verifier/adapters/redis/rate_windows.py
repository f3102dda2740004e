"""Rate limits on Redis (6.2 or later) or Valkey: one script, hence one round trip for each counted request."""

from verifier.adapters.records.rates import Window, allowance_of, length_of, name_of
from verifier.adapters.redis.link import RedisLink
from verifier.core.tenancy import Allowance, Rate

_PREFIX = "imds-verifier:rate:"

# A hash of the window's number and the two counters. A counter from the future, after the server's clock was set back,
# does not count. Microseconds since 1970 are exact in a double until 2255.
_HIT = """
    local limit, length = tonumber(ARGV[1]), tonumber(ARGV[2])
    local now = redis.call('TIME')
    local at = now[1] * 1000000 + now[2]
    local number, gone = math.floor(at / length), at % length
    local known = redis.call('HMGET', KEYS[1], 'number', 'current', 'previous')
    local current, previous = 0, 0
    if known[1] and tonumber(known[1]) == number then
        current, previous = tonumber(known[2]), tonumber(known[3])
    elseif known[1] and tonumber(known[1]) == number - 1 then
        previous = tonumber(known[2])
    end
    local admitted = 0
    if math.floor(previous * (length - gone) / length) + current < limit then
        admitted, current = 1, current + 1
        redis.call('HSET', KEYS[1], 'number', number, 'current', current, 'previous', previous)
        redis.call('PEXPIRE', KEYS[1], math.ceil((2 * length - gone) / 1000))
    end
    return {admitted, gone, previous, current}
"""


class RedisRateLimiter:
    """Count requests in the Redis that `link` leads to, by its clock. Implements the RateLimiter port."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def hit(self, key: str, rate: Rate) -> Allowance:
        """Count one request if the rate admits it."""
        length = length_of(rate)
        # The whole script goes out each time: a server that restarted, or another node of a cluster, knows no digest.
        match self._link.once("EVAL", _HIT, 1, _PREFIX + name_of(key, rate), rate.amount, length):
            case [int(admitted), int(gone), int(previous), int(current)]:
                window = Window(length=length, gone=gone, previous=previous, current=current)
                return allowance_of(rate, window, admitted=bool(admitted))
            case _:
                raise TypeError("Redis answered the script of the rates with something else than four numbers")

    def close(self) -> None:
        self._link.close()
