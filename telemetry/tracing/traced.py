"""Traces of our own processes."""

from contextlib import AbstractContextManager

from telemetry.errors import TracesUnwritable
from telemetry.tracing.running import Running
from telemetry.tracing.settings import TracingSettings


def traced(settings: TracingSettings, service: str) -> AbstractContextManager[object]:
    """Tracing while inside, as the settings say. Raises TracesUnwritable."""
    try:
        return Running(settings, service)
    except OSError as error:
        raise TracesUnwritable(settings.file, error) from error
