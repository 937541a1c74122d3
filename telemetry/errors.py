"""The errors of telemetry when a process starts."""

from pathlib import Path


class TelemetryError(Exception):
    """Base of this room's errors.

    Attributes:
        what: What happened, and with which file.
        next_step: What to do about it.
    """

    def __init__(self, what: str, next_step: str) -> None:
        self.what = what
        self.next_step = next_step
        super().__init__(f"{what}: {next_step}")


class TracesUnwritable(TelemetryError):
    """The file of the exporter `file` cannot be opened."""

    def __init__(self, file: Path, cause: OSError) -> None:
        super().__init__(f"cannot write traces to {file}: {cause}", "set another tracing.file")
