"""A bundle's graphs in this process, as a `Model`. Triton must agree with them."""

import numpy as np

from inference.bundle.bundle import Bundle, Manifest
from inference.bundle.graphs import ITEM_ENCODER, RANKER, USER_FOLD, USER_STEP, modality_graph
from inference.bundle.modalities import Prepared
from inference.model import Candidates, Floats, FoldResult, Histories, Ranking, States, Steps, Tokens
from models.export.local_graphs import LocalGraphs


class InProcess:
    """`inference.model.Model` without a server."""

    def __init__(self, bundle: Bundle) -> None:
        self._graphs = LocalGraphs(bundle, threads=1)
        self._manifest = bundle.manifest

    async def encode_items(self, version: int, tokens: Tokens, *, timeout: float) -> Floats:
        return self._graphs.run(ITEM_ENCODER, tokens.ids, tokens.mask, tokens.item_index[:, None])[0]

    async def add_modality(
        self, version: int, name: str, vectors: Floats, contents: Prepared, *, timeout: float
    ) -> Floats:
        return self._graphs.run(modality_graph(self._manifest.modality(name)), vectors, contents)[0]

    async def step(self, version: int, steps: Steps, *, timeout: float) -> States:
        raw = steps.actions[:, None], steps.gap_seconds[:, None], steps.values[:, None]
        return States(*self._graphs.run(USER_STEP, steps.state, steps.item_vectors, *raw))

    async def fold(self, version: int, histories: Histories, *, timeout: float) -> FoldResult:
        h = histories
        state, user, parts = self._graphs.run(
            USER_FOLD, h.item_vectors, h.actions, h.gap_seconds, h.values, h.mask
        )
        return FoldResult(States(state, user), parts)

    async def rank(self, version: int, users: States, candidates: Candidates, *, timeout: float) -> Ranking:
        c = candidates
        context = c.idle_seconds[:, None], c.vectors, c.age_seconds, c.popularity
        return Ranking(*self._graphs.run(RANKER, users.state, users.user_vector, *context))

    async def ready(self, version: int) -> bool:
        return True

    async def close(self) -> None:
        return None


def random_histories(users: int, length: int, width: int, seed: int = 0) -> Histories:
    """Histories of different lengths. The first one is empty, and the second one has the full length."""
    rng = np.random.default_rng(seed)
    sizes = np.r_[0, length, rng.integers(1, length + 1, max(0, users - 2))][:users]
    mask = (np.arange(length) < sizes[:, None]).astype(np.float32)
    shape = users, length
    values = np.where(rng.random(shape) < 0.5, np.nan, rng.uniform(1, 5, shape)).astype(np.float32)
    gaps = (rng.exponential(1e4, shape) * (np.arange(length) > 0)).astype(np.float32)
    return Histories(
        (rng.standard_normal((*shape, width)) * mask[..., None]).astype(np.float32),
        rng.integers(0, 10, shape) * mask.astype(np.int64),
        gaps * mask,
        np.where(mask > 0, values, np.float32(np.nan)),
        mask,
    )


def random_candidates(count: int, manifest: Manifest, seed: int = 0, users: int = 1) -> Candidates:
    """Candidates, some without age or popularity, for users who have been idle for about an hour."""
    lists = users, count
    popularities = *lists, len(manifest.popularity_half_lives_days)
    rng = np.random.default_rng(seed)
    return Candidates(
        rng.standard_normal((*lists, manifest.width)).astype(np.float32),
        np.where(rng.random(lists) < 0.3, -1, rng.exponential(1e7, lists)).astype(np.float32),
        np.where(rng.random(popularities) < 0.3, 0, rng.exponential(10, popularities)).astype(np.float32),
        rng.exponential(3600, users).astype(np.float32),
    )
