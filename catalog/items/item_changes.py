"""Changes of items, and states of items, as records in Kafka.

`item-changes` has the changes that servers accepted. `items` has the states: the item is the record's value, and a
header says when its fields were written. A record on `items` without this header is of another producer. It counts as a
put, or as a deletion if it has no value.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple, Protocol

from google.protobuf.message import DecodeError, Message

from catalog.errors import BadRecord
from catalog.items.item_check import check, id_problems
from catalog.items.item_fields import only
from catalog.items.item_fields import problems as path_problems
from catalog.items.item_state import MAX_PATCHED, NEVER, ItemState, Stamp
from catalog.items.item_time import is_ahead
from catalog.items.items import decode, from_proto
from recstream.storage.v1 import catalog_pb2
from recstream.v1 import item_pb2

TIMES_HEADER: Final = "recstream-item-times"
_NOT_PATCHED: Final = ("item_id", "updated_at")
_MILLISECOND_NS: Final = 1_000_000


class Record(Protocol):
    """What is read of a record: aiokafka's ConsumerRecord has it."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def offset(self) -> int: ...


def item_id_of_key(key: bytes | None) -> str:
    """The item id in a record's key. Raises BadRecord."""
    try:
        item_id = (key or b"").decode()
    except UnicodeDecodeError as error:
        raise BadRecord("the item id in its key is not UTF-8") from error
    for _, problem in id_problems("key", item_id):
        raise BadRecord(f"the item id in its key {problem}")
    return item_id


# Changes


def put_value(item: item_pb2.Item, time_ns: int) -> bytes:
    """The record's value for a put of a checked item."""
    message = catalog_pb2.ItemChange(time_ns=time_ns, put=from_proto(item).to_proto())
    message.put.ClearField("updated_at")
    return _bytes(message)


def patch_value(patch: item_pb2.ItemPatch, time_ns: int) -> bytes:
    """The record's value for a checked patch."""
    paths = sorted(set(patch.fields))
    patched = item_pb2.ItemPatch(item=only(from_proto(patch.item).to_proto(), paths), fields=paths)
    return _bytes(catalog_pb2.ItemChange(time_ns=time_ns, patch=patched))


def deletion_value(time_ns: int) -> bytes:
    """The record's value for a deletion."""
    return _bytes(catalog_pb2.ItemChange(time_ns=time_ns, deletion=catalog_pb2.Deletion()))


def patch_problems(patch: item_pb2.ItemPatch) -> Iterable[tuple[str, str]]:
    """The problems of a patch as (field, problem)."""
    paths = patch.fields
    if not paths:
        yield "fields", "is empty: name the fields to set"
    if len(paths) > MAX_PATCHED:
        yield "fields", f"has {len(paths)} entries; the limit is {MAX_PATCHED}"
        return
    bad = False
    for at, problem in path_problems(paths):
        bad = True
        yield f"fields[{at}]", problem
    for at, path in enumerate(paths):
        if path in _NOT_PATCHED:
            yield f"fields[{at}]", f"is {path!r}, which cannot be patched"
    if not bad:
        kept = item_pb2.Item()
        kept.CopyFrom(patch.item)
        # The time is checked, although it is not named.
        for field, problem in check(only(kept, [*paths, "updated_at"])):
            yield f"item.{field}", problem


def decode_change(key: bytes | None, value: bytes | None) -> ItemState:
    """The state of an item after the change of this record alone, with the contents of its media.

    Raises BadRecord if the record cannot be read, is of a kind that this release does not know, or exceeds a limit.
    """
    try:
        change = catalog_pb2.ItemChange.FromString(value or b"")
    except DecodeError as error:
        raise BadRecord(f"cannot be read as an ItemChange: {error}") from error
    stamp = Stamp(change.time_ns, _tie(value or b""))
    if stamp.time_ns < 0:
        raise BadRecord(f"its time is {stamp.time_ns}")
    item_id = item_id_of_key(key)
    match change.WhichOneof("change"):
        case "put":
            _require(check(change.put), item_id, change.put.item_id)
            return ItemState.put(from_proto(change.put), stamp)
        case "patch":
            patch = change.patch
            _require(list(patch_problems(patch)), item_id, patch.item.item_id)
            item = from_proto(only(patch.item, patch.fields))
            return ItemState.patch(item, frozenset(patch.fields), stamp)
        case "deletion":
            return ItemState.deletion(item_id, stamp)
    raise BadRecord("its change is of a kind that this release does not know")


# States


class StoredState(NamedTuple):
    """A state as a record on `items`.

    Attributes:
        value: The record's value: the item. None: it is not in the catalogue.
        times: The value of its header `recstream-item-times`.
    """

    value: bytes | None
    times: bytes

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """The record's headers."""
        return [(TIMES_HEADER, self.times)]

    def decode(self, key: bytes | None) -> ItemState:
        """The state of the item that the record's key names. Raises BadRecord."""
        return _stored(key, self.value, self.times)


def encode_state(state: ItemState) -> StoredState:
    """The record on `items` for a state. Equal states have equal bytes."""
    times = catalog_pb2.ItemTimes(
        patched=(
            catalog_pb2.FieldStamp(path=path, stamp=_stamp(stamp))
            for path, stamp in sorted(state.patched.items())
        )
    )
    if state.whole != NEVER:
        times.whole.CopyFrom(_stamp(state.whole))
    if state.listed:
        return StoredState(_bytes(state.item.to_proto()), _bytes(times))
    if state.patched:
        times.waiting.CopyFrom(state.item.to_proto())
    return StoredState(None, _bytes(times))


def decode_state(record: Record) -> ItemState:
    """The state that a record on `items` tells of, with the contents of its media. Raises BadRecord."""
    times = next((value for name, value in record.headers if name == TIMES_HEADER), None)
    return _of_producer(record) if times is None else _stored(record.key, record.value, times)


def is_direct(record: Record) -> bool:
    """Whether another producer wrote this record on `items`."""
    return all(name != TIMES_HEADER for name, _ in record.headers)


def _of_producer(record: Record) -> ItemState:
    arrival_ns = max(record.timestamp, 0) * _MILLISECOND_NS
    # Records without a time of their own are ordered as the log is, also within a millisecond.
    arrived = Stamp(arrival_ns, record.offset)
    if record.value is None:
        return ItemState.deletion(item_id_of_key(record.key), arrived)
    item = decode(record.key, record.value)
    time_ns = item.updated_at_ns
    if time_ns is None or is_ahead(time_ns, arrival_ns):
        return ItemState.put(item, arrived)
    return ItemState.put(item, Stamp(time_ns, _tie(record.value)))


def _stored(key: bytes | None, value: bytes | None, header: bytes) -> ItemState:
    try:
        times = catalog_pb2.ItemTimes.FromString(header)
    except DecodeError as error:
        raise BadRecord(f"its header {TIMES_HEADER} cannot be read: {error}") from error
    whole = Stamp(times.whole.time_ns, times.whole.tie) if times.HasField("whole") else NEVER
    patched = {each.path: Stamp(each.stamp.time_ns, each.stamp.tie) for each in times.patched}
    if value is not None:
        return ItemState(decode(key, value), whole, listed=True, patched=patched)
    item_id = item_id_of_key(key)
    if not patched:
        return ItemState.deletion(item_id, whole)
    _require(check(times.waiting, stored=True), item_id, times.waiting.item_id)
    return ItemState(from_proto(times.waiting), whole, patched=patched)


def _require(found: Sequence[tuple[str, str]], item_id: str, named: str) -> None:
    if found:
        raise BadRecord("; ".join(f"{name} {problem}" for name, problem in found))
    if item_id != named:
        raise BadRecord(f"its key is not its item id {named!r}")


def _stamp(stamp: Stamp) -> catalog_pb2.ChangeStamp:
    return catalog_pb2.ChangeStamp(time_ns=stamp.time_ns, tie=stamp.tie)


def _tie(value: bytes) -> int:
    return int.from_bytes(blake2b(value, digest_size=8).digest(), "big")


def _bytes(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)
