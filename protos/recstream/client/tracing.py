"""Passes on the caller's trace if OpenTelemetry is installed, which the client does not depend on."""

from __future__ import annotations

from collections.abc import Mapping

try:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:  # the caller does not trace

    def trace_headers() -> Mapping[str, str]:
        """Returns no headers."""
        return {}

else:
    _PROPAGATOR = TraceContextTextMapPropagator()

    def trace_headers() -> Mapping[str, str]:
        """Returns W3C's `traceparent` of the current span, and its `tracestate` if it has one. Empty without a span."""
        headers: dict[str, str] = {}
        _PROPAGATOR.inject(headers)
        return headers
