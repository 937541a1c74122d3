"""A first call of every graph, before a version is used."""

import numpy as np

from inference.bundle.bundle import Bundle
from inference.model import Candidates, Histories, Model, ModelUnavailable, Steps


async def smoke_test(model: Model, bundle: Bundle, *, timeout: float) -> None:
    """Encodes an item, folds and steps a history of one event, and ranks the item.

    Args:
        model: The model.
        bundle: The bundle of the version to test.
        timeout: Seconds for each call.

    Raises:
        ModelUnavailable: A graph gives no usable answer.
    """
    manifest, version = bundle.manifest, bundle.manifest.version
    if not await model.ready(version):
        raise ModelUnavailable(f"not all graphs of version {version} are ready")
    vectors = await model.encode_items(
        version, bundle.tokens(["smoke-test"], ["A smoke test"]), timeout=timeout
    )
    actions, zeros = np.ones((1, 1), np.int64), np.zeros((1, 1), np.float32)
    values = np.full((1, 1), np.nan, np.float32)
    history = Histories(vectors[:, None, :], actions, zeros, values, np.ones((1, 1), np.float32))
    user = (await model.fold(version, history, timeout=timeout)).states
    step = Steps(user.state, vectors, actions[0], zeros[0], values[0])
    await model.step(version, step, timeout=timeout)
    popularity = np.zeros((1, 1, len(manifest.popularity_half_lives_days)), np.float32)
    idle = np.zeros(1, np.float32)
    candidates = Candidates(vectors[None], np.zeros((1, 1), np.float32), popularity, idle_seconds=idle)
    ranking = await model.rank(version, user, candidates, timeout=timeout)
    if ranking.probabilities.shape != (1, 1, len(manifest.actions)):
        raise ModelUnavailable(f"ranker: probabilities of shape {ranking.probabilities.shape}")
