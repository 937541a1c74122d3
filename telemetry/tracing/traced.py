"""Tracing for the life of a process."""

from collections.abc import Iterator
from contextlib import contextmanager

from telemetry.errors import TracesUnwritable
from telemetry.tracing import spans
from telemetry.tracing.settings import TracingSettings


@contextmanager
def traced(settings: TracingSettings, service: str) -> Iterator[None]:
    """Make traces while inside, and export what is left on leaving, in bounded time.

    A collector need not be there.

    Args:
        settings: Where the traces go.
        service: The name of the service that they carry.

    Raises:
        TracesUnwritable: The exporter's file cannot be opened.
    """
    if settings.exporter == "none":
        yield
        return
    # The SDK is loaded by processes that trace, and by no others.
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
