"""The catalogue's items: read from memory, written through the log."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from catalog.catalog import Catalog
from catalog.items.item_check import check
from catalog.items.items import Item, from_proto
from recstream.v1 import catalog_service_pb2 as rpc
from recstream.v1 import interaction_pb2, item_pb2
from server.errors import InvalidRequest, UnknownItem, Violation
from server.requests.validation import Check
from server.writes.log_writer import LogWriter
from server.writes.recording import token

MAX_ITEMS = 1_000
_RECENT = 10_000
_RECENT_SECONDS = 10.0


class ItemWriter:
    """Items by id, and changes of them.

    What was written through this process is remembered for ten seconds: a withdrawal right after a put must not bring
    the item's older form back. `version` tells the model version of now, 0 for none.
    """

    def __init__(
        self,
        catalog: Catalog,
        writer: LogWriter,
        topic: str,
        version: Callable[[], int],
        half_life_seconds: float,
        now_ms: Callable[[], int],
    ) -> None:
        self._catalog = catalog
        self._writer = writer
        self._topic = topic
        self._version = version
        self._half_life_seconds = half_life_seconds
        self._now_ms = now_ms
        self._recent: OrderedDict[str, tuple[float, Item]] = OrderedDict()
        self._writing = asyncio.Lock()

    def get(self, item_id: str) -> rpc.GetItemResponse:
        """The item with its figures. Raises UnknownItem."""
        row = self._catalog.row(item_id)
        item = self._newest(item_id)
        if item is None:
            raise UnknownItem
        if row is None:
            return rpc.GetItemResponse(item=item.to_proto())
        rows = np.array([row])
        trend = self._catalog.popularity(self._now_ms(), self._half_life_seconds)
        return rpc.GetItemResponse(
            item=item.to_proto(),
            embedded=bool(self._catalog.has_vector(self._version())[rows][0]),
            popularity=int(self._catalog.positives[rows][0]),
            trend=float(trend[rows][0]),
        )

    async def put(self, items: Sequence[item_pb2.Item], until: float) -> list[interaction_pb2.EventToken]:
        """Adds or replaces items; a token each. Raises InvalidRequest, naming item and field, and NotAvailable."""
        checks = Check()
        if checks.length("items", items, MAX_ITEMS):
            for at, item in enumerate(items):
                for field, problem in check(item):
                    checks.no(f"items[{at}].{field}", problem)
        checks.done()
        return await self._write([from_proto(item) for item in items], until)

    async def withdraw(
        self, item_ids: Sequence[str], until: float
    ) -> tuple[list[interaction_pb2.EventToken], list[str]]:
        """Takes items off every list; a token for each known one, and the ids that are unknown."""
        checks = Check()
        if checks.length("item_ids", item_ids, MAX_ITEMS):
            for at, item_id in enumerate(item_ids):
                checks.identifier(f"item_ids[{at}]", item_id)
        checks.done()
        found = {item_id: self._newest(item_id) for item_id in dict.fromkeys(item_ids)}
        withdrawn = [replace(item, withdrawn=True) for item in found.values() if item is not None]
        return await self._write(withdrawn, until), [
            item_id for item_id, item in found.items() if item is None
        ]

    async def _write(self, items: Sequence[Item], until: float) -> list[interaction_pb2.EventToken]:
        async with (
            self._writing
        ):  # one after another, so that what is remembered is what lies last in the log
            under_way = []
            for at, item in enumerate(items):
                try:
                    value = item.to_proto().SerializeToString()
                    under_way.append(
                        await self._writer.start(self._topic, item.item_id.encode(), value, until)
                    )
                except InvalidRequest as error:
                    raise InvalidRequest(
                        [Violation(f"items[{at}]", v.problem) for v in error.violations]
                    ) from error
                self._remember(item.without_contents())
        return [token(await self._writer.position(one, until)) for one in under_way]

    def _remember(self, item: Item) -> None:
        self._recent[item.item_id] = time.monotonic(), item
        self._recent.move_to_end(item.item_id)
        while len(self._recent) > _RECENT:
            self._recent.popitem(last=False)

    def _newest(self, item_id: str) -> Item | None:
        """The newest form that this process knows of."""
        written = self._recent.get(item_id)
        if written is not None and time.monotonic() - written[0] < _RECENT_SECONDS:
            return written[1]
        row = self._catalog.row(item_id)
        return None if row is None else self._catalog.item(row)
