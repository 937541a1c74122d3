"""The client's calls for events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import Unpack

from recstream.client.bulk import Recorded, record_batch, record_many
from recstream.client.connection import Connection
from recstream.client.events import ActionFacts, EventFacts, impression, interaction, undo
from recstream.v1.interaction_pb2 import Interaction
from recstream.v1.interaction_service_pb2 import RecordRequest


class Recording:
    """Records events, for backends without a Kafka client."""

    _connection: Connection
    _idle_timeout: float | None

    async def record(
        self,
        user_id: str,
        item_id: str,
        action: str,
        *,
        timeout: float | None = None,
        **facts: Unpack[ActionFacts],
    ) -> str:
        """Records an action on an item. Returns when Kafka has it on all in-sync replicas.

        The call is retried while the server is unavailable and time is left. A retry does not count twice, because
        the event has an id: a new one, unless you give one.

        Args:
            user_id: the user who acted.
            item_id: the item that was acted on.
            action: one of the server's configured actions.
            timeout: seconds for all tries together; None: the client's default.
            facts: see `ActionFacts` and `EventFacts`.

        Returns:
            The event's token: pass it to `after=` of calls for the same user, such as `recommend()`.

        Raises:
            InvalidRequest: a field is invalid.
            DeadlineExceeded: no answer came in time; the event may be recorded. Try again with the same id.

        Example:
            await client.record("ann", "tt0114709", "rate", value=4.5, slate_id=films.slate_id, position=0)
        """
        return await self._record(interaction(user_id, item_id, action, **facts), timeout)

    async def record_impression(
        self,
        user_id: str,
        item_ids: Iterable[str],
        *,
        first_position: int = 0,
        timeout: float | None = None,
        **facts: Unpack[EventFacts],
    ) -> str:
        """Records that the user saw items of a list. They count together.

        Args:
            user_id: the user who saw them.
            item_ids: the items in the order in which they were shown, at most 500.
            first_position: the first item's position on the list; 0 is the top.
            timeout: seconds for all tries together; None: the client's default.
            facts: see `EventFacts`. Name the list in `slate_id`.

        Raises:
            InvalidRequest, DeadlineExceeded: as in `record()`.

        Example:
            await client.record_impression("ann", films.item_ids, slate_id=films.slate_id)
        """
        event = impression(user_id, item_ids, first_position=first_position, **facts)
        return await self._record(event, timeout)

    async def undo(self, user_id: str, event_id: str, *, timeout: float | None = None) -> str:
        """Undoes an event. `event_id` is the id that it was recorded with.

        Example:
            liked = new_event_id()
            await client.record("ann", "tt0114709", "like", event_id=liked)
            await client.undo("ann", liked)
        """
        return await self._record(undo(user_id, event_id), timeout)

    async def _record(self, event: Interaction, timeout: float | None) -> str:
        request = RecordRequest(interaction=event)
        return (await self._connection.call(self._connection.interactions.Record, request, timeout)).token

    async def record_batch(
        self, interactions: Iterable[Interaction], *, timeout: float | None = None
    ) -> list[Recorded]:
        """Records up to 1,000 events in one call. Returns one outcome for each event, in order.

        The outcome of a refused event has an `error`, and the others are recorded. All events of a user have the same
        token, which covers all of them. The call is retried like `record()`. Events without an id get one, so a retry
        counts none twice. For more events use `record_many()`.

        Args:
            interactions: the events; see `interaction()`, `impression()` and `undo()`.
            timeout: seconds for all tries together; None: the client's default.

        Raises:
            InvalidRequest: there are too many events.
            DeadlineExceeded: no answer came in time; events may be recorded. Try again with the same ids.

        Example:
            for outcome in await client.record_batch([interaction("ann", "tt0114709", "view")]):
                if outcome.error:
                    print(outcome.interaction.event_id, outcome.error)
        """
        return await record_batch(self._connection, interactions, timeout)

    def record_many(
        self,
        interactions: Iterable[Interaction] | AsyncIterable[Interaction],
        *,
        in_flight: int = 256,
        give_up_after: float | None = 60.0,
    ) -> AsyncGenerator[Recorded, None]:
        """Records many events over one stream. Yields one outcome for each event, in order.

        The outcome of a refused event has an `error`; the stream goes on. A broken stream is opened again, and
        events without an answer are sent again. Events without an id get one.

        Args:
            interactions: the events; see `interaction()`. An async iterable is read as answers come.
            in_flight: most events without an answer.
            give_up_after: seconds without a connection after which `Unavailable` is raised; None: never.

        Example:
            events = (interaction(row.user, row.item, "view", event_time=row.time) for row in rows)
            async for outcome in client.record_many(events):
                if outcome.error:
                    print(outcome.interaction.event_id, outcome.error)
        """
        return record_many(
            self._connection,
            interactions,
            in_flight=in_flight,
            give_up_after=give_up_after,
            idle_timeout=self._idle_timeout,
        )
