"""The errors of the system on one machine."""

from pathlib import Path


class LocalError(Exception):
    """Base of this room's errors.

    Attributes:
        what: What happened, and to which server, port or folder.
        next_step: What to do about it. Empty if `what` says it.
    """

    def __init__(self, what: str, next_step: str = "") -> None:
        self.what = what
        self.next_step = next_step
        super().__init__(f"{what}: {next_step}" if next_step else what)


class NotInstalled(LocalError):
    """A package, library or file that a server needs is missing."""


class JarsRefused(LocalError):
    """The fetched jars do not have the committed hashes."""


class PortTaken(LocalError):
    """The requested port is taken, or no port is free."""


class StartFailed(LocalError):
    """A server ended, or did not answer in time. The message ends with the last lines of its log."""


class LoadRefused(LocalError):
    """Triton does not load a model."""


class PartNotStarted(LocalError):
    """A part of the stack did not start."""

    def __init__(self, name: str, cause: LocalError) -> None:
        super().__init__(f"{name} did not start: {cause}", "`recstream doctor` says what is missing here")


class PartKeepsDying(LocalError):
    """A part of the stack kept dying, and is not restarted any more."""

    def __init__(self, name: str, deaths: int, status: int | None, log: Path, tail: str) -> None:
        super().__init__(
            f"{name} ended with status {status}, for the {deaths}th time in a row. The end of its log:\n{tail}",
            f"the whole log is {log}",
        )


class FolderInUse(LocalError):
    """Another stack uses the folder."""

    def __init__(self, folder: Path, process: str) -> None:
        super().__init__(
            f"{folder} is in use by another `recstream up` (process {process or 'unknown'})",
            "stop that one, or give this one another folder with --data",
        )


class BundleUnusable(LocalError):
    """No version is published yet, and the bundle cannot be served."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(
            f"the model bundle cannot be used: {cause}",
            "`recstream train` makes one from your data; `recstream demo` runs the system on data that it brings",
        )
