"""Positions in Kafka as a part of a token."""

from collections.abc import Iterable, Mapping

from profiles.folding.events import Position
from recstream.storage.v1 import token_pb2 as storage

Watermarks = Mapping[tuple[bytes, int], int]
"""The last offset, by topic id and partition."""


def newest(positions: Iterable[Position]) -> Watermarks:
    """Return the highest offset of each partition."""
    found: dict[tuple[bytes, int], int] = {}
    for topic_id, partition, offset in positions:
        found[topic_id, partition] = max(offset, found.get((topic_id, partition), -1))
    return found


def encode(watermarks: Watermarks) -> storage.Positions:
    """Return the offsets as a message. Equal ones give an equal message."""
    topics: dict[bytes, storage.TopicPositions] = {}
    for (topic_id, partition), offset in sorted(watermarks.items()):
        topic = topics.setdefault(topic_id, storage.TopicPositions(topic_id=topic_id))
        topic.partitions.append(partition)
        topic.offsets.append(offset)
    return storage.Positions(topics=topics.values())


def decode(message: storage.Positions) -> Watermarks:
    """Return the offsets of a message."""
    return {
        (topic.topic_id, partition): offset
        for topic in message.topics
        for partition, offset in zip(topic.partitions, topic.offsets, strict=True)
    }
