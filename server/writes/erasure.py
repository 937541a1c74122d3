"""Erasure of a user: a record in the log, which every replay applies too."""

from profiles.folding.events import Position
from profiles.interactions import KIND_ERASURE, KIND_HEADER
from recstream.storage.v1 import profile_pb2
from server.writes.log_writer import LogWriter


class ErasureWriter:
    """Writes orders to erase all events of a user until now.

    Args:
        writer: Writes to the log.
        topic: The topic of interactions.
    """

    def __init__(self, writer: LogWriter, topic: str) -> None:
        self._writer = writer
        self._topic = topic

    async def erase(self, user_id: str, until: float) -> Position:
        """Append an order that names the current end offset of every partition.

        Args:
            user_id: The user whose events are erased.
            until: When to stop waiting for Kafka, on `time.monotonic()`.

        Returns:
            The position of the order.

        Raises:
            NotAvailable: Kafka does not answer.
        """
        state = (await self._writer.states([self._topic], until))[self._topic]
        order = profile_pb2.Erasure(
            user_id=user_id,
            end_offsets=[
                profile_pb2.TopicOffset(topic_id=state.topic_id, partition=partition, offset=end)
                for partition, end in sorted(state.ends.items())
            ],
        )
        return await self._writer.append(
            self._topic, user_id.encode(), order.SerializeToString(), until, [(KIND_HEADER, KIND_ERASURE)]
        )
