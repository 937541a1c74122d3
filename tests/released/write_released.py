"""Keeps what this release leaves behind, in a folder of its own that nobody changes any more.

    PYTHONPATH=.:protos .venv/bin/python tests/released/write_released.py 0.1.0

Run it on the commit that is tagged, and commit the folder. `test_released.py` then holds every later version to it.
"""

import asyncio
import base64
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

# Before usearch, which the catalogue brings: after it, it crashes.
import onnxruntime  # noqa: F401
from google.protobuf.message import Message

from catalog.items.item_changes import decode_change, encode_state, patch_value
from catalog.popularity.stats import HOUR_MS, add
from catalog.records import stats_key, vector_key
from catalog.version_watcher import KEY
from inference.bundle.bundle import MANIFEST, read
from profiles.announcements.announcement import attachment_header, encode_announcement
from profiles.profile import ModelState, Profile
from profiles.store.codec import encode, encode_revision
from profiles.times import timestamp
from ranking.surfaces.document import parse
from ranking.surfaces.record import SurfacesVersion, key_of
from ranking.surfaces.record import encode as encode_surfaces
from recstream.storage.v1 import catalog_pb2, model_pb2, profile_pb2, slate_pb2
from recstream.v1 import interaction_pb2, item_pb2
from recstream.v1 import slate_pb2 as contract_slate_pb2
from tests.models.tiny_bundle import build
from tests.profiles.profile_records import OTHER_TOPIC, T0, TOPIC, erasure, event, impression, run
from tests.released.forms import (
    ANSWERS,
    BUNDLE,
    CONTRACT,
    READERS,
    RECORDS,
    RELEASED,
    answers,
    as_json,
    contract,
)

Kept = tuple[str, bytes, bytes]


def main() -> None:
    """Writes the folder of a release. Refuses to write one again."""
    folder = RELEASED / sys.argv[1]
    if folder.exists():
        sys.exit(f"{folder} is there: what was released is not written again")
    rows = write(folder)
    print(f"{folder}: {len(rows)} records of {len({row['what'] for row in rows})} kinds")


def write(folder: Path) -> list[dict[str, object]]:
    """Writes what this version leaves behind. Returns the rows of the file of records."""
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "release"
        made.mkdir()
        (made / CONTRACT).write_bytes(contract().SerializeToString(deterministic=True))
        bundle = read(build(made / BUNDLE, tuple(f"item-{n}" for n in range(12)), width=8, history=16))
        shutil.rmtree(made / f"{BUNDLE}-text")
        given = asyncio.run(answers(bundle, Path(place) / "triton"))
        np.savez_compressed(made / ANSWERS, **given)
        rows = _rows((made / BUNDLE / MANIFEST).read_bytes())
        text = json.dumps(rows, indent=1, ensure_ascii=False)
        (made / RECORDS).write_text(text + "\n", encoding="utf-8")
        shutil.copytree(made, folder)
    return rows


def _rows(manifest: bytes) -> list[dict[str, object]]:
    return [
        {
            "what": what,
            "key": base64.b64encode(key).decode(),
            "value": base64.b64encode(value).decode(),
            "read": as_json(READERS[what](key, value)),
        }
        for what, key, value in [*_profiles(), *_records(), *_catalogue(manifest)]
    ]


def _profiles() -> Iterator[Kept]:
    log = [
        event("view", "a", 0, offset=0),
        event("click", "é{x}😀", 1, offset=1, event_id="chosen"),
        event("rate", "b", 2, offset=2, value=4.5),
        impression("cd", 3, offset=3),
        event("purchase", "d", 4, offset=4, partition=1, topic=OTHER_TOPIC),
        event("click", "b", 5, offset=5, undo="chosen"),
        *(event("like", f"item-{n}", 10 + n, offset=10 + n) for n in range(12)),
    ]
    full = run(log)
    states = (
        ModelState(1, np.arange(16, dtype="<f4").tobytes(), np.ones(8, "<f4").tobytes()),
        ModelState(2, b"", b"", stale=True),
    )
    erased = run([*log[:4], erasure((0, 3), offset=20, seconds=30)]).profile
    for profile in (Profile("ann"), full.profile, replace(full.profile, states=states), erased):
        yield "profile", b"ann", encode_revision(1_700_000_000_123_456) + encode(profile)
    yield "tail", b"ann", bytes.fromhex("6553f1000123456789abcdef6553f0ff00000000000000ff")
    head = encode_announcement(7, 8, quiet=False, applied=log[-2:])
    value = encode_revision(8) + encode(full.profile)
    yield "announcement", b"ann", head
    yield "announcement", b"ann", head + attachment_header(value) + value


def _records() -> Iterator[Kept]:
    click = interaction_pb2.Interaction(
        event_id="e-1", user_id="ann", item_id="a/b", action="click", event_time=timestamp(T0), value=0.5
    )
    click.slate_id, click.position, click.surface = "s-1", 3, "home"
    yield "interaction", b"ann", click.SerializeToString(deterministic=True)
    undo = interaction_pb2.Interaction(user_id="ann", event_time=timestamp(T0))
    undo.undo.event_id = "e-1"
    yield "interaction", b"ann", undo.SerializeToString(deterministic=True)
    seen = interaction_pb2.Interaction(user_id="ann", event_time=timestamp(T0), slate_id="s-1")
    seen.impression.item_ids.extend(["a/b", "c"])
    yield "interaction", b"ann", seen.SerializeToString(deterministic=True)
    text = {"userId": "ann", "itemId": "007", "action": "rate", "value": 5, "eventTime": T0}
    yield "interaction", b"", json.dumps(text).encode()
    forget = profile_pb2.Erasure(
        user_id="ann", end_offsets=[profile_pb2.TopicOffset(topic_id=TOPIC, partition=1, offset=9)]
    )
    yield "erasure", b"ann", forget.SerializeToString(deterministic=True)
    slate = slate_pb2.SlateRecord(
        user_id="ann",
        slate=contract_slate_pb2.Slate(slate_id="s-1", items=[contract_slate_pb2.RankedItem(item_id="a/b")]),
        surface="home",
        domain="films",
        experiments={"blend": "b"},
        sent_at_ms=T0,
    )
    yield "slate", b"ann", slate.SerializeToString(deterministic=True)


def _catalogue(manifest: bytes) -> Iterator[Kept]:
    def kept(what: str, key: bytes, message: Message) -> Kept:
        return what, key, message.SerializeToString(deterministic=True)

    item = item_pb2.Item(
        item_id="a/b", domain="films", title="Ünder", categories=["drama"], published_at=timestamp(T0)
    )
    yield kept("item", b"a/b", item)
    patch = item_pb2.ItemPatch(item=item, fields=["title"])
    yield "item-change", b"a/b", patch_value(patch, T0 * 1_000_000)
    waiting = decode_change(b"a/b", patch_value(patch, T0 * 1_000_000))
    yield "item-times", b"a/b", encode_state(waiting).times
    vector = catalog_pb2.ItemVector(vector=np.arange(8, dtype="<f4").tobytes(), content_hash=b"\x01" * 16)
    yield kept("item-vector", vector_key(3, "a/b"), vector)
    counts = add(catalog_pb2.ItemStats(), {T0 // HOUR_MS - 30 * n: n + 1 for n in range(70)})
    yield kept("item-stats", stats_key(1, "a/b"), counts)
    served = model_pb2.ServedVersions(
        next=model_pb2.ServedVersion(version=1, manifest=manifest, published_at_ms=T0),
        share=0.1,
        vector_ends={0: 12, 1: 0},
    )
    yield kept("model-versions", KEY, served)
    file = parse(
        "default: {nearest: 50, action_weights: {like: 2}}\n"
        "surfaces: {home: {fresh: 7, rules: {boosts: [{name: drama, filter: category = drama, strength: 0.5, "
        "end_time: '2030-01-01T00:00:00Z'}], caps: [{field: category, most: 2}], rotation: {strength: 0.5}}}}"
    )
    for version in (SurfacesVersion(3, file, T0, "ann", "more drama"), SurfacesVersion(4, None, T0, "ann")):
        yield "surfaces", key_of(version.version), encode_surfaces(version)


if __name__ == "__main__":
    main()
