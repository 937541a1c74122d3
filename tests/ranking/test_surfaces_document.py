"""The file of the surfaces: what it says is kept on its way through YAML and JSON, and what is wrong has its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import BadRecord
from ranking.settings import RankingSettings, Surfaces
from ranking.surfaces.document import MAX_BYTES, BadSurfaces, as_values, parse, parse_json, to_json, to_yaml
from ranking.surfaces.record import SurfacesVersion, decode, encode, key_of, version_in
from recstream.storage.v1 import surfaces_pb2

NAMES = st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True).filter(lambda name: name != "default")
WINDOWS = st.sampled_from(
    [{}, {"start_time": "2030-01-01T00:00:00+02:00"}, {"end_time": "2031-01-01T00:00:00Z"}]
)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "boosts": st.lists(
            st.builds(
                lambda name, strength, window: {
                    "name": name,
                    "filter": "category = drama",
                    "strength": strength,
                    **window,
                },
                st.text(min_size=1, max_size=20).filter(str.strip),
                st.floats(-10, 10),
                WINDOWS,
            ),
            max_size=3,
        ),
        "pins": st.lists(
            st.integers(0, 499).map(lambda at: {"item_id": f"i{at}", "position": at}),
            max_size=3,
            unique_by=lambda pin: pin["position"],
        ),
        "caps": st.just([{"field": "category", "most": 2}]),
        "diversity": st.floats(0, 1),
        "rotation": st.just({"strength": 0.5, "hours": 48}),
    },
)
SURFACE = st.fixed_dictionaries(
    {},
    optional={
        "nearest": st.integers(0, 2000),
        "fresh_days": st.floats(0, 1e6),
        "exploration_share": st.floats(0, 0.5),
        "action_weights": st.dictionaries(st.text(max_size=8), st.floats(-100, 100), max_size=3),
        "rules": RULES,
    },
)
FILES = st.fixed_dictionaries(
    {"default": SURFACE}, optional={"surfaces": st.dictionaries(NAMES, SURFACE, max_size=4)}
)


@given(FILES)
def test_what_a_file_says_survives_yaml_and_json(file: dict[str, object]) -> None:
    surfaces = Surfaces.model_validate(file)
    for again in (parse(to_yaml(surfaces)), parse_json(to_json(surfaces))):
        assert as_values(again) == as_values(surfaces)
        assert set(again.surface_names) == set(surfaces.surface_names)
        for name in surfaces.surface_names:
            assert again.surface(name) == surfaces.surface(name)


def test_a_surface_takes_from_default_what_it_does_not_set_before_and_after_the_topic() -> None:
    surfaces = parse("default: {nearest: 12}\nsurfaces: {home: {fresh: 7}}")
    assert to_json(surfaces).count("nearest") == 1  # or a later default would not reach `home`
    for each in (surfaces, parse_json(to_json(surfaces))):
        assert (each.surface("home").nearest, each.surface("home").fresh) == (12, 7)
        assert each.surface_names == ("default", "evaluation", "home")


def test_the_settings_are_a_file_too() -> None:
    settings = RankingSettings.model_validate({"surfaces": {"home": {"nearest": 5}}, "model_timeout_ms": 9})
    assert parse(to_yaml(settings)).surface("home").nearest == 5
    assert "model_timeout_ms" not in to_yaml(settings)
    changed = settings.with_surfaces(parse("default: {nearest: 3}"))
    assert (changed.default.nearest, changed.model_timeout_ms) == (3, 9)
    assert changed.surface_names == ("default", "evaluation")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "neither"),
        ("[]", "neither"),
        ("home: {}", "home: Extra inputs"),
        ("surfaces: {home: {nearst: 5}}", "surfaces.home.nearst: Extra inputs"),
        ("surfaces: {home: {nearest: 5000}}", "surfaces.home.nearest: Input should be less"),
        ("surfaces: {home: {rules: {boosts: [{name: x, filter: 'a ='}]}}}", "surfaces.home.rules.boosts.0.filter"),
        ("surfaces: {home: {rules: {pins: [{item_id: a, position: 900}]}}}", "pins[0].position"),
        ("surfaces: {home: {fresh_days: .inf}}", "surfaces.home.fresh_days"),
        ("surfaces: {home: {action_weights: {like: .nan}}}", "surfaces.home.action_weights.like"),
        ("surfaces: {'a b': {}}", "surfaces.a b"),
        ("surfaces: {default: {}}", "set it under `default`"),
        ("surfaces: {404: {}}", "surfaces.404"),
        ("surfaces: {home: {nearest: 1}, home: {nearest: 2}}", "'home' is there twice"),
        ("surfaces: {home: {nearest: 1, nearest: 2}}", "'nearest' is there twice"),
        ("surfaces: {home: {rules: {boosts: [{name: x, filter: 'category = a', strength: 1, "
         "start_time: '2030-01-01T00:00:00'}]}}}", "start_time"),
        ("default: {nearest: [}", "is no YAML"),
        ("default: !!python/object/apply:os.system [true]", "is no YAML"),
        ("{? [a] : 1}", "is no YAML"),
        ("surfaces: {" + ", ".join(f"s{n}: {{}}" for n in range(101)) + "}", "at most 100"),
        ("default: {}\n" + "#" * MAX_BYTES, "the limit is"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_path(text: str, reason: str) -> None:
    with pytest.raises(BadSurfaces) as refused:
        parse(text)
    assert reason in refused.value.reason and len(refused.value.reason) < 2_000


def test_a_short_file_that_stands_for_a_long_one_is_refused() -> None:
    many = "a: &a {action_weights: {" + ", ".join(f"w{n}: 1" for n in range(400)) + "}}\n"
    text = (
        many.replace("a: &a", "default: &a") + "surfaces: {" + ", ".join(f"s{n}: *a" for n in range(99)) + "}"
    )
    assert len(text) < 10_000
    with pytest.raises(BadSurfaces, match="the limit is"):
        parse(text)


def test_a_record_carries_a_version_and_who_applied_it() -> None:
    made = SurfacesVersion(7, parse("surfaces: {home: {nearest: 5}}"), 1_700_000_000_000, "ann", "a try")
    read = decode(b"7", encode(made))
    assert read.surfaces is not None and read.surfaces.surface("home").nearest == 5
    assert (read.version, read.applied_at_ms, read.applied_by, read.comment) == (
        7,
        1_700_000_000_000,
        "ann",
        "a try",
    )
    assert decode(b"8", encode(SurfacesVersion(8, None))).surfaces is None


def stored(**fields: object) -> bytes:
    message = surfaces_pb2.SurfacesVersion(format=1, version=7, surfaces="{}")
    for name, value in fields.items():
        setattr(message, name, value)
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (None, stored(), "its key"),
        (b"surfaces", stored(), "its key"),
        (b"07", stored(), "its key"),
        (b"-7", stored(), "its key"),
        (b"9" * 19, stored(), "its key"),
        (b"8", stored(), "it is version 7 under the key 8"),
        (b"7", b"\xff", "cannot be read as SurfacesVersion"),
        (b"7", b"", "the format 0"),
        (b"7", stored(format=2), "the format 2, this release knows 1"),
        (b"7", stored(surfaces="[]"), "the file"),
        (b"7", stored(surfaces='{"later": 1}'), "later: Extra inputs"),
        (b"7", stored(surfaces='{"default": {"nearest": -1}}'), "default.nearest"),
        (b"7", stored(surfaces="{" + " " * MAX_BYTES + "}"), "the limit is"),
    ],
)
def test_a_record_that_cannot_be_used_says_why(key: bytes | None, value: bytes, reason: str) -> None:
    with pytest.raises(BadRecord) as refused:
        decode(key, value)
    assert reason in refused.value.reason


@given(st.binary(max_size=30), st.binary(max_size=60))
def test_any_record_is_read_or_refused(key: bytes, value: bytes) -> None:
    try:
        read = decode(key, value)
    except BadRecord:
        return
    assert key_of(read.version) == key


@given(st.integers(1, 10**18 - 1))
def test_a_key_is_that_of_one_version(version: int) -> None:
    assert version_in(key_of(version)) == version


def test_an_empty_mapping_of_surfaces_keeps_the_surface_for_evaluations() -> None:
    assert Surfaces.model_validate({"surfaces": {}}).surface_names == ("default", "evaluation")
