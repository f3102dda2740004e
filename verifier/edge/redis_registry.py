"""The trust registry for several hosts: one Redis (6.2 or later) or Valkey, of which every replica asks the same.

What changes more than one thing is a Lua script, sent with EVAL: the server runs it alone, and in one round trip.
WATCH/MULTI/EXEC would do for `decide`, but needs a connection held over four round trips, and fails whenever anything
else changed in between: under a flood of made-up issuers, the one thing that an operator must be able to do then
would be the thing that starves. A script reads whatever it stands on before it writes the first time, since Redis
rolls nothing back.

All names share one hash tag (Redis Cluster specification, "Hash tags"), so that they lie on one node of a cluster.

What it stands on, beyond this module: a server that forgets nothing early (`maxmemory-policy noeviction`) and keeps its
data over a restart (`appendonly yes`). One that loses its data loses what operators pinned and, worse, denied.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Self

import redis

from verifier.core.decisions import Decisions
from verifier.core.discovery import DiscoveredIssuer, Sighting
from verifier.edge.nonce_records import encode_text, microseconds
from verifier.edge.redis_client import CONNECTIONS, TIMEOUT, client_for, failures_named
from verifier.edge.trust_records import (
    MAX_AUTHORITIES,
    bound_sighting,
    decode_decisions,
    decode_event,
    decode_number,
    discovered_issuer,
    encode_authorities,
    encode_decisions,
    encode_event,
    encode_number,
    encode_sighting,
)
from verifier.ports import MAX_AUDIT_EVENTS, MAX_DISCOVERED, AuditEvent

#: What every name begins with. The braces are the hash tag.
PREFIX = "imds-verifier:{trust}:"

_HASH_TAG = re.compile(r"[^{]*\{[^}]+\}")
_MILLISECOND = timedelta(milliseconds=1)

# standing: a hash of revision, decisions. audit: a stream. XLEN is there to find a key of another type before the
# first write.
_DECIDE = """
    local standing, audit = KEYS[1], KEYS[2]
    local expected, revision, decisions, event, most = unpack(ARGV)
    redis.call('XLEN', audit)
    if (redis.call('HGET', standing, 'revision') or '0') ~= expected then return 0 end
    redis.call('HSET', standing, 'revision', revision, 'decisions', decisions)
    redis.call('XADD', audit, 'MAXLEN', '~', most, '*', 'event', event)
    return 1
"""

# issuers: a hash with some fields for each issuer. seen: a sorted set of the issuers by when each was seen last, in
# microseconds, which a double holds exactly until 2255.
_RECORD = """
    local standing, issuers, seen = KEYS[1], KEYS[2], KEYS[3]
    local id, sighting, now, authorities, most = unpack(ARGV)
    local last = redis.call('ZSCORE', seen, id)
    local first = redis.call('HGET', issuers, id .. ':first-seen')
    local known = redis.call('HGET', issuers, id .. ':authorities')
    local is_new = not last
    local are_new = authorities ~= '' and authorities ~= known
    if not tonumber(redis.call('HGET', standing, 'revision') or '0') then
        return redis.error_reply('ERR the revision is no number')
    end

    redis.call('HINCRBY', issuers, id .. ':documents', 1)
    if is_new or tonumber(now) >= tonumber(last) then
        redis.call('HSET', issuers, id .. ':sighting', sighting)
        redis.call('ZADD', seen, now, id)
    end
    if is_new or tonumber(now) < tonumber(first) then redis.call('HSET', issuers, id .. ':first-seen', now) end
    if are_new then redis.call('HSET', issuers, id .. ':authorities', authorities) end

    while redis.call('ZCARD', seen) > tonumber(most) do
        local oldest = redis.call('ZRANGE', seen, 0, -1)
        local leaving = oldest[1]
        for _, other in ipairs(oldest) do
            if redis.call('HEXISTS', issuers, other .. ':authorities') == 0 then
                leaving = other
                break
            end
        end
        redis.call('ZREM', seen, leaving)
        redis.call('HDEL', issuers,
            leaving .. ':sighting', leaving .. ':first-seen', leaving .. ':documents', leaving .. ':authorities')
    end
    if are_new then redis.call('HINCRBY', standing, 'revision', 1) end
    return (is_new or are_new) and 1 or 0
"""

_DISCOVERED = """
    local found = {}
    for place, id in ipairs(redis.call('ZREVRANGE', KEYS[2], 0, -1)) do
        found[place] = redis.call('HMGET', KEYS[1],
            id .. ':sighting', id .. ':first-seen', id .. ':documents', id .. ':authorities')
    end
    return found
"""


class RedisTrustRegistry:
    """A TrustRegistry in the Redis that `client` reaches, under names that begin with `prefix`.

    `client` answers in octets and repeats no command by itself (client_for makes such a one): a claim that was sent
    twice would find itself taken.
    Another kind of client (Sentinel's, a cluster's, over TLS) is another way to make it, and changes nothing here.

    Raises ValueError where the prefix has no hash tag.
    """

    def __init__(self, client: redis.Redis, *, prefix: str = PREFIX) -> None:
        if not _HASH_TAG.match(prefix):
            raise ValueError("the prefix has no hash tag, such as {trust}: its keys would lie on several nodes")
        self._client = client
        self._standing = f"{prefix}standing"
        self._audit = f"{prefix}audit"
        self._issuers = f"{prefix}issuers"
        self._seen = f"{prefix}seen"
        self._claim = f"{prefix}claim:"

    @classmethod
    def from_url(
        cls, url: str, *, prefix: str = PREFIX, connections: int = CONNECTIONS, timeout: timedelta = TIMEOUT
    ) -> Self:
        """A registry that has not connected yet. Raises ValueError as client_for does."""
        return cls(client_for(url, connections=connections, timeout=timeout), prefix=prefix)

    def revision(self) -> int:
        with failures_named():
            revision = self._client.hget(self._standing, "revision")
        return _revision(revision)

    def decisions(self) -> tuple[Decisions, int]:
        """As the port says; of one moment, as it is one command."""
        with failures_named():
            decisions, revision = _members(self._client.hmget(self._standing, ["decisions", "revision"]))
        return Decisions() if decisions is None else decode_decisions(_ascii(decisions)), _revision(revision)

    def decide(self, decisions: Decisions, event: AuditEvent, *, expected: int) -> bool:
        """As the port says. False also where an authority was discovered since. The audit trail holds up to a hundred
        events more than MAX_AUDIT_EVENTS (`~`: Redis drops them by the node)."""
        arguments = (
            encode_number(expected),
            encode_number(expected + 1),
            encode_decisions(decisions),
            encode_event(event),
            encode_number(MAX_AUDIT_EVENTS),
        )
        with failures_named():
            decided = self._client.eval(_DECIDE, 2, self._standing, self._audit, *arguments)
        return bool(decided)

    def discovered(self) -> tuple[DiscoveredIssuer, ...]:
        with failures_named():
            found = self._client.eval(_DISCOVERED, 2, self._issuers, self._seen)
        return tuple(_issuer(*_members(fields)) for fields in _members(found))

    def record(self, sighting: Sighting, authorities: Sequence[bytes]) -> bool:
        """As the port says; what is kept of one sighting is bounded (bound_sighting, MAX_AUTHORITIES). Checked
        authorities give way to new ones alone, so that this too is another revision."""
        bounded = bound_sighting(sighting)
        arguments = (
            bounded.id,
            encode_sighting(bounded),
            encode_number(microseconds(bounded.seen_at)),
            encode_authorities(authorities[:MAX_AUTHORITIES]) if authorities else "",
            encode_number(MAX_DISCOVERED),
        )
        with failures_named():
            is_news = self._client.eval(_RECORD, 3, self._standing, self._issuers, self._seen, *arguments)
        return bool(is_news)

    def claim(self, name: str, *, lasting: timedelta) -> bool:
        """As the port says, by the server's clock; `lasting` is rounded up to whole milliseconds."""
        if lasting <= timedelta(0):
            raise ValueError("lasting is not positive")
        with failures_named():
            answer = self._client.set(self._claim + encode_text(name), b"", nx=True, px=-(-lasting // _MILLISECOND))
        return bool(answer)

    def is_claimed(self, name: str) -> bool:
        with failures_named():
            return bool(self._client.exists(self._claim + encode_text(name)))

    def audit_trail(self, *, most: int) -> tuple[AuditEvent, ...]:
        if most < 1:
            return ()
        with failures_named():
            entries = self._client.xrevrange(self._audit, count=most)
        return tuple(_event(*_members(entry)) for entry in _members(entries))

    def close(self) -> None:
        """Closes the connections of this process. The next call opens another."""
        self._client.close()


def _issuer(sighting: object, first_seen: object, documents: object, authorities: object) -> DiscoveredIssuer:
    return discovered_issuer(
        _ascii(sighting),
        first_seen=decode_number(_ascii(first_seen)),
        documents=decode_number(_ascii(documents)),
        authorities=None if authorities is None else _ascii(authorities),
    )


def _event(_: object, fields: object) -> AuditEvent:
    return decode_event(_ascii(fields.get(b"event") if isinstance(fields, dict) else None))


def _revision(answer: object) -> int:
    """Before the first change there is none, which counts as 0."""
    return 0 if answer is None else decode_number(_ascii(answer))


def _ascii(answer: object) -> str:
    """The text of one answer; of one that is missing, a text that nothing is encoded as."""
    match answer:
        case bytes():
            return answer.decode("ascii", errors="replace")
        case None:
            return ""
        case _:
            raise TypeError("the Redis client decodes answers: it must leave them in octets")


def _members(answer: object) -> Iterable[object]:
    """The members of an answer that is an array, whatever redis-py's annotations allow for."""
    if isinstance(answer, (list, tuple)):
        return answer
    raise TypeError("the Redis client answers with no array")
