"""Checks that the topics are configured so that no records are lost."""

from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]

from topics.admin import with_admin
from topics.describe import MISSING, existing
from topics.layout import DAY_MS, MAX_RECORD_BYTES, Layout, layouts
from topics.settings import KafkaSettings


@dataclass(frozen=True, slots=True)
class TopicProblem:
    """A problem of a topic.

    Attributes:
        topic: The topic.
        text: The problem, and what to do.
        missing: Whether the topic does not exist.
    """

    topic: str
    text: str
    missing: bool = False

    def __str__(self) -> str:
        return f"{self.topic}: {self.text}"


async def check_topics(
    settings: KafkaSettings, time_to_live_days: float, *, timeout: float | None = None
) -> list[TopicProblem]:
    """Checks the configuration of all topics.

    Args:
        settings: The cluster.
        time_to_live_days: How long profiles live, and how long records of `interactions` are therefore needed.
        timeout: Seconds. None: the request timeout of the settings.

    Returns:
        The problems. Empty: there are none.

    Raises:
        KafkaUnreachable: No broker answers.
    """

    def work(admin: AdminClient, seconds: float) -> list[TopicProblem]:
        problems: list[TopicProblem] = []
        wanted = layouts(settings, time_to_live_days)
        there = existing(admin, [layout.name for layout in wanted], seconds)
        configs = _configs(admin, [layout.name for layout in wanted if layout.name in there], seconds)
        for layout in wanted:
            if layout.name not in configs:
                problems.append(
                    TopicProblem(layout.name, "missing; create it: `recstream topics create`", True)
                )
                continue
            ttl_ms = time_to_live_days * DAY_MS if layout.name == settings.topics.interactions else 0
            problems += [
                TopicProblem(layout.name, text) for text in faults(layout, configs[layout.name], ttl_ms)
            ]
        return problems

    return await with_admin(settings, work, timeout)


def faults(layout: Layout, config: Mapping[str, str], time_to_live_ms: float) -> list[str]:
    """Lists the problems of one topic's configuration.

    Args:
        layout: The required layout.
        config: The present configuration, with Kafka's names and values.
        time_to_live_ms: For `interactions`, how long records are needed. 0 for other topics.
    """
    found = []
    policy = config.get("cleanup.policy", "")
    if layout.compacted and "compact" not in policy:
        found.append(
            f"is not compacted (cleanup.policy={policy}) and loses items: set cleanup.policy=compact"
        )
    if "delete" not in layout.config["cleanup.policy"] and "delete" in policy:
        found.append(f"old records are deleted (cleanup.policy={policy}): set cleanup.policy=compact")
    wanted, kept = (int(each.get("delete.retention.ms", DAY_MS)) for each in (layout.config, config))
    if "compact" in policy and kept < wanted:
        found.append(
            f"forgets deletions after {kept / DAY_MS:.3g} days, and older changes that arrive later bring items back: "
            f"set delete.retention.ms={wanted}"
        )
    if not layout.compacted and "compact" in policy and not time_to_live_ms:
        found.append("is compacted and keeps only the newest record of a key: set cleanup.policy=delete")
    if time_to_live_ms:
        if "compact" in policy:
            found.append("is compacted and keeps only the newest event of a user: set cleanup.policy=delete")
        retention = int(config.get("retention.ms", "-1"))
        if 0 <= retention < time_to_live_ms:
            found.append(
                f"keeps records for {retention / DAY_MS:.3g} days, but profiles live {time_to_live_ms / DAY_MS:.3g}: "
                f"raise retention.ms to {int(time_to_live_ms)} or more, or lower the time to live"
            )
        if int(config.get("retention.bytes", "-1")) >= 0:
            found.append("old records are deleted by size, independent of age: set retention.bytes=-1")
    if int(config.get("max.message.bytes", MAX_RECORD_BYTES)) < MAX_RECORD_BYTES:
        found.append(f"refuses records of {MAX_RECORD_BYTES} bytes: raise max.message.bytes")
    return found


def _configs(admin: AdminClient, names: list[str], seconds: float) -> dict[str, dict[str, str]]:
    """The configurations by topic. Topics that were deleted meanwhile are left out."""
    if not names:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    found = {}
    for resource, answer in admin.describe_configs(resources, request_timeout=seconds).items():
        try:
            entries = answer.result(timeout=seconds + 1).values()
        except KafkaException as error:
            if error.args[0].code() not in MISSING:
                raise
            continue
        found[resource.name] = {entry.name: entry.value for entry in entries if entry.value is not None}
    return found
