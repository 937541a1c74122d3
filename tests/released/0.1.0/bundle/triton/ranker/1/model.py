"""Triton's python backend for every graph of a bundle: runs the `model.onnx` that lies beside it.

It travels inside the bundle and runs in Triton's own environment, which holds numpy and onnxruntime alone.
"""

import json
import os
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]


class TritonPythonModel:
    """One instance of one graph. Input and output names are those of the ONNX file."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the graph; raises, and so is not served, if the configuration names other tensors."""
        folder = os.path.join(args["model_repository"], args["model_version"])
        config = json.loads(args["model_config"])
        options = onnxruntime.SessionOptions()
        # By default every instance would take every core.
        options.intra_op_num_threads = int(config["parameters"]["threads"]["string_value"])
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            os.path.join(folder, "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = [tensor.name for tensor in self.session.get_inputs()]
        self.outputs = [tensor.name for tensor in self.session.get_outputs()]
        for side, names in (("input", self.inputs), ("output", self.outputs)):
            configured = {tensor["name"] for tensor in config[side]}
            if configured != set(names):
                raise pb_utils.TritonModelException(
                    f"{side}s of model.onnx are {sorted(names)}, config.pbtxt has {sorted(configured)}"
                )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers each request; those of equal shape run together."""
        fed = [
            [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs]
            for request in requests
        ]
        alike: dict[tuple[Any, ...], list[int]] = {}
        for place, arrays in enumerate(fed):
            alike.setdefault(tuple(array.shape[1:] for array in arrays), []).append(place)
        responses: list[Any] = [None] * len(requests)
        for places in alike.values():
            self._run(places, [fed[place] for place in places], responses)
        return responses

    def _run(self, places: list[int], fed: list[list[Any]], responses: list[Any]) -> None:
        batch = fed[0] if len(fed) == 1 else [np.concatenate(arrays) for arrays in zip(*fed, strict=True)]
        try:
            found = self.session.run(self.outputs, dict(zip(self.inputs, batch, strict=True)))
        except Exception as error:
            for place in places:
                responses[place] = pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
            return
        start = 0
        for place, arrays in zip(places, fed, strict=True):
            end = start + len(arrays[0])
            responses[place] = pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor(name, np.ascontiguousarray(array[start:end]))
                    for name, array in zip(self.outputs, found, strict=True)
                ]
            )
            start = end
