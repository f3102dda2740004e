"""Read the trace that a request belongs to (W3C Trace Context, Recommendation of 23 November 2021)."""

import re
from typing import Self

from verifier.core.values import dataclass

#: Section 3.2: version, trace-id, parent-id and flags, in lower-case hex. Version 00 ends there. A later version may
#: have more fields, which are ignored. Version ff is invalid.
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?")
_FIRST_VERSION = "00"
#: A header of version 00 has 55 characters. A longer header than this is ignored.
_MOST_CHARACTERS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """Identify the part of a trace that a request is.

    `span_id` identifies the span of this service, `parent_id` the span of the caller.
    Not checked: that the trace belongs to the caller. Any sender may name any trace.
    """

    trace_id: str
    parent_id: str
    span_id: str
    flags: str

    @classmethod
    def read(cls, header: str, *, span_id: str) -> Self | None:
        """Read a `traceparent` header, and return None if it is malformed (section 3.2.2: ignore it then).

        An identifier that consists of zeroes is invalid.
        """
        found = _TRACEPARENT.fullmatch(header) if len(header) <= _MOST_CHARACTERS else None
        if found is None:
            return None
        version, trace_id, parent_id, flags, more = found.groups()
        if (version == _FIRST_VERSION and more is not None) or not (trace_id.strip("0") and parent_id.strip("0")):
            return None
        return cls(trace_id=trace_id, parent_id=parent_id, span_id=span_id, flags=flags)

    @property
    def response_header(self) -> str:
        """Return the value of `traceresponse` (Trace Context Level 2), which names the span of this service."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"
