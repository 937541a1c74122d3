"""The errors of evaluations."""

from models.errors import ModelsError


class EvaluationError(ModelsError):
    """The evaluation could not measure anything."""


class TimesMissing(EvaluationError):
    """The protocol compares timestamps of different users, and the events have no real ones."""


class NothingToMeasure(EvaluationError):
    """The split has no target."""


class TrainedOnOther(EvaluationError):
    """The bundle was not trained on the training part of this split."""
