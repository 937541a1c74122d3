"""The graphs of a bundle: names, tensors and batch limits, for Triton and for the exporter."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from inference.bundle.modalities import Modality

FLOAT: Final = "FP32"
INT: Final = "INT64"


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named tensor, without its batch dimension.

    Attributes:
        name: Its name in the graph.
        kind: Triton's name of its type.
        dims: Each a number or a name. The manifest gives the sizes of `d` (model width), `S` (state width), `A`
            (actions) and `P` (half-lives of popularity). Of any size are `t` (events or tokens), `m` (candidates) and
            `n` (contents of an item).
    """

    name: str
    kind: str
    dims: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """One ONNX graph.

    Attributes:
        name: The model's name in Triton.
        inputs, outputs: Its tensors.
        max_batch: Most rows of one request.
        queue: Most requests that may wait for it in Triton.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch: int
    queue: int


ITEM_ENCODER: Final = Graph(
    "item_encoder",
    (
        Tensor("input_ids", INT, ("t",)),
        Tensor("attention_mask", INT, ("t",)),
        Tensor("item_index", INT, (1,)),
    ),
    (Tensor("vector", FLOAT, ("d",)),),
    max_batch=16,
    queue=64,
)
USER_STEP: Final = Graph(
    "user_step",
    (
        Tensor("state", FLOAT, ("S",)),
        Tensor("item_vector", FLOAT, ("d",)),
        Tensor("action", INT, (1,)),
        Tensor("gap_seconds", FLOAT, (1,)),
        Tensor("value", FLOAT, (1,)),
    ),
    (Tensor("next_state", FLOAT, ("S",)), Tensor("user_vector", FLOAT, ("d",))),
    max_batch=256,
    queue=256,
)
USER_FOLD: Final = Graph(
    "user_fold",
    (
        Tensor("item_vectors", FLOAT, ("t", "d")),
        Tensor("actions", INT, ("t",)),
        Tensor("gap_seconds", FLOAT, ("t",)),
        Tensor("values", FLOAT, ("t",)),
        Tensor("mask", FLOAT, ("t",)),
    ),
    (
        Tensor("state", FLOAT, ("S",)),
        Tensor("user_vector", FLOAT, ("d",)),
        Tensor("contributions", FLOAT, ("t", "d")),
    ),
    max_batch=32,
    queue=128,
)
RANKER: Final = Graph(
    "ranker",
    (
        Tensor("state", FLOAT, ("S",)),
        Tensor("user_vector", FLOAT, ("d",)),
        Tensor("idle_seconds", FLOAT, (1,)),
        Tensor("candidates", FLOAT, ("m", "d")),
        Tensor("age_seconds", FLOAT, ("m",)),
        Tensor("popularity", FLOAT, ("m", "P")),
    ),
    (Tensor("probabilities", FLOAT, ("m", "A")), Tensor("predicted_value", FLOAT, ("m",))),
    max_batch=8,
    queue=128,
)
GRAPHS: Final[Mapping[str, Graph]] = {g.name: g for g in (ITEM_ENCODER, USER_STEP, USER_FOLD, RANKER)}
"""The graphs that every bundle has."""


def modality_graph(modality: Modality) -> Graph:
    """The graph that adds a modality to item vectors. It takes the n prepared contents of each item.

    Being a separate graph, it costs nothing for items without the modality, which skip it, and `item_encoder` is the
    same in bundles with and without modalities.
    """
    return Graph(
        modality.graph_name,
        (
            Tensor("vector", FLOAT, ("d",)),
            Tensor(modality.name, modality.kind, ("n", *modality.shape)),
        ),
        (Tensor("item_vector", FLOAT, ("d",)),),
        max_batch=4,
        queue=64,
    )


def graphs_with(modalities: Iterable[Modality]) -> dict[str, Graph]:
    """All graphs of a bundle with these modalities, by name.

    Those of the modalities come first. A version that is installed in this order is complete once the four other graphs
    are there.
    """
    return {**{m.graph_name: modality_graph(m) for m in modalities}, **GRAPHS}
