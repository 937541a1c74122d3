"""The graphs of a bundle: names, tensors and batch limits, as Triton and the exporter know them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from inference.modalities import Modality

FLOAT: Final = "FP32"
INT: Final = "INT64"


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named tensor behind the batch dimension. Dimensions are numbers, `d` (model width), `S` (state width), `A`
    (actions) and `P` (half-lives of popularity) as the manifest has them, or free: `t` (events, or tokens), `m`
    (candidates) and `n` (contents of an item)."""

    name: str
    kind: str
    dims: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """One ONNX graph. max_batch: rows in one call at most; queue: requests that may wait for it in Triton."""

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
"""Those that every bundle has."""


def modality_graph(modality: Modality) -> Graph:
    """The graph that adds a modality to vectors of items: of each item the n contents, prepared.

    It is a graph apart, so that an item without the modality costs nothing, and `item_encoder` is one and the same
    with and without. What an item does not have is left out: that is its mask.
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
    """All graphs of a bundle with these modalities, by name. Those of modalities come first, so that what is put
    into place in this order is whole when the four are."""
    return {**{m.graph_name: modality_graph(m) for m in modalities}, **GRAPHS}


def triton_config(graph: Graph) -> str:
    """The graph's config.pbtxt.

    One file serves all versions of a graph, and two of them side by side, so every width in it is free:
    versions of different widths can follow each other without a gap. The queue is bounded and a request
    leaves it unserved when its own timeout has passed.
    """
    return f"""name: "{graph.name}"
backend: "python"
max_batch_size: {graph.max_batch}
input [
{_tensors(graph.inputs)}
]
output [
{_tensors(graph.outputs)}
]
version_policy {{ latest {{ num_versions: 2 }} }}
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
dynamic_batching {{
  max_queue_delay_microseconds: 0
  default_queue_policy {{
    timeout_action: REJECT
    default_timeout_microseconds: 5000000
    allow_timeout_override: true
    max_queue_size: {graph.queue}
  }}
}}
parameters {{ key: "threads" value {{ string_value: "1" }} }}
"""


def _tensors(tensors: tuple[Tensor, ...]) -> str:
    return ",\n".join(
        f'  {{ name: "{t.name}" data_type: TYPE_{t.kind} dims: [ {", ".join(_dim(d) for d in t.dims)} ] }}'
        for t in tensors
    )


def _dim(dim: str | int) -> str:
    # One number is no width: it stays one in every version.
    return "1" if dim == 1 else "-1"
