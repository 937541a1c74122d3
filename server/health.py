"""Whether this process takes calls: grpc.health.v1, and the same for HTTP probes."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthServicer

from server import metrics

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
_LEAVE_SECONDS = 1.0

Context = grpc.aio.ServicerContext[Any, Any]


class Health(HealthServicer):
    """Ready when the catalogue is whole, until the process is about to end. Without Triton, Valkey or Kafka there
    are still lists, so none of them counts. The empty name stands for all services."""

    def __init__(self, services: Sequence[str]) -> None:
        self._names = {"", *services}
        self._changed = asyncio.Condition()
        self.lacks: dict[str, str] = {"catalogue": "is being read"}
        """What is missing, by name; empty: the process takes calls."""
        self.leaving = False

    async def ready(self) -> None:
        """The catalogue is whole."""
        self.lacks.pop("catalogue", None)
        metrics.READY.set(not self.lacks)
        await self._tell()

    async def leave(self) -> None:
        """The process is about to end: not ready, at once and for good."""
        self.leaving = True
        self.lacks["drain"] = "is shutting down"
        metrics.READY.set(0)
        await self._tell()

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Unknown services are NOT_FOUND."""
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """The status now and at each change; after the last one, not serving, the stream ends."""
        told = None
        while True:
            status = self._status(request.service)
            if status != told:
                # Written outside the lock: a watcher that does not read holds up nobody.
                await context.write(health_pb2.HealthCheckResponse(status=status))
                told = status
            if self.leaving:
                await asyncio.sleep(_LEAVE_SECONDS)
                return
            async with self._changed:
                if self._status(request.service) == told and not self.leaving:
                    await self._changed.wait()

    def _status(self, service: str) -> int:
        if service not in self._names:
            return _UNKNOWN
        return _NOT_SERVING if self.lacks else _SERVING

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
