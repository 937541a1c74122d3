"""A bundle that is incomplete, changed or inconsistent is refused with a reason."""

import json
import shutil
from pathlib import Path

import pytest

from inference.bundle.bundle import Manifest, checksum, read
from inference.errors import BundleRefused, InstallFailed
from inference.repository.repository import install, versions


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def change_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(manifest))


def test_a_whole_bundle_is_read(bundle: Path) -> None:
    found = read(bundle)
    assert found.manifest.width == 16 and found.manifest.state_width == 32
    assert found.item_index("item-0") == 1 and found.item_index("never seen") == 0
    assert found.manifest.action_index("rate") == 9 and found.manifest.action_index("dance") == 0


def test_a_folder_without_a_manifest_is_not_a_bundle(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    with pytest.raises(BundleRefused, match="manifest.json"):
        read(copy)


@pytest.mark.parametrize("name", ["triton/ranker/1/model.onnx", "items.json", "triton/user_fold/1/model.py"])
def test_a_changed_file_is_refused_by_name(copy: Path, name: str) -> None:
    with (copy / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(BundleRefused, match="checksum") as refused:
        read(copy)
    assert refused.value.name == name


def test_a_missing_file_is_refused_by_name(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    with pytest.raises(BundleRefused, match=r"tokenizer\.json"):
        read(copy)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 17},
        {"state_width": 8},
        {"actions": ["view"]},
        {"popularity_half_lives_days": [1, 2, 4, 8, 16, 32]},
    ],
)
def test_shapes_that_do_not_fit_are_refused_by_name(copy: Path, changes: dict[str, object]) -> None:
    change_manifest(copy, **changes)
    with pytest.raises(BundleRefused, match="has shape") as refused:
        read(copy)
    assert refused.value.name.endswith("model.onnx")


@pytest.mark.parametrize("half_lives", [[], [14, 3], [3, 3], [0], [float("inf")], list(range(1, 8))])
def test_invalid_half_lives_are_refused_by_name(copy: Path, half_lives: list[float]) -> None:
    change_manifest(copy, popularity_half_lives_days=half_lives)
    with pytest.raises(BundleRefused, match="popularity_half_lives_days"):
        read(copy)


def test_a_file_of_another_graph_is_refused(copy: Path) -> None:
    ranker, step = (copy / f"triton/{graph}/1/model.onnx" for graph in ("ranker", "user_step"))
    shutil.copyfile(step, ranker)
    manifest = Manifest.model_validate_json((copy / "manifest.json").read_bytes())
    change_manifest(copy, files={**manifest.files, "triton/ranker/1/model.onnx": checksum(ranker)})
    with pytest.raises(BundleRefused, match="differ from those of ranker"):
        read(copy)


def test_a_file_that_is_not_onnx_is_refused(copy: Path) -> None:
    path = copy / "triton/ranker/1/model.onnx"
    manifest = Manifest.model_validate_json((copy / "manifest.json").read_bytes())
    for content in (b"", b"\xff" * 100, path.read_bytes()[:5000]):
        path.write_bytes(content)
        change_manifest(copy, files={**manifest.files, "triton/ranker/1/model.onnx": checksum(path)})
        with pytest.raises(BundleRefused, match=r"ranker/1/model\.onnx"):
            read(copy)


def test_a_path_out_of_the_bundle_is_refused(copy: Path) -> None:
    manifest = Manifest.model_validate_json((copy / "manifest.json").read_bytes())
    change_manifest(copy, files={**manifest.files, "../outside": "0" * 64})
    with pytest.raises(BundleRefused, match="outside"):
        read(copy)


def test_fields_of_later_releases_are_ignored_in_a_manifest(copy: Path) -> None:
    before = read(copy).manifest
    change_manifest(copy, learned_later={"x": 1})
    assert read(copy).manifest == before


def test_an_unknown_format_is_refused(copy: Path) -> None:
    change_manifest(copy, format=2)
    with pytest.raises(BundleRefused, match="format"):
        read(copy)


def test_texts_become_padded_and_truncated_tokens(bundle: Path) -> None:
    found = read(bundle)
    tokens = found.tokens(["item-3", "new", "item-0"], ["red shoe", "", "a\0b 🎈" * 1000])
    assert tokens.item_index.tolist() == [4, 0, 1]
    assert tokens.ids.shape == tokens.mask.shape == (3, found.manifest.text_tokens)
    assert tokens.mask[1].sum() == 2, "an empty text has two special tokens"
    assert found.tokens([], []).ids.shape[0] == 0


def test_installing_twice_changes_nothing_and_leftovers_are_removed(bundle: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / ".incoming-old").mkdir(parents=True)
    install(read(bundle), repository)
    before = sorted(p.relative_to(repository) for p in repository.rglob("*"))
    install(read(bundle), repository)
    assert sorted(p.relative_to(repository) for p in repository.rglob("*")) == before
    assert {p.name for p in repository.iterdir()} == {"item_encoder", "user_step", "user_fold", "ranker"}
    assert versions(repository) == [1]


def test_a_bundle_that_changes_while_it_is_copied_is_not_installed(copy: Path, tmp_path: Path) -> None:
    checked = read(copy)
    (copy / "triton/ranker/1/model.onnx").write_bytes(b"half")
    with pytest.raises(InstallFailed, match="ranker"):
        install(checked, tmp_path / "repository")
    assert versions(tmp_path / "repository") == []
