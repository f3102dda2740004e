"""The trust registry for several hosts: all replicas of the service share one Redis (6.2 or later) or Valkey.

A Lua script makes each change of more than one thing. The server runs it alone, in one round trip. WATCH/MULTI/EXEC
would hold a connection over four round trips and fail at each other change: under a flood of made-up issuers, an
operator could decide no more. A script finishes its reads before its first write, since Redis does not roll back.

All names share one hash tag (Redis Cluster specification, "Hash tags"), so that they lie on one node of a cluster.

The server must not evict keys (`maxmemory-policy noeviction`) and must keep its data over a restart (`appendonly yes`).
If it loses its data, it loses what operators pinned and, worse, denied.
"""

import re
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta

from verifier.adapters.records import trust as records
from verifier.adapters.records.feed import decode_feed, encode_feed_files, encode_feed_look
from verifier.adapters.records.nonces import encode_text, microseconds
from verifier.adapters.redis.link import RedisLink
from verifier.core.discovery import DiscoveredIssuer, IssuerObservation
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.trust.operator_decisions import OperatorDecisions
from verifier.ports.stores import StoreUnavailable
from verifier.ports.trust import (
    MAX_AUDIT_EVENTS,
    MAX_DISCOVERED,
    MAX_NONCONFORMING,
    FeedState,
    NonconformingRecord,
    TrustAuditEvent,
)

#: Every name begins with this. The braces are the hash tag.
PREFIX = "imds-verifier:{trust}:"

_HASH_TAG = re.compile(r"[^{]*\{[^}]+\}")
#: Of 64 bits, enough for 10**12 changes.
_STEPS = 2**23

# decisions: a hash of revision, decisions. audit: a stream. XLEN finds a key of another type before the first write.
_DECIDE = """
    local decided, audit = KEYS[1], KEYS[2]
    local expected, revision, decisions, event, most = unpack(ARGV)
    redis.call('XLEN', audit)
    if (redis.call('HGET', decided, 'revision') or '0') ~= expected then return 0 end
    redis.call('HSET', decided, 'revision', revision, 'decisions', decisions)
    redis.call('XADD', audit, 'MAXLEN', '~', most, '*', 'event', event)
    return 1
"""

# feed: a hash of revision, files, look. Replicas and the append-only file receive the files only if they change.
_KEEP_FEED = """
    local feed = KEYS[1]
    local expected, revision, files, look = unpack(ARGV)
    if (redis.call('HGET', feed, 'revision') or '0') ~= expected then return 0 end
    local is_known = redis.call('HGET', feed, 'files') == files
    redis.call('HSET', feed, 'revision', revision, 'look', look)
    if not is_known then redis.call('HSET', feed, 'files', files) end
    return 1
"""

# issuers: a hash with some fields for each issuer. seen: a sorted set of the issuers by when each was seen last, in
# microseconds, which a double holds exactly until 2255.
_RECORD = """
    local decided, issuers, seen = KEYS[1], KEYS[2], KEYS[3]
    local id, observation, now, authorities, most, step = unpack(ARGV)
    local last = redis.call('ZSCORE', seen, id)
    local first = redis.call('HGET', issuers, id .. ':first-seen')
    local known = redis.call('HGET', issuers, id .. ':authorities')
    local is_new = not last
    local are_new = authorities ~= '' and authorities ~= known
    if not tonumber(redis.call('HGET', decided, 'revision') or '0') then
        return redis.error_reply('ERR the revision is no number')
    end

    redis.call('HINCRBY', issuers, id .. ':documents', 1)
    if is_new or tonumber(now) >= tonumber(last) then
        redis.call('HSET', issuers, id .. ':observation', observation)
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
            leaving .. ':observation', leaving .. ':first-seen', leaving .. ':documents', leaving .. ':authorities')
    end
    if are_new then redis.call('HINCRBY', decided, 'revision', step) end
    return (is_new or are_new) and 1 or 0
"""

_DISCOVERED = """
    local found = {}
    for place, id in ipairs(redis.call('ZREVRANGE', KEYS[2], 0, -1)) do
        found[place] = redis.call('HMGET', KEYS[1],
            id .. ':observation', id .. ':first-seen', id .. ':documents', id .. ':authorities')
    end
    return found
"""

# documents: a hash with some fields for each pair of a pin and a detail. seen: a sorted set of them, as for issuers.
_RECORD_NONCONFORMING = """
    local documents, seen = KEYS[1], KEYS[2]
    local id, latest, now, most = unpack(ARGV)
    local last = redis.call('ZSCORE', seen, id)
    local first = redis.call('HGET', documents, id .. ':first-seen')

    redis.call('HINCRBY', documents, id .. ':documents', 1)
    if not last or tonumber(now) >= tonumber(last) then
        redis.call('HSET', documents, id .. ':latest', latest)
        redis.call('ZADD', seen, now, id)
    end
    if not first or tonumber(now) < tonumber(first) then redis.call('HSET', documents, id .. ':first-seen', now) end

    while redis.call('ZCARD', seen) > tonumber(most) do
        local leaving = redis.call('ZRANGE', seen, 0, 0)[1]
        redis.call('ZREM', seen, leaving)
        redis.call('HDEL', documents, leaving .. ':latest', leaving .. ':first-seen', leaving .. ':documents')
    end
    return last and 0 or 1
"""

_NONCONFORMING = """
    local found = {}
    for place, id in ipairs(redis.call('ZREVRANGE', KEYS[2], 0, -1)) do
        found[place] = redis.call('HMGET', KEYS[1], id .. ':latest', id .. ':first-seen', id .. ':documents')
    end
    return found
"""


class RedisTrustRegistry:
    """Keep trust in the Redis that `link` leads to, under `prefix`. Implements the TrustRegistry port.

    The first `revision` call of a service stores a revision, so that `exists` can recognize its data set. With
    `create=False`, that call does not write. Raises ValueError if the prefix has no hash tag.
    """

    def __init__(self, link: RedisLink, *, prefix: str = PREFIX, create: bool = True) -> None:
        if not _HASH_TAG.match(prefix):
            raise ValueError("the prefix has no hash tag, such as {trust}: its keys would lie on several nodes")
        self._link = link
        self._create = create
        self._decisions = f"{prefix}decisions"
        self._audit = f"{prefix}audit"
        self._feed = f"{prefix}feed"
        self._issuers = f"{prefix}issuers"
        self._seen = f"{prefix}seen"
        self._nonconforming = f"{prefix}nonconforming"
        self._nonconforming_seen = f"{prefix}nonconforming-seen"
        self._claim = f"{prefix}claim:"

    def exists(self) -> bool:
        """Return whether a service has used this data set. Raises StoreUnavailable."""
        return bool(self._link.repeatably("EXISTS", self._decisions))

    def revision(self) -> int:
        revision = self._link.repeatably("HGET", self._decisions, "revision")
        if revision is None and self._create:
            with suppress(StoreUnavailable):  # a server that is read-only for now can be read
                self._link.repeatably("HSETNX", self._decisions, "revision", 0)
        return _revision(revision)

    def decisions(self) -> tuple[OperatorDecisions, int]:
        """Return the decisions and their revision as the port says. One command reads both."""
        decisions, revision = _members(self._link.repeatably("HMGET", self._decisions, "decisions", "revision"))
        known = OperatorDecisions() if decisions is None else records.decode_decisions(_ascii(decisions))
        return known, _revision(revision)

    def decide(self, decisions: OperatorDecisions, event: TrustAuditEvent, *, expected: int) -> bool:
        """Decide as the port says. Returns False also if an authority was discovered since.

        The audit log may hold a hundred events more than MAX_AUDIT_EVENTS (`~`: Redis trims whole nodes of the stream).
        Raises StoreUnavailable also if too few replicas confirm the decision in time. It is in force then, unless a
        failover loses it.
        """
        arguments = (
            expected,
            expected + _step(),
            records.encode_decisions(decisions),
            records.encode_event(event),
            MAX_AUDIT_EVENTS,
        )
        return bool(self._link.durably("EVAL", _DECIDE, 2, self._decisions, self._audit, *arguments))

    def feed(self) -> tuple[FeedState, int]:
        """Return the state and its revision as the port says. One command reads both."""
        files, look, revision = _members(self._link.repeatably("HMGET", self._feed, "files", "look", "revision"))
        if revision is None:
            return FeedState(), 0
        return decode_feed(_ascii(files), _ascii(look)), _revision(revision)

    def keep_feed(self, state: FeedState, *, expected: int) -> bool:
        arguments = (
            expected,
            expected + _step(),
            encode_feed_files(state),
            encode_feed_look(state),
        )
        return bool(self._link.once("EVAL", _KEEP_FEED, 1, self._feed, *arguments))

    def discovered(self) -> tuple[DiscoveredIssuer, ...]:
        found = self._link.repeatably("EVAL", _DISCOVERED, 2, self._issuers, self._seen)
        return tuple(_issuer(*_members(fields)) for fields in _members(found))

    def record(self, observation: IssuerObservation, authorities: Sequence[bytes]) -> bool:
        """Record an observation as the port says, within bounds (bound_observation, MAX_AUTHORITIES).

        Only new authorities replace checked ones, and that changes the revision.
        """
        bounded = records.bound_observation(observation)
        arguments = (
            bounded.id,
            records.encode_observation(bounded),
            microseconds(bounded.seen_at),
            records.encode_authorities(authorities[: records.MAX_AUTHORITIES]) if authorities else "",
            MAX_DISCOVERED,
            _step(),
        )
        return bool(self._link.once("EVAL", _RECORD, 3, self._decisions, self._issuers, self._seen, *arguments))

    def record_nonconforming(self, document: NonconformingDocument) -> bool:
        """Record as the port says; the texts that are kept are bounded (bound_nonconforming)."""
        bounded = records.bound_nonconforming(document)
        arguments = (
            records.nonconforming_id(bounded),
            records.encode_nonconforming(bounded),
            microseconds(bounded.seen_at),
            MAX_NONCONFORMING,
        )
        keys = (self._nonconforming, self._nonconforming_seen)
        return bool(self._link.once("EVAL", _RECORD_NONCONFORMING, len(keys), *keys, *arguments))

    def nonconforming(self) -> tuple[NonconformingRecord, ...]:
        keys = (self._nonconforming, self._nonconforming_seen)
        found = self._link.repeatably("EVAL", _NONCONFORMING, len(keys), *keys)
        return tuple(_nonconforming_record(*_members(fields)) for fields in _members(found))

    def claim(self, name: str, *, lasting: timedelta) -> bool:
        """Claim a name as the port says, by the server's clock. `lasting` is rounded up to whole milliseconds."""
        if lasting <= timedelta(0):
            raise ValueError("lasting is not positive")
        milliseconds = -(-lasting // timedelta(milliseconds=1))
        return self._link.once("SET", self._claim + encode_text(name), b"", "NX", "PX", milliseconds) is not None

    def is_claimed(self, name: str) -> bool:
        return bool(self._link.repeatably("EXISTS", self._claim + encode_text(name)))

    def audit_log(self, *, most: int) -> tuple[TrustAuditEvent, ...]:
        if most < 1:
            return ()
        entries = self._link.repeatably("XREVRANGE", self._audit, "+", "-", "COUNT", most)
        return tuple(_event(*_members(entry)) for entry in _members(entries))

    def close(self) -> None:
        self._link.close()


def _issuer(observation: object, first_seen: object, documents: object, authorities: object) -> DiscoveredIssuer:
    return records.discovered_issuer(
        _ascii(observation),
        first_seen=records.decode_number(_ascii(first_seen)),
        documents=records.decode_number(_ascii(documents)),
        authorities=None if authorities is None else _ascii(authorities),
    )


def _nonconforming_record(latest: object, first_seen: object, documents: object) -> NonconformingRecord:
    return records.nonconforming_record(
        _ascii(latest),
        first_seen=records.decode_number(_ascii(first_seen)),
        documents=records.decode_number(_ascii(documents)),
    )


def _event(_: object, fields: object) -> TrustAuditEvent:
    """Read an entry: its id, and a list of fields and values in turn."""
    match fields:
        case [b"event", event]:
            return records.decode_event(_ascii(event))
        case _:
            return records.decode_event("")


def _step() -> int:
    """Return a random step for the revision.

    After a failover that lost revisions, the next one must differ from every earlier one. Otherwise a replica of the
    service that read a lost revision would not reload the decisions.
    """
    return 1 + secrets.randbelow(_STEPS)


def _revision(answer: object) -> int:
    """Read a revision. There is none before the first change, which counts as 0."""
    return 0 if answer is None else records.decode_number(_ascii(answer))


def _ascii(answer: object) -> str:
    """Return the text of one answer. An answer that is missing is the empty text, which no encoder returns."""
    match answer:
        case bytes():
            return answer.decode("ascii", errors="replace")
        case None:
            return ""
        case _:
            raise TypeError("Redis answered with something else than bytes")


def _members(answer: object) -> Iterable[object]:
    """Return the members of an answer that is an array."""
    if isinstance(answer, (list, tuple)):
        return answer
    raise TypeError("Redis answered with something else than an array")
