"""When a late call makes one more try."""

import asyncio
import time

from recstream.client.hedging import STALL, hedged


async def answers(turns: int, blocked: float) -> int:
    """The number of tries of a call whose answer is read some turns of the loop after it, blocked for so many seconds,
    runs again."""
    answer, tries = asyncio.get_running_loop().create_future(), 0

    async def attempt() -> str:
        nonlocal tries
        tries += 1
        return await asyncio.shield(answer)

    async def read() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        answer.set_result("a")

    call = asyncio.create_task(hedged(attempt, 0.02))
    await asyncio.sleep(0)
    reading = asyncio.create_task(read())
    time.sleep(blocked)
    assert await call == "a"
    await reading
    return tries


async def test_a_loop_that_was_held_up_reads_the_answer_before_it_tries_again() -> None:
    assert await answers(turns=20, blocked=0.02 + 2 * STALL) == 1


async def test_a_loop_that_was_held_up_tries_again_if_there_is_no_answer() -> None:
    tries = 0

    async def attempt() -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            await asyncio.Event().wait()
        return "b"

    call = asyncio.create_task(hedged(attempt, 0.02))
    await asyncio.sleep(0)
    time.sleep(0.02 + 2 * STALL)
    assert await asyncio.wait_for(call, 10) == "b" and tries == 2
