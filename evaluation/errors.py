"""What can go wrong in an evaluation."""

from models.errors import ModelsError


class EvaluationError(ModelsError):
    """Nothing was measured."""


class TimesMissing(EvaluationError):
    """The protocol compares moments of different users, and the events have none."""


class NothingToMeasure(EvaluationError):
    """The split has no target."""


class TrainedOnOther(EvaluationError):
    """The bundle was not trained on the training part of this split."""
