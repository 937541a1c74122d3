"""What can go wrong on the way from events to a bundle."""


class ModelsError(Exception):
    """Root of this room's errors."""


class NothingToLearn(ModelsError):
    """The events hold nothing that a model could be trained on."""


class ExportFailed(ModelsError):
    """An exported graph does not compute what torch computes. No bundle was written."""


class EncoderNotFound(ModelsError):
    """A pretrained encoder is not where it was said to be, or is not one that can be used."""
