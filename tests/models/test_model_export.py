"""An exported graph computes what torch computes at every size, or there is no bundle."""

from pathlib import Path

import pytest
import torch

import models.export.bundle_writer
from inference.bundle.graphs import GRAPHS, USER_FOLD, USER_STEP
from inference.bundle.onnx_shapes import signature
from models.encoders.load import Encoders
from models.encoders.text import TextEncoder
from models.errors import ExportFailed
from models.export.graphs import BATCHES, CANDIDATES, LENGTHS, Sizes, check, export, graphs
from models.network.recommender import Recommender, Shape
from models.network.user_encoder import UserEncoder
from tests.models.tiny_bundle import build, text_model

SIZES = Sizes(width=8, channels=12, actions=2, items=5, vocabulary=80, tokens=64, popularities=2)


@pytest.fixture(scope="module", params=[None, 0.1], ids=["inner product", "cosine"])
def parts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Encoders, Recommender]:
    torch.manual_seed(0)
    text = TextEncoder(text_model(tmp_path_factory.mktemp("text")))
    shape = Shape(
        text_width=text.width,
        width=8,
        channels=12,
        hidden=16,
        items=5,
        actions=2,
        value_mean=(3.0, 0.0),
        value_scale=(1.0, 1.0),
        value_range=(1.0, 5.0),
        popularities=2,
        temperature=request.param,
    )
    return Encoders(text, text.tokenizer(64), 64), Recommender(shape, 0.0, 0.0)


def test_every_graph_is_compared_at_several_sizes(
    parts: tuple[Encoders, Recommender], tmp_path: Path
) -> None:
    assert max(BATCHES) >= 7 and max(LENGTHS) >= 96 and 300 in CANDIDATES
    for graph, module in graphs(*parts):
        export(graph, module, SIZES, tmp_path / f"{graph.name}.onnx")
        assert (tmp_path / f"{graph.name}.onnx").is_file()
        widths = {tensor.name: tensor.dims[-1] for tensor in graph.outputs if tensor.dims[-1] in ("d", "S")}
        declared = signature(tmp_path / f"{graph.name}.onnx").outputs
        # A bundle whose graphs do not declare their widths is refused when it is read.
        assert {name: declared[name].dims[-1] for name in widths} == {
            name: {"d": 8, "S": 12}[dim] for name, dim in widths.items()
        }
    assert {path.stem for path in tmp_path.glob("*.onnx")} == set(GRAPHS)


def test_a_graph_that_computes_something_else_is_refused(
    parts: tuple[Encoders, Recommender], tmp_path: Path
) -> None:
    modules = {graph.name: module for graph, module in graphs(*parts)}
    path = tmp_path / "user_step.onnx"
    export(USER_STEP, modules["user_step"], SIZES, path)
    with torch.no_grad():
        parts[1].user.output.linear.bias.add_(0.01)
    with pytest.raises(ExportFailed, match="user_step: user_vector differs"):
        check(USER_STEP, modules["user_step"], SIZES, path)


def test_a_graph_that_was_fixed_to_the_traced_length_is_refused(
    parts: tuple[Encoders, Recommender], tmp_path: Path
) -> None:
    class Fixed(torch.nn.Module):
        def __init__(self, user: UserEncoder) -> None:
            super().__init__()
            self.user = user

        def forward(
            self,
            items: torch.Tensor,
            actions: torch.Tensor,
            gaps: torch.Tensor,
            values: torch.Tensor,
            mask: torch.Tensor,
        ) -> tuple[torch.Tensor, ...]:
            state, user, parts = self.user.fold(items, actions, gaps, values, mask)
            # The length of the traced input instead of the input's own length.
            return state / int(items.shape[1]), user, parts

    with pytest.raises(ExportFailed, match="user_fold: state differs"):
        export(USER_FOLD, Fixed(parts[1].user).eval(), SIZES, tmp_path / "user_fold.onnx")


def test_a_failed_export_leaves_the_old_bundle_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = build(tmp_path / "bundle")
    before = sorted(path.name for path in tmp_path.iterdir())
    manifest = (folder / "manifest.json").read_bytes()

    def fail(*args: object) -> None:
        raise ExportFailed("ranker differs")

    monkeypatch.setattr(models.export.bundle_writer, "export", fail)
    with pytest.raises(ExportFailed):
        build(folder, version=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (folder / "manifest.json").read_bytes() == manifest
