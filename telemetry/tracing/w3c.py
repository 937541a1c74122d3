"""The header `traceparent` of W3C Trace Context (https://www.w3.org/TR/trace-context/), read and written.

`tracestate` is not passed on, which the standard allows: it holds data of other vendors.
"""

import re
from typing import Final

from opentelemetry.trace import SpanContext, TraceFlags

TRACEPARENT: Final = "traceparent"
"""The header's name, in Kafka's records and in gRPC's metadata."""

_MOST: Final = 512
# Later versions may have more after another hyphen. `ff` is not a version.
_FORM: Final = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[ -~]*)?")


def parse(header: str | bytes) -> SpanContext | None:
    """Returns the span that a header names. None if the header is malformed, longer than 512 bytes, or names no span.

    It never raises.
    """
    if len(header) > _MOST:
        return None
    text = header if isinstance(header, str) else header.decode("latin-1")
    match = _FORM.fullmatch(text.strip(" \t"))
    if match is None or (match[1] == "00" and match[5] is not None):
        return None
    trace_id, span_id = int(match[2], 16), int(match[3], 16)
    if not trace_id or not span_id:
        return None
    sampled = int(match[4], 16) & TraceFlags.SAMPLED
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(sampled))


def write(context: SpanContext) -> str:
    """Returns the header that names a span."""
    sampled = context.trace_flags & TraceFlags.SAMPLED
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{sampled:02x}"
