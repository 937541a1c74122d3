"""Names, layouts and options of topics, without a broker."""

import pytest
from confluent_kafka import Uuid
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from topics.check import faults
from topics.ids import to_bytes
from topics.layout import DAY_MS, layouts
from topics.names import Topics
from topics.settings import KafkaSettings


def test_every_topic_has_the_prefix_and_its_own_name() -> None:
    assert Topics("eu-").all == (
        "eu-interactions",
        "eu-interactions.dead-letter",
        "eu-items",
        "eu-item-changes",
        "eu-items.dead-letter",
        "eu-item-vectors",
        "eu-item-stats",
        "eu-model-versions",
        "eu-surfaces",
        "eu-slates",
    )


def test_a_prefix_that_kafka_would_refuse_is_refused_at_once() -> None:
    with pytest.raises(ValidationError):
        KafkaSettings(topic_prefix="a b")


def test_sasl_without_a_password_is_refused() -> None:
    with pytest.raises(ValidationError, match="needs username and password"):
        KafkaSettings(security_protocol="SASL_SSL", username="u")


def test_both_clients_get_the_password_and_neither_shows_it() -> None:
    settings = KafkaSettings(
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-256",
        username="u",
        password=SecretStr("p%:@"),
    )
    assert settings.client_options()["sasl_plain_password"] == "p%:@"
    assert settings.admin_options()["sasl.password"] == "p%:@"
    assert "p%:@" not in repr(settings)


def test_several_brokers_may_be_named() -> None:
    assert KafkaSettings(bootstrap="a:1, b:2").client_options()["bootstrap_servers"] == ["a:1", "b:2"]


@given(st.floats(min_value=0.001, max_value=1e300))
def test_interactions_are_kept_at_least_as_long_as_profiles_live(days: float) -> None:
    retention = int(layouts(KafkaSettings(), days)[0].config["retention.ms"])
    assert retention == -1 or days * DAY_MS <= retention < 2**63


@pytest.mark.parametrize(("replication", "in_sync"), [(1, None), (2, "1"), (3, "2"), (5, "2")])
def test_one_replica_may_be_down_without_stopping_writes(replication: int, in_sync: str | None) -> None:
    for layout in layouts(KafkaSettings(replication=replication), 1):
        assert layout.config.get("min.insync.replicas") == in_sync


def test_created_topics_have_no_faults() -> None:
    for layout in layouts(KafkaSettings(), 365):
        assert faults(layout, layout.config, 365 * DAY_MS if layout.name == "interactions" else 0) == []


def test_retention_by_size_is_a_fault_of_interactions() -> None:
    layout = layouts(KafkaSettings(), 365)[0]
    found = faults(layout, {**layout.config, "retention.bytes": "1000000"}, 365 * DAY_MS)
    assert len(found) == 1 and "retention.bytes=-1" in found[0]


@given(st.binary(min_size=16, max_size=16))
def test_a_topic_id_is_its_sixteen_bytes(raw: bytes) -> None:
    high = int.from_bytes(raw[:8], "big", signed=True)
    low = int.from_bytes(raw[8:], "big", signed=True)
    assert to_bytes(Uuid(high, low)) == raw
