"""The profile store on Valkey. Each user has one value, which is only written over the revision that was read."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Self

import structlog
from glide import Batch, ClusterBatch, GlideClusterClient

from profiles.errors import ProfileCorrupt, StoreUnavailable
from profiles.folding.tail import Tail, hash64
from profiles.metrics import CORRUPT, SCRIPTS, WRITES, WRITTEN_BYTES
from profiles.profile import Profile, Stored
from profiles.settings import StoreSettings
from profiles.store.codec import REVISION_BYTES, decode, decode_revision
from profiles.store.connection import Client, Connection
from profiles.store.keys import Keys
from profiles.store.script import REFUSED, UNANNOUNCED, digest, script
from profiles.store.servers import run_ids, scan
from profiles.store.writing import Write, next_revision, script_arguments

__all__ = ["ProfileStore", "StoreSettings", "Tail", "Write", "hash64", "next_revision"]

log = structlog.get_logger()

_CHUNK: Final = 512
_CHUNK_BYTES: Final = 8 * 2**20
_DECODED_PER_TURN: Final = 32
_SCRIPT_TRIES: Final = 3


class ProfileStore:
    """Profiles and tails by user id. If the store fails, every method raises StoreUnavailable and nothing else."""

    def __init__(self, settings: StoreSettings, connection: Connection) -> None:
        self._cluster = settings.cluster
        self._keys = Keys(settings.key_prefix)
        self._connection = connection
        self._script = script(cluster=settings.cluster)
        self._digest = digest(self._script)

    @classmethod
    async def connect(cls, settings: StoreSettings) -> Self:
        """Creates a store. It connects with its first request, so the servers need not be up yet."""
        connection = Connection(settings)
        await connection.open()
        return cls(settings, connection)

    async def close(self) -> None:
        """Closes the connection."""
        await self._connection.close()

    async def read(self, user_ids: Sequence[str]) -> list[Stored | None]:
        """Reads profiles.

        A value that cannot be decoded is logged, counted, and returned as an empty profile at its revision. The next
        write replaces it.

        Returns:
            The profiles, in the order of the users. None for a user without one.
        """
        values = await self._get("read", [self._keys.profile(user_id) for user_id in user_ids])
        profiles: list[Stored | None] = []
        for i, (user_id, value) in enumerate(zip(user_ids, values, strict=True)):
            if i % _DECODED_PER_TURN == _DECODED_PER_TURN - 1:
                await asyncio.sleep(0)  # Decoding takes a few milliseconds, so other tasks get a turn.
            profiles.append(None if value is None else _decoded(user_id, value))
        return profiles

    async def read_tails(self, user_ids: Sequence[str]) -> list[Tail | None]:
        """Reads tails, in the order of the users. Before a write, read the tail after the profile, so that the fence
        covers it."""
        values = await self._get("read tails", [self._keys.tail(user_id) for user_id in user_ids])
        return [None if value is None else Tail(value) for value in values]

    async def revisions(self, user_ids: Sequence[str]) -> list[int | None]:
        """Reads revisions, in the order of the users. 0: there is no profile. None: the user's part of the store did
        not answer."""
        found: list[int | None] = []
        for start in range(0, len(user_ids), _CHUNK):
            batch = self._batch()
            for user_id in user_ids[start : start + _CHUNK]:
                batch.getrange(self._keys.profile(user_id), 0, 7)
            for answer in await self._execute("read revisions", batch):
                found.append(decode_revision(answer) if isinstance(answer, bytes) else None)
        return found

    async def write(self, writes: Sequence[Write]) -> list[bool]:
        """Writes and announces the profiles that are still at their base revision.

        A profile whose expiry has passed is deleted. After StoreUnavailable each profile may or may not have been
        written, but never in part.

        Returns:
            Whether each profile was written, in order. If not, another write came first. Read and fold it again.
        """
        written: list[bool] = []
        chunk: list[list[str | bytes]] = []
        size = 0
        for write in writes:
            WRITTEN_BYTES.observe(len(write.value))
            arguments = script_arguments(write, self._keys)
            chunk.append(arguments)
            size += sum(map(len, arguments))
            if len(chunk) == _CHUNK or size >= _CHUNK_BYTES:
                written += await self._write(chunk)
                chunk, size = [], 0
        if chunk:
            written += await self._write(chunk)
        return written

    async def ping(self, timeout: float) -> None:
        """Returns if the store answers within `timeout` seconds."""
        async with _within(timeout):
            await self._connection.ask("answer a ping", lambda client: client.ping())

    async def check_writes(self, timeout: float) -> None:
        """Returns if the store accepts a write like that of a profile within `timeout` seconds. A ping does not show
        this: a replica answers pings, and so does a server that is out of memory."""
        key = self._keys.probe
        arguments: list[str | bytes] = [key, f"{key}:t", "", "", "1", "delete", "", f"{key}:c", "", ""]
        async with _within(timeout):
            await self._write([arguments])

    async def identity(self) -> str:
        """The ids of the running servers. If they change, a server was restarted or replaced, and may have lost its
        last writes."""
        return await self._connection.ask("name itself", run_ids)

    async def scan(self) -> AsyncIterator[str]:
        """Yields the user ids of all profiles, in no order. Profiles that are written or deleted meanwhile may be
        missed, and some ids may come twice."""
        async for key in scan(self._connection, self._keys.profiles):
            yield self._keys.user_id(key)

    async def remember_topics(self, topics: Mapping[str, bytes]) -> None:
        """Stores the ids of topics by name, without expiry."""
        if not topics:
            return
        fields: dict[str | bytes, str | bytes] = {name: topic_id for name, topic_id in topics.items()}  # noqa: C416
        await self._connection.ask("remember topics", lambda client: client.hset(self._keys.topics, fields))

    async def remembered_topics(self) -> dict[str, bytes]:
        """The stored ids of topics, by name."""
        answer = await self._connection.ask("read topics", lambda client: client.hgetall(self._keys.topics))
        return {name.decode(): topic_id for name, topic_id in answer.items()}

    async def _write(self, arguments: list[list[str | bytes]]) -> list[bool]:
        answers: list[object] = [None] * len(arguments)
        waiting = list(range(len(arguments)))
        # A restarted server or a new primary does not have the script. Only the writes that it did not run are sent
        # again, with the script.
        command: tuple[str, str] = ("EVALSHA", self._digest)
        for _ in range(_SCRIPT_TRIES):
            batch = self._batch()
            for i in waiting:
                batch.custom_command([*command, "2", *arguments[i]])
            for i, answer in zip(waiting, await self._execute("write", batch), strict=True):
                answers[i] = answer
            waiting = [i for i in waiting if "NoScript" in str(answers[i])]
            if not waiting:
                break
            SCRIPTS.inc(len(waiting))
            command = ("EVAL", self._script)
        if failed := [answer for answer in answers if not isinstance(answer, int)]:
            WRITES.labels("failed").inc(len(failed))
            count = f"{len(failed)} of {len(arguments)}"
            raise StoreUnavailable(f"the store did not write {count} profiles: {failed[0]}")
        refused = answers.count(REFUSED)
        unannounced = answers.count(UNANNOUNCED)
        WRITES.labels("refused").inc(refused)
        WRITES.labels("written").inc(len(answers) - refused)
        if unannounced:
            WRITES.labels("unannounced").inc(unannounced)
            log.warning("profiles_not_announced", count=unannounced, hint="may the user publish?")
        return [answer != REFUSED for answer in answers]

    async def _get(self, operation: str, keys: Sequence[str]) -> list[bytes | None]:
        values: list[bytes | None] = []
        for start in range(0, len(keys), _CHUNK):
            chunk: list[str | bytes] = list(keys[start : start + _CHUNK])
            if not self._cluster:  # MGET takes half the time of a pipeline.
                values += await self._connection.ask(operation, partial(_get_many, chunk))
                continue
            batch = self._batch()
            for key in chunk:
                batch.get(key)
            for answer in await self._execute(operation, batch):
                if answer is not None and not isinstance(answer, bytes):
                    raise StoreUnavailable(f"the store could not {operation}: {answer}")
                values.append(answer)
        return values

    def _batch(self) -> Batch | ClusterBatch:
        return ClusterBatch(is_atomic=False) if self._cluster else Batch(is_atomic=False)

    async def _execute(self, operation: str, batch: Batch | ClusterBatch) -> list[object]:
        async def request(client: Client) -> list[object]:
            if isinstance(client, GlideClusterClient):
                assert isinstance(batch, ClusterBatch)
                answers = await client.exec(batch, raise_on_error=False)
            else:
                assert isinstance(batch, Batch)
                answers = await client.exec(batch, raise_on_error=False)
            return list(answers or [])

        return await self._connection.ask(operation, request)


async def _get_many(keys: list[str | bytes], client: Client) -> list[bytes | None]:
    return await client.mget(keys)


def _decoded(user_id: str, value: bytes) -> Stored:
    try:
        stored = decode(value)
        if stored.profile.user_id != user_id:
            raise ProfileCorrupt(f"the profile of {user_id!r} belongs to another user")
    except ProfileCorrupt as cause:
        CORRUPT.inc()
        log.error("profile_corrupt", user_id=user_id, cause=str(cause))
        revision = decode_revision(value) if len(value) >= REVISION_BYTES else 0
        return Stored(revision, Profile(user_id))
    return stored


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as cause:
        raise StoreUnavailable(f"the store did not answer within {seconds:g} s") from cause
