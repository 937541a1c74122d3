"""Writes changes of items to the log, and applies them to the catalogue in memory."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from catalog.catalog import Catalog
from catalog.items.item_changes import decode_change, deletion_value, patch_problems, patch_value, put_value
from catalog.items.item_check import check, time_problems
from catalog.items.item_state import ItemState, combine, problems
from catalog.items.item_time import is_ahead, nanoseconds
from profiles.folding.events import Position
from recstream.v1 import item_pb2
from server import metrics
from server.errors import InvalidRequest, Violation
from server.requests import validation
from server.requests.validation import MAX_ITEMS, Check
from server.writes.log_writer import Appending, LogWriter

_SLICE_SECONDS: Final = 0.002


@dataclass(frozen=True, slots=True)
class _Change:
    """A change that is ready to be written.

    Attributes:
        value: The record's value.
        state: The state of its item after this change alone, without contents.
    """

    value: bytes
    state: ItemState


class ItemWriter:
    """Puts, patches, withdraws and deletes items.

    Changes go to the topic `item-changes`. Ingest folds them by their source's time and writes `items`. When Kafka has
    acknowledged a change, it is folded here too, by the same function, before the records of `items` are read. So this
    process recommends no item that it was asked to withdraw or delete, and knows each item that was put through it. A
    change that is older than what is known here shows nothing.

    Args:
        catalog: The catalogue.
        writer: Writes to the log.
        topic: The topic of changes of items.
        now_ns: The wall clock, Unix nanoseconds.
    """

    def __init__(self, *, catalog: Catalog, writer: LogWriter, topic: str, now_ns: Callable[[], int]) -> None:
        self._catalog = catalog
        self._writer = writer
        self._topic = topic
        self._now_ns = now_ns
        self._last_ns = 0

    async def put(self, items: Sequence[item_pb2.Item], until: float) -> list[Position]:
        """Add or replace items.

        Args:
            items: The items. All are checked before the first is written.
            until: When to stop waiting for Kafka, on `time.monotonic()`.

        Returns:
            The position of each item's record, in order.

        Raises:
            InvalidRequest: An item is not valid. The violations name the items and their fields.
            NotAvailable: Kafka does not answer.
        """
        checks = Check()
        if checks.length("items", items, MAX_ITEMS):
            for at, item in enumerate(items):
                for field, problem in check(item):
                    checks.no(f"items[{at}].{field}", problem)
        checks.done()
        changes = (
            _change(item.item_id, put_value(item, self._time(item.item_id, _updated_at(item))))
            for item in items
        )
        return await self._write("items", changes, until)

    async def patch(
        self, patches: Sequence[item_pb2.ItemPatch], until: float
    ) -> tuple[list[Position], list[str]]:
        """Set or clear single fields of items.

        Args:
            patches: The patches. All are checked before the first is written.
            until: When to stop waiting for Kafka, on `time.monotonic()`.

        Returns:
            The position of each patch, in order, and the ids that are unknown here.

        Raises:
            InvalidRequest: A patch is not valid, or would make its item too large.
            NotAvailable: Kafka does not answer.
        """
        checks = Check()
        if checks.length("patches", patches, MAX_ITEMS):
            for at, patch in enumerate(patches):
                for field, problem in patch_problems(patch):
                    checks.no(f"patches[{at}].{field}", problem)
        checks.done()
        changes: list[_Change] = []
        folded: dict[str, ItemState] = {}
        for at, patch in enumerate(patches):
            item_id = patch.item.item_id
            change = _change(item_id, patch_value(patch, self._time(item_id, _updated_at(patch.item))))
            changes.append(change)
            folded[item_id] = combine(folded.get(item_id) or self._catalog.item_state(item_id), change.state)
            for field, problem in problems(folded[item_id]):
                checks.no(f"patches[{at}].{field}", f"{problem} (with what is known of the item)")
        checks.done()
        unknown = self._unknown(patch.item.item_id for patch in patches)
        return await self._write("patches", changes, until), unknown

    async def withdraw(
        self, item_ids: Sequence[str], until: float, updated_at: Timestamp | None = None
    ) -> tuple[list[Position], list[str]]:
        """Take items off every slate. Unknown items are withdrawn once they are put, unless that is later.

        Args:
            item_ids: The ids of the items.
            until: When to stop waiting for Kafka, on `time.monotonic()`.
            updated_at: When the source withdrew them. None: now.

        Returns:
            The position of the change of each different item, in order, and the ids that are unknown here.

        Raises:
            InvalidRequest: An id or the time is not valid.
            NotAvailable: Kafka does not answer.
        """

        def withdrawal(item_id: str, time_ns: int) -> bytes:
            item = item_pb2.Item(item_id=item_id, withdrawn=True)
            return patch_value(item_pb2.ItemPatch(item=item, fields=["withdrawn"]), time_ns)

        return await self._write_each(item_ids, updated_at, withdrawal, until)

    async def delete(
        self, item_ids: Sequence[str], until: float, updated_at: Timestamp | None = None
    ) -> tuple[list[Position], list[str]]:
        """Remove items from the catalogue.

        Unknown items are removed too, because this process may not have read them yet.

        Args:
            item_ids: The ids of the items.
            until: When to stop waiting for Kafka, on `time.monotonic()`.
            updated_at: When the source deleted them. None: now.

        Returns:
            The position of the record of each different item, in order, and the ids that are unknown here.

        Raises:
            InvalidRequest: An id or the time is not valid.
            NotAvailable: Kafka does not answer.
        """
        return await self._write_each(item_ids, updated_at, lambda _, time_ns: deletion_value(time_ns), until)

    async def _write_each(
        self,
        item_ids: Sequence[str],
        updated_at: Timestamp | None,
        value: Callable[[str, int], bytes],
        until: float,
    ) -> tuple[list[Position], list[str]]:
        """Write one change of each different item."""
        validation.item_ids(item_ids)
        if updated_at is not None:
            checks = Check()
            for field, problem in time_problems("updated_at", updated_at):
                checks.no(field, problem)
            checks.done()
        different = list(dict.fromkeys(item_ids))
        unknown = self._unknown(different)
        changes = (_change(item_id, value(item_id, self._time(item_id, updated_at))) for item_id in different)
        return await self._write("item_ids", changes, until), unknown

    def _unknown(self, item_ids: Iterable[str]) -> list[str]:
        return [item_id for item_id in dict.fromkeys(item_ids) if self._catalog.row(item_id) is None]

    def _time(self, item_id: str, updated_at: Timestamp | None) -> int:
        """The source's time of a change, in nanoseconds.

        Without one, it is now, and later than all that this process knows of the item and than its earlier changes. So
        of two calls one after the other the second wins, although clocks of servers differ.
        """
        now_ns = self._now_ns()
        if updated_at is not None:
            time_ns = nanoseconds(updated_at)
            if not is_ahead(time_ns, now_ns):
                return time_ns
            metrics.ITEM_CLOCKS_AHEAD.inc()
        newest = self._catalog.item_state(item_id).newest
        self._last_ns = max(now_ns, self._last_ns + 1, newest.time_ns + 1)
        return self._last_ns

    async def _write(self, field: str, changes: Iterable[_Change], until: float) -> list[Position]:
        """Write changes, wait for the acknowledgements, and apply the changes here. Other tasks may run every few
        milliseconds."""
        started: list[Appending] = []
        states: list[ItemState] = []
        began = time.monotonic()
        for at, change in enumerate(changes):
            states.append(change.state)
            key = change.state.item.item_id.encode()
            try:
                started.append(await self._writer.start(self._topic, key, change.value, until))
            except InvalidRequest as error:
                raise InvalidRequest(
                    [Violation(f"{field}[{at}]", v.problem) for v in error.violations]
                ) from error
            if time.monotonic() - began > _SLICE_SECONDS:
                await asyncio.sleep(0)
                began = time.monotonic()
        positions = [await self._writer.position(each, until) for each in started]
        await self._catalog.merge_items(states)
        return positions


def _change(item_id: str, value: bytes) -> _Change:
    return _Change(value, decode_change(item_id.encode(), value).without_contents())


def _updated_at(item: item_pb2.Item) -> Timestamp | None:
    return item.updated_at if item.HasField("updated_at") else None
