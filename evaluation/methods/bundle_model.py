"""A bundle's graphs in this process, as a `Model`."""

from collections.abc import Callable, Sequence

from evaluation.methods.evaluated_model import EvaluatedModel
from evaluation.methods.item_vectors import item_vectors
from inference.bundle.bundle import Bundle
from inference.bundle.graphs import ITEM_ENCODER, RANKER, USER_FOLD, USER_STEP, modality_graph
from inference.bundle.modalities import Prepared
from inference.model import Candidates, Floats, FoldResult, Histories, Ranking, States, Steps, Tokens
from models.data.events import ItemText
from models.export.local_graphs import LocalGraphs


class BundleModel:
    """`inference.model.Model` without Triton: calls are computed in this process, and timeouts are ignored."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        """Args:
        bundle: The bundle whose graphs run.
        threads: Threads of each call.
        """
        self.graphs = LocalGraphs(bundle, threads)
        self._manifest = bundle.manifest

    async def encode_items(self, version: int, tokens: Tokens, *, timeout: float) -> Floats:
        """See `Model.encode_items`."""
        return self.graphs.run(ITEM_ENCODER, tokens.ids, tokens.mask, tokens.item_index[:, None])[0]

    async def add_modality(
        self, version: int, name: str, vectors: Floats, contents: Prepared, *, timeout: float
    ) -> Floats:
        """See `Model.add_modality`."""
        return self.graphs.run(modality_graph(self._manifest.modality(name)), vectors, contents)[0]

    async def step(self, version: int, steps: Steps, *, timeout: float) -> States:
        """See `Model.step`."""
        event = steps.actions[:, None], steps.gap_seconds[:, None], steps.values[:, None]
        return States(*self.graphs.run(USER_STEP, steps.state, steps.item_vectors, *event))

    async def fold(self, version: int, histories: Histories, *, timeout: float) -> FoldResult:
        """See `Model.fold`."""
        h = histories
        state, user, contributions = self.graphs.run(
            USER_FOLD, h.item_vectors, h.actions, h.gap_seconds, h.values, h.mask
        )
        return FoldResult(States(state, user), contributions)

    async def rank(self, version: int, users: States, candidates: Candidates, *, timeout: float) -> Ranking:
        """See `Model.rank`."""
        c = candidates
        lists = c.idle_seconds[:, None], c.vectors, c.age_seconds, c.popularity
        return Ranking(*self.graphs.run(RANKER, users.state, users.user_vector, *lists))

    async def ready(self, version: int) -> bool:
        """See `Model.ready`."""
        return True

    async def close(self) -> None:
        """See `Model.close`."""


def bundle_model(
    bundle: Bundle,
    item_ids: Sequence[str],
    items: Sequence[ItemText],
    *,
    threads: int = 1,
    advance: Callable[[int], None] = lambda done: None,
) -> EvaluatedModel:
    """Loads a bundle and computes the items' vectors.

    Args:
        bundle: A checked bundle.
        item_ids: Ids of the split's items.
        items: Their texts and media. An id that is missing here is embedded with an empty text.
        threads: Threads of each call.
        advance: Called with the number of items of each batch.
    """
    model = BundleModel(bundle, threads)
    vectors = item_vectors(bundle, model.graphs, item_ids, items, advance)
    return EvaluatedModel(model, bundle.manifest, vectors)
