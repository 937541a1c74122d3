"""The surfaces in force: replaced as a whole, and kept where a record cannot be used."""

import pytest
from prometheus_client import CollectorRegistry, Counter

from catalog.errors import BadRecord
from inference.version_routing import VersionRouting
from ranking.build import build
from ranking.settings import RankingSettings, Surfaces
from ranking.surfaces import metrics
from ranking.surfaces.in_force import LiveSurfaces, SurfacesInForce, changed, retiring
from ranking.surfaces.record import SurfacesVersion, encode, key_of
from tests.catalog.records import Record
from tests.ranking.filled_catalog import FilledCatalog
from tests.ranking.world import (
    MANIFEST,
    NOW_MS,
    PROFILES,
    PaperModel,
    ask,
    ids,
    item,
    loop_time,
    numbered,
    vector,
)


def surfaces(**given: object) -> Surfaces:
    return Surfaces.model_validate({"surfaces": given})


def pinned(item_id: str) -> dict[str, object]:
    return {"rules": {"pins": [{"item_id": item_id, "position": 0}]}}


def apply(live: LiveSurfaces, version: int, given: Surfaces | None) -> None:
    live.on_record(Record(key_of(version), encode(SurfacesVersion(version, given))))


def shown() -> tuple[float, float]:
    return metrics.VERSION._value.get(), metrics.REFUSED._value.get()


async def test_a_record_changes_the_next_list_and_the_version_that_it_names() -> None:
    catalog = FilledCatalog(lambda: NOW_MS)
    for n, item_id in enumerate(numbered(40)):
        catalog.put(item(item_id), vector(1.0 + n / 100))
    settings = RankingSettings.model_validate({"surfaces": {"home": pinned("i030")}})
    live = LiveSurfaces(settings)
    routing = VersionRouting.single(MANIFEST)
    made = build(
        catalog, PaperModel(), lambda: routing, PROFILES, settings, surfaces=live, clock=loop_time
    ).found

    async def first(surface: str) -> tuple[str, int]:
        ranked = await ask(made, surface=surface)
        return ids(ranked)[0], ranked.surfaces_version

    plain, _ = await first("evaluation")
    assert await first("home") == ("i030", 0)
    apply(live, 1, surfaces(home=pinned("i020"), shop=pinned("i010")))
    assert await first("home") == ("i020", 1) and await first("shop") == ("i010", 1)
    assert await first("evaluation") == (plain, 1)
    # A stream of a surface that is removed goes on with `default`.
    apply(live, 2, Surfaces.model_validate({"default": pinned("i005"), "surfaces": {"home": {}}}))
    assert await first("shop") == ("i005", 2) and await first("home") == ("i005", 2)
    apply(live, 3, None)
    assert await first("home") == ("i030", 3)
    await made.close()


def test_a_record_that_cannot_be_used_changes_nothing_and_shows_until_one_can() -> None:
    live = LiveSurfaces(surfaces(home={"nearest": 5}))
    heard: list[int] = []
    live.listen(lambda before, after: heard.append(after.version))
    assert shown() == (0, 0)
    apply(live, 1, surfaces(home={"nearest": 6}))
    assert shown() == (1, 0)
    for key, value in ((b"2", b"\xff"), (b"x", b""), (b"2", b"")):
        with pytest.raises(BadRecord):
            live.on_record(Record(key, value))
        assert shown() == (1, 1) and live().settings["home"].nearest == 6
    live.on_record(Record(b"1", None))  # Only old versions are removed.
    assert live().version == 1
    apply(live, 2, surfaces(home={"nearest": 7}))
    assert shown() == (2, 0) and heard == [1, 2]


def test_a_listener_that_fails_does_not_keep_others_from_a_change() -> None:
    live, heard = LiveSurfaces(Surfaces()), []

    def failing(before: SurfacesInForce, after: SurfacesInForce) -> None:
        raise RuntimeError

    live.listen(failing)
    live.listen(lambda before, after: heard.append((before.version, after.version)))
    apply(live, 1, Surfaces())
    assert heard == [(0, 1)]


def test_only_surfaces_whose_lists_may_differ_are_changed() -> None:
    before = SurfacesInForce.of(surfaces(home={"nearest": 5}, shop={}, gone={}))
    after = SurfacesInForce.of(surfaces(home={"nearest": 6}, shop={"nearest": 200}, new={}), 1)
    # `shop` says what the default is. A removed one becomes `default`, by which its streams are counted from now on.
    assert {name for name in ("default", "home", "shop", "gone", "new") if changed(name, before, after)} == {
        "home",
        "gone",
        "new",
    }
    of_default = SurfacesInForce.of(
        Surfaces.model_validate({"default": {"fresh": 1}, "surfaces": {"home": {}}}), 2
    )
    assert changed("home", after, of_default) and changed("default", after, of_default)
    assert not changed("evaluation", before, SurfacesInForce.of(surfaces(), 3))


def test_a_hundred_successive_versions_leave_the_series_of_one() -> None:
    counter = Counter("tried", "Tried", ["surface"], registry=CollectorRegistry())
    live = LiveSurfaces(Surfaces())
    live.listen(retiring([counter]))
    for version in range(1, 101):
        apply(live, version, surfaces(**{f"s{version}": {}}))
        for name in (f"s{version}", f"s{version - 1}", "default"):
            counter.labels(live().known(name)).inc()
    assert {s.labels["surface"] for f in counter.collect() for s in f.samples} == {"s100", "default"}
