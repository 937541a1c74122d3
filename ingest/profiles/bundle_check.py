"""The bundle check: whether a model was trained for histories as profiles hold them."""

from inference.bundle.bundle import Manifest
from ingest.errors import BundleIncompatible
from profiles.actions import ProfileSettings


def check_compatible(manifest: Manifest, profiles: ProfileSettings) -> None:
    """Raises BundleIncompatible if the model was trained for other histories than profiles hold."""
    for name in ("history", "refold_every"):
        trained, held = getattr(manifest, name), getattr(profiles, name)
        if trained != held:
            raise BundleIncompatible(
                f"model version {manifest.version} was trained with {name}={trained}, the profiles are set to {held}: "
                f"set profiles.{name} to {trained}, or train again"
            )
