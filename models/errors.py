"""Errors of training and export."""

from pathlib import Path


class ModelsError(Exception):
    """Root of this room's errors."""


class NothingToLearn(ModelsError):
    """There are no events that a model can be trained on."""


class ExportFailed(ModelsError):
    """An exported graph does not compute what torch computes. No bundle was written."""


class CompressionFailed(ModelsError):
    """A bundle cannot be compressed to int8. Nothing was written."""


class Int8Refused(ModelsError):
    """An int8 bundle loses more quality than is allowed. Nothing was written."""


class DeviceMissing(ModelsError):
    """A GPU was requested and is missing."""


class PreparationImpossible(ModelsError):
    """A training from disk is configured with a preparation that needs all events in memory."""


class WorkerLost(ModelsError):
    """Another process of the training has ended or hangs. Files that were written before are intact."""


class EncoderNotFound(ModelsError):
    """A pretrained encoder is missing or cannot be used."""


class TrainingStopped(ModelsError):
    """The training stopped at a safe point, as requested. The same training resumes from `checkpoint`, if there is
    one."""

    def __init__(self, checkpoint: Path | None) -> None:
        self.checkpoint = checkpoint
        super().__init__(f"stopped, with a checkpoint: {checkpoint}" if checkpoint else "stopped")


class WeightsMissing(ModelsError):
    """The weights of a previous training are missing, incomplete, or of another model."""


class CheckpointWriteFailed(ModelsError):
    """A checkpoint could not be written; the disk may be full. The previous one is intact."""


class CheckpointRefused(ModelsError):
    """The training cannot resume from the checkpoint."""

    def __init__(self, checkpoint: Path, reason: str) -> None:
        self.checkpoint = checkpoint
        super().__init__(f"cannot resume from {checkpoint}: {reason}")


class ShardsUnwritten(ModelsError):
    """The shards of a training from disk could not be written."""

    def __init__(self, folder: Path, cause: OSError) -> None:
        super().__init__(
            f"shards cannot be written to {folder}: {cause}; set train.streaming.folder to a folder with room for "
            "about twice the size of the files"
        )


class ShardsMissing(ModelsError):
    """A process of a data-parallel training does not see the shards that rank 0 wrote."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder} does not have the shards that the first process wrote; give all processes the same files under "
            "the same paths, and set train.streaming.folder to a folder that they share"
        )
