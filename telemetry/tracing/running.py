"""Tracing for the life of a process."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from telemetry.tracing import spans
from telemetry.tracing.settings import TracingSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


class Running:
    """Traces are made inside, under this name of a service; on leaving they are exported, in bounded time.

    Raises OSError where the exporter's file cannot be opened. A collector need not be there.
    """

    def __init__(self, settings: TracingSettings, service: str) -> None:
        self._settings = settings
        self._provider: TracerProvider | None = None
        if settings.exporter != "none":
            from telemetry.tracing.exporting import provider

            self._provider = provider(settings, service)

    def __enter__(self) -> Self:
        """Begins."""
        if self._provider is not None:
            spans.use(self._provider.get_tracer("recstream"), self._settings.sample_ratio)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends, and exports what waits."""
        if self._provider is not None:
            from telemetry.tracing.exporting import shut_down

            spans.use(None)
            shut_down(self._provider, self._settings.flush_seconds)
