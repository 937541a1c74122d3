"""A model of plain arithmetic, for tests of ingest."""

import asyncio

import numpy as np

from inference.bundle.bundle import Manifest
from inference.bundle.modalities import Prepared
from inference.model import (
    Candidates,
    Floats,
    FoldResult,
    Histories,
    ModelUnavailable,
    Ranking,
    Steps,
    Tokens,
)
from inference.model import States as ModelStates
from profiles.actions import ProfileSettings

WIDTH = 4
VERSION = 7


def manifest_for(settings: ProfileSettings, version: int = VERSION) -> Manifest:
    return Manifest(
        version=version,
        width=WIDTH,
        state_width=WIDTH,
        actions=("click", "purchase", "like"),
        history=settings.history,
        refold_every=settings.refold_every,
        text_tokens=16,
        popularity_half_lives_days=(14,),
        files={},
    )


class ArithmeticModel:
    """state' = state / 2 + action * item. The user vector is the state. A fold is a series of steps from zero."""

    def __init__(self) -> None:
        self.down = False
        self.seconds = 0.0
        self.steps = 0
        self.folds = 0
        self.encoded: list[int] = []

    async def _answer(self) -> None:
        await asyncio.sleep(self.seconds)
        if self.down:
            raise ModelUnavailable("switched off")

    async def encode_items(self, version: int, tokens: Tokens, *, timeout: float) -> Floats:
        await self._answer()
        self.encoded.append(len(tokens.ids))
        return np.repeat(tokens.ids.sum(axis=1, keepdims=True), WIDTH, axis=1).astype(np.float32)

    async def add_modality(
        self, version: int, name: str, vectors: Floats, contents: Prepared, *, timeout: float
    ) -> Floats:
        raise ModelUnavailable("it has no modalities but text")

    async def step(self, version: int, steps: Steps, *, timeout: float) -> ModelStates:
        await self._answer()
        self.steps += len(steps.actions)
        state = (steps.state / 2 + steps.actions[:, None] * steps.item_vectors).astype(np.float32)
        return ModelStates(state, state)

    async def fold(self, version: int, histories: Histories, *, timeout: float) -> FoldResult:
        await self._answer()
        self.folds += len(histories.actions)
        state = np.zeros((len(histories.actions), WIDTH), np.float32)
        for place in range(histories.actions.shape[1]):
            there = histories.mask[:, place, None] > 0
            after = state / 2 + histories.actions[:, place, None] * histories.item_vectors[:, place]
            state = np.where(there, after, state).astype(np.float32)
        return FoldResult(ModelStates(state, state), histories.item_vectors)

    async def rank(
        self, version: int, users: ModelStates, candidates: Candidates, *, timeout: float
    ) -> Ranking:
        raise ModelUnavailable("ingest does not rank")

    async def ready(self, version: int) -> bool:
        return not self.down

    async def close(self) -> None: ...
