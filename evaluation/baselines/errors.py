"""What can go wrong with a reference."""

from models.errors import ModelsError


class ReferenceFailed(ModelsError):
    """A reference could not be fitted or asked."""


class TooManyItems(ReferenceFailed):
    """The catalogue is larger than what this reference can hold in memory."""


class EnvironmentMissing(ReferenceFailed):
    """The environment of the library references is not installed."""
