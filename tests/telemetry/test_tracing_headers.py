"""A `traceparent` may come from anywhere. Whatever it holds, it names a span or is ignored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, TraceFlags

from telemetry.tracing.w3c import parse, write

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@given(st.binary(max_size=600) | st.text(max_size=600))
def test_no_header_raises(header: bytes | str) -> None:
    parse(header)


@given(
    st.text("0123456789abcdef-", min_size=50, max_size=60)
    | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", fullmatch=True)
)
def test_a_parsed_header_is_a_valid_span(header: str) -> None:
    found = parse(header)
    assert found is None or (found.is_valid and found.is_remote)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_a_written_header_is_parsed_again(trace_id: int, span_id: int, sampled: bool) -> None:
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    found = parse(write(SpanContext(trace_id, span_id, False, flags)).encode())
    assert found is not None
    assert (found.trace_id, found.span_id, found.trace_flags) == (trace_id, span_id, flags)


@pytest.mark.parametrize(
    "header",
    [
        SAMPLED.upper(),
        SAMPLED + "-more",
        "ff" + SAMPLED[2:],
        SAMPLED.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        SAMPLED.replace("b7ad6b7169203331", "0" * 16),
        "cc" + SAMPLED[2:] + "-" + "x" * 500,
        SAMPLED[:-1],
        "",
    ],
)
def test_headers_that_the_standard_forbids_are_ignored(header: str) -> None:
    assert parse(header) is None


@pytest.mark.parametrize(
    "header", [f"\t{SAMPLED} ", "cc" + SAMPLED[2:], "cc" + SAMPLED[2:] + "-what will be"]
)
def test_later_versions_and_spaces_are_accepted(header: str) -> None:
    found = parse(header.encode())
    assert found is not None and f"{found.span_id:016x}" == "b7ad6b7169203331"
