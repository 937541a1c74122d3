"""The row `recstream` is the list that would have been served: the same candidates, the same order."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from catalog.in_memory import InMemoryCatalog
from catalog.items.items import from_proto
from catalog.settings import CatalogSettings
from evaluation.errors import TrainedOnOther
from evaluation.method import EvalQueries
from evaluation.methods.candidates import CandidateSettings
from evaluation.methods.composition import Composition, CompositionSettings, Retrieval
from evaluation.methods.product import check_trained_on, product_methods
from evaluation.methods.served_model import BundleModel
from evaluation.methods.torch_model import TorchModel
from evaluation.metrics.measure import measure
from evaluation.protocols.split import Split, split
from evaluation.protocols.visible import visible_events
from inference.bundle.bundle import Bundle, read
from inference.version_routing import VersionRouting
from models.data.events import Events, ItemText
from models.export import bundle_writer as bundling
from models.network.recommender import Recommender
from models.training.settings import TrainSettings
from profiles.actions import ProfileSettings, default_actions
from profiles.folding.events import Event, Position
from profiles.folding.fold import fold
from profiles.folding.tail import Tail
from profiles.profile import Stored
from ranking.build import build as build_ranking
from ranking.query import ListRequest, Query
from ranking.settings import RankingSettings
from recstream.storage.v1 import catalog_pb2
from recstream.v1 import item_pb2
from tests.evaluation.world import DAY_MS, HOUR_MS, EventRow, known
from tests.models.model_in_process import InProcess
from tests.models.tiny_bundle import DEFAULT_ITEMS, build

NOW_MS = 1_800_000_000_000
SOURCES = {"nearest": 6, "similar": 5, "similar_seeds": 2, "popular": 6}
PROFILES = ProfileSettings(history=8, refold_every=4)
ITEMS = [ItemText(item, f"film {item}", NOW_MS - place * DAY_MS) for place, item in enumerate(DEFAULT_ITEMS)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read(build(tmp_path_factory.mktemp("bundle") / "bundle", history=8, refold_every=4))


def past(users: int = 6) -> list[EventRow]:
    """User number k has rated 5 k films in the weeks before now; others have made no two films equally popular."""
    rng = np.random.default_rng(0)
    rows: list[EventRow] = [
        (f"f{other}", item, "rate", NOW_MS - 30 * DAY_MS, 5.0)
        for other in range(len(DEFAULT_ITEMS))
        for item in DEFAULT_ITEMS[: other + 1]
    ]
    for user in range(users):
        items = rng.choice(DEFAULT_ITEMS, 5 * user, replace=False).tolist()
        at = NOW_MS - 20 * DAY_MS + user * HOUR_MS
        rows += [
            (f"u{user}", item, "rate", at + place * DAY_MS // 3, float(rng.integers(1, 6)))
            for place, item in enumerate(items)
        ]
    return sorted(rows, key=lambda row: row[3])


def everything_known(events: Events) -> Split:
    """Lists asked for now, for everybody who has a `u`; `u9` has done nothing."""
    users = np.array([place for place, user in enumerate(events.user_ids) if user.startswith("u")])
    rows = [events.by_user()[user] for user in users]
    queries = EvalQueries(
        users,
        [*rows[:-1], np.zeros(0, np.int64)],
        np.full(len(rows), NOW_MS),
        np.full(len(rows), len(events)),
    )
    found = split(events, "next-item")
    return Split(
        "next-item",
        "test",
        events,
        np.ones(len(events), np.bool_),
        queries,
        [np.array([0])] * len(rows),
        found.excluded,
    )


def catalogue(events: Events, model: BundleModel, version: int) -> InMemoryCatalog:
    found = InMemoryCatalog(CatalogSettings(popularity_seconds=0), lambda: NOW_MS)
    published = {item.item_id: item.published_ms for item in ITEMS}
    for place, item_id in enumerate(events.item_ids):
        found.put_item(from_proto(item_pb2.Item(item_id=item_id, published_at_ms=published[item_id])))
        found.put_vector(version, item_id, model.vectors[place])
        times = events.time_ms[(events.items == place) & events.positive] // HOUR_MS
        hours = [
            catalog_pb2.HourBucket(hour=hour, count=count) for hour, count in Counter(times.tolist()).items()
        ]
        found.put_stats(item_id, catalog_pb2.ItemStats(positives=len(times), hours=hours))
    return found


def profile(events: Events, rows: np.ndarray) -> tuple[Stored, Tail]:
    records = [
        Event(
            events.user_ids[events.users[row]], Position(b"t" * 16, 0, place), NOW_MS, f"e{row}",
            events.item_ids[events.items[row]], events.action_names[events.actions[row]],
            int(events.time_ms[row]), float(events.values[row]),
        )
        for place, row in enumerate(rows.tolist())
    ]  # fmt: skip
    folded = fold(None, records[0].user_id, records, PROFILES)
    return Stored(len(records), folded.profile), Tail().add(folded.tail_added, PROFILES.tail)


def best(scores: np.ndarray, events: Events, consumed: np.ndarray, count: int) -> list[str]:
    scores = scores.astype(np.float64)
    scores[consumed] = -np.inf
    order = sorted(range(len(scores)), key=lambda item: (-scores[item], events.item_ids[item]))
    return [events.item_ids[item] for item in order[:count] if np.isfinite(scores[item])]


async def test_the_row_holds_what_the_server_lists(bundle: Bundle) -> None:
    rows = [*past(), ("u9", "item-3", "rate", NOW_MS, 5.0)]
    events = known(rows, DEFAULT_ITEMS)
    asked = everything_known(events)
    asked.known.positive[-1] = False  # what the one without history did is not known yet
    model = BundleModel(bundle, events.item_ids, ITEMS)
    settings = CompositionSettings(candidates=CandidateSettings.model_validate(SOURCES))
    found = Composition(asked, ITEMS, model, settings).scores(asked.queries)
    runner = build_ranking(
        catalogue(events, model, bundle.manifest.version),
        InProcess(bundle),
        lambda: VersionRouting.single(bundle.manifest),
        PROFILES,
        RankingSettings.model_validate({"surfaces": {"evaluation": {**SOURCES, "trending": 0, "fresh": 0,
                                                                    "exploration_share": 0, "category_share": 1}}}),
    )  # fmt: skip
    for place, before in enumerate(asked.queries.before):
        stored, tail = profile(events, before) if len(before) else (None, None)
        user = events.user_ids[asked.queries.users[place]]
        request = ListRequest(user_id=user, count=20, surface="evaluation")
        [served] = await runner.rank([Query(request=request, now_ms=NOW_MS, stored=stored, tail=tail)])
        listed = [each.item_id for each in served.slate.items]
        assert len(listed) == 20 and set(best(found[place], events, asked.consumed(place), 20)) == set(
            listed
        ), user
        own = found[place, [events.item_ids.index(item) for item in listed]]
        # Serving holds vectors in half the bits: what is about equal may stand the other way round.
        assert (own[1:] <= own[:-1] * 1.01).all(), user
    await runner.close()


def test_what_is_not_retrieved_is_not_listed_and_retrieval_alone_lists_all(bundle: Bundle) -> None:
    events = known([*past(), ("u9", "item-3", "rate", NOW_MS, 5.0)], DEFAULT_ITEMS)
    asked = everything_known(events)
    settings = CompositionSettings(candidates=CandidateSettings.model_validate(SOURCES))
    whole = Composition(asked, ITEMS, BundleModel(bundle, events.item_ids, ITEMS), settings)
    scores, near = whole.scores(asked.queries), Retrieval(whole).scores(asked.queries)
    for place in range(len(asked.queries)):
        free = np.ones(len(DEFAULT_ITEMS), np.bool_)
        free[asked.consumed(place)] = False
        assert (
            20 <= np.isfinite(scores[place]).sum() <= 6 + 5 + 20
            and not np.isfinite(scores[place][~free]).any()
        )
    assert np.isfinite(near).all()
    # In parts or at once, a list is the same.
    alone = np.concatenate([whole.scores(part) for part in asked.queries.parts(1)])
    np.testing.assert_allclose(alone, scores, atol=1e-5)


def test_held_out_rows_change_nothing_of_the_lists_before_them(bundle: Bundle) -> None:
    """Whatever becomes of the last tenth, what is asked of the first list after it is the same."""
    rows = past(9)
    cut = int(len(rows) * 0.9)
    # Everybody who comes later does something else, and rates it otherwise.
    other = rows[:cut] + [(user, "item-7", "rate", at, 5.0) for user, _, _, at, _ in rows[cut:]]
    settings = CompositionSettings(candidates=CandidateSettings.model_validate(SOURCES))
    lists = []
    for world in (rows, other):
        events = known(world, DEFAULT_ITEMS)
        found = split(events, "future")
        row = Composition(found, ITEMS, BundleModel(bundle, events.item_ids, ITEMS), settings)
        before = [rows[rows < cut] for rows in events.by_user()]
        queries = EvalQueries(
            np.arange(len(before)),
            before,
            np.full(len(before), found.queries.time_ms[0]),
            np.full(len(before), cut),
        )
        lists.append(row.scores(queries))
    np.testing.assert_array_equal(*lists)


def test_a_model_that_was_not_exported_makes_the_same_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[tuple[Recommender, TrainSettings]] = []
    real = bundling.write_bundle

    def write_bundle(folder, model, encoders, items, settings, **more):  # type: ignore[no-untyped-def]
        models.append((model, settings))
        return real(folder, model, encoders, items, settings, **more)

    monkeypatch.setattr(bundling, "write_bundle", write_bundle)
    bundle = read(build(tmp_path / "bundle", history=8, refold_every=4))
    events = known(past(9), DEFAULT_ITEMS)
    found = split(events, "next-item")
    exported = BundleModel(bundle, events.item_ids, ITEMS)
    alone = TorchModel(models[0][0], exported.vectors, models[0][1])
    settings = CompositionSettings(candidates=CandidateSettings.model_validate(SOURCES))
    lists = [Composition(found, ITEMS, model, settings).scores(found.queries) for model in (exported, alone)]
    # ONNX Runtime's sigmoid is right to 1e-7, which is little where probabilities are small.
    np.testing.assert_allclose(*lists, rtol=5e-3)


def test_without_times_popularity_is_the_count_of_what_was_told(bundle: Bundle) -> None:
    events = known(past(9), DEFAULT_ITEMS, timed=False)
    found = split(events, "leave-one-out")
    few = CompositionSettings(candidates=CandidateSettings(nearest=0, similar=0, popular=20))
    scores = Composition(found, ITEMS, BundleModel(bundle, events.item_ids, ITEMS), few).scores(found.queries)
    rows = np.flatnonzero(visible_events(found) & found.known.positive)
    counts = np.bincount(found.known.items[rows], minlength=len(events.item_ids))
    for place in range(len(found.queries)):
        free = np.setdiff1d(np.arange(len(counts)), found.consumed(place))
        listed = np.flatnonzero(np.isfinite(scores[place]))
        assert len(listed) == min(20, len(free)) and set(listed) <= set(free)
        assert counts[listed].min() >= max(counts[np.setdiff1d(free, listed)], default=0)


def test_a_bundle_that_learned_from_other_events_is_refused(bundle: Bundle) -> None:
    found = split(known(past(9), DEFAULT_ITEMS), "leave-one-out")
    with pytest.raises(TrainedOnOther, match="leave-one-out"):
        product_methods(found, ITEMS, bundle, CompositionSettings())
    same = Bundle(
        bundle.folder,
        bundle.manifest.model_copy(update={"data_fingerprint": found.training_events.fingerprint()}),
    )
    check_trained_on(same, found)
    rows = product_methods(found, ITEMS, same, CompositionSettings(actions=default_actions()), int8=same)
    assert [row.name for row in rows] == ["recstream", "recstream-retrieval", "recstream-int8"]
    figures = [measure(found, row).figure("ndcg@10") for row in rows]
    np.testing.assert_array_equal(figures[0], figures[2])
