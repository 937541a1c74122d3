"""Checks that the topic is the one whose events the profiles hold, by its id (KIP-516)."""

from ingest.consuming.groups import interactions_group
from ingest.consuming.offsets import check_range
from ingest.consuming.topic_check import topic_id_of
from ingest.errors import StoreEmptied, TopicRecreated
from profiles.store.store import ProfileStore
from topics.settings import KafkaSettings


async def check_identity(kafka: KafkaSettings, store: ProfileStore) -> bytes:
    """Compares the topic's id with the one that the store remembers. A store without an id gets this one.

    It also checks, without joining the group, that the committed offsets still exist.

    Returns:
        The topic's id, 16 bytes.

    Raises:
        TopicRecreated: The store holds the events of another topic.
        StoreEmptied: The store remembers no topic, although offsets are committed.
        OffsetOutOfRange: Records were deleted before they were read.
        TopicsMissing: The topic does not exist.
        KafkaUnreachable, KafkaError, StoreUnavailable: A server fails.
    """
    name = kafka.topics.interactions
    found = await topic_id_of(kafka, name)
    remembered = (await store.remembered_topics()).get(name)
    if remembered is not None and remembered != found:
        raise TopicRecreated(name, remembered, found)
    group = interactions_group(kafka)
    offsets = await check_range(kafka, group, name)
    if remembered is None:
        if any(known.offset > 0 for known in offsets.values()):
            raise StoreEmptied(group)
        await store.remember_topics({name: found})
    return found
