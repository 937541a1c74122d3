"""What can go wrong with a bundle. A model that gives no answer is `inference.model.ModelUnavailable`."""


class InferenceError(Exception):
    """Root of this room's errors, `ModelUnavailable` aside."""


class BundleRefused(InferenceError):
    """The folder is no bundle that can be served. `name` is the file or field at fault."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"bundle refused: {name}: {reason}")
        self.name = name
        self.reason = reason


class InstallFailed(InferenceError):
    """A bundle could not be put into the model repository, or Triton would not load it."""


class MediaUnreadable(InferenceError):
    """A content of an item cannot be prepared for the model: not a file of its kind, cut short, too large."""
