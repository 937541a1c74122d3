"""Exports the trained model to ONNX graphs, and compares each with torch."""

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from inference.bundle.bundle import ITEMS, Bundle
from inference.bundle.graphs import (
    GRAPHS,
    INT,
    ITEM_ENCODER,
    RANKER,
    USER_FOLD,
    USER_STEP,
    Graph,
    modality_graph,
)
from models.encoders.labels import LabelEncoder
from models.encoders.load import Encoders
from models.encoders.media import MediaEncoder, mean_direction
from models.encoders.text import TextEncoder
from models.errors import ExportFailed
from models.export.label_graph import LabelItemGraph
from models.network.item_tower import ItemTower
from models.network.recommender import Recommender

OPSET: Final = 17
TOLERANCE: Final = 1e-4
BATCHES: Final = (1, 2, 7)
LENGTHS: Final = (1, 5, 96)
CANDIDATES: Final = (1, 300)
CONTENTS: Final = (1, 3)

Array = NDArray[np.float32] | NDArray[np.int64] | NDArray[np.uint8]


class ItemEncoderGraph(nn.Module):
    """Computes the item's vector from text and id."""

    def __init__(self, text: TextEncoder, model: Recommender) -> None:
        super().__init__()
        self.text, self.item = text, model.item

    def forward(self, input_ids: Tensor, attention_mask: Tensor, item_index: Tensor) -> Tensor:
        out: Tensor = self.item(self.text(input_ids, attention_mask), item_index[:, 0])
        return out


class ModalityGraph(nn.Module):
    """Adds an item's n contents of one modality [b, n, ..] to its vector [b, d]."""

    def __init__(self, encoder: MediaEncoder, tower: ItemTower) -> None:
        super().__init__()
        self.encoder, self.tower, self.name = encoder.module, tower, encoder.modality.name

    def forward(self, vector: Tensor, contents: Tensor) -> Tensor:
        encoded = self.encoder(contents.flatten(0, 1)).unflatten(0, (contents.shape[0], -1))
        return self.tower.with_media(self.name, vector, mean_direction(encoded))


class UserStepGraph(nn.Module):
    """Computes the state after one more event."""

    def __init__(self, model: Recommender) -> None:
        super().__init__()
        self.user = model.user

    def forward(
        self, state: Tensor, item_vector: Tensor, action: Tensor, gap_seconds: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.user.step(state, item_vector, action[:, 0], gap_seconds[:, 0], value[:, 0])


class UserFoldGraph(nn.Module):
    """Computes the state after a whole history."""

    def __init__(self, model: Recommender) -> None:
        super().__init__()
        self.user = model.user

    def forward(
        self, item_vectors: Tensor, actions: Tensor, gap_seconds: Tensor, values: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return self.user.fold(item_vectors, actions, gap_seconds, values, mask)


class RankerGraph(nn.Module):
    """The ranker, with probabilities instead of logits."""

    def __init__(self, model: Recommender) -> None:
        super().__init__()
        self.ranker = model.ranker

    def forward(
        self,
        state: Tensor,
        user_vector: Tensor,
        idle_seconds: Tensor,
        candidates: Tensor,
        age_seconds: Tensor,
        popularity: Tensor,
    ) -> tuple[Tensor, Tensor]:
        logits, value = self.ranker(state, user_vector, idle_seconds, candidates, age_seconds, popularity)
        # ONNX Runtime's sigmoid rounds small probabilities to zero, and so loses their order.
        return torch.exp(-functional.softplus(-logits)), value


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes of the graphs' inputs.

    Attributes:
        width: d, width of item and user vectors.
        channels: S, width of a user's state.
        actions: A, number of actions.
        items: items that have an id embedding.
        vocabulary: number of token ids.
        tokens: maximum tokens of a text.
        popularities: P, half-lives of popularity.
    """

    width: int
    channels: int
    actions: int
    items: int
    vocabulary: int
    tokens: int
    popularities: int


def sizes_of(bundle: Bundle) -> Sizes:
    """Sizes of a bundle's graphs."""
    manifest = bundle.manifest
    return Sizes(
        width=manifest.width,
        channels=manifest.state_width,
        actions=len(manifest.actions),
        items=len(json.loads((bundle.folder / ITEMS).read_text(encoding="utf-8"))),
        vocabulary=bundle.tokenizer().get_vocab_size(),
        tokens=manifest.text_tokens,
        popularities=len(manifest.popularity_half_lives_days),
    )


def graphs(
    encoders: Encoders, model: Recommender, item_ids: Sequence[str] = ()
) -> list[tuple[Graph, nn.Module]]:
    """The graphs as torch modules in evaluation mode: one for each modality, and the four of every bundle.

    Args:
        encoders: the frozen encoders of the items.
        model: the trained model.
        item_ids: items of the id embedding, in order.
    """
    item: nn.Module
    if isinstance(encoders.text, LabelEncoder):
        item = LabelItemGraph(encoders.text, model.item, item_ids)
    else:
        item = ItemEncoderGraph(encoders.text, model)
    return [
        *((modality_graph(e.modality), ModalityGraph(e, model.item).eval()) for e in encoders.media),
        (ITEM_ENCODER, item.eval()),
        (USER_STEP, UserStepGraph(model).eval()),
        (USER_FOLD, UserFoldGraph(model).eval()),
        (RANKER, RankerGraph(model).eval()),
    ]


def export(graph: Graph, module: nn.Module, sizes: Sizes, path: Path) -> None:
    """Writes the graph to `path` and checks it.

    Raises:
        ExportFailed: the file does not compute what torch computes.
    """
    example = random_inputs(graph, sizes, batch=2, length=3, rng=np.random.default_rng(0))
    dynamic = {name: {0: "batch"} for name in [t.name for t in graph.inputs + graph.outputs]}
    for tensor in graph.inputs + graph.outputs:
        for axis, dim in enumerate(tensor.dims, start=1):
            if dim in ("t", "m", "n"):
                dynamic[tensor.name][axis] = str(dim)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        # The tracer warns that shapes may become constants. `check` tries several shapes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(torch.from_numpy(array) for array in example.values()),
            str(path),
            input_names=[t.name for t in graph.inputs],
            output_names=[t.name for t in graph.outputs],
            dynamic_axes=dynamic,
            opset_version=OPSET,
            dynamo=False,
        )
    check(graph, module, sizes, path)


def check(graph: Graph, module: nn.Module, sizes: Sizes, path: Path) -> None:
    """Compares the file with torch over several batch sizes and lengths.

    Raises:
        ExportFailed: an output differs by more than 1e-4.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [t.name for t in graph.outputs]
    rng = np.random.default_rng(1)
    for batch in BATCHES:
        for length in _lengths(graph, sizes):
            given = random_inputs(graph, sizes, batch, length, rng)
            with torch.no_grad():
                expected = module(*(torch.from_numpy(array) for array in given.values()))
            expected = (expected,) if isinstance(expected, Tensor) else expected
            for name, got, wanted in zip(names, session.run(names, given), expected, strict=True):
                if got.shape != tuple(wanted.shape) or not np.allclose(
                    got, wanted.numpy(), TOLERANCE, TOLERANCE
                ):
                    raise ExportFailed(
                        f"{graph.name}: {name} differs from torch at batch {batch}, length {length}: "
                        f"shape {got.shape} against {tuple(wanted.shape)}"
                    )


def random_inputs(
    graph: Graph, sizes: Sizes, batch: int, length: int, rng: np.random.Generator
) -> dict[str, Array]:
    """Random inputs of the graph, by name. Some values are absent and some events are padding."""
    widths = {
        "d": sizes.width,
        "S": sizes.channels,
        "t": length,
        "m": length,
        "n": length,
        "P": sizes.popularities,
    }
    found: dict[str, Array] = {}
    for tensor in graph.inputs:
        shape = (batch, *(widths[dim] if isinstance(dim, str) else dim for dim in tensor.dims))
        make: Callable[[tuple[int, ...]], Array] = _MAKERS.get(
            tensor.name, lambda s: rng.standard_normal(s, np.float32)
        )
        found[tensor.name] = make(shape)
        if tensor.kind == "UINT8":
            found[tensor.name] = rng.integers(0, 256, shape, np.uint8)
        elif tensor.kind == INT and tensor.name != "attention_mask":
            limit = {"input_ids": sizes.vocabulary, "item_index": sizes.items + 1}
            found[tensor.name] = rng.integers(0, limit.get(tensor.name, sizes.actions + 1), shape)
        elif tensor.name in ("gap_seconds", "age_seconds", "idle_seconds", "popularity"):
            unknown = tensor.name in ("age_seconds", "idle_seconds")
            found[tensor.name] = rng.exponential(1e4, shape).astype(np.float32) - unknown
        elif tensor.name in ("value", "values"):
            values = rng.uniform(1, 5, shape).astype(np.float32)
            found[tensor.name] = np.where(rng.random(shape) < 0.5, np.float32(np.nan), values)
    return found


def _padded_tokens(shape: tuple[int, ...]) -> Array:
    return _padded(shape).astype(np.int64)


def _padded(shape: tuple[int, ...]) -> Array:
    mask = np.ones(shape, np.float32)
    mask[-1, shape[1] // 2 + 1 :] = 0
    return mask


_MAKERS: Final[dict[str, Callable[[tuple[int, ...]], Array]]] = {
    "attention_mask": _padded_tokens,
    "mask": _padded,
}


def _lengths(graph: Graph, sizes: Sizes) -> Sequence[int]:
    if graph is RANKER:
        return CANDIDATES
    if graph is ITEM_ENCODER:
        return (2, sizes.tokens)
    if graph.name not in GRAPHS:
        return CONTENTS
    return LENGTHS if graph is USER_FOLD else (1,)
