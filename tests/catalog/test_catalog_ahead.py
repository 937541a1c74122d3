"""A record that a process applies before it reads it, and the records that it reads meanwhile."""

import asyncio
from functools import partial

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from catalog.reader import Reader
from topics.settings import KafkaSettings

PARTITION = TopicPartition("items", 0)


def record(offset: int, key: bytes) -> ConsumerRecord:
    return ConsumerRecord(
        topic="items", partition=0, offset=offset, timestamp=0, timestamp_type=0, key=key,
        value=b"%d" % offset, checksum=None, serialized_key_size=1, serialized_value_size=1, headers=(),
    )  # fmt: skip


class Followed:
    """A reader, and the offset of the newest record of each key that was applied."""

    def __init__(self) -> None:
        self.newest: dict[bytes, int] = {}
        self.history: list[tuple[bytes, int]] = []
        self.reader = Reader(KafkaSettings(), {"items": self._apply}, lambda: None, 60)

    def _apply(self, key: bytes | None, value: bytes | None) -> None:
        assert key is not None and value is not None
        self.set(key, int(value))

    def set(self, key: bytes, offset: int) -> None:
        self.newest[key] = offset
        self.history.append((key, offset))

    def ahead(self, offset: int, key: bytes) -> None:
        self.reader.apply_ahead(PARTITION, offset, key, partial(self.set, key, offset))

    def read(self, *records: ConsumerRecord) -> None:
        asyncio.run(self.reader._take(PARTITION, list(records)))


KEYS = st.lists(st.sampled_from([b"a", b"b"]), min_size=1, max_size=12)


@given(KEYS, st.data())
def test_no_item_goes_back_to_an_earlier_record_and_all_end_as_the_topic_does(
    keys: list[bytes], data: st.DataObject
) -> None:
    """The process wrote some of the records. Each acknowledgement may come before or after the record is read."""
    own = data.draw(st.sets(st.integers(0, len(keys) - 1)))
    steps = data.draw(st.permutations([*(("ahead", at) for at in own), *("read" for _ in keys)]))
    followed, unread = Followed(), iter(enumerate(keys))
    for step in steps:
        if step == "read":
            followed.read(record(*next(unread)))
        else:
            followed.ahead(step[1], keys[step[1]])
    assert followed.newest == {key: at for at, key in enumerate(keys)}
    for key in set(keys):
        offsets = [offset for each, offset in followed.history if each == key]
        assert offsets == sorted(set(offsets))


@pytest.fixture
def followed() -> Followed:
    return Followed()


def test_a_record_that_was_applied_ahead_is_not_applied_again_when_it_is_read(followed: Followed) -> None:
    followed.ahead(1, b"a")
    followed.read(record(0, b"a"), record(1, b"a"), record(2, b"b"))
    assert followed.history == [(b"a", 1), (b"b", 2)]


def test_if_the_record_is_compacted_a_later_one_takes_its_place(followed: Followed) -> None:
    followed.ahead(1, b"a")
    followed.read(record(0, b"b"), record(7, b"a"), record(8, b"a"))
    assert followed.newest == {b"a": 8, b"b": 0}


def test_the_records_of_a_topic_that_was_recreated_are_all_applied(followed: Followed) -> None:
    followed.read(record(500, b"b"))
    followed.ahead(900, b"a")
    followed.read(record(0, b"b"), record(1, b"a"))
    assert followed.newest == {b"a": 1, b"b": 0}


def test_a_record_that_cannot_be_applied_ahead_is_left_to_the_reader(followed: Followed) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    followed.reader.apply_ahead(PARTITION, 1, b"a", fail)
    followed.read(record(0, b"a"), record(1, b"a"))
    assert followed.history == [(b"a", 0), (b"a", 1)]
