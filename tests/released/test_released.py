"""Every release is read by this version: its contract holds, its records mean the same, its bundle answers alike."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from inference.bundle.bundle import read
from profiles.store.codec import decode, encode, encode_revision
from tests.profiles.profile_records import ROOMY, event, run
from tests.released import write_released
from tests.released.forms import (
    ANSWERS,
    BUNDLE,
    CONTRACT,
    READERS,
    RECORDS,
    answers,
    as_json,
    contract,
    releases,
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What this version would leave behind if it were released now."""
    folder = tmp_path_factory.mktemp("released") / "now"
    write_released.write(folder)
    return folder


@pytest.fixture(params=[*releases(), None], ids=lambda folder: folder.name if folder else "now")
def release(request: pytest.FixtureRequest, written: Path) -> Path:
    """Each release, and this version as if it were released now."""
    return request.param or written


def breaking(now: FileDescriptorSet, then: Path, folder: Path) -> str:
    """What buf says about the step from then to now; empty where nothing breaks."""
    new = folder / "new.binpb"
    new.write_bytes(now.SerializeToString())
    buf = Path(sys.executable).parent / "buf"
    config = Path(__file__).parents[2] / "protos" / "buf.yaml"
    said = subprocess.run(
        [buf, "breaking", new, "--against", then, "--config", config],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert said.returncode in (0, 100), said.stderr
    return said.stdout


def within(kept: object, now: object) -> bool:
    """Whether `now` says all that was kept; it may say more."""
    if isinstance(kept, dict):
        return isinstance(now, dict) and all(k in now and within(v, now[k]) for k, v in kept.items())
    if isinstance(kept, list):
        return (
            isinstance(now, list)
            and len(now) == len(kept)
            and all(within(a, b) for a, b in zip(kept, now, strict=True))
        )
    return kept == now


def kept_records(release: Path) -> list[tuple[str, bytes, bytes, object]]:
    rows = json.loads((release / RECORDS).read_text(encoding="utf-8"))
    return [
        (row["what"], base64.b64decode(row["key"]), base64.b64decode(row["value"]), row["read"])
        for row in rows
    ]


def test_the_contract_breaks_nothing(release: Path, tmp_path: Path) -> None:
    assert breaking(contract(), release / CONTRACT, tmp_path) == ""


@pytest.mark.parametrize("package", ["recstream/v1/interaction.proto", "recstream/storage/v1/profile.proto"])
def test_a_field_that_is_gone_is_noticed(package: str, written: Path, tmp_path: Path) -> None:
    changed = contract()
    file = next(file for file in changed.file if file.name == package)
    message = file.message_type[-1]
    gone = message.field.pop()
    assert f'"{gone.name}"' in breaking(changed, written / CONTRACT, tmp_path)


def test_records_mean_what_they_meant(release: Path) -> None:
    for what, key, value, meant in kept_records(release):
        now = as_json(READERS[what](key, value))
        assert within(meant, now), f"a record of kind {what}: {meant} was read, now {now}"


def test_every_kind_of_record_is_kept(written: Path) -> None:
    assert {what for what, *_ in kept_records(written)} == READERS.keys()


def test_a_stored_profile_is_gone_on_with(release: Path) -> None:
    stored = [decode(value) for what, _, value, _ in kept_records(release) if what == "profile"]
    for found in stored:
        folded = run([event("like", "new", 100, offset=1_000)], ROOMY, found.profile).profile
        assert folded.events == found.profile.events + 1
        assert folded.history[-1].item_id == "new"
        assert decode(encode_revision(found.revision + 1) + encode(folded)).profile == folded


async def test_its_bundle_answers_as_it_did(release: Path, tmp_path: Path) -> None:
    now = await answers(read(release / BUNDLE), tmp_path)
    with np.load(release / ANSWERS) as then:
        assert set(then.files) == set(now)
        for name in then.files:
            np.testing.assert_allclose(now[name], then[name], rtol=1e-4, atol=1e-5, err_msg=name)
