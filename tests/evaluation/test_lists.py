"""The methods of the product: lists that `ranking` makes after a replay of the events, and retrieval alone."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.items.items import Item
from evaluation.errors import EvaluationError, TrainedOnOther
from evaluation.method import EvalQueries
from evaluation.methods.bundle_model import BundleModel, bundle_model
from evaluation.methods.evaluated_model import EvaluatedModel
from evaluation.methods.lists import LENGTH, RankedLists, Retrieval
from evaluation.methods.product import check_trained_on, product_methods
from evaluation.methods.replay import Replay, event
from evaluation.methods.torch_model import torch_model
from evaluation.metrics.measure import measure
from evaluation.protocols.held_out import PROTOCOLS, Protocol
from evaluation.protocols.split import Split, split
from evaluation.protocols.visible import visible_events, visible_limits
from inference.bundle.bundle import Bundle, read
from inference.model import ModelUnavailable
from models.data.events import Events, ItemText
from models.export import bundle_writer as bundling
from models.network.recommender import Recommender
from models.training.settings import TrainSettings
from profiles.actions import default_actions
from profiles.folding.fold import fold
from tests.evaluation.world import DAY_MS, HOUR_MS, EventRow, crowd, known, list_settings
from tests.models.tiny_bundle import DEFAULT_ITEMS, build

NOW_MS = 1_800_000_000_000
SOURCES = {"nearest": 6, "similar": 5, "similar_seeds": 2, "popular": 6}
CATALOGUE = [Item(item, published_at_ms=NOW_MS - place * DAY_MS) for place, item in enumerate(DEFAULT_ITEMS)]
ITEMS = [ItemText(item, f"film {item}", NOW_MS - place * DAY_MS) for place, item in enumerate(DEFAULT_ITEMS)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read(build(tmp_path_factory.mktemp("bundle") / "bundle", history=8, refold_every=4))


def past(users: int = 6) -> list[EventRow]:
    """User k has rated 5 k films in the weeks before now. Other users make no two films equally popular."""
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
    """A query at NOW_MS for each user whose id starts with `u`. The last one, `u9`, has no history."""
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


def test_lists_have_the_default_length_and_retrieval_scores_all_items(bundle: Bundle) -> None:
    events = known([*past(), ("u9", "item-3", "rate", NOW_MS, 5.0)], DEFAULT_ITEMS)
    asked = everything_known(events)
    model = bundle_model(bundle, events.item_ids, ITEMS)
    whole = RankedLists(asked, CATALOGUE, model, list_settings(**SOURCES))
    scores = whole.scores(asked.queries)
    retrieval = Retrieval(asked, CATALOGUE, model, list_settings(**SOURCES)).scores(asked.queries)
    for place in range(len(asked.queries)):
        free = np.ones(len(DEFAULT_ITEMS), np.bool_)
        free[asked.consumed(place)] = False
        assert np.isfinite(scores[place]).sum() == LENGTH and not np.isfinite(scores[place][~free]).any()
    assert np.isfinite(retrieval).all()
    # A list does not depend on the batch.
    alone = np.concatenate([whole.scores(part) for part in asked.queries.parts(1)])
    np.testing.assert_array_equal(alone, scores)


def test_held_out_events_do_not_change_earlier_lists(bundle: Bundle) -> None:
    """Lists at the beginning of the last tenth do not depend on the events in it."""
    rows = past(9)
    cut = int(len(rows) * 0.9)
    # All later events are about another item, with another rating.
    other = rows[:cut] + [(user, "item-7", "rate", at, 5.0) for user, _, _, at, _ in rows[cut:]]
    lists = []
    for world in (rows, other):
        events = known(world, DEFAULT_ITEMS)
        found = split(events, "future")
        model = bundle_model(bundle, events.item_ids, ITEMS)
        row = RankedLists(found, CATALOGUE, model, list_settings(**SOURCES))
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
    exported = bundle_model(bundle, events.item_ids, ITEMS)
    alone = torch_model(models[0][0], exported.vectors, models[0][1])
    lists = [
        RankedLists(found, CATALOGUE, model, list_settings(**SOURCES)).scores(found.queries)
        for model in (exported, alone)
    ]
    # ONNX Runtime's sigmoid is exact to 1e-7: two items of about equal probability may swap positions.
    np.testing.assert_array_equal(np.isfinite(lists[0]), np.isfinite(lists[1]))
    one, other = (scores[np.isfinite(scores)] for scores in lists)
    assert (np.abs(one - other) <= 1).all()


def test_without_times_popularity_is_the_count_of_visible_events(bundle: Bundle) -> None:
    events = known(past(9), DEFAULT_ITEMS, timed=False)
    found = split(events, "leave-one-out")
    few = list_settings(nearest=0, similar=0, popular=20)
    model = bundle_model(bundle, events.item_ids, ITEMS)
    scores = RankedLists(found, CATALOGUE, model, few).scores(found.queries)
    rows = np.flatnonzero(visible_events(found) & found.known.positive)
    counts = np.bincount(found.known.items[rows], minlength=len(events.item_ids))
    for place in range(len(found.queries)):
        free = np.setdiff1d(np.arange(len(counts)), found.consumed(place))
        listed = np.flatnonzero(np.isfinite(scores[place]))
        assert len(listed) == min(20, len(free)) and set(listed) <= set(free)
        assert counts[listed].min() >= max(counts[np.setdiff1d(free, listed)], default=0)


def test_a_bundle_that_was_trained_on_other_events_is_refused(bundle: Bundle) -> None:
    found = split(known(past(9), DEFAULT_ITEMS), "leave-one-out")
    with pytest.raises(TrainedOnOther, match="leave-one-out"):
        product_methods(found, ITEMS, CATALOGUE, bundle, list_settings())
    same = Bundle(
        bundle.folder,
        bundle.manifest.model_copy(update={"data_fingerprint": found.training_events.fingerprint()}),
    )
    check_trained_on(same, found)
    rows = product_methods(found, ITEMS, CATALOGUE, same, list_settings(default_actions()), int8=same)
    assert [row.name for row in rows] == ["recstream", "recstream-retrieval", "recstream-int8"]
    figures = [measure(found, row).figure("ndcg@10") for row in rows]
    np.testing.assert_array_equal(figures[0], figures[2])


LATER = 10**12


def moved(rows: list[EventRow]) -> list[EventRow]:
    """The same rows with timestamps of this century."""
    return [(user, item, action, at + LATER, value) for user, item, action, at, value in rows]


def replay(test: Split, bundle: Bundle) -> Replay:
    vectors = np.ones((len(test.known.item_ids), bundle.manifest.width), np.float32)
    model = EvaluatedModel(BundleModel(bundle), bundle.manifest, vectors)
    return Replay(test, [], model, list_settings().profiles)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("timed", [True, False])
def test_before_each_query_the_catalogue_counts_only_earlier_events(
    bundle: Bundle, protocol: Protocol, timed: bool
) -> None:
    if not timed and protocol != "leave-one-out":
        pytest.skip("it needs times")
    test = split(known(moved(crowd()), timed=timed), protocol)
    made, known_ = replay(test, bundle), test.known
    visible, limits = visible_events(test), visible_limits(known_, test.queries)
    met: list[int] = []
    # The second pass goes back to the beginning.
    for _ in range(2):
        for batch in made.batches(test.queries):
            for index in batch.tolist():
                rows = np.flatnonzero(visible & known_.positive & (np.arange(len(known_)) < limits[index]))
                counts = np.bincount(known_.items[rows], minlength=len(known_.item_ids))
                np.testing.assert_array_equal(made.catalog.positives, counts)
                now = int(test.queries.time_ms[index])
                # With so long a half-life an event weighs 1, if there are times.
                weighed = made.catalog.popularity(now, 1e12)
                np.testing.assert_allclose(weighed, counts if timed else 0 * counts, rtol=1e-3)
                met.append(index)
    assert sorted(met) == sorted([*range(len(test.queries)), *range(len(test.queries))])


def test_a_profile_is_the_fold_of_the_history_in_any_order_of_queries(bundle: Bundle) -> None:
    test = split(known(moved(crowd())), "next-item")
    made, queries = replay(test, bundle), test.queries
    for index in [*range(0, len(queries), 3), *range(len(queries) - 1, 0, -5)]:
        found = made.folded(queries, index)
        wanted = [event(test.known, row) for row in queries.before[index].tolist()]
        if not wanted:
            assert found is None
            continue
        assert found is not None
        assert found.stored.profile == fold(None, wanted[0].user_id, wanted, made.profiles).profile
        everything = {entry.item_id for entry in found.stored.profile.history}
        missing = [each for each in wanted if each.item_id not in everything]
        assert all(found.tail.contains(each.item_id) for each in missing)


def test_events_with_equal_timestamps_are_folded_in_order(bundle: Bundle) -> None:
    events = known([("ann", item, "rate", LATER, 4.0) for item in "zyxcba"])
    records = [event(events, row) for row in range(len(events))]
    folded = fold(None, "ann", records, list_settings().profiles).profile.history
    assert [entry.item_id for entry in folded] == [events.item_ids[item] for item in events.items]


@given(st.decimals(min_value="0.5", max_value="5", places=2))
def test_a_value_is_folded_as_it_was_written(value) -> None:  # type: ignore[no-untyped-def]
    events = known([("ann", "a", "rate", LATER, float(value))])
    assert event(events, 0).value == float(value)


def test_an_event_without_a_value_is_folded_without_one() -> None:
    assert event(known([("ann", "a", "view", LATER, np.nan)]), 0).value is None


def test_consumed_items_outside_the_history_are_not_listed(bundle: Bundle) -> None:
    """Hidden items are in no history. Those that a user consumed are still not listed."""
    events = known(past(9), DEFAULT_ITEMS)
    found = split(events, "warm-items")
    model = bundle_model(bundle, events.item_ids, ITEMS)
    scores = RankedLists(found, CATALOGUE, model, list_settings()).scores(found.queries)
    for place in range(len(found.queries)):
        assert not np.isfinite(scores[place][found.consumed(place)]).any()
        assert np.isfinite(scores[place]).sum() == min(
            LENGTH, len(DEFAULT_ITEMS) - len(np.unique(found.consumed(place)))
        )


def test_a_failing_model_raises_instead_of_lowering_the_figures(bundle: Bundle) -> None:
    class Broken(BundleModel):
        async def rank(self, *_: object, **__: object) -> None:  # type: ignore[override]
            raise ModelUnavailable("broken")

    events = known(past(9), DEFAULT_ITEMS)
    found = split(events, "next-item")
    vectors = np.ones((len(events.item_ids), bundle.manifest.width), np.float32)
    model = EvaluatedModel(Broken(bundle), bundle.manifest, vectors)
    with pytest.raises(EvaluationError, match="without the ranker"):
        RankedLists(found, CATALOGUE, model, list_settings()).scores(found.queries)
