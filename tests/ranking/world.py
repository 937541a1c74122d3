"""A catalogue in memory, hand-made users, and a model whose numbers can be worked out on paper."""

import asyncio
from collections.abc import Sequence

import numpy as np

from inference.bundle.bundle import Manifest
from inference.model import Candidates, FoldResult, Histories, ModelUnavailable, Ranking, States, Steps
from inference.version_routing import VersionRouting
from profiles.actions import ProfileSettings
from profiles.folding.events import Event, Position
from profiles.folding.fold import fold
from profiles.profile import ModelState, Stored
from profiles.times import timestamp
from ranking.build import Runners, build, build_similar_items
from ranking.query import ListRequest, Query
from ranking.runner import Runner
from ranking.settings import RankingSettings
from ranking.slate.ranked import Ranked
from recstream.v1 import item_pb2
from recstream.v1.filter_pb2 import Filter, TextFilter

NOW = 1_800_000_000.0
NOW_MS = int(NOW * 1000)
DAY_MS = 86_400_000
WIDTH = 8
VERSION = 5
ACTIONS = ("like", "dislike", "click")
TASTE = np.array([1.0, -1.0, 0.5])
PROFILES = ProfileSettings(history=16, refold_every=8)
MANIFEST = Manifest(
    version=VERSION,
    width=WIDTH,
    state_width=WIDTH,
    actions=ACTIONS,
    history=16,
    refold_every=8,
    text_tokens=8,
    popularity_half_lives_days=(3, 14, 90),
    files={},
)


class PaperModel:
    """The user vector is the sum of the vectors of liked items minus those of disliked ones. The probability of a like
    grows with the inner product. `trouble` says how it fails: hang, raise, fault, nan, some_nan, shape."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        self.calls: list[str] = []
        self.lasting = 0.0
        self.fold_trouble: str | None = None

    async def _answer(self, name: str, trouble: str | None) -> None:
        self.calls.append(name)
        if self.lasting:
            await asyncio.sleep(self.lasting)
        if trouble == "raise":
            raise ModelUnavailable("down")
        if trouble == "fault":
            raise ZeroDivisionError("a fault of the model's client")
        while trouble == "hang":
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                await asyncio.sleep(0.3)  # It even ignores a cancellation for a while.
                raise

    async def encode_items(self, version: int, tokens, *, timeout: float):
        raise ModelUnavailable("not used in these tests")

    async def step(self, version: int, steps: Steps, *, timeout: float) -> States:
        raise ModelUnavailable("not used in these tests")

    async def fold(self, version: int, histories: Histories, *, timeout: float) -> FoldResult:
        await self._answer("fold", self.fold_trouble or self.trouble)
        taste = np.concatenate([[0.0], TASTE])[histories.actions] * histories.mask
        contributions = (histories.item_vectors * taste[..., None]).astype(np.float32)
        vector = contributions.sum(axis=1) + np.float32(0.01)
        return FoldResult(States(vector, vector), contributions)

    async def rank(self, version: int, users: States, candidates: Candidates, *, timeout: float) -> Ranking:
        await self._answer("rank", self.trouble)
        likes = 1 / (1 + np.exp(-np.einsum("bmd,bd->bm", candidates.vectors, users.user_vector)))
        probabilities = np.stack([likes, 1 - likes, np.zeros_like(likes)], axis=-1).astype(np.float32)
        if self.trouble == "nan":
            probabilities[:] = np.nan
        if self.trouble == "some_nan":
            probabilities[:, ::2] = np.nan
        if self.trouble == "shape":
            probabilities = probabilities[:, :-1]
        return Ranking(probabilities, likes.astype(np.float32))

    async def ready(self, version: int) -> bool:
        return self.trouble is None

    async def close(self) -> None: ...


def item(
    item_id: str, *, published_at_ms: int | None = None, expires_at_ms: int | None = None, **fields
) -> item_pb2.Item:
    """An item. Times are in Unix milliseconds."""
    return item_pb2.Item(
        item_id=item_id,
        title=f"Title of {item_id}",
        published_at=None if published_at_ms is None else timestamp(published_at_ms),
        expires_at=None if expires_at_ms is None else timestamp(expires_at_ms),
        **fields,
    )


def in_categories(*names: str) -> Filter:
    """Items of at least one of these categories."""
    return Filter(text=TextFilter(field="category", values=names))


def vector(*numbers: float) -> np.ndarray:
    return np.array([*numbers, *[0.0] * (WIDTH - len(numbers))], np.float32)


def user(
    *events: tuple[str, str], user_id: str = "ann", undo: str | None = None, settings=PROFILES, ago_ms=0
) -> Stored:
    """A profile from the real fold. The events are (action, item id), in order, a second apart. Their ids are e<n>,
    n from 0; `undo` names one of them."""
    records = [
        Event(
            user_id,
            Position(b"t" * 16, 0, n),
            NOW_MS,
            f"e{n}",
            item_id,
            action,
            NOW_MS - ago_ms - (1000 - n) * 1000,
        )
        for n, (action, item_id) in enumerate(events)
    ]
    if undo is not None:
        n = len(records)
        records.append(
            Event(user_id, Position(b"t" * 16, 0, n), NOW_MS, f"e{n}", "", "undo", NOW_MS, None, undo)
        )
    return Stored(1 + len(records), fold(None, user_id, records, settings).profile)


def with_state(stored: Stored, vector: np.ndarray, *, stale: bool = False, version: int = VERSION) -> Stored:
    from dataclasses import replace

    raw = vector.astype("<f4").tobytes()
    return Stored(stored.revision, replace(stored.profile, states=(ModelState(version, raw, raw, stale),)))


def loop_time() -> float:
    """The event loop's clock. The fixture `virtual_time` may replace it."""
    return asyncio.get_running_loop().time()


def runners(
    catalog, model: PaperModel, *, manifest: Manifest | None = MANIFEST, profiles=PROFILES, **settings
) -> Runners:
    routing = VersionRouting.single(manifest)
    return build(
        catalog, model, lambda: routing, profiles, RankingSettings.model_validate(settings), clock=loop_time
    )


def runner(catalog, model: PaperModel, **settings) -> Runner:
    """The runner of lists whose items the sources find. See `runners`."""
    return runners(catalog, model, **settings).found


def query(
    stored: Stored | None = None, *, count=10, now_ms=NOW_MS, tail=None, unavailable=False, **fields
) -> Query:
    """A query, by default of user ann for the surface `evaluation`."""
    fields = {"user_id": "ann", "surface": "evaluation", **fields}
    return Query(
        request=ListRequest(count=count, **fields),
        now_ms=now_ms,
        stored=stored,
        tail=tail,
        profile_unavailable=unavailable,
    )


async def ask(made: Runner, stored: Stored | None = None, *, within=5.0, **fields) -> Ranked:
    """The ranked list of one `query`."""
    [ranked] = await made.rank([query(stored, **fields)], deadline=loop_time() + within)
    return ranked


def similar(
    catalog, item_id: str, count: int, *, manifest: Manifest | None = MANIFEST, now_ms=NOW_MS, **fields
):
    """The items similar to one."""
    routing = VersionRouting.single(manifest)
    found = build_similar_items(catalog, lambda: routing, RankingSettings())
    return found.find(item_id, count=count, now_ms=now_ms, **fields)


def ids(ranked) -> list[str]:
    return [each.item_id for each in ranked.slate.items]


def numbered(count: int, prefix: str = "i") -> Sequence[str]:
    return [f"{prefix}{n:03}" for n in range(count)]
