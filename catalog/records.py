"""Applies the records of `items`, `item-vectors` and `item-stats` to the catalogue."""

from collections.abc import Callable, Mapping

import numpy as np
from google.protobuf.message import DecodeError

from catalog.errors import BadRecord
from catalog.in_memory import InMemoryCatalog
from catalog.items.item_changes import Record, decode_change, decode_state, item_id_of_key
from recstream.storage.v1 import catalog_pb2
from telemetry.unknown_fields import note_in
from topics.names import Topics

Apply = Callable[[Record], None]
"""Applies a record. If it raises BadRecord, nothing was changed."""


def vector_key(version: int, item_id: str) -> bytes:
    """The key of a record on `item-vectors`."""
    return f"{version}/{item_id}".encode()


def parse_vector_key(key: bytes) -> tuple[int, str]:
    """The model version and item id in a record's key on `item-vectors`. Raises BadRecord."""
    version, slash, item_id = key.partition(b"/")
    if not slash or not version.isdigit() or len(version) > 18:
        raise BadRecord("its key is not <model version>/<item id>")
    return int(version), item_id_of_key(item_id)


def stats_key(partition: int, item_id: str) -> bytes:
    """The key of a record on `item-stats`. The consumer that holds a partition of `interactions` counts its events,
    and an item's statistics are the sum over the partitions."""
    return f"{partition}/{item_id}".encode()


def parse_stats_key(key: bytes) -> tuple[int, str]:
    """The partition of `interactions` and the item id in a record's key on `item-stats`. Raises BadRecord."""
    partition, slash, item_id = key.partition(b"/")
    if not slash or not partition.isdigit() or len(partition) > 9:
        raise BadRecord("its key is not <partition of interactions>/<item id>")
    return int(partition), item_id_of_key(item_id)


def parse_stats(value: bytes) -> catalog_pb2.ItemStats:
    """The value of a record on `item-stats`. Raises BadRecord."""
    try:
        message = catalog_pb2.ItemStats.FromString(value)
    except DecodeError as error:
        raise BadRecord(f"cannot be read as ItemStats: {error}") from error
    note_in("ItemStats", message)
    if len(message.days) != len(message.day_counts):
        raise BadRecord(f"it has {len(message.days)} days and {len(message.day_counts)} counts of days")
    return message


def apply_change(catalog: InMemoryCatalog, record: Record) -> None:
    """Applies a record of `item-changes`. If it raises BadRecord, nothing was changed."""
    catalog.merge_item(decode_change(record.key, record.value).without_contents())


def appliers(catalog: InMemoryCatalog, topics: Topics) -> Mapping[str, Apply]:
    """The functions that apply a record to the catalogue, by topic."""

    def item(record: Record) -> None:
        catalog.merge_item(decode_state(record).without_contents())

    def vector(record: Record) -> None:
        value = record.value
        version, item_id = parse_vector_key(record.key or b"")
        if value is None:
            catalog.remove_vector(version, item_id)
            return
        try:
            message = catalog_pb2.ItemVector.FromString(value)
        except DecodeError as error:
            raise BadRecord(f"cannot be read as an ItemVector: {error}") from error
        note_in("ItemVector", message)
        if len(message.vector) % 4:
            raise BadRecord(f"the vector has {len(message.vector)} bytes, not whole float32 numbers")
        numbers = np.frombuffer(message.vector, dtype="<f4").astype(np.float32)
        catalog.put_vector(version, item_id, numbers, message.content_hash)

    def stats(record: Record) -> None:
        partition, item_id = parse_stats_key(record.key or b"")
        catalog.put_stats(item_id, parse_stats(record.value or b""), partition)

    return {topics.items: item, topics.item_vectors: vector, topics.item_stats: stats}
