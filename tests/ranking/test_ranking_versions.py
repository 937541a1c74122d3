"""A list is made with one model version, even if the routing changes meanwhile."""

import numpy as np
import pytest

from inference.version_routing import Live, VersionRouting
from profiles.profile import Stored
from ranking.build import build
from ranking.runner import Runner
from ranking.settings import RankingSettings
from recstream.v1 import slate_pb2
from tests.ranking.filled_catalog import FilledCatalog
from tests.ranking.world import MANIFEST, NOW_MS, PROFILES, PaperModel, ask, item, numbered, user
from tests.ranking.world import with_state as with_state_of

OLD, NEW = MANIFEST.version, MANIFEST.version + 1
WIDE = MANIFEST.model_copy(
    update={"version": NEW, "width": 12, "state_width": 12, "actions": ("like", "view", "buy")}
)
BEFORE = VersionRouting(Live(MANIFEST), Live(WIDE), 0.0)
AFTER = VersionRouting(Live(MANIFEST), Live(WIDE), 1.0)
ITEMS = numbered(60)


class Flipping(PaperModel):
    """Changes the routing during a call."""

    def __init__(self) -> None:
        super().__init__()
        self.routing = BEFORE
        self.at = ""
        self.ranked: list[tuple[int, int]] = []

    async def _answer(self, name: str, trouble: str | None) -> None:
        await super()._answer(name, trouble)
        if name == self.at:
            self.routing = AFTER if self.routing is BEFORE else BEFORE

    async def rank(self, version, users, candidates, *, timeout):
        self.ranked.append((version, candidates.vectors.shape[2]))
        assert users.user_vector.shape[1] == candidates.vectors.shape[2]
        return await super().rank(version, users, candidates, timeout=timeout)


@pytest.fixture
def catalog() -> FilledCatalog:
    made, rng = FilledCatalog(lambda: NOW_MS), np.random.default_rng(1)
    for item_id in ITEMS:
        made.put(item(item_id), rng.normal(size=8).astype(np.float32), OLD)
        made.put_vector(NEW, item_id, rng.normal(size=12).astype(np.float32))
    return made


def made(catalog: FilledCatalog, model: Flipping) -> Runner:
    return build(catalog, model, lambda: model.routing, PROFILES, RankingSettings()).found


def with_state(stored: Stored, version: int) -> Stored:
    return with_state_of(stored, np.ones(8 if version == OLD else 12, np.float32), version=version)


def check(ranked, version: int) -> None:
    manifest = MANIFEST if version == OLD else WIDE
    assert (ranked.slate.model_version, ranked.slate.tier) == (version, slate_pb2.TIER_RANKED)
    assert ranked.outputs.actions == manifest.actions
    assert np.isfinite(ranked.outputs.probabilities).all()


@pytest.mark.parametrize("at", ["fold", "rank"])
async def test_a_change_of_routing_during_a_list_applies_to_the_next_list(
    catalog: FilledCatalog, at: str
) -> None:
    model = Flipping()
    lists = made(catalog, model)
    stored = user(("like", ITEMS[0]), ("like", ITEMS[1]))
    model.at = at
    for version in (OLD, NEW, OLD, NEW):
        model.routing = BEFORE if version == OLD else AFTER
        check(await ask(lists, stored, user_id=f"user-{version}"), version)
    assert set(model.ranked) == {(OLD, 8), (NEW, 12)}
    await lists.close()


async def test_a_profile_that_is_not_migrated_is_served_by_its_version(
    catalog: FilledCatalog,
) -> None:
    model = Flipping()
    model.routing = AFTER
    lists = made(catalog, model)
    stored = user(("like", ITEMS[0]))
    check(await ask(lists, with_state(stored, OLD)), OLD)
    check(await ask(lists, with_state(stored, NEW)), NEW)
    check(await ask(lists, with_state(stored, 99)), NEW)
    check(await ask(lists, stored), NEW)
    await lists.close()


async def test_an_item_that_is_new_under_one_version_only_does_not_mix_them(catalog: FilledCatalog) -> None:
    model = Flipping()
    model.routing = AFTER
    lists = made(catalog, model)
    catalog.put(item("fresh"), np.ones(8, np.float32), OLD)
    ranked = await ask(lists, with_state(user(("like", ITEMS[0])), NEW), count=61)
    known = [each.item_id != "fresh" for each in ranked.slate.items]
    assert ranked.slate.model_version == NEW
    assert ranked.outputs.actions == WIDE.actions
    assert np.isfinite(ranked.outputs.probabilities[known]).all()
    await lists.close()
