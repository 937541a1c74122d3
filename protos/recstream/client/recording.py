"""The client's calls for events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from datetime import datetime

from recstream.client.bulk import Recorded, record_many
from recstream.client.connection import Connection
from recstream.client.events import interaction
from recstream.v1.interaction_pb2 import EventToken, Interaction
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
        event_time: datetime | int | None = None,
        event_id: str | None = None,
        value: float | None = None,
        undo_event_id: str = "",
        slate_id: str = "",
        position: int | None = None,
        surface: str = "",
        domain: str = "",
        experiments: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> EventToken:
        """Records an event. Returns when Kafka has it on all in-sync replicas.

        The call is retried while the server is unavailable and time is left. A retry does not count twice, because
        the event has an id: a new one, unless you give one.

        Args:
            timeout: seconds for all tries together; None: the client's default.

        The other arguments are those of `interaction()`.

        Returns:
            Where Kafka keeps the event: pass it to `after=` of `recommend()` or `profile()`.

        Raises:
            InvalidRequest: a field is invalid.
            DeadlineExceeded: no answer came in time; the event may be recorded. Try again with the same id.

        Example:
            await client.record("ann", "tt0114709", "rate", value=4.5, slate_id=films.slate_id, position=0)
        """
        event = interaction(
            user_id,
            item_id,
            action,
            event_time=event_time,
            event_id=event_id,
            value=value,
            undo_event_id=undo_event_id,
            slate_id=slate_id,
            position=position,
            surface=surface,
            domain=domain,
            experiments=experiments,
        )
        answer = await self._connection.call(
            self._connection.interactions.Record, RecordRequest(interaction=event), timeout
        )
        return answer.token

    async def undo(self, user_id: str, event_id: str, *, timeout: float | None = None) -> EventToken:
        """Undoes an event. `event_id` is the id that it was recorded with.

        Example:
            liked = new_event_id()
            await client.record("ann", "tt0114709", "like", event_id=liked)
            await client.undo("ann", liked)
        """
        return await self.record(user_id, "", "undo", undo_event_id=event_id, timeout=timeout)

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
