"""Closing Kafka clients whose broker may be gone."""

from collections.abc import Coroutine
from typing import Any, Protocol

import structlog

from ingest.bounded import bounded

log = structlog.get_logger()

_SECONDS = 10.0


class Stoppable(Protocol):
    """A client of aiokafka."""

    def stop(self) -> Coroutine[Any, Any, None]:
        """Closes it."""


async def stop_client(client: Stoppable) -> None:
    """Closes the client, in bounded time and whatever comes: what it could not say goodbye to times out there."""
    try:
        await bounded(client.stop(), _SECONDS)
    except Exception as error:
        log.warning("client_not_closed_cleanly", client=type(client).__name__, cause=repr(error))
