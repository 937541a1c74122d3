"""How long a withdrawn or expired item stays on open lists.

    bin/bench withdrawal [--server 127.0.0.1:50051] [--streams 50]

Needs a running server with a catalogue (`recstream up`). Withdraws the item that most lists show, and puts it back.
Prints one JSON document. Times run from just before the call (withdrawal) or from the item's date (expiry) until a list
without the item arrives in this process, which holds all streams.
"""

import argparse
import asyncio
import json
import time

import numpy as np
import uvloop

from recstream.client import Client, Recommendations

COUNT = 20
EXPIRES_IN_MS = 3_000


class Holder:
    """One open stream, and the times at which items left its list."""

    def __init__(self, client: Client, user_id: str) -> None:
        self._client = client
        self._user_id = user_id
        self.newest: Recommendations | None = None
        self.opened = asyncio.Event()
        self.left: dict[str, float] = {}

    async def hold(self) -> None:
        async for recommendations in self._client.stream(self._user_id, count=COUNT):
            now = time.time()
            before = set(self.newest.item_ids) if self.newest is not None else set()
            for item_id in before - set(recommendations.item_ids):
                self.left.setdefault(item_id, now)
            self.newest = recommendations
            self.opened.set()


def shared(holders: list[Holder], leave_out: str = "") -> str:
    """Returns the item that is on most lists."""
    counts: dict[str, int] = {}
    for holder in holders:
        for item_id in holder.newest.item_ids if holder.newest is not None else ():
            counts[item_id] = counts.get(item_id, 0) + 1
    counts.pop(leave_out, None)
    return max(counts, key=lambda item_id: (counts[item_id], item_id))


def figures(holders: list[Holder], on: list[Holder], item_id: str, start: float) -> dict[str, float]:
    """Returns how many milliseconds the item took to leave the lists that showed it."""
    took = [(holder.left[item_id] - start) * 1000 for holder in on if item_id in holder.left]
    return {
        "lists": len(on),
        "left": len(took),
        "p50_ms": round(float(np.percentile(took, 50)), 1),
        "max_ms": round(max(took), 1),
    }


async def main(server: str, streams: int) -> None:
    async with Client(server) as client:
        holders = [Holder(client, f"bench-{number}") for number in range(streams)]
        tasks = [asyncio.create_task(holder.hold()) for holder in holders]
        await asyncio.gather(*(holder.opened.wait() for holder in holders))
        await asyncio.sleep(1)

        withdrawn = shared(holders)
        on = [h for h in holders if h.newest is not None and withdrawn in h.newest.item_ids]
        start = time.time()
        await client.withdraw([withdrawn])
        await asyncio.sleep(3)
        result = {"streams": streams, "withdrawal": figures(holders, on, withdrawn, start)}

        expiring = shared(holders, withdrawn)
        on = [h for h in holders if h.newest is not None and expiring in h.newest.item_ids]
        item = (await client.item(expiring)).item
        kept = (await client.item(withdrawn)).item
        date = int(time.time() * 1000) + EXPIRES_IN_MS
        item.expires_at.FromMilliseconds(date)
        await client.put_items([item])
        await asyncio.sleep(EXPIRES_IN_MS / 1000 + 3)
        result["expiry"] = figures(holders, on, expiring, date / 1000)

        item.ClearField("expires_at")
        kept.withdrawn = False
        await client.put_items([item, kept])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps(result))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="127.0.0.1:50051")
    parser.add_argument("--streams", type=int, default=50)
    arguments = parser.parse_args()
    uvloop.run(main(arguments.server, arguments.streams))
