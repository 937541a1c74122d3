"""The graphs' configurations for Triton's backends: all run the same `model.onnx` under the same names.

- `python`: the bundle's `model.py` runs it, on CPUs. Widths are free, so that versions of different widths stand side
  by side.
- `onnxruntime`: Triton's ONNX Runtime backend, on CPUs or GPUs. It wants the file's own shapes, to the number.
- `tensorrt`: the same backend, which hands what it can to TensorRT and the rest to CUDA. Engines are built when a
  version is loaded, for the GPU that is there. The backend that takes ready engines (`tensorrt_plan`) would want one
  for each kind of GPU and each version of TensorRT, and none of it could run where a bundle is made.

Parameters as in https://github.com/triton-inference-server/onnxruntime_backend (README, src/onnxruntime.cc).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from inference.bundle.bundle import Manifest
from inference.bundle.graphs import GRAPHS, ITEM_ENCODER, Graph, Tensor

Name = Literal["python", "onnxruntime", "tensorrt"]

MOST_CANDIDATES: Final = 512
MOST_CONTENTS: Final = 4


@dataclass(frozen=True, slots=True)
class Backend:
    """What runs the graphs, and how.

    instances: of each graph, on the CPU or on each GPU. threads: of each instance on a CPU. preferred: batch sizes that
    the dynamic batcher should form, those above a graph's limit left out; delay_us: how long it may wait for them.
    TensorRT alone: half: item encoders compute in FP16 (the others never: a step must stay equal to a fold);
    workspace_mb: of GPU memory for an engine; engines: a folder on Triton's machine in which they are kept.
    """

    name: Name = "python"
    gpu: bool = False
    instances: int = 1
    threads: int = 1
    preferred: tuple[int, ...] = ()
    delay_us: int = 0
    half: bool = False
    workspace_mb: int = 1024
    engines: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for what does not go together."""
        if self.name == "python" and self.gpu:
            raise ValueError("the python backend computes on CPUs: onnxruntime and tensorrt take GPUs")
        if self.name == "tensorrt" and not self.gpu:
            raise ValueError("TensorRT computes on GPUs alone")
        if self.name != "tensorrt" and (self.half or self.engines):
            raise ValueError(f"FP16 and kept engines are TensorRT's, and not {self.name}'s")


SHIPPED: Final[Mapping[str, Backend]] = {
    "triton": Backend(),
    "triton-onnxruntime": Backend("onnxruntime"),
    "triton-tensorrt": Backend("tensorrt", gpu=True),
}
"""What every bundle comes with, by folder."""


def config(graph: Graph, manifest: Manifest, backend: Backend) -> str:
    """The graph's config.pbtxt.

    One file serves all versions of a graph that stand side by side. The queue is bounded, and a request leaves it
    unserved when its own timeout has passed.
    """
    widths: Mapping[str, int] = {} if backend.name == "python" else manifest.widths()
    return f"""name: "{graph.name}"
backend: "{"python" if backend.name == "python" else "onnxruntime"}"
max_batch_size: {graph.max_batch}
input [
{_tensors(graph.inputs, widths)}
]
output [
{_tensors(graph.outputs, widths)}
]
version_policy {{ latest {{ num_versions: 2 }} }}
instance_group [ {{ kind: KIND_{"GPU" if backend.gpu else "CPU"} count: {backend.instances} }} ]
dynamic_batching {{
{_preferred(graph, backend)}  max_queue_delay_microseconds: {backend.delay_us}
  default_queue_policy {{
    timeout_action: REJECT
    default_timeout_microseconds: 5000000
    allow_timeout_override: true
    max_queue_size: {graph.queue}
  }}
}}
{_computing(graph, manifest, backend)}"""


def _preferred(graph: Graph, backend: Backend) -> str:
    sizes = [str(size) for size in sorted(set(backend.preferred)) if size <= graph.max_batch]
    return f"  preferred_batch_size: [ {', '.join(sizes)} ]\n" if sizes else ""


def _computing(graph: Graph, manifest: Manifest, backend: Backend) -> str:
    if backend.name == "python":
        return f'parameters {{ key: "threads" value {{ string_value: "{backend.threads}" }} }}\n'
    if backend.name == "tensorrt":
        return _accelerator("tensorrt", _tensorrt(graph, manifest, backend)) + _warmup(graph, manifest)
    if backend.gpu:
        # TF32 would round to ten bits, and a step would no longer be a fold.
        return _accelerator("cuda", {"use_tf32": "0"})
    counts = {"intra_op_thread_count": backend.threads, "inter_op_thread_count": 1}
    return "".join(
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
        for key, value in counts.items()
    )


def _tensorrt(graph: Graph, manifest: Manifest, backend: Backend) -> dict[str, str]:
    encodes_items = graph.name == ITEM_ENCODER.name or graph.name not in GRAPHS
    half = backend.half and encodes_items
    found = {
        "precision_mode": "FP16" if half else "FP32",
        "max_workspace_size_bytes": str(backend.workspace_mb << 20),
    }
    if half:
        found["trt_layer_norm_fp32_fallback"] = "1"
    if backend.engines:
        # Engines are found again by names of tensors, which are the same in every version: a folder for each.
        found["trt_engine_cache_enable"] = "1"
        found["trt_engine_cache_path"] = f"{backend.engines}/{graph.name}-{manifest.version}"
    return found


def _accelerator(name: str, parameters: Mapping[str, str]) -> str:
    lines = "\n".join(
        f'    parameters {{ key: "{key}" value: "{value}" }}' for key, value in parameters.items()
    )
    return f"""optimization {{ execution_accelerators {{
  gpu_execution_accelerator [ {{
    name: "{name}"
{lines}
  }} ]
}} }}
"""


def _warmup(graph: Graph, manifest: Manifest) -> str:
    """The smallest call and the largest: an engine is built for all shapes between those it has met, and a version is
    not ready before. A larger call still works, once an engine has been built for it."""
    smallest = dict.fromkeys("tmn", 1)
    largest = {
        "t": manifest.text_tokens
        if graph.name == ITEM_ENCODER.name
        else manifest.history + manifest.refold_every,
        "m": MOST_CANDIDATES,
        "n": MOST_CONTENTS,
    }
    samples = [
        _sample(graph, manifest, name, batch, sizes)
        for name, batch, sizes in (("smallest", 1, smallest), ("largest", graph.max_batch, largest))
    ]
    joined = ",\n".join(samples)
    return f"model_warmup [\n{joined}\n]\n"


def _sample(graph: Graph, manifest: Manifest, name: str, batch: int, sizes: Mapping[str, int]) -> str:
    widths = {**manifest.widths(), **sizes}
    zeros = [
        f'    inputs {{ key: "{t.name}" '
        f"value {{ data_type: TYPE_{t.kind} dims: [ {_dims(t, widths)} ] zero_data: true }} }}"
        for t in graph.inputs
    ]
    return "\n".join(["  {", f'    name: "{name}"', f"    batch_size: {batch}", *zeros, "  }"])


def _tensors(tensors: Sequence[Tensor], widths: Mapping[str, int]) -> str:
    return ",\n".join(
        f'  {{ name: "{t.name}" data_type: TYPE_{t.kind} dims: [ {_dims(t, widths)} ] }}' for t in tensors
    )


def _dims(tensor: Tensor, widths: Mapping[str, int]) -> str:
    """Numbers of the graph are widths too, but for one, which is one in every version: where widths are free, so are
    they."""
    return ", ".join(
        str(widths.get(dim, -1) if isinstance(dim, str) else dim if widths or dim == 1 else -1)
        for dim in tensor.dims
    )
