"""How a command fails."""


class CommandError(Exception):
    """What went wrong, and what to do next; the command prints both and exits with status 1."""

    def __init__(self, what: str, next_step: str = "") -> None:
        self.what = what
        self.next_step = next_step
        super().__init__(f"{what}: {next_step}" if next_step else what)
