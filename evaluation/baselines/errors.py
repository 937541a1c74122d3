"""The errors of baselines."""

from models.errors import ModelsError


class BaselineFailed(ModelsError):
    """A baseline could not be fitted, or did not answer."""


class TooManyItems(BaselineFailed):
    """The catalogue is larger than what this baseline can hold in memory."""


class EnvironmentMissing(BaselineFailed):
    """The environment of the library baselines is not installed."""
