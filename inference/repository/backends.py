"""The graphs' configurations for Triton's backends. All backends run the same `model.onnx` under the same names.

- `python`: the bundle's `model.py` runs the graph on CPUs. Widths are not fixed, so versions of different widths can be
  served side by side.
- `onnxruntime`: Triton's ONNX Runtime backend, on CPUs or GPUs. It requires the exact shapes of the file.
- `tensorrt`: the same backend, which gives TensorRT the parts that it can run, and CUDA the rest. Engines are built for
  the GPU at hand when a version is loaded. The backend for prebuilt engines (`tensorrt_plan`) would need one engine for
  each kind of GPU and each version of TensorRT, and the machine that makes a bundle could run none of them.

Parameters: https://github.com/triton-inference-server/onnxruntime_backend (README, src/onnxruntime.cc).
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
    """How Triton runs the graphs.

    Attributes:
        name: The backend.
        gpu: Whether the graphs run on GPUs.
        instances: Instances of each graph, on the CPU or on each GPU.
        threads: Threads of each instance on a CPU.
        preferred: Batch sizes that the dynamic batcher should form. Those above a graph's limit are left out.
        delay_us: Microseconds that the dynamic batcher may wait to form them.
        half: TensorRT only: item encoders compute in FP16. The other graphs never do, because a step must stay equal to
            a fold.
        workspace_mb: TensorRT only: GPU memory for an engine, in MiB.
        engines: TensorRT only: folder on Triton's machine in which engines are cached. Empty: they are not.
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
        """Raises ValueError for options that contradict each other."""
        if self.name == "python" and self.gpu:
            raise ValueError("the python backend runs on CPUs only; onnxruntime and tensorrt run on GPUs")
        if self.name == "tensorrt" and not self.gpu:
            raise ValueError("TensorRT runs on GPUs only")
        if self.name != "tensorrt" and (self.half or self.engines):
            raise ValueError(f"FP16 and cached engines need TensorRT, not {self.name}")


SHIPPED: Final[Mapping[str, Backend]] = {
    "triton": Backend(),
    "triton-onnxruntime": Backend("onnxruntime"),
    "triton-tensorrt": Backend("tensorrt", gpu=True),
}
"""The configurations in every bundle, by folder."""


def config(graph: Graph, manifest: Manifest, backend: Backend) -> str:
    """The text of the graph's config.pbtxt.

    All versions of a graph in a repository share one file. The queue is bounded, and Triton rejects a queued request
    whose own timeout has passed.
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
        # TF32 would round to ten bits, and a step would no longer equal a fold.
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
        # Cached engines are looked up by names of tensors. All versions have the same names, so each gets a folder.
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
    """Warm-up samples of the smallest and the largest call.

    An engine covers all shapes between those that it has seen, and a version is not ready before the warm-up is done. A
    larger call still works, but waits for a new engine.
    """
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
    """A tensor's dimensions. Without `widths` all are -1 (any size), also the numbers of a graph, since they may differ
    between versions. Only a 1 is the same in every version."""
    return ", ".join(
        str(widths.get(dim, -1) if isinstance(dim, str) else dim if widths or dim == 1 else -1)
        for dim in tensor.dims
    )
