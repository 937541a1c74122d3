"""What can go wrong on the way from events to a bundle."""

from pathlib import Path


class ModelsError(Exception):
    """Root of this room's errors."""


class NothingToLearn(ModelsError):
    """The events hold nothing that a model could be trained on."""


class ExportFailed(ModelsError):
    """An exported graph does not compute what torch computes. No bundle was written."""


class CompressionFailed(ModelsError):
    """A bundle has no int8 form that could be served. None was written."""


class Int8Refused(ModelsError):
    """An int8 bundle loses more than is let through. None was written."""


class DeviceMissing(ModelsError):
    """A GPU was asked for and is not there."""


class PreparationImpossible(ModelsError):
    """A training from disk was asked for a preparation that needs all events at once."""


class WorkerLost(ModelsError):
    """Another process of a training by several has ended or hangs. What was written before stands."""


class EncoderNotFound(ModelsError):
    """A pretrained encoder is not where it was said to be, or is not one that can be used."""


class TrainingStopped(ModelsError):
    """Somebody asked the training to stop, and it has, at a safe point; the same training goes on from `checkpoint`,
    where there is one."""

    def __init__(self, checkpoint: Path | None) -> None:
        self.checkpoint = checkpoint
        super().__init__(f"stopped, with a checkpoint: {checkpoint}" if checkpoint else "stopped")


class WeightsMissing(ModelsError):
    """What a training left for the next one is not there, not whole, or of a model that cannot be gone on with."""


class CheckpointUnwritten(ModelsError):
    """A checkpoint could not be written, for want of room perhaps. The one before it stands."""


class CheckpointRefused(ModelsError):
    """The checkpoint that is there is not one that this training could go on from."""

    def __init__(self, checkpoint: Path, reason: str) -> None:
        self.checkpoint = checkpoint
        super().__init__(f"{checkpoint} cannot be gone on from: {reason}")


class ShardsUnwritten(ModelsError):
    """The shards of a training from disk could not be written."""

    def __init__(self, folder: Path, cause: OSError) -> None:
        super().__init__(
            f"shards cannot be written to {folder}: {cause}; set train.streaming.folder to a folder with room for "
            "about twice the size of the files"
        )


class ShardsMissing(ModelsError):
    """A process of a training by several does not see the shards that the first one wrote."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder} is not what the first process wrote; give all processes the same files under the same paths, "
            "and set train.streaming.folder to a folder that they share"
        )
