"""A withdrawn or expired item leaves every open list."""

import time

import pytest

from local.stack import Stack
from profiles.times import timestamp
from recstream.client import Client, Recommendations
from tests.drills.world import ITEMS, eventually, in_background, item

STREAMS = 60


@pytest.mark.drill
@pytest.mark.timeout(120)
async def test_withdrawn_and_expired_items_leave_open_lists(stack: Stack) -> None:
    newest: dict[str, Recommendations] = {}

    async def hold(client: Client, user: str) -> None:
        async for recommendations in client.stream(user, count=len(ITEMS)):
            newest[user] = recommendations

    users = [f"viewer-{number}" for number in range(STREAMS)]
    async with (
        Client(stack.address("server")) as client,
        in_background(*(hold(client, user) for user in users)),
    ):
        withdrawn, expiring = ITEMS[10], ITEMS[11]

        async def holders(item_id: str) -> int:
            return sum(item_id in newest[user].item_ids for user in users if user in newest)

        async def not_all_hold() -> str | None:
            count = min(await holders(withdrawn), await holders(expiring))
            return None if count == STREAMS else f"{count} of {STREAMS}"

        await eventually("every stream holds both items", not_all_hold)
        await client.withdraw([withdrawn])

        async def withdrawn_held() -> str | None:
            count = await holders(withdrawn)
            return f"on {count} lists" if count else None

        await eventually("the withdrawn item is gone", withdrawn_held, seconds=10)
        assert await holders(expiring) == STREAMS
        await client.put_items([item(expiring, expires_at=timestamp(int(time.time() * 1000) + 1500))])

        async def expired_held() -> str | None:
            count = await holders(expiring)
            return f"on {count} lists" if count else None

        await eventually("the expired item is gone", expired_held, seconds=15)
        await client.put_items([item(withdrawn), item(expiring)])
