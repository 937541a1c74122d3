"""Checks that a model was trained for histories like those that profiles hold."""

from inference.bundle.bundle import Manifest
from ingest.errors import BundleIncompatible
from profiles.actions import ProfileSettings


def check_compatible(manifest: Manifest, profiles: ProfileSettings) -> None:
    """Raises BundleIncompatible if the model was trained with other history settings than profiles have."""
    for name in ("history", "refold_every"):
        trained, held = getattr(manifest, name), getattr(profiles, name)
        if trained != held:
            raise BundleIncompatible(
                f"model version {manifest.version} was trained with {name}={trained}, but profiles.{name} is {held}: "
                f"set profiles.{name} to {trained}, or train again"
            )
