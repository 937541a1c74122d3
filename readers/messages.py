"""Turns checked rows into messages of the contract and into Kafka records."""

from collections.abc import Iterable, Iterator

from readers.interactions.interactions import IMPRESSION, Interactions
from recstream.v1 import interaction_pb2, item_pb2


def interaction_message(rows: Interactions, row: int, domain: str) -> interaction_pb2.Interaction:
    """One row as the contract's message."""
    message = interaction_pb2.Interaction(
        event_id=rows.event_ids[row],
        user_id=rows.user_ids[row],
        domain=domain,
    )
    message.event_time.FromMilliseconds(int(rows.time_ms[row]))
    if rows.actions[row] == IMPRESSION:
        message.impression.item_ids.append(rows.item_ids[row])
        return message
    message.item_id, message.action = rows.item_ids[row], rows.actions[row]
    if (value := float(rows.values[row])) == value:  # not NaN
        message.value = value
    return message


def interaction_records(rows: Interactions, domain: str) -> Iterator[tuple[bytes, bytes]]:
    """Yields (key, value) records of the topic `interactions`, in the order of the rows. The key is the user id."""
    for row in range(len(rows)):
        yield rows.user_ids[row].encode(), interaction_message(rows, row, domain).SerializeToString()


def item_records(items: Iterable[item_pb2.Item]) -> Iterator[tuple[bytes, bytes]]:
    """Yields (key, value) records of the topic `items`. The key is the item id."""
    for item in items:
        yield item.item_id.encode(), item.SerializeToString()
