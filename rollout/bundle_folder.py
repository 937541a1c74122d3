"""The folder that keeps the bundles of published versions, one subfolder a version."""

import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from inference.bundle.bundle import Bundle, read
from inference.errors import BundleRefused
from rollout.errors import BundleNotStored

_STAGING = ".incoming-"


def store_bundle(bundle: Bundle, bundles: Path) -> Bundle:
    """Copies a bundle to `bundles/VERSION`, all or nothing. The same bundle is not copied again.

    Returns:
        The bundle in its new folder.

    Raises:
        BundleNotStored: The copy failed.
    """
    folder = bundles / str(bundle.manifest.version)
    if folder.resolve() == bundle.folder.resolve():
        return bundle
    staging = bundles / f"{_STAGING}{uuid.uuid4().hex}"
    try:
        if (stored := _stored(bundle, folder)) is not None:
            return stored
        bundles.mkdir(parents=True, exist_ok=True)
        shutil.copytree(bundle.folder, staging)
        read(staging)
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(staging, folder)
        return read(folder)
    except (OSError, BundleRefused) as error:
        raise BundleNotStored(
            f"the bundle cannot be copied to {folder}: {error}",
            "older versions are still served; repair the folder and publish again",
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _stored(bundle: Bundle, folder: Path) -> Bundle | None:
    """Returns the bundle in the folder, if it is complete and the same. None otherwise."""
    try:
        found = read(folder)
    except (BundleRefused, OSError):
        return None
    return found if found.manifest == bundle.manifest else None


def stored_versions(bundles: Path) -> list[int]:
    """Returns the versions that have a folder in `bundles`, ascending."""
    return sorted(int(path.name) for path in bundles.glob("*") if path.name.isdecimal() and path.is_dir())


def remove_bundles(bundles: Path, versions: Iterable[int]) -> None:
    """Removes bundles, and leftovers of an interrupted `store_bundle`. Raises BundleNotStored."""
    try:
        for path in [*(bundles / str(version) for version in versions), *bundles.glob(f"{_STAGING}*")]:
            shutil.rmtree(path)
    except OSError as error:
        raise BundleNotStored(f"a bundle cannot be removed from {bundles}: {error}") from error
