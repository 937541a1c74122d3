"""A setting comes from a flag, the environment, the file or its default, in that order; a wrong one is named."""

import os
from pathlib import Path

import pytest

from configuration.errors import ConfigurationError
from configuration.reference import PAGE, page, settings_of
from configuration.settings import Settings, environment_of, load_settings, set_from_flags, variable


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RECSTREAM_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def _restored() -> "object":
    """What set_from_flags writes into the environment goes again."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_defaults_need_nothing() -> None:
    assert load_settings().kafka.bootstrap == "127.0.0.1:9092"


@pytest.mark.usefixtures("_restored")
def test_a_flag_outranks_the_environment_and_that_outranks_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("kafka: {bootstrap: 'file:1', topic_prefix: file-, partitions: 9}\n")
    monkeypatch.setenv("RECSTREAM_KAFKA__BOOTSTRAP", "environment:1")
    monkeypatch.setenv("RECSTREAM_KAFKA__TOPIC_PREFIX", "environment-")
    set_from_flags(["kafka.bootstrap=flag:1"], file)
    kafka = load_settings().kafka
    assert (kafka.bootstrap, kafka.topic_prefix, kafka.partitions) == ("flag:1", "environment-", 9)


def test_a_mistyped_setting_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSTREAM_KAFKA__BOOTSTRP", "x")
    with pytest.raises(ConfigurationError, match="RECSTREAM_KAFKA__BOOTSTRP"):
        load_settings()


def test_a_mistyped_room_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSTREAM_KAFAK__BOOTSTRAP", "x")
    with pytest.raises(ConfigurationError, match="RECSTREAM_KAFAK__BOOTSTRAP is not a setting"):
        load_settings()


def test_what_kubernetes_sets_for_a_service_of_our_name_disturbs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RECSTREAM_SERVER_PORT", "tcp://10.0.0.1:50051")
    monkeypatch.setenv("RECSTREAM_SERVICE_HOST", "10.0.0.1")
    assert load_settings().server.port == 50051


def test_a_wrong_value_is_named_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSTREAM_KAFKA__PARTITIONS", "s3cret")
    with pytest.raises(
        ConfigurationError, match=r"kafka\.partitions \(RECSTREAM_KAFKA__PARTITIONS\)"
    ) as caught:
        load_settings()
    assert "s3cret" not in str(caught.value)


def test_a_missing_file_and_a_file_that_is_no_yaml_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSTREAM_CONFIG", str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigurationError, match=r"none\.yaml does not exist"):
        load_settings()
    (tmp_path / "bad.yaml").write_text("kafka: {bootstrap: [\n")
    monkeypatch.setenv("RECSTREAM_CONFIG", str(tmp_path / "bad.yaml"))
    with pytest.raises(ConfigurationError):
        load_settings()


def test_a_child_process_gets_the_settings_that_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings.model_validate(
        {
            "bundle": "somewhere/bundle",
            "kafka": {
                "bootstrap": "a:1",
                "security_protocol": "SASL_PLAINTEXT",
                "username": "ann",
                "password": "p@ss/w#rd%41:?&é",
            },
            "store": {"addresses": ["b:2"], "cluster": True},
            "profiles": {
                "actions": {"cook": {"weight": 2.0, "value_range": [1, 5]}},
                "forbidden_user_ids": ["null"],
            },
            "ranking": {"default": {"nearest": 12}, "surfaces": {"home": {"fresh": 7}}},
        }
    )
    for name, value in environment_of(given).items():
        monkeypatch.setenv(name, value)
    received = load_settings()
    assert received == given
    assert received.ranking.surface("home").fresh == 7
    # What a surface does not set, it takes from `default` there as here.
    assert received.ranking.surface("home").nearest == given.ranking.surface("home").nearest == 12


@pytest.mark.usefixtures("_restored")
def test_rules_come_from_the_file_and_the_environment_and_reach_child_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(
        """
        ranking:
          default:
            rules:
              boosts: [{name: drama, filter: category = Drama, strength: 0.5}]
              rotation: {strength: 0.5}
          surfaces:
            home: {rules: {caps: [{field: category, most: 2, end_time: "2030-01-01T00:00:00Z"}]}}
        """
    )
    monkeypatch.setenv("RECSTREAM_RANKING__DEFAULT__RULES__PINS", '[{"item_id": "a", "position": 3}]')
    set_from_flags([], file)
    given = load_settings()
    rules = given.ranking.default.rules
    assert [each.name for each in rules.boosts] == ["drama"]
    assert [(each.item_id, each.position) for each in rules.pins] == [("a", 3)]
    # A surface with rules takes none from `default`, and one without takes all.
    assert not given.ranking.surface("home").rules.boosts
    assert given.ranking.surface("other").rules == rules
    assert given.ranking.surface("evaluation").rules.message() is None
    environment = environment_of(given)
    # Not by monkeypatch, which would bring back after the test what `set_from_flags` wrote.
    del os.environ["RECSTREAM_CONFIG"]
    os.environ.update(environment)
    assert load_settings() == given


def test_a_wrong_rule_is_named_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSTREAM_RANKING__DEFAULT__RULES__PINS", '[{"item_id": "a", "position": -1}]')
    with pytest.raises(ConfigurationError, match=r"ranking\.default\.rules.*pins\[0\]\.position"):
        load_settings()


def test_every_setting_has_a_meaning() -> None:
    assert [setting.name for setting in settings_of(Settings) if not setting.meaning] == []


def test_the_page_of_settings_is_fresh() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m configuration.reference`"


def test_the_page_names_every_variable() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [s.name for s in settings_of(Settings) if f"`{variable(s.path)}`" not in text] == []
