"""States of all random number generators as JSON, so that a resumed training draws what it would have drawn."""

import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


def generator_states(generators: Sequence[np.random.Generator]) -> str:
    """States of numpy generators."""
    return json.dumps([generator.bit_generator.state for generator in generators])


def restore_generators(states: str, generators: Sequence[np.random.Generator]) -> None:
    """Restores what `generator_states` returned.

    Raises:
        ValueError: there are more or fewer generators, or of another kind.
    """
    for generator, state in zip(generators, json.loads(states), strict=True):
        generator.bit_generator.state = state


def process_states() -> str:
    """States of this process's global generators: Python's, numpy's, and torch's on the CPU and on its GPU."""
    version, numbers, gauss = random.getstate()
    # numpy's legacy interface has its own state, and libraries still draw from it.
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    found: dict[str, Any] = {
        "python": [version, list(numbers), gauss],
        "numpy": [kind, [int(key) for key in keys], position, has_gauss, cached],
        "torch": _to_hex(torch.get_rng_state()),
    }
    if torch.cuda.is_available():
        found["cuda"] = _to_hex(torch.cuda.get_rng_state())
    return json.dumps(found)


def restore_process(states: str) -> None:
    """Restores what `process_states` returned."""
    found = json.loads(states)
    version, numbers, gauss = found["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, position, has_gauss, cached = found["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), position, has_gauss, cached))
    torch.set_rng_state(_from_hex(found["torch"]))
    if "cuda" in found and torch.cuda.is_available():
        torch.cuda.set_rng_state(_from_hex(found["cuda"]))


def _to_hex(state: torch.Tensor) -> str:
    return bytes(state.tolist()).hex()


def _from_hex(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
