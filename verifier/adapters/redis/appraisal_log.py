"""Keep appraisal records in a Redis stream."""

from verifier.adapters.records.appraisals import line_of
from verifier.adapters.redis.link import RedisLink
from verifier.ports.decisions import AppraisalRecord

#: The key of the stream. It has its own hash tag (Redis Cluster specification).
STREAM = "imds-verifier:{audit}"
_FIELD = "decision"


class RedisAppraisalLog:
    """Append records to one stream for all replicas. Implements the DecisionLog port.

    The stream keeps about `maximum_entries`. It may keep slightly more, because Redis trims whole nodes of the stream.
    Redis writes entries to disk as its `appendfsync` setting says.
    """

    def __init__(self, link: RedisLink, *, maximum_entries: int) -> None:
        self._link = link
        self._maximum_entries = maximum_entries

    def append(self, record: AppraisalRecord) -> None:
        self._link.once("XADD", STREAM, "MAXLEN", "~", self._maximum_entries, "*", _FIELD, line_of(record))
