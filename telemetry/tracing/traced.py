"""Traces of our own processes."""

from contextlib import AbstractContextManager

from configuration.errors import CommandError
from telemetry.tracing.running import Running
from telemetry.tracing.settings import TracingSettings


def traced(settings: TracingSettings, service: str) -> AbstractContextManager[object]:
    """Tracing while inside, as the settings say. Raises CommandError where the file cannot be written."""
    try:
        return Running(settings, service)
    except OSError as error:
        raise CommandError(
            f"cannot write traces to {settings.file}: {error}", "set another tracing.file"
        ) from error
