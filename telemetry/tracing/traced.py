"""Turns on tracing for the life of a process."""

from collections.abc import Iterator
from contextlib import contextmanager

from telemetry.errors import TracesUnwritable
from telemetry.tracing import spans
from telemetry.tracing.settings import TracingSettings


@contextmanager
def traced(settings: TracingSettings, service: str) -> Iterator[None]:
    """Turns on tracing inside, and exports the remaining spans at the end, in bounded time.

    The collector need not be up.

    Args:
        settings: Where the traces go.
        service: The service name of the spans.

    Raises:
        TracesUnwritable: The exporter's file cannot be opened.
    """
    if settings.exporter == "none":
        yield
        return
    # Only processes that trace load the SDK.
    from telemetry.tracing.exporting import provider, shut_down

    try:
        made = provider(settings, service)
    except OSError as error:
        raise TracesUnwritable(settings.file, error) from error
    spans.use(made.get_tracer("recstream"), settings.sample_ratio)
    try:
        yield
    finally:
        spans.use(None)
        shut_down(made, settings.flush_seconds)
