"""grpc.health.v1: the health of this process over gRPC."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthServicer

from telemetry.health import Health

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_SERVICE_UNKNOWN: Final = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
_LAST_STATUS_SECONDS: Final = 1.0

Context = grpc.aio.ServicerContext[Any, Any]


class HealthService(HealthServicer):
    """Translates the health of the process. All services are ready, or none is.

    Args:
        health: The health of the process.
        services: The full names of its services. Clients may also ask for the empty name, which means all of them.
    """

    def __init__(self, health: Health, services: Iterable[str]) -> None:
        self._health = health
        self._names = {"", *services}

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Return the status of a service. An unknown service is NOT_FOUND."""
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """Send the status of a service now and at each change.

        The stream ends a second after the process began to shut down.
        """
        sent = None
        while True:
            changed, shutting_down = self._health.changed, self._health.shutting_down
            status = self._status(request.service)
            if status != sent:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                sent = status
            if shutting_down:
                # This gives the watcher time to act on the last status before its call ends.
                await asyncio.sleep(_LAST_STATUS_SECONDS)
                return
            await changed.wait()

    def _status(self, service: str) -> int:
        if service not in self._names:
            return _SERVICE_UNKNOWN
        return _SERVING if self._health.ready else _NOT_SERVING
