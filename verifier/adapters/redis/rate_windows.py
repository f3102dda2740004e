"""Counters of rates on Redis (6.2 or later) or Valkey: one script, hence one round trip."""

from verifier.adapters.records.rates import Taken, Window, length_of, name_of
from verifier.adapters.redis.link import RedisLink
from verifier.core.tenancy import Rate

_PREFIX = "imds-verifier:rate:"

# `records.rates.take` in Lua: no batch in the last thousandth of a window. The key is a hash of the window's number and
# the two counters. A counter from the future, after the server's clock was set back, does not count. Microseconds since
# 1970 are exact in a double until 2255.
HIT = """
    local limit, length, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
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
    if gone >= length - math.floor(length / 1000) then
        most = 1
    end
    local free = limit - math.floor(previous * (length - gone) / length) - current
    local admitted = math.max(0, math.min(free, most))
    if admitted > 0 then
        current = current + admitted
        redis.call('HSET', KEYS[1], 'number', number, 'current', current, 'previous', previous)
        redis.call('PEXPIRE', KEYS[1], math.ceil((2 * length - gone) / 1000))
    end
    return {admitted, gone, previous, current}
"""


class RedisRateCounters:
    """Count requests in the Redis that `link` leads to, by its clock. Implements RateCounters."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def hit(self, key: str, rate: Rate, most: int) -> Taken:
        """Count as many of `most` requests as the rate admits."""
        length = length_of(rate)
        # The whole script goes out each time: a server that restarted, or another node of a cluster, knows no digest.
        match self._link.once("EVAL", HIT, 1, _PREFIX + name_of(key, rate), rate.amount, length, most):
            case [int() as admitted, int() as gone, int() as previous, int() as current]:
                return Taken(admitted, Window(length, gone, previous, current))
            case _:
                raise TypeError("Redis answered the script of the rates with something else than four numbers")

    def close(self) -> None:
        self._link.close()
