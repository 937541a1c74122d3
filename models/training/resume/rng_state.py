"""Where every source of chance of a training stands, as JSON, so that a training goes on as if it had not stopped."""

import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


def of_generators(generators: Sequence[np.random.Generator]) -> str:
    """States of numpy generators."""
    return json.dumps([generator.bit_generator.state for generator in generators])


def put_generators(text: str, generators: Sequence[np.random.Generator]) -> None:
    """The generators go on from there. Raises ValueError where they are not as many or of another kind."""
    for generator, state in zip(generators, json.loads(text), strict=True):
        generator.bit_generator.state = state


def of_process() -> str:
    """States that this process has one of: Python's, numpy's, and torch's on the CPU and on its GPU."""
    version, numbers, gauss = random.getstate()
    # The older interface has a state of its own; libraries still draw from it.
    kind, keys, place, has_gauss, cached = np.random.get_state(legacy=True)
    found: dict[str, Any] = {
        "python": [version, list(numbers), gauss],
        "numpy": [kind, [int(key) for key in keys], place, has_gauss, cached],
        "torch": _text(torch.get_rng_state()),
    }
    if torch.cuda.is_available():
        found["cuda"] = _text(torch.cuda.get_rng_state())
    return json.dumps(found)


def put_process(text: str) -> None:
    """This process goes on from there."""
    states = json.loads(text)
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, place, has_gauss, cached = states["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), place, has_gauss, cached))
    torch.set_rng_state(_tensor(states["torch"]))
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(_tensor(states["cuda"]))


def _text(state: torch.Tensor) -> str:
    return bytes(state.tolist()).hex()


def _tensor(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
