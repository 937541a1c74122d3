"""The error of wrong settings."""


class ConfigurationError(Exception):
    """The settings of this process cannot be used.

    Attributes:
        what: Which settings, and what is wrong with them. Values are left out: they may be secrets.
        next_step: What to do about it.
    """

    def __init__(self, what: str, next_step: str = "") -> None:
        self.what = what
        self.next_step = next_step
        super().__init__(f"{what}: {next_step}" if next_step else what)
