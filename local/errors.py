"""What can go wrong with the system on one machine."""

from pathlib import Path


class LocalError(Exception):
    """Root of this room's errors.

    Attributes:
        what: What happened, and to which server, port or folder.
        next_step: What to do about it; empty where `what` says it.
    """

    def __init__(self, what: str, next_step: str = "") -> None:
        self.what = what
        self.next_step = next_step
        super().__init__(f"{what}: {next_step}" if next_step else what)


class NotInstalled(LocalError):
    """A package, library or file that a server needs is missing."""


class JarsRefused(LocalError):
    """The jars that were fetched are not those whose hashes are committed."""


class PortTaken(LocalError):
    """Another process listens on a port that was asked for by number."""


class StartFailed(LocalError):
    """A server ended, or did not answer in time. The message ends with the last lines of its log."""


class LoadRefused(LocalError):
    """Triton does not load a model."""


class PartNotStarted(LocalError):
    """A part of the stack did not start."""

    def __init__(self, name: str, cause: LocalError) -> None:
        super().__init__(f"{name} did not start: {cause}", "`recstream doctor` says what this machine lacks")


class PartKeepsDying(LocalError):
    """A part of the stack ended again and again, and is not started any more."""

    def __init__(self, name: str, deaths: int, status: int | None, log: Path, tail: str) -> None:
        super().__init__(
            f"{name} ended with status {status}, for the {deaths}th time in a row. The end of its log:\n{tail}",
            f"the whole log is {log}",
        )


class FolderInUse(LocalError):
    """Another stack has the folder."""

    def __init__(self, folder: Path, process: str) -> None:
        super().__init__(
            f"{folder} is in use by another `recstream up` (process {process or 'unknown'})",
            "stop that one, or give this one a folder of its own with --data",
        )


class BundleUnusable(LocalError):
    """Nothing is published yet, and the bundle cannot be served."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(
            f"the model bundle cannot be used: {cause}",
            "`recstream train` makes one of your own data; `recstream demo` shows all of it on data that it brings",
        )
