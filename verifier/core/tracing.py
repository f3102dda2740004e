"""The trace that a request is part of (W3C Trace Context, Recommendation of 23 November 2021)."""

import re
from dataclasses import dataclass
from typing import Self

#: Section 3.2: version, trace-id, parent-id, flags, in lower-case hex. Version 00 alone ends there, and is what is
#: read; a later one may go on, and is read as far as this one goes. Version ff is none.
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?")
_FIRST_VERSION = "00"
#: A header is 55 characters in version 00; a later version's is not read beyond this.
_MOST_CHARACTERS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """Where a request stands in its caller's trace. Known: the form alone; anybody may name any trace.

    `span_id` is the one of this service's own part, `parent_id` that of the caller's.
    """

    trace_id: str
    parent_id: str
    span_id: str
    flags: str

    @classmethod
    def read(cls, header: str, *, span_id: str) -> Self | None:
        """The context that a `traceparent` header names, or None where it is malformed: it is then to be ignored
        (section 3.2.2). Identifiers of zeroes alone are invalid."""
        found = _TRACEPARENT.fullmatch(header) if len(header) <= _MOST_CHARACTERS else None
        if found is None:
            return None
        version, trace_id, parent_id, flags, more = found.groups()
        if (version == _FIRST_VERSION and more is not None) or not (trace_id.strip("0") and parent_id.strip("0")):
            return None
        return cls(trace_id=trace_id, parent_id=parent_id, span_id=span_id, flags=flags)

    @property
    def response_header(self) -> str:
        """The value of `traceresponse` (Trace Context Level 2): the part of the trace that this service is."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"
