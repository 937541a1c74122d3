"""Folds for states cover the whole history. Folds for reasons cover the newest events, with the same contributions."""

from pathlib import Path

import numpy as np
import pytest

from inference.bundle.bundle import read
from inference.model import ModelUnavailable
from profiles.actions import Actions, ProfileSettings
from profiles.folding.events import Position
from profiles.profile import Entry
from ranking.deadline.calls import Calls
from ranking.hydration.history_encoder import HistoryEncoder, UserHistory
from recstream.v1 import slate_pb2
from tests.models.model_in_process import InProcess
from tests.ranking.filled_catalog import FilledCatalog
from tests.ranking.world import (
    MANIFEST,
    NOW_MS,
    PROFILES,
    VERSION,
    PaperModel,
    ask,
    item,
    numbered,
    runner,
    user,
    vector,
    with_state,
)

HISTORY = 96
ITEMS = numbered(40)


def history(events: int) -> tuple[Entry, ...]:
    """Events on random items, seconds to days apart."""
    rng = np.random.default_rng(7)
    times = NOW_MS + np.cumsum(rng.exponential(1e6, events) * rng.choice([0.01, 1, 100], events)).astype(int)
    return tuple(
        Entry(
            f"e{n}", str(rng.choice(ITEMS)), "like" if n % 3 else "view", int(at), Position(b"t" * 16, 0, n)
        )
        for n, at in enumerate(times)
    )


def encoder(catalog: FilledCatalog, model, newest: int, calls: Calls) -> HistoryEncoder:
    actions = Actions(ProfileSettings().actions)
    return HistoryEncoder(catalog, model, calls, actions, cache_size=4, reasons_events=newest)


def ann(entries: tuple[Entry, ...]) -> UserHistory:
    return UserHistory("ann", entries)


@pytest.mark.parametrize(("events", "newest"), [(HISTORY, 32), (HISTORY, 1), (HISTORY, HISTORY - 1), (5, 32)])
async def test_the_newest_events_contribute_the_same_with_and_without_the_older_ones(
    bundle: Path, events: int, newest: int
):
    """Uses the real graphs. An event's contribution depends on the event, the gap before it and the events after it,
    but not on earlier events."""
    checked = read(bundle)
    catalog, rng = FilledCatalog(lambda: NOW_MS), np.random.default_rng(3)
    for item_id in ITEMS:
        catalog.put(item(item_id), rng.normal(size=checked.manifest.width).astype(np.float32), 1)
    model, sent, answers = InProcess(checked), [], []
    answer = model.fold

    async def fold(version, histories, *, timeout):
        sent.append(histories.actions.shape[1])
        answers.append(await answer(version, histories, timeout=timeout))
        return answers[-1]

    model.fold = fold
    entries, calls = history(events), Calls()
    whole, partial = (encoder(catalog, model, newest, calls) for _ in range(2))
    [states] = await whole.begin(checked.manifest, [ann(entries)], 5)
    [parts] = await partial.begin_contributions(checked.manifest, [ann(entries)], 5)
    assert sent == [events, min(events, newest)]
    common = min(events, newest)
    assert np.abs(answers[0].contributions[0, -common:]).max() > 1e-4
    np.testing.assert_allclose(
        answers[1].contributions[0], answers[0].contributions[0, -common:], rtol=1e-4, atol=1e-6
    )
    cached = whole.cached_contributions(ann(entries), 1)
    assert cached is not None and cached.items == parts.items
    np.testing.assert_allclose(cached.vectors, parts.vectors, rtol=1e-4, atol=1e-6)
    # The whole fold has states. The partial fold must not pretend to have any.
    assert whole.cached(ann(entries), 1) is states
    assert (partial.cached(ann(entries), 1) is None) == (newest < events)
    assert (partial.earlier("ann", 1, entries) is None) == (newest < events)
    assert partial.cached_contributions(ann(entries), 1) is parts
    assert partial.cached_contributions(ann(entries[:-1]), 1) is None
    await calls.close()


async def test_contributions_are_recomputed_when_one_of_their_items_gets_a_vector():
    catalog, calls = FilledCatalog(lambda: NOW_MS), Calls()
    entries = history(20)
    newest, oldest = entries[-1].item_id, entries[0].item_id
    for item_id in ITEMS:
        catalog.put(item(item_id), None if item_id in (newest, oldest) else vector(1))
    made = encoder(catalog, PaperModel(), 4, calls)
    assert oldest not in {e.item_id for e in entries[-4:]}
    await made.begin(MANIFEST, [ann(entries)], 5)
    catalog.put(item(oldest), vector(1))
    assert made.cached(ann(entries), VERSION) is None
    assert made.cached_contributions(ann(entries), VERSION) is not None
    catalog.put(item(newest), vector(1))
    assert made.cached_contributions(ann(entries), VERSION) is None
    await calls.close()


async def test_a_fold_of_the_wrong_length_is_refused():
    catalog, calls = FilledCatalog(lambda: NOW_MS), Calls()
    catalog.put(item("i000"), vector(1))
    model = PaperModel()
    answer = model.fold

    async def fold(version, histories, *, timeout):
        found = await answer(version, histories, timeout=timeout)
        return type(found)(found.states, found.contributions[:, :-1])

    model.fold = fold
    for begin in (
        encoder(catalog, model, 4, calls).begin,
        encoder(catalog, model, 4, calls).begin_contributions,
    ):
        with pytest.raises(ModelUnavailable):
            await begin(MANIFEST, [ann(history(9))], 5)
    await calls.close()


async def test_a_state_that_falls_behind_is_folded_from_the_whole_history():
    catalog, model, sent = FilledCatalog(lambda: NOW_MS), PaperModel(), []
    for item_id in ITEMS:
        catalog.put(item(item_id), vector(1))
    answer = model.fold

    async def fold(version, histories, *, timeout):
        sent.append(histories.actions.shape[1])
        return await answer(version, histories, timeout=timeout)

    model.fold = fold
    made = runner(catalog, model, reasons_events=3)
    stored = user(*[("like", each) for each in ITEMS[:10]], settings=PROFILES)
    first = await ask(made, with_state(stored, vector(1)), count=4)
    assert {i.reason.item_id for i in first.slate.items} <= set(ITEMS[7:10])
    assert first.slate.items[0].reason.kind == slate_pb2.REASON_KIND_BECAUSE_OF
    again = await ask(made, with_state(stored, vector(1), stale=True), count=4)
    assert sent == [3, 10]
    assert again.slate.items[0].reason.item_id == first.slate.items[0].reason.item_id
