"""Reading profiles: those who ask in the same turn of the loop share one round trip."""

import asyncio
from dataclasses import dataclass

from profiles.errors import StoreUnavailable
from profiles.folding.tail import Tail
from profiles.profile import Stored
from profiles.store.store import ProfileStore

MOST_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a user. stored None: there is no profile, or, if `unavailable`, it could not be read."""

    stored: Stored | None
    tail: Tail | None = None
    unavailable: bool = False

    @property
    def revision(self) -> int:
        """The profile's revision; 0 without one."""
        return self.stored.revision if self.stored else 0


class Reads:
    """Gathers what is due at the same moment; nothing waits for company."""

    def __init__(self, store: ProfileStore) -> None:
        self._store = store
        self._asked: dict[str, asyncio.Future[Known]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def read(self, user_id: str) -> Known:
        """The profile as it is after this call began, and its tail if it has one. Raises StoreUnavailable."""
        future = self._asked.get(user_id)
        if future is None:
            loop = asyncio.get_running_loop()
            if not self._asked:
                loop.call_soon(self._start)
            future = self._asked[user_id] = loop.create_future()
            future.add_done_callback(_seen)
        # Shielded: others may wait for the same.
        return await asyncio.shield(future)

    async def tail(self, user_id: str) -> Tail | None:
        """The user's tail, for a profile that is known already. Raises StoreUnavailable."""
        (tail,) = await self._store.read_tails([user_id])
        return tail

    async def close(self) -> None:
        """Ends what is under way."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=1)

    def _start(self) -> None:
        asked, self._asked = self._asked, {}
        users = list(asked)
        for at in range(0, len(users), MOST_AT_ONCE):
            task = asyncio.create_task(self._read({u: asked[u] for u in users[at : at + MOST_AT_ONCE]}))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _read(self, asked: dict[str, "asyncio.Future[Known]"]) -> None:
        try:
            store = self._store
            stored = await store.read(list(asked))
            tailed = [
                found.profile.user_id for found in stored if found is not None and found.profile.has_tail
            ]
            tails = dict(zip(tailed, await store.read_tails(tailed), strict=True)) if tailed else {}
            for (user_id, future), found in zip(asked.items(), stored, strict=True):
                if not future.done():
                    future.set_result(Known(found, tails.get(user_id)))
        except StoreUnavailable as error:
            _fail(asked, error)
        except asyncio.CancelledError:
            for future in asked.values():
                future.cancel()
            raise
        except Exception as error:
            _fail(asked, error)


def _fail(asked: dict[str, "asyncio.Future[Known]"], error: Exception) -> None:
    for future in asked.values():
        if not future.done():
            future.set_exception(error)


def _seen(future: "asyncio.Future[Known]") -> None:
    if not future.cancelled():
        future.exception()  # everybody who asked may have gone
