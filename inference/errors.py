"""Errors of bundles and media. For a model that does not answer, see `inference.model.ModelUnavailable`."""


class InferenceError(Exception):
    """Base of this room's errors, except `ModelUnavailable`."""


class BundleRefused(InferenceError):
    """The folder is not a bundle that can be served. `name` is the file or field at fault."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"bundle refused: {name}: {reason}")
        self.name = name
        self.reason = reason


class InstallFailed(InferenceError):
    """A bundle could not be installed into the model repository, or Triton did not load it."""


class MediaUnreadable(InferenceError):
    """A content of an item cannot be prepared for the model: it is of another format, truncated or too large."""
