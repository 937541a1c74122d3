"""Reads a file of surfaces for this installation."""

from collections.abc import Collection
from pathlib import Path

from ranking.settings import Surfaces
from ranking.surfaces.document import BadSurfaces, parse
from rollout.errors import SurfacesRefused


def read_surfaces_file(path: Path, actions: Collection[str]) -> Surfaces:
    """Reads and checks a file of surfaces.

    Args:
        path: The file.
        actions: The actions of the settings. Weights of others would have no effect.

    Raises:
        SurfacesRefused: The file cannot be read, or is not valid. The error names each problem with its path.
    """
    try:
        surfaces = parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SurfacesRefused(
            f"cannot read {path}: {getattr(error, 'strerror', None) or error}",
            "name a file of surfaces, in YAML",
        ) from error
    except BadSurfaces as error:
        raise SurfacesRefused(
            f"{path}: {error.reason}", "docs/rules.md has an example of the file"
        ) from error
    weights = {
        "default": surfaces.default.action_weights,
        **{f"surfaces.{name}": each.action_weights for name, each in surfaces.surfaces.items()},
    }
    unknown = [
        f"{place}.action_weights.{action}"
        for place, given in weights.items()
        for action in given.keys() - actions
    ]
    if unknown:
        raise SurfacesRefused(
            f"{path}: {', '.join(sorted(unknown))}: there is no such action",
            f"the actions of `profiles.actions` are {', '.join(sorted(actions))}",
        )
    return surfaces
