"""The caller's trace, passed on where OpenTelemetry is installed; it is no dependency of the client."""

from __future__ import annotations

from collections.abc import Mapping

try:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:  # the caller does not trace

    def trace_headers() -> Mapping[str, str]:
        """None."""
        return {}

else:
    _PROPAGATOR = TraceContextTextMapPropagator()

    def trace_headers() -> Mapping[str, str]:
        """W3C's `traceparent`, and `tracestate` if there is one, of the current span; none where there is no span."""
        headers: dict[str, str] = {}
        _PROPAGATOR.inject(headers)
        return headers
