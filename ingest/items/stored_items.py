"""The states of items in one partition of the topic `items`, as its records tell of them."""

import time
from collections.abc import Callable, Iterable

from aiokafka import ConsumerRecord

from catalog.errors import BadRecord
from catalog.items.item_changes import StoredState, decode_state, encode_state, is_direct
from catalog.items.item_state import ItemState, merge
from catalog.items.items import Item


class StoredItems:
    """The states of one partition's items. They stay serialised, without the contents of media, which takes a small
    part of the memory that objects would take.

    A record of another producer may be older than what is known of its item, or than a patch. Then the last record of
    the item is not its state, and has to be written again: `outdated` names such items.

    Args:
        seconds: How long deletions, and patches of items that were not put, are kept.
        clock: Monotonic seconds.

    Attributes:
        outdated: Ids of items whose last record in the topic is not their state.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._states: dict[str, StoredState] = {}
        # In the order of their times, so that the oldest are found first.
        self._unlisted: dict[str, float] = {}
        self._contents_at: dict[str, int] = {}
        self.outdated: set[str] = set()

    def get(self, item_id: str) -> ItemState:
        """What is known of an item, without contents."""
        stored = self._states.get(item_id)
        return ItemState(Item(item_id)) if stored is None else stored.decode(item_id.encode())

    def contents_at(self, item_id: str) -> int | None:
        """The offset of a record that has contents of the item's media. None: none is known."""
        return self._contents_at.get(item_id)

    def read(self, record: ConsumerRecord) -> None:
        """Takes a record of the topic. One that cannot be used is passed over, as in the catalogue, which says so."""
        try:
            read = decode_state(record)
        except BadRecord:
            return
        alone = read.without_contents()
        item_id = alone.item.item_id
        known = self.get(item_id)
        merged = merge(known, alone)
        if merged is not known:
            self._keep(merged)
        wanted = {media.content_hash for media in merged.item.media}
        found = {media.content_hash for media in read.item.media if media.content} & wanted
        if found and (found == wanted or item_id not in self._contents_at):
            self._contents_at[item_id] = record.offset
        if merged == alone:
            self.outdated.discard(item_id)
        elif is_direct(record):
            self.outdated.add(item_id)

    def wrote(self, states: Iterable[tuple[ItemState, int | None]]) -> None:
        """Takes states that were written and committed.

        Args:
            states: Each state, and the offset of its record if that has contents.
        """
        for state, offset in states:
            item_id = state.item.item_id
            self._keep(merge(self.get(item_id), state))
            self.outdated.discard(item_id)
            if offset is not None:
                self._contents_at[item_id] = offset
        self._expire()

    def _keep(self, state: ItemState) -> None:
        item_id = state.item.item_id
        self._states[item_id] = encode_state(state)
        self._unlisted.pop(item_id, None)
        if not state.item.media:
            self._contents_at.pop(item_id, None)
        if not state.listed:
            self._unlisted[item_id] = self._clock()

    def _expire(self) -> None:
        """Drops what Kafka has dropped, or will soon."""
        before = self._clock() - self._seconds
        while self._unlisted:
            item_id, since = next(iter(self._unlisted.items()))
            if since > before:
                return
            del self._unlisted[item_id]
            self._states.pop(item_id, None)
            self._contents_at.pop(item_id, None)
            self.outdated.discard(item_id)
