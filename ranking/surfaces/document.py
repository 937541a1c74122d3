"""The file of the surfaces, YAML that a person writes, and the JSON that the topic carries."""

from typing import Any, Final

import yaml
from pydantic import ValidationError

from ranking.settings import Surfaces

MAX_BYTES: Final = 65_536
"""Largest file, as YAML and as JSON. Servers check it between two turns of their event loop: 640 boosts take tens of
milliseconds, an ordinary file takes a few."""
_MOST_PROBLEMS: Final = 20


class BadSurfaces(Exception):
    """The text is no file of surfaces.

    Attributes:
        reason: What is wrong, each problem with its path.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse(text: str) -> Surfaces:
    """Reads a file of surfaces.

    Args:
        text: YAML: a mapping with the keys `default` and `surfaces`.

    Raises:
        BadSurfaces: It is too large, no YAML, or has an unknown key, one key twice, or a value out of range.
    """
    _check_size(text)
    try:
        given = yaml.load(text, _Loader)  # noqa: S506, it is a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadSurfaces(f"it is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(given, dict) or not given:
        # An empty file would be the defaults of the code, which nobody means.
        raise BadSurfaces("it has neither `default` nor `surfaces`")
    try:
        surfaces = Surfaces.model_validate(given)
    except ValidationError as error:
        raise BadSurfaces(_explain(error)) from error
    _check_size(to_json(surfaces))  # An alias of YAML is short, and what it stands for may be long.
    return surfaces


def parse_json(text: str) -> Surfaces:
    """Reads what `to_json` wrote. Raises BadSurfaces."""
    _check_size(text)
    try:
        return Surfaces.model_validate_json(text)
    except ValidationError as error:
        raise BadSurfaces(_explain(error)) from error


def to_json(surfaces: Surfaces) -> str:
    """The surfaces as JSON, with what they set and nothing else: unset fields are those of `default`."""
    return _alone(surfaces).model_dump_json(exclude_unset=True)


def to_yaml(surfaces: Surfaces) -> str:
    """The surfaces as YAML that `parse` reads, in an order of its own."""
    text: str = yaml.safe_dump(as_values(surfaces), sort_keys=True, allow_unicode=True, width=110)
    return text


def as_values(surfaces: Surfaces) -> dict[str, Any]:
    """What the surfaces set, as values of JSON. Two files that say the same have equal ones."""
    found: dict[str, Any] = _alone(surfaces).model_dump(mode="json", exclude_unset=True)
    return found


def _alone(surfaces: Surfaces) -> Surfaces:
    """The surfaces without the other settings that an instance of a subclass has."""
    return Surfaces(default=surfaces.default, surfaces=surfaces.surfaces)


def _check_size(text: str) -> None:
    if (size := len(text.encode())) > MAX_BYTES:
        raise BadSurfaces(f"it has {size:,} bytes, the limit is {MAX_BYTES:,}")


def _explain(error: ValidationError) -> str:
    found = error.errors(include_input=False, include_url=False)
    lines = [f"{'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}" for each in found]
    more = [f"{len(lines) - _MOST_PROBLEMS} more"] if len(lines) > _MOST_PROBLEMS else []
    return "; ".join([*lines[:_MOST_PROBLEMS], *more])


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """Refuses a key that is there twice. YAML's own loader takes the last one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice", key.start_mark
                )
            seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found
