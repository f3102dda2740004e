"""Strict reading of traceparent (W3C Trace Context, section 3.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.core.tracing import TraceContext

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"
SPAN_ID = "b283e9d28d868f6f"


def read(header: str) -> TraceContext | None:
    return TraceContext.read(header, span_id=SPAN_ID)


def test_reads_the_trace_and_the_span_of_the_caller() -> None:
    found = read(f"00-{TRACE_ID}-{PARENT_ID}-01")
    assert found == TraceContext(trace_id=TRACE_ID, parent_id=PARENT_ID, span_id=SPAN_ID, flags="01")
    assert found.response_header == f"00-{TRACE_ID}-{SPAN_ID}-01"


@pytest.mark.parametrize("more", ["", "-", "-what-comes-later"])
def test_reads_the_known_fields_of_a_later_version(more: str) -> None:
    found = read(f"cc-{TRACE_ID}-{PARENT_ID}-00{more}")
    assert found is not None
    assert found.response_header.startswith("00-")


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"00-{TRACE_ID}-{PARENT_ID}",
        f"00-{TRACE_ID}-{PARENT_ID}-1",
        f"00-{TRACE_ID}-{PARENT_ID}-01-",
        f"00-{TRACE_ID}-{PARENT_ID}-01-more",
        f"00-{TRACE_ID}-{PARENT_ID}-01.",
        f" 00-{TRACE_ID}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{PARENT_ID}-01\n",
        f"ff-{TRACE_ID}-{PARENT_ID}-01",
        f"0-{TRACE_ID}-{PARENT_ID}-01",
        f"00-{TRACE_ID.upper()}-{PARENT_ID}-01",
        f"00-{'0' * 32}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID}-{PARENT_ID}-0x",
        f"00-{TRACE_ID[:-1]}٣-{PARENT_ID}-01",
        f"cc-{TRACE_ID}-{PARENT_ID}-01more",
        f"cc-{TRACE_ID}-{PARENT_ID}-01-{'m' * 500}",
    ],
)
def test_ignores_a_malformed_header(header: str) -> None:
    assert read(header) is None


@given(st.text())
def test_any_text_gives_a_well_formed_context_or_none(header: str) -> None:
    found = read(header)
    assert found is None or len(found.response_header) == 55


@pytest.mark.parametrize(("length", "is_read"), [(512, True), (513, False)])
def test_the_length_of_a_header_is_bounded_exactly(length: int, *, is_read: bool) -> None:
    header = f"01-{'a' * 32}-{'b' * 16}-01-".ljust(length, "x")
    assert len(header) == length
    assert (TraceContext.read(header, span_id="c" * 16) is not None) is is_read
