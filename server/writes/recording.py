"""Writes interactions to the log."""

import time
from collections.abc import Callable

from profiles.actions import ProfileSettings
from profiles.event_time import event_time
from profiles.folding.events import Position
from profiles.interactions import check
from profiles.times import timestamp
from recstream.v1 import interaction_pb2
from server import metrics
from server.requests import validation
from server.settings import ServerSettings
from server.writes.log_writer import Appending, LogWriter


class Recording:
    """Checks events by the same rules as ingest, and sends them to Kafka with the user as their key.

    Args:
        writer: Writes to the log.
        topic: The topic of interactions.
        profiles: The actions, and the limits of an event.
        settings: How long to wait for Kafka.
        now_ms: The wall clock, Unix milliseconds.
    """

    def __init__(
        self,
        *,
        writer: LogWriter,
        topic: str,
        profiles: ProfileSettings,
        settings: ServerSettings,
        now_ms: Callable[[], int],
    ) -> None:
        self._writer = writer
        self._topic = topic
        self._profiles = profiles
        self._settings = settings
        self._now_ms = now_ms

    async def start(self, interaction: interaction_pb2.Interaction, until: float) -> Appending:
        """Pass an event to the producer, after all earlier ones.

        An event without a time, or with one too far ahead, gets the present time. So each reader of the log sees it.

        Raises:
            InvalidRequest: The event is not valid. The violations name its fields.
            NotAvailable: Kafka does not answer.
        """
        now_ms = self._now_ms()
        validation.fields(check(interaction, now_ms, self._profiles), "interaction")
        time = event_time(interaction, now_ms, self._profiles)
        if time.clock_ahead or not interaction.HasField("event_time"):
            metrics.CLOCKS_AHEAD.inc(time.clock_ahead)
            interaction.event_time.CopyFrom(timestamp(time.time_ms))
        key = interaction.user_id.encode()
        return await self._writer.start(self._topic, key, interaction.SerializeToString(), until)

    async def finish(self, appending: Appending, until: float) -> Position:
        """Return the position of an event, once Kafka has acknowledged it.

        Raises:
            NotAvailable: The acknowledgement did not come in time.
        """
        return await self._writer.position(appending, until)

    async def record(self, interaction: interaction_pb2.Interaction, until: float) -> Position:
        """Write an event, and wait for its position. See `start` and `finish`."""
        return await self.finish(await self.start(interaction, until), until)

    def patience(self) -> float:
        """Return when to stop waiting for an event that is sent now, on `time.monotonic()`."""
        return time.monotonic() + self._settings.record_timeout_ms / 1000
