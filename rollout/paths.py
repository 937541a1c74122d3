"""Where a running installation is: its addresses, and the folders that versions are put into."""

import os
import shutil
import uuid
from pathlib import Path

from cli.doctor.reach import remembered
from configuration.errors import CommandError
from configuration.settings import Settings
from inference.bundle.bundle import Bundle, read
from inference.errors import BundleRefused

_STAGING = ".incoming-"


def located(settings: Settings, data: Path) -> Settings:
    """The settings, with what `recstream up` keeps in `data` where nothing was set."""
    found = remembered(settings, data)
    update: dict[str, object] = {}
    if "bundles" not in settings.model_fields_set:
        update["bundles"] = data / "bundles"
    if (
        settings.repository is None
        and "address" not in settings.triton.model_fields_set
        and (data / "models").is_dir()
    ):
        update["repository"] = data / "models"
    return found.model_copy(update=update)


def keep(bundle: Bundle, bundles: Path) -> Bundle:
    """The bundle copied to `bundles`, by version, whole or not at all. Raises CommandError."""
    folder = bundles / str(bundle.manifest.version)
    if folder.resolve() == bundle.folder.resolve():
        return bundle
    staging = bundles / f"{_STAGING}{uuid.uuid4().hex}"
    try:
        if (there := _same(bundle, folder)) is not None:
            return there
        bundles.mkdir(parents=True, exist_ok=True)
        shutil.copytree(bundle.folder, staging)
        read(staging)
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(staging, folder)
        return read(folder)
    except (OSError, BundleRefused) as error:
        raise CommandError(
            f"the bundle could not be kept in {folder}: {error}", "the versions before serve on; try again"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _same(bundle: Bundle, folder: Path) -> Bundle | None:
    """The bundle in the folder, if it is this one and whole."""
    try:
        there = read(folder)
    except (BundleRefused, OSError):
        return None
    return there if there.manifest == bundle.manifest else None


def kept(bundles: Path) -> list[int]:
    """Versions whose bundles are there, ascending."""
    return sorted(int(path.name) for path in bundles.glob("*") if path.name.isdecimal() and path.is_dir())


def discard(bundles: Path, versions: list[int]) -> None:
    """Removes these bundles, and what interrupted work left. Raises CommandError."""
    try:
        for path in [*(bundles / str(version) for version in versions), *bundles.glob(f"{_STAGING}*")]:
            shutil.rmtree(path)
    except OSError as error:
        raise CommandError(f"{bundles} could not be cleared: {error}") from error
