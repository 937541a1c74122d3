"""The model on Triton, over gRPC."""

import asyncio
import math
import time
from collections.abc import Iterable, Mapping, Sequence

import grpc
import numpy as np
import structlog
import tritonclient.grpc.aio as triton_aio  # type: ignore[import-untyped]
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]

from inference import metrics
from inference.bundle.bundle import Manifest
from inference.bundle.graphs import (
    FLOAT,
    INT,
    ITEM_ENCODER,
    RANKER,
    USER_FOLD,
    USER_STEP,
    Graph,
    modality_graph,
)
from inference.bundle.modalities import Prepared
from inference.model import (
    Candidates,
    Floats,
    FoldResult,
    Histories,
    ModelUnavailable,
    NotFinite,
    Ranking,
    States,
    Steps,
    Tokens,
)
from inference.settings import TritonSettings
from telemetry.breaker import Breaker
from telemetry.tracing.spans import SpanKind, child

log = structlog.get_logger()

Array = NDArray[np.float32 | np.int64 | np.uint8]

_TYPES = {FLOAT: np.float32, INT: np.int64, "UINT8": np.uint8}

# The channel reconnects within half a second after Triton is back, instead of gRPC's twenty seconds.
_CHANNEL = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]
_REASONS = {
    "StatusCode.DEADLINE_EXCEEDED": "deadline",
    "StatusCode.UNAVAILABLE": "unreachable",
}
_SPAN = {"rpc.system.name": "grpc", "rpc.method": "inference.GRPCInferenceService/ModelInfer"}
# Triton refused the input. This says nothing about its health.
_INPUT = {"StatusCode.INVALID_ARGUMENT"}


class TritonModel:
    """Implements `inference.model.Model` over Triton's gRPC protocol.

    Must be created inside a running event loop. A call that exceeds a graph's batch limit is split into several
    requests. Triton gets the deadline of each request, so it drops requests from its queue that have timed out.

    Args:
        settings: The connection and its circuit breakers.
        manifests: The versions to serve. Every answer is checked against their widths.
    """

    def __init__(self, settings: TritonSettings, manifests: Iterable[Manifest]) -> None:
        self._settings = settings
        self._manifests = {m.version: m for m in manifests}
        self._client = triton_aio.InferenceServerClient(
            settings.address, ssl=settings.tls, channel_args=_CHANNEL
        )
        self._breakers: dict[tuple[str, int], Breaker] = {}

    def serve(self, manifests: Iterable[Manifest]) -> None:
        """Replaces the versions that are served. Calls in progress continue."""
        self._manifests = {m.version: m for m in manifests}
        for key in [key for key in self._breakers if key[1] not in self._manifests]:
            if self._breakers.pop(key).open:
                metrics.BREAKER_OPEN.labels(key[0]).set(0)

    async def encode_items(self, version: int, tokens: Tokens, *, timeout: float) -> Floats:
        """See `Model.encode_items`."""
        inputs: dict[str, Array] = {
            "input_ids": tokens.ids,
            "attention_mask": tokens.mask,
            "item_index": tokens.item_index[:, None],
        }
        return (await self._call(ITEM_ENCODER, version, inputs, timeout))["vector"]

    async def add_modality(
        self, version: int, name: str, vectors: Floats, contents: Prepared, *, timeout: float
    ) -> Floats:
        """See `Model.add_modality`."""
        graphs = {m.name: modality_graph(m) for m in self._manifest(ITEM_ENCODER, version).modalities}
        if name not in graphs:
            raise ModelUnavailable(f"model version {version} has no modality {name}")
        inputs: dict[str, Array] = {"vector": vectors, name: contents}
        return (await self._call(graphs[name], version, inputs, timeout))["item_vector"]

    async def step(self, version: int, steps: Steps, *, timeout: float) -> States:
        """See `Model.step`."""
        inputs: dict[str, Array] = {
            "state": steps.state,
            "item_vector": steps.item_vectors,
            "action": steps.actions[:, None],
            "gap_seconds": steps.gap_seconds[:, None],
            "value": steps.values[:, None],
        }
        found = await self._call(USER_STEP, version, inputs, timeout)
        return States(found["next_state"], found["user_vector"])

    async def fold(self, version: int, histories: Histories, *, timeout: float) -> FoldResult:
        """See `Model.fold`."""
        inputs: dict[str, Array] = {
            "item_vectors": histories.item_vectors,
            "actions": histories.actions,
            "gap_seconds": histories.gap_seconds,
            "values": histories.values,
            "mask": histories.mask,
        }
        found = await self._call(USER_FOLD, version, inputs, timeout)
        return FoldResult(States(found["state"], found["user_vector"]), found["contributions"])

    async def rank(self, version: int, users: States, candidates: Candidates, *, timeout: float) -> Ranking:
        """See `Model.rank`."""
        lists, longest = candidates.age_seconds.shape
        if not lists * longest:
            actions = len(self._manifest(RANKER, version).actions)
            shape = lists, longest
            return Ranking(np.zeros((*shape, actions), np.float32), np.zeros(shape, np.float32))
        inputs: dict[str, Array] = {
            "state": users.state,
            "user_vector": users.user_vector,
            "idle_seconds": candidates.idle_seconds[:, None],
            "candidates": candidates.vectors,
            "age_seconds": candidates.age_seconds,
            "popularity": candidates.popularity,
        }
        found = await self._call(RANKER, version, inputs, timeout)
        return Ranking(found["probabilities"], found["predicted_value"])

    async def ready(self, version: int) -> bool:
        """Whether all graphs of this version answer within a second. Never raises."""
        manifest = self._manifests.get(version)
        if manifest is None:
            return False
        try:
            async with asyncio.timeout(1):
                answers = await asyncio.gather(
                    *(
                        self._client.is_model_ready(name, str(version), client_timeout=1)
                        for name in manifest.graphs()
                    )
                )
        except (InferenceServerException, grpc.RpcError, TimeoutError):
            return False
        return all(answers)

    async def close(self) -> None:
        """Closes the connection."""
        await self._client.close()

    async def _call(
        self, graph: Graph, version: int, inputs: Mapping[str, Array], timeout: float
    ) -> dict[str, Floats]:
        """Returns the graph's outputs. Sends as many requests as its batch limit requires."""
        manifest = self._manifest(graph, version)
        _check_widths(graph, manifest, inputs)
        rows = len(next(iter(inputs.values())))
        deadline = time.monotonic() + timeout
        parts = []
        for start in range(0, max(rows, 1), graph.max_batch):
            part = {name: array[start : start + graph.max_batch] for name, array in inputs.items()}
            parts.append(await self._request(graph, manifest, part, deadline - time.monotonic()))
        outputs = (
            parts[0]
            if len(parts) == 1
            else {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        )
        _check_finite(graph, outputs)
        return outputs

    def _manifest(self, graph: Graph, version: int) -> Manifest:
        manifest = self._manifests.get(version)
        if manifest is None:
            raise _failure(graph, "unknown_version", f"model version {version} is not served")
        return manifest

    async def _request(
        self, graph: Graph, manifest: Manifest, inputs: Mapping[str, Array], timeout: float
    ) -> dict[str, Floats]:
        rows = len(next(iter(inputs.values())))
        if not rows:
            return {
                t.name: np.zeros(_shape(t.dims, manifest, inputs, graph), np.float32) for t in graph.outputs
            }
        if timeout <= 0:
            raise _failure(graph, "deadline", "no time left before the call")
        breaker = self._breaker(graph, manifest.version)
        if not breaker.allow():
            raise _failure(graph, "breaker", "its circuit breaker is open after repeated failures")
        started = time.monotonic()
        try:
            # The span's name has the graph, because the method is the same for all graphs.
            with child(f"ModelInfer {graph.name}", SpanKind.CLIENT, _SPAN | {"recstream.rows": rows}):
                result = await self._client.infer(
                    graph.name,
                    [_input(name, array, graph) for name, array in inputs.items()],
                    model_version=str(manifest.version),
                    timeout=max(1, math.ceil(timeout * 1e6)),
                    client_timeout=timeout,
                )
        except InferenceServerException as error:
            status, message = str(error.status()), str(error.message())
            if status in _INPUT:
                breaker.abandoned()
            else:
                self._failed(graph, breaker)
            raise _failure(graph, _REASONS.get(status, "refused"), f"{status}: {message}") from error
        except BaseException:
            breaker.abandoned()
            raise
        outputs = {}
        for tensor in graph.outputs:
            array = result.as_numpy(tensor.name)
            wanted = _shape(tensor.dims, manifest, inputs, graph)
            if array is None or array.shape != wanted or array.dtype != np.float32:
                self._failed(graph, breaker)
                got = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
                raise _failure(graph, "wrong_shape", f"{tensor.name} is {got}, not float32{list(wanted)}")
            outputs[tensor.name] = array
        breaker.succeeded()
        metrics.BREAKER_OPEN.labels(graph.name).set(0)
        metrics.CALL_SECONDS.labels(graph.name).observe(time.monotonic() - started)
        metrics.CALL_ROWS.labels(graph.name).observe(rows)
        return outputs

    def _breaker(self, graph: Graph, version: int) -> Breaker:
        breaker = self._breakers.get((graph.name, version))
        if breaker is None:
            settings = self._settings
            breaker = Breaker(
                failures=settings.breaker_failures,
                pause_seconds=settings.breaker_open_ms / 1000,
                max_pause_seconds=settings.breaker_open_max_ms / 1000,
            )
            self._breakers[graph.name, version] = breaker
        return breaker

    def _failed(self, graph: Graph, breaker: Breaker) -> None:
        was_open = breaker.open
        breaker.failed()
        if breaker.open and not was_open:
            metrics.BREAKER_OPEN.labels(graph.name).set(1)
            log.warning("triton_breaker_opened", graph=graph.name, address=self._settings.address)


def _failure(graph: Graph, reason: str, detail: str) -> ModelUnavailable:
    metrics.CALL_FAILURES.labels(graph.name, reason).inc()
    return ModelUnavailable(f"{graph.name}: {detail}")


def _check_widths(graph: Graph, manifest: Manifest, inputs: Mapping[str, Array]) -> None:
    """Refuses inputs that Triton would refuse, so that a caller's mistake does not count as Triton's failure."""
    widths = manifest.widths()
    for tensor in graph.inputs:
        for dim, size in zip(tensor.dims, inputs[tensor.name].shape[1:], strict=True):
            if isinstance(dim, str) and widths.get(dim, size) != size:
                wanted = f"{dim} of version {manifest.version} is {widths[dim]}"
                raise _failure(graph, "wrong_shape", f"{tensor.name} is {size} wide, {wanted}")


def _check_finite(graph: Graph, outputs: Mapping[str, Floats]) -> None:
    bad: set[int] = set()
    for array in outputs.values():
        # A finite sum means that every number is finite. A sum that is not may only have overflowed.
        if not math.isfinite(float(array.sum())):
            finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
            bad.update(np.flatnonzero(~finite).tolist())
    if bad:
        metrics.CALL_FAILURES.labels(graph.name, "not_finite").inc()
        raise NotFinite(f"{graph.name}: {len(bad)} rows are not finite", tuple(sorted(bad)))


def _shape(
    dims: Sequence[str | int], manifest: Manifest, inputs: Mapping[str, Array], graph: Graph
) -> tuple[int, ...]:
    """The shape that an output with these dimensions must have for these inputs."""
    sizes = manifest.widths()
    for tensor in graph.inputs:
        for dim, size in zip(tensor.dims, inputs[tensor.name].shape[1:], strict=True):
            if isinstance(dim, str):
                sizes.setdefault(dim, size)
    rows = len(next(iter(inputs.values())))
    return (rows, *(sizes[dim] if isinstance(dim, str) else dim for dim in dims))


def _input(name: str, array: Array, graph: Graph) -> triton_aio.InferInput:
    kind = next(t.kind for t in graph.inputs if t.name == name)
    tensor = triton_aio.InferInput(name, list(array.shape), kind)
    tensor.set_data_from_numpy(np.ascontiguousarray(array, _TYPES[kind]))
    return tensor
