"""What a release leaves behind and the next one must read: the contract, stored records, a bundle with its answers."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from google.protobuf import json_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message

from catalog.in_memory import InMemoryCatalog
from catalog.items.item_changes import StoredState, decode_change
from catalog.records import appliers
from catalog.settings import CatalogSettings
from catalog.version_watcher import decode_versions
from inference.bundle.bundle import Bundle
from inference.model import Floats, States, Steps
from inference.repository.repository import install
from inference.settings import TritonSettings
from inference.triton import TritonModel
from local.servers.ports import free_port
from local.servers.triton import EmbeddedTriton
from profiles.actions import ProfileSettings
from profiles.announcements.announcement import decode_announcement
from profiles.folding.events import Position
from profiles.folding.tail import Tail
from profiles.interactions import KIND_ERASURE, KIND_HEADER, parse
from profiles.store.codec import decode
from ranking.surfaces.document import as_values
from ranking.surfaces.record import decode as decode_surfaces
from recstream.storage.v1 import catalog_pb2, model_pb2, profile_pb2, slate_pb2, surfaces_pb2
from recstream.v1 import (
    catalog_service_pb2,
    frame_pb2,
    interaction_service_pb2,
    item_pb2,
    profile_service_pb2,
)
from recstream.v1 import recommendation_service_pb2 as recommendation
from tests.catalog.records import Record
from tests.models.model_in_process import random_candidates, random_histories
from topics.names import Topics

RELEASED = Path(__file__).parent
CONTRACT, RECORDS, BUNDLE, ANSWERS = "contract.binpb", "records.json", "bundle", "answers.npz"

_PLACE = Position(bytes(range(16)), 1, 42)
_TOPICS = Topics("")
_ROOTS: tuple[FileDescriptor, ...] = tuple(
    module.DESCRIPTOR
    for module in (
        catalog_service_pb2,
        frame_pb2,
        interaction_service_pb2,
        profile_service_pb2,
        recommendation,
        catalog_pb2,
        model_pb2,
        profile_pb2,
        slate_pb2,
        surfaces_pb2,
    )
)


def releases() -> list[Path]:
    """Folders of all releases, the oldest first."""
    return sorted(
        (path.parent for path in RELEASED.glob(f"*/{CONTRACT}")),
        key=lambda folder: [int(part) for part in folder.name.split(".")],
    )


def contract() -> FileDescriptorSet:
    """All .proto files as this version has them, with what they import, each after its imports."""
    found: dict[str, FileDescriptorProto] = {}

    def visit(file: FileDescriptor) -> None:
        if file.name in found:
            return
        for dependency in file.dependencies:
            visit(dependency)
        found[file.name] = FileDescriptorProto()
        file.CopyToProto(found[file.name])

    for root in _ROOTS:
        visit(root)
    return FileDescriptorSet(file=found.values())


def _message(message: Message) -> object:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _catalogue(topic: str, kind: type[Message]) -> Callable[[bytes, bytes], object]:
    def read(key: bytes, value: bytes) -> object:
        appliers(InMemoryCatalog(CatalogSettings()), _TOPICS)[topic](Record(key, value))  # raises BadRecord
        return _message(kind.FromString(value))

    return read


def _item_change(key: bytes, value: bytes) -> object:
    decode_change(key, value)  # raises BadRecord
    return _message(catalog_pb2.ItemChange.FromString(value))


def _item_times(key: bytes, value: bytes) -> object:
    StoredState(None, value).decode(key)  # raises BadRecord
    return _message(catalog_pb2.ItemTimes.FromString(value))


def _interaction(key: bytes, value: bytes) -> object:
    return asdict(parse(value, key, (), _PLACE, 1_700_000_000_000, ProfileSettings()))


def _erasure(key: bytes, value: bytes) -> object:
    headers = [(KIND_HEADER, KIND_ERASURE)]
    return asdict(parse(value, key, headers, _PLACE, 1_700_000_000_000, ProfileSettings()))


def _announcement(key: bytes, value: bytes) -> object:
    read = decode_announcement(key.decode(), value)
    return {
        "base_revision": read.base_revision,
        "revision": read.revision,
        "quiet": read.quiet,
        "applied": [asdict(applied) for applied in read.applied],
        "stored": asdict(read.stored) if read.stored else None,
    }


def _surfaces(key: bytes, value: bytes) -> object:
    read = decode_surfaces(key, value)
    return {
        "version": read.version,
        "applied_at_ms": read.applied_at_ms,
        "applied_by": read.applied_by,
        "comment": read.comment,
        "surfaces": as_values(read.surfaces) if read.surfaces is not None else None,
    }


READERS: Mapping[str, Callable[[bytes, bytes], object]] = {
    "profile": lambda _, value: asdict(decode(value)),
    "tail": lambda _, value: Tail(value).records(),
    "announcement": _announcement,
    "interaction": _interaction,
    "erasure": _erasure,
    "item": _catalogue(_TOPICS.items, item_pb2.Item),
    "item-change": _item_change,
    "item-times": _item_times,
    "item-vector": _catalogue(_TOPICS.item_vectors, catalog_pb2.ItemVector),
    "item-stats": _catalogue(_TOPICS.item_stats, catalog_pb2.ItemStats),
    "model-versions": lambda key, value: _message(decode_versions(key, value)),
    "surfaces": _surfaces,
    "slate": lambda _, value: _message(slate_pb2.SlateRecord.FromString(value)),
}
"""By the kind of a record, how this version reads its key and value."""


def as_json(read: object) -> object:
    """What was read, as a JSON file keeps it: keys as text in one order, bytes in base 64."""
    return json.loads(json.dumps(_plain(read), sort_keys=True))


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else json.dumps(_plain(key)): _plain(part)
            for key, part in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value


async def answers(bundle: Bundle, folder: Path) -> dict[str, Floats]:
    """What the bundle's graphs give on a real Triton, for inputs that are always the same."""
    install(bundle, folder / "repository")
    triton = EmbeddedTriton(folder / "repository", folder, free_port())
    version = bundle.manifest.version
    await triton.start()
    model = TritonModel(TritonSettings(address=triton.address), [bundle.manifest])
    try:
        tokens = bundle.tokens(["item-1", "item-2", "unknown"], ["a red shoe", "", "film of the game"])
        vectors = await model.encode_items(version, tokens, timeout=20)
        folds = await model.fold(
            version, random_histories(4, bundle.manifest.history, bundle.manifest.width), timeout=20
        )
        state = folds.states
        steps = Steps(
            state.state,
            state.user_vector,
            np.ones(4, np.int64),
            np.full(4, 60, np.float32),
            np.ones(4, np.float32),
        )
        stepped = await model.step(version, steps, timeout=20)
        user = States(state.state[1:2], state.user_vector[1:2])
        ranked = await model.rank(version, user, random_candidates(9, bundle.manifest), timeout=20)
    finally:
        await model.close()
        await triton.stop()
    return {
        "vectors": vectors,
        "states": state.state,
        "user_vectors": state.user_vector,
        "contributions": folds.contributions,
        "stepped": stepped.state,
        "probabilities": ranked.probabilities[0],
        "predicted_values": ranked.predicted_value[0],
    }
