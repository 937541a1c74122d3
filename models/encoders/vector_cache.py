"""A cache of vectors by content hash, with a file for each encoder."""

import fcntl
import hashlib
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from models.data.events import Floats

log = structlog.get_logger()

KEY_BYTES: Final = 16


def content_key(content: bytes) -> bytes:
    """The key of a content: its BLAKE2b-128."""
    return hashlib.blake2b(content, digest_size=KEY_BYTES).digest()


class VectorCache:
    """Vectors [width] by keys of 16 bytes, in memory and in a file `<name>-<identity>.vectors`.

    Records (key, checksum, float32 numbers) are appended, a batch at a time and under a lock. So an interruption loses
    the current batch at most, and several trainings may share a file. Truncated or damaged records are skipped.
    """

    def __init__(self, folder: Path | None, name: str, identity: str, width: int) -> None:
        """
        Args:
            folder: folder of the file; None: memory only.
            name: the modality.
            identity: changes with the encoder.
            width: width of the vectors.
        """
        digest = hashlib.blake2b(f"{identity}/{width}".encode(), digest_size=8).hexdigest()
        self.path = folder / f"{name}-{digest}.vectors" if folder else None
        self._record = np.dtype([("key", f"V{KEY_BYTES}"), ("sum", "<u4"), ("vector", "<f4", (width,))])
        self._vectors: dict[bytes, Floats] = {}
        if self.path and self.path.is_file():
            self._read(self.path)

    def __contains__(self, key: bytes) -> bool:
        return key in self._vectors

    def __len__(self) -> int:
        return len(self._vectors)

    def __getitem__(self, key: bytes) -> Floats:
        return self._vectors[key]

    def add(self, keys: Sequence[bytes], vectors: Floats) -> None:
        """Adds a batch, to the file as well."""
        vectors = np.ascontiguousarray(vectors, "<f4")
        records = np.empty(len(keys), self._record)
        for row, (key, vector) in enumerate(zip(keys, vectors, strict=True)):
            records[row] = (np.void(key), zlib.crc32(key + vector.tobytes()), vector)
            self._vectors[key] = vector
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                # A record that another process left incomplete would shift all that follow.
                size = os.fstat(file.fileno()).st_size
                if size % self._record.itemsize:
                    os.ftruncate(file.fileno(), size - size % self._record.itemsize)
                file.write(records.tobytes())

    def _read(self, path: Path) -> None:
        raw = path.read_bytes()
        records = np.frombuffer(
            raw[: len(raw) // self._record.itemsize * self._record.itemsize], self._record
        )
        damaged = 0
        for record in records:
            key, vector = bytes(record["key"]), record["vector"]
            if zlib.crc32(key + vector.tobytes()) == record["sum"]:
                self._vectors[key] = vector
            else:
                damaged += 1
        if damaged:
            log.warning("vector_cache_damaged", path=str(path), records=damaged)
