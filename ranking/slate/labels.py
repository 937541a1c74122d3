"""Surfaces and versions as values of a label: clients write the one, publishing the other, and both are bounded."""

from collections.abc import Callable, Collection

from inference.version_labels import OTHER, version_label
from inference.version_routing import Pointer


class Labels:
    """`surfaces`: those that are configured; `pointer` tells which versions are live now."""

    def __init__(self, surfaces: Collection[str], pointer: Callable[[], Pointer]) -> None:
        self._surfaces = frozenset(surfaces)
        self._pointer = pointer

    def surface(self, name: str) -> str:
        """The surface if it is configured, else `other`: it gets the settings of `default`, and its name is what a
        client happened to send."""
        return name if name in self._surfaces else OTHER

    def version(self, version: int) -> str:
        """The version if it is live, `0` for none, else `other`."""
        return version_label(version, self._pointer())
