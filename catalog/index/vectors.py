"""Vectors by model version."""

from collections.abc import Collection, Iterator
from typing import Final

import numpy as np
import structlog

from catalog.errors import BadRecord
from catalog.index.live import LiveIndex
from catalog.index.protocol import Floats, Mask, Rows
from catalog.settings import CatalogSettings

log = structlog.get_logger()

MAX_WIDTH: Final = 8192
"""Numbers of a vector at most, as in a bundle's manifest. One record must not take the memory of all others."""


class Vectors:
    """One index per model version, for at most `settings.versions` of them: the preferred ones, then the newest.

    Vectors of a version that was dropped for lack of room are ignored. The removal of one of its vectors ends that: it
    means that the version was retired, so vectors that follow come from publishing it again.
    """

    def __init__(self, settings: CatalogSettings) -> None:
        self._settings = settings
        self._indexes: dict[int, LiveIndex] = {}
        self._hashes: dict[int, dict[int, bytes]] = {}
        self._preferred: frozenset[int] = frozenset()
        self._dropped: set[int] = set()

    @property
    def versions(self) -> tuple[int, ...]:
        """Versions that have vectors, ascending."""
        return tuple(sorted(self._indexes))

    @property
    def count(self) -> int:
        """Number of vectors of all versions."""
        return sum(index.count for index in self._indexes.values())

    def __iter__(self) -> Iterator[LiveIndex]:
        return iter(tuple(self._indexes.values()))

    def items(self) -> tuple[tuple[int, LiveIndex], ...]:
        """Versions and their indexes, as a snapshot."""
        return tuple(self._indexes.items())

    def index(self, version: int) -> LiveIndex | None:
        """The index of a version. None: it has no vectors."""
        return self._indexes.get(version)

    def prefer(self, versions: Collection[int]) -> None:
        """Sets the preferred versions. When there is no room, others are dropped first."""
        self._preferred = frozenset(versions)

    def put(self, version: int, row: int, vector: Floats, content_hash: bytes) -> None:
        """Sets a vector [d]. Vectors of versions for which there is no room are ignored.

        Raises BadRecord if the vector is empty, not finite, too wide, or not as wide as the others of its version.
        """
        if not len(vector) or not np.isfinite(vector).all():
            raise BadRecord("the vector is empty or not finite")
        if len(vector) > MAX_WIDTH:
            raise BadRecord(f"the vector has {len(vector)} numbers; the limit is {MAX_WIDTH}")
        index = self._indexes.get(version)
        if index is None:
            if version in self._dropped:
                return
            index = self._indexes[version] = LiveIndex(len(vector), self._settings)
            self._hashes[version] = {}
            self._make_room()
            if version not in self._indexes:
                return
        if len(vector) != index.width:
            raise BadRecord(f"the vector has {len(vector)} numbers, the others of its version {index.width}")
        index.put(row, vector)
        self._hashes[version][row] = content_hash

    def drop(self, version: int, row: int) -> None:
        """Removes a vector. A version without vectors is removed too."""
        self._dropped.discard(version)
        index = self._indexes.get(version)
        if index is not None:
            index.drop(row)
            self._hashes[version].pop(row, None)
            if not index.count:
                del self._indexes[version], self._hashes[version]

    def content_hash(self, version: int, row: int) -> bytes | None:
        """The hash of the content that the row's vector was computed from. None: it has no vector."""
        return self._hashes.get(version, {}).get(row)

    def has(self, version: int, rows: int) -> Mask:
        """Mask [rows] of the rows that have a vector. Read-only."""
        index = self._indexes.get(version)
        if index is not None:
            return index.present(rows)
        nothing = np.zeros(rows, dtype=np.bool_)
        nothing.flags.writeable = False
        return nothing

    def of(self, version: int, rows: Rows) -> Floats:
        """Vectors [m, d] of the rows. Rows without a vector get zeros. d is 0 if the version has no vectors."""
        index = self._indexes.get(version)
        return index.vectors(rows) if index is not None else np.zeros((len(rows), 0), dtype=np.float32)

    def _make_room(self) -> None:
        ranked = sorted(self._indexes, key=lambda version: (version in self._preferred, version))
        for version in ranked[: -self._settings.versions]:
            log.warning("catalog_version_dropped", version=version, kept=self._settings.versions)
            self._dropped.add(version)
            del self._indexes[version], self._hashes[version]
