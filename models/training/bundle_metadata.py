"""Makes the metadata of a bundle from the settings of its training."""

from collections.abc import Mapping

from models.export.bundle_writer import BundleMetadata
from models.training.settings import TrainSettings


def bundle_metadata(
    settings: TrainSettings,
    *,
    version: int | None,
    metrics: Mapping[str, float],
    data_fingerprint: str,
    texts_fingerprint: str = "",
) -> BundleMetadata:
    """See `BundleMetadata`."""
    return BundleMetadata(
        version=version,
        actions=tuple(settings.actions),
        history=settings.history,
        refold_every=settings.refold_every,
        popularity_half_lives_days=settings.popularity_half_lives_days,
        seed=settings.seed,
        metrics=metrics,
        data_fingerprint=data_fingerprint,
        texts_fingerprint=texts_fingerprint,
        text_attributes=settings.text_attributes or (),
    )
