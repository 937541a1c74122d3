"""The result of an int8 bundle does not depend on the batch. The bundle is smaller, and a version of its own."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime.quantization import QuantType, quantize_dynamic

import models.export.compression.int8_bundle as int8_bundle
from evaluation.int8_comparison import Comparison, check, loss, refusal
from inference.bundle.bundle import Bundle, Manifest, read
from inference.bundle.graphs import GRAPHS, ITEM_ENCODER, RANKER, USER_FOLD, USER_STEP, Graph
from models.errors import CompressionFailed, Int8Refused
from models.export.compression.int8_bundle import write_int8
from models.export.compression.int8_graph import MIN_WEIGHT_NUMBERS
from models.export.compression.timing import costs
from models.export.graphs import Array, random_inputs, sizes_of
from models.export.local_graphs import LocalGraphs
from tests.models.tiny_bundle import build

EVERYTHING = 2
"""A `min_numbers` that rounds all weights."""


class Both:
    """A float32 bundle, the same with every weight in int8, and the graphs of both."""

    def __init__(self, folder: Path) -> None:
        self.float32 = read(build(folder / "float32", images=True))
        write_int8(self.float32, folder / "int8", min_numbers=EVERYTHING)
        self.int8 = read(folder / "int8")
        self.graphs = {"float32": LocalGraphs(self.float32, 1), "int8": LocalGraphs(self.int8, 1)}
        self.sizes = sizes_of(self.float32)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return Both(tmp_path_factory.mktemp("int8"))


def padded(graph: Graph, row: dict[str, Array], count: int) -> dict[str, Array]:
    """One row with `count` more padding or candidates at its end. A graph without a length gets none."""
    if graph is ITEM_ENCODER:
        names = ("input_ids", "attention_mask")
    elif graph is USER_FOLD:
        names = ("item_vectors", "actions", "gap_seconds", "values", "mask")
    elif graph is RANKER:
        names = ("candidates", "age_seconds", "popularity")
    else:
        return row
    more = dict(row)
    for name in names:
        # These numbers would change the result if the mask did not hide them, or if candidates were not independent.
        filling = np.full((1, count, *row[name].shape[2:]), 0 if "mask" in name else 3, row[name].dtype)
        more[name] = np.concatenate([row[name], filling], 1)
    return more


def unpadded(graph: Graph, row: dict[str, Array]) -> dict[str, Array]:
    """One row without its padding."""
    name = {ITEM_ENCODER: "attention_mask", USER_FOLD: "mask"}.get(graph)
    if name is None:
        return row
    length = int(row[name].sum())
    return {key: a if key == "item_index" else a[:, :length] for key, a in row.items()}


@given(
    st.sampled_from([*GRAPHS, "image_encoder"]),
    st.sampled_from(["float32", "int8"]),
    st.integers(1, 9),
    st.integers(1, 40),
    st.integers(0, 20),
    st.integers(0, 2**32 - 1),
)
def test_a_row_gives_the_same_alone_in_a_batch_and_with_other_padding(
    both: Both, name: str, precision: str, batch: int, length: int, more: int, seed: int
) -> None:
    graph, graphs = both.float32.manifest.graphs()[name], both.graphs[precision]
    length = min(length, 3) if name == "image_encoder" else length
    given = random_inputs(graph, both.sizes, batch, length, np.random.default_rng(seed))
    together = graphs.run(graph, *given.values())
    tolerance = {"float32": 1e-5, "int8": 1e-4}[precision]
    for place in {0, batch - 1}:
        row = {key: array[place : place + 1] for key, array in given.items()}
        for alone in (row, unpadded(graph, row), padded(graph, row, more)):
            for out, one in zip(together, graphs.run(graph, *alone.values()), strict=True):
                size = min(out.shape[1], one.shape[1]) if out.ndim > 1 else None
                np.testing.assert_allclose(
                    out[place, :size], one[0, :size], rtol=tolerance, atol=tolerance, err_msg=name
                )


def test_dynamic_quantization_of_onnxruntime_depends_on_the_batch(both: Both, tmp_path: Path) -> None:
    """It uses one scale for all activations of a call. The test above would detect that."""
    path = tmp_path / "dynamic"
    shutil.copytree(both.float32.folder, path)
    name = f"triton/{ITEM_ENCODER.name}/{both.float32.manifest.version}/model.onnx"
    quantize_dynamic(str(both.float32.folder / name), str(path / name), weight_type=QuantType.QInt8)
    graphs = LocalGraphs(Bundle(path, both.float32.manifest), 1)
    given = random_inputs(ITEM_ENCODER, both.sizes, 9, 20, np.random.default_rng(0))
    together = graphs.run(ITEM_ENCODER, *given.values())[0]
    alone = [graphs.run(ITEM_ENCODER, *(a[k : k + 1] for a in given.values()))[0][0] for k in range(9)]
    assert np.abs(together - np.stack(alone)).max() > 1e-4


@settings(max_examples=20)
@given(st.integers(1, 120), st.integers(0, 2**32 - 1))
def test_steps_equal_the_fold_in_int8_too(both: Both, length: int, seed: int) -> None:
    graphs = both.graphs["int8"]
    given = random_inputs(USER_FOLD, both.sizes, 2, length, np.random.default_rng(seed))
    given["mask"] = np.ones((2, length), np.float32)
    folded = graphs.run(USER_FOLD, *given.values())
    state, user = np.zeros((2, both.sizes.channels), np.float32), np.zeros(0, np.float32)
    for at in range(length):
        event = [given[key][:, at : at + 1] for key in ("actions", "gap_seconds", "values")]
        state, user = graphs.run(USER_STEP, state, given["item_vectors"][:, at], *event)
    np.testing.assert_allclose(state, folded[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(user, folded[1], rtol=1e-4, atol=1e-4)


def test_the_int8_bundle_is_smaller_and_a_version_with_other_vectors(both: Both) -> None:
    one, other = both.float32.manifest, both.int8.manifest
    assert (one.precision, one.compressed_from) == ("float32", None)
    assert (other.precision, other.compressed_from) == ("int8", one.version) and other.version > one.version
    kept = {"width", "state_width", "actions", "history", "data_fingerprint", "seeds", "modalities"}
    assert one.model_dump(include=kept) == other.model_dump(include=kept)
    found = [costs(bundle, seconds=0) for bundle in (both.float32, both.int8)]
    assert set(found[0]) == set(found[1]) == set(one.graphs())
    # Weights are a small part of these tiny graphs. The graph with the largest weights shrinks most.
    assert all(found[1][name].size < found[0][name].size for name in GRAPHS)
    assert found[1]["item_encoder"].size < 0.6 * found[0]["item_encoder"].size
    assert found[1]["item_encoder"].microseconds.keys() == {1, 16} and found[1][
        "ranker"
    ].microseconds.keys() == {1}
    tokens = both.float32.tokens(["item-1", "item-2"], ["red shoe", "a song of the game"])
    given = tokens.ids, tokens.mask, tokens.item_index[:, None]
    vectors = [both.graphs[key].run(ITEM_ENCODER, *given)[0] for key in ("float32", "int8")]
    assert not np.array_equal(*vectors)
    np.testing.assert_allclose(*vectors, atol=0.05)


def test_small_weights_stay_as_they_are(both: Both, tmp_path: Path) -> None:
    assert MIN_WEIGHT_NUMBERS > 4096
    write_int8(both.float32, tmp_path / "int8", version=77)
    manifest = read(tmp_path / "int8").manifest
    assert manifest.version == 77
    for graph in GRAPHS:
        files = [
            folder / "triton" / graph / version / "model.onnx"
            for folder, version in ((both.float32.folder, "1"), (tmp_path / "int8", "77"))
        ]
        given = random_inputs(GRAPHS[graph], both.sizes, 2, 5, np.random.default_rng(3)).values()
        results = [both.graphs["float32"].run(GRAPHS[graph], *given)]
        results.append(LocalGraphs(Bundle(tmp_path / "int8", manifest), 1).run(GRAPHS[graph], *given))
        for one, other in zip(*results, strict=True):
            np.testing.assert_array_equal(one, other)
        assert abs(files[0].stat().st_size - files[1].stat().st_size) < 1000


@pytest.mark.parametrize("reason", ["itself", "int8 already", "its version"])
def test_bundles_that_cannot_be_compressed_are_refused(both: Both, tmp_path: Path, reason: str) -> None:
    source, folder, version = {
        "itself": (both.float32, both.float32.folder, None),
        "int8 already": (both.int8, tmp_path / "int8", None),
        "its version": (both.float32, tmp_path / "int8", both.float32.manifest.version),
    }[reason]
    with pytest.raises(CompressionFailed):
        write_int8(source, folder, version=version)
    read(both.float32.folder)
    assert not list(tmp_path.iterdir())


def test_a_refused_int8_bundle_leaves_only_the_old_one(both: Both, tmp_path: Path) -> None:
    write_int8(both.float32, tmp_path / "int8", lambda int8: {"int8_loss": 0.004}, version=5)
    seen: list[Manifest] = []

    def refuse(int8: Bundle) -> dict[str, float]:
        seen.append(read(int8.folder).manifest)
        raise Int8Refused("too much is lost")

    with pytest.raises(Int8Refused):
        write_int8(both.float32, tmp_path / "int8", refuse, version=6)
    assert [manifest.version for manifest in seen] == [6]
    kept = read(tmp_path / "int8").manifest
    assert kept.version == 5 and kept.metrics["int8_loss"] == 0.004
    assert [path.name for path in tmp_path.iterdir()] == ["int8"]


def test_graphs_that_drift_apart_are_refused(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = int8_bundle.quantize_graph

    def one_alone(source: Path, target: Path, least: int) -> int:
        return real(source, target, EVERYTHING if "user_step" in str(source) else MIN_WEIGHT_NUMBERS)

    monkeypatch.setattr(int8_bundle, "quantize_graph", one_alone)
    with pytest.raises(CompressionFailed, match="user_step and user_fold differ"):
        write_int8(both.float32, tmp_path / "int8")


def test_a_loss_of_at_most_one_percent_is_allowed() -> None:
    assert loss(0.2, 0.199) == pytest.approx(0.005) and loss(0.2, 0.21) < 0 and loss(0.0, 0.0) == 0
    assert refusal(0.2, 0.1981) == "" and refusal(0.2, 0.3) == ""
    assert "loses 1.5% of NDCG@10 (0.2000 in float32, 0.1970 in int8)" in refusal(0.2, 0.197)
    found = Comparison("future", 3, True, 0.2, 0.19, {}, {})
    assert found.metrics()["int8_loss"] == pytest.approx(0.05)
    with pytest.raises(Int8Refused, match="future: int8 loses 5.0%"):
        check(found)
