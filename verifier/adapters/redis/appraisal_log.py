"""Where decisions are kept: a file of JSON lines, a stream in Redis, or a table in SQLite. Each is bounded."""

from verifier.adapters.records.appraisals import line_of
from verifier.adapters.redis.link import RedisLink
from verifier.ports.telemetry import AppraisalRecord

#: The trail's name in Redis, a hash tag (Redis Cluster specification) of its own: one key, one node.
STREAM = "imds-verifier:{audit}"
_FIELD = "decision"


class RedisAppraisalLog:
    """A stream in Redis, of about `maximum_entries` (the server trims whole nodes, so there may be some more): for all
    replicas. Implements the DecisionTrail port. How soon it is on a disk is the server's `appendfsync`."""

    def __init__(self, link: RedisLink, *, maximum_entries: int) -> None:
        self._link = link
        self._maximum_entries = maximum_entries

    def append(self, decision: AppraisalRecord) -> None:
        self._link.once("XADD", STREAM, "MAXLEN", "~", self._maximum_entries, "*", _FIELD, line_of(decision))
