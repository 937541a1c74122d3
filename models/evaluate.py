"""Next item: would the list that was asked for just before an event have held its item?

The composition is the served one, run from the bundle's own graphs: the state of exactly the events that
serving folds, candidates near the user vector and popular ones, the ranker, the blend by action weights. The
history grows with every event, the weights stay. Every positive event counts, over all items that the user
has not taken; so does the reference, popularity.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from rich.progress import Progress

from inference.bundle import Bundle
from inference.graphs import GRAPHS, ITEM_ENCODER, RANKER, USER_FOLD, Graph
from models.data import Events, Floats, InteractionTable, Ints, ItemText, events
from models.popularity import PopularityHistory
from models.windows import gaps
from profiles.actions import Action, Actions, default_actions

_ITEM_BATCH = 16
_USER_BATCH = 64


class EvaluateSettings(BaseModel):
    """What is measured, with what composition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nearest: int = Field(200, ge=0, description="Candidates near the user vector")
    popular: int = Field(100, ge=0, description="Popular candidates")
    half_life_days: float = Field(7, gt=0, description="Half-life of the popularity that the ranker is given")
    at: int = Field(10, ge=1, description="k: length of the list")
    actions: dict[str, Action] = Field(default_factory=default_actions, description="Actions by name")


@dataclass(frozen=True, slots=True)
class HitRates:
    """Shares of targets that were in the list: of the ranked list, of the nearest items alone, of the items
    popular by all positive events so far, and by those weighed by age."""

    targets: int
    ranked: float
    nearest: float
    popular: float
    popular_by_age: float


@dataclass(frozen=True, slots=True)
class NextItem:
    """The measure over all users, and over those with at least one event in training (`warm`)."""

    at: int
    all: HitRates
    warm: HitRates
    tied_targets: int

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self)


class LocalGraphs:
    """The bundle's graphs in this process."""

    def __init__(self, bundle: Bundle, threads: int = 2) -> None:
        self._sessions = {name: self._session(bundle, name, threads) for name in GRAPHS}

    @staticmethod
    def _session(bundle: Bundle, name: str, threads: int) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        path = bundle.folder / "triton" / name / str(bundle.manifest.version) / "model.onnx"
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(self, graph: Graph, *inputs: NDArray[np.generic]) -> list[Floats]:
        """Outputs in the graph's order for inputs in the graph's order."""
        names = [t.name for t in graph.inputs]
        found: list[Floats] = self._sessions[graph.name].run(
            [t.name for t in graph.outputs], dict(zip(names, inputs, strict=True))
        )
        return found


def next_item(
    bundle: Bundle,
    training: InteractionTable,
    replay: InteractionTable,
    items: Sequence[ItemText],
    settings: EvaluateSettings,
    progress: Progress | None = None,
) -> NextItem:
    """Measures the bundle, which was trained on `training`, over the positive events of `replay`."""
    show = progress or Progress(disable=True)
    actions = Actions(settings.actions)
    first = len(events([training], items, actions))
    known = events([training, replay], items, actions)
    graphs = LocalGraphs(bundle)
    vectors = _item_vectors(bundle, graphs, known, items, show)
    targets = [
        (row, rows[:place])
        for rows in known.by_user()
        for place, row in enumerate(rows)
        if row >= first and known.positive[row]
    ]
    targets.sort(key=lambda target: target[0])
    popularity = PopularityHistory(known, settings.half_life_days, snapshots=4096)
    ranker = _Composition(bundle, graphs, known, vectors, items, popularity, settings)
    warm_users = np.unique(known.users[:first])
    positives = _Positives(known)

    task = show.add_task("Next item", total=len(targets))
    hits = np.zeros((len(targets), 4))
    for start in range(0, len(targets), _USER_BATCH):
        part = targets[start : start + _USER_BATCH]
        ranked, nearest, by_age = ranker.scores(part)
        for place, (row, before) in enumerate(part):
            taken = known.items[before][~known.repeats[before]]
            taken = taken[taken != known.items[row]]
            by_count = positives.before(int(row)).astype(np.float64)
            for column, scores in enumerate((ranked[place], nearest[place], by_count, by_age[place])):
                hits[start + place, column] = _hit(scores.copy(), taken, int(known.items[row]), settings.at)
        show.advance(task, len(part))
    rows = np.array([row for row, _ in targets], np.int64)
    return NextItem(
        settings.at,
        _rates(hits),
        _rates(hits[np.isin(known.users[rows], warm_users)]),
        _tied(known, rows),
    )


class _Composition:
    """Scores of all items for each target: -inf for what is not a candidate."""

    def __init__(
        self,
        bundle: Bundle,
        graphs: LocalGraphs,
        known: Events,
        vectors: Floats,
        items: Sequence[ItemText],
        popularity: PopularityHistory,
        settings: EvaluateSettings,
    ) -> None:
        self._manifest, self._graphs, self._known, self._vectors = bundle.manifest, graphs, known, vectors
        self._popularity, self._settings = popularity, settings
        self._gaps = gaps(known)
        published = {item.item_id: item.published_ms or 0 for item in items}
        self._published = np.array([published.get(i, 0) for i in known.item_ids], np.int64)
        self._weights = np.array(
            [settings.actions[a].weight if a in settings.actions else 0.0 for a in bundle.manifest.actions]
        )
        self._actions = np.array([bundle.manifest.action_index(a) for a in known.action_names], np.int64)

    def scores(self, targets: Sequence[tuple[int, Ints]]) -> tuple[Floats, Floats, Floats]:
        """[b, items] each: ranked, nearest, popularity by age."""
        states, users = self._fold([self._covered(before) for _, before in targets])
        times = self._known.time_ms[[row for row, _ in targets]]
        popular = self._popularity.at(times)
        near: Floats = users @ self._vectors.T
        ranked = np.full(near.shape, -np.inf, np.float32)
        for place, (_, before) in enumerate(targets):
            free = np.ones(near.shape[1], np.bool_)
            free[self._known.items[before][~self._known.repeats[before]]] = False
            # A target that was taken before is nothing that any list may hold.
            candidates = np.union1d(
                _best(near[place], free, self._settings.nearest),
                _best(popular[place], free, self._settings.popular),
            )
            if not len(candidates):
                continue
            seconds = np.maximum(times[place] - self._published[candidates], 0) / 1000
            age = np.where(self._published[candidates] > 0, seconds, -1).astype(np.float32)
            probabilities, _ = self._graphs.run(
                RANKER,
                states[place : place + 1],
                users[place : place + 1],
                self._vectors[candidates][None],
                age[None],
                popular[place, candidates][None],
            )
            ranked[place, candidates] = probabilities[0] @ self._weights
        return ranked, near, popular

    def _covered(self, before: Ints) -> Ints:
        history, every = self._manifest.history, self._manifest.refold_every
        return before[max(0, (len(before) - history) // every * every) :]

    def _fold(self, histories: Sequence[Ints]) -> tuple[Floats, Floats]:
        shape = len(histories), max(1, max(len(rows) for rows in histories))
        rows, mask = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        for place, history in enumerate(histories):
            rows[place, : len(history)] = history
            mask[place, : len(history)] = 1
        gap = self._gaps[rows] * mask
        gap[:, 0] = 0
        state, user, _ = self._graphs.run(
            USER_FOLD,
            self._vectors[self._known.items[rows]],
            self._actions[self._known.actions[rows]],
            gap,
            self._known.values[rows],
            mask,
        )
        return state, user


class _Positives:
    """How many positive events each item has had before a row; rows are asked for in ascending order."""

    def __init__(self, known: Events) -> None:
        self._known = known
        self._counts = np.zeros(len(known.item_ids), np.int64)
        self._row = 0

    def before(self, row: int) -> Ints:
        part = slice(self._row, row)
        np.add.at(self._counts, self._known.items[part][self._known.positive[part]], 1)
        self._row = row
        return self._counts


def _item_vectors(
    bundle: Bundle, graphs: LocalGraphs, known: Events, items: Sequence[ItemText], show: Progress
) -> Floats:
    texts = {item.item_id: item.text for item in items}
    task = show.add_task("Item vectors", total=len(known.item_ids))
    parts = []
    for start in range(0, len(known.item_ids), _ITEM_BATCH):
        ids = known.item_ids[start : start + _ITEM_BATCH]
        tokens = bundle.tokens(ids, [texts.get(item_id, "") for item_id in ids])
        parts += graphs.run(ITEM_ENCODER, tokens.ids, tokens.mask, tokens.item_index[:, None])
        show.advance(task, len(ids))
    return np.concatenate(parts)


def _best(scores: Floats, free: NDArray[np.bool_], count: int) -> Ints:
    allowed = np.flatnonzero(free)
    if len(allowed) > count:
        allowed = allowed[np.argpartition(-scores[allowed], count)[:count]]
    return allowed


def _hit(scores: NDArray[np.floating], taken: Ints, target: int, at: int) -> float:
    """The chance that the target is among the first `at` if ties are broken at random."""
    if not np.isfinite(scores[target]):
        return 0.0
    scores[taken] = -np.inf
    above = int((scores > scores[target]).sum())
    tied = int((scores == scores[target]).sum())
    return float(np.clip((at - above) / tied, 0, 1))


def _rates(hits: NDArray[np.float64]) -> HitRates:
    means = hits.mean(0) if len(hits) else np.zeros(4)
    return HitRates(len(hits), *(float(mean) for mean in means))


def _tied(known: Events, rows: Ints) -> int:
    """Targets that share user and moment with another event: their order is a hash's."""
    keys = np.stack([known.users, known.time_ms], 1)
    _, inverse, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    return int((counts[inverse.ravel()][rows] > 1).sum())
