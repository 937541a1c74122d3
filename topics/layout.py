"""The configuration that each topic must have."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from topics.settings import KafkaSettings

MAX_RECORD_BYTES: Final = 1_048_576
"""Largest record that producers of recstream send: 1 MiB."""

MAX_BATCH_BYTES: Final = MAX_RECORD_BYTES + 65_536
"""Largest batch that the broker accepts: one record, with room for headers and framing."""

DAY_MS: Final = 86_400_000
_SLATES_DAYS: Final = 7
_DEAD_LETTER_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a topic. `config` has Kafka's names and values."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]

    @property
    def compacted(self) -> bool:
        return "compact" in self.config["cleanup.policy"]


def layouts(settings: KafkaSettings, time_to_live_days: float) -> tuple[Layout, ...]:
    """The layouts of all topics.

    Interactions are kept a day longer than profiles live, so that all events of a profile can be read again. They are
    kept for ever if the time is too large for Kafka.
    """
    topics = settings.topics
    retention_ms = int((time_to_live_days + 1) * DAY_MS)
    interactions = str(retention_ms) if retention_ms < 2**62 else "-1"

    def layout(name: str, config: Mapping[str, str], partitions: int = settings.partitions) -> Layout:
        values = {**config, "max.message.bytes": str(MAX_BATCH_BYTES)}
        if settings.replication > 1:
            # One replica may be down. With three or more, acknowledged records are on two replicas even then.
            values["min.insync.replicas"] = str(max(1, min(2, settings.replication - 1)))
        return Layout(name, partitions, settings.replication, values)

    # Every process reads a compacted topic from its start. The cleaner never compacts the newest segment, so short
    # segments keep the topic close to one record per key.
    compact = {"cleanup.policy": "compact", "segment.ms": str(DAY_MS // 4), "segment.bytes": str(64 << 20)}
    # The key of a dead letter is its origin, so compaction removes repeats of the same failure.
    letters = {"cleanup.policy": "compact,delete", "retention.ms": str(_DEAD_LETTER_DAYS * DAY_MS)}
    events = {"cleanup.policy": "delete", "retention.ms": interactions, "retention.bytes": "-1"}
    slates = {"cleanup.policy": "delete", "retention.ms": str(_SLATES_DAYS * DAY_MS)}
    changes_ms = str(int(settings.item_changes_days * DAY_MS))
    changes = {"cleanup.policy": "delete", "retention.ms": changes_ms, "retention.bytes": "-1"}
    # The record of a deletion says when it was. An older change that arrives later must find it.
    items = {**compact, "delete.retention.ms": changes_ms}
    return (
        layout(topics.interactions, events),
        layout(topics.interactions_dead_letter, letters, 1),
        layout(topics.items, items),
        layout(topics.item_changes, changes),
        layout(topics.items_dead_letter, letters, 1),
        layout(topics.item_vectors, compact),
        layout(topics.item_stats, compact),
        layout(topics.model_versions, compact, 1),
        layout(topics.surfaces, compact, 1),
        layout(topics.slates, slates),
    )
