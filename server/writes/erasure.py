"""The right to be forgotten: an order in the log, which every replay obeys."""

from recstream.storage.v1 import profile_pb2
from recstream.v1 import interaction_pb2
from server.writes.log_writer import LogWriter
from server.writes.recording import token
from topics.record_headers import KIND_ERASURE, KIND_HEADER


class ErasureWriter:
    """Orders that everything a user did until now be dropped."""

    def __init__(self, writer: LogWriter, topic: str) -> None:
        self._writer = writer
        self._topic = topic

    async def erase(self, user_id: str, until: float) -> interaction_pb2.EventToken:
        """Reads where all partitions end at this moment and appends the order, which names those offsets.

        `until` is on time.monotonic(). Raises NotAvailable.
        """
        state = (await self._writer.states([self._topic], until))[self._topic]
        order = profile_pb2.Erasure(
            user_id=user_id,
            end_offsets=[
                profile_pb2.TopicOffset(topic_id=state.topic_id, partition=partition, offset=end)
                for partition, end in sorted(state.ends.items())
            ],
        )
        where = await self._writer.append(
            self._topic, user_id.encode(), order.SerializeToString(), until, [(KIND_HEADER, KIND_ERASURE)]
        )
        return token(where)
