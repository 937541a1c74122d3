"""ProfileService."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from profiles.actions import ProfileSettings
from recstream.v1 import profile_service_pb2 as rpc
from recstream.v1.error_reason_pb2 import ERROR_REASON_STORE_UNAVAILABLE
from recstream.v1.profile_service_pb2_grpc import ProfileServiceServicer
from server.errors import NotAvailable
from server.profiles.profile_reader import ProfileSnapshot
from server.profiles.profile_view import consumed, view
from server.profiles.read_your_writes import ReadYourWrites
from server.requests import validation
from server.requests.admission import Admission
from server.requests.deadline import Deadline, deadline
from server.requests.status import answer
from server.services.interaction import writing_deadline
from server.settings import ServerSettings
from server.tokens.written import Awaited, WriteTokens
from server.writes.erasure import ErasureWriter

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class ProfileService(ProfileServiceServicer):
    """Reads, exports and erases the profiles of users.

    Attributes:
        read_your_writes: Reads profiles that include given events.
        tokens: Makes and reads the tokens of writes.
        erasure_writer: Writes orders of erasure.
        profiles: The actions, and their half-life.
        admission: The limits of the process.
        settings: Deadlines.
        now_ms: The wall clock, Unix milliseconds.
    """

    read_your_writes: ReadYourWrites
    tokens: WriteTokens
    erasure_writer: ErasureWriter
    profiles: ProfileSettings
    admission: Admission
    settings: ServerSettings
    now_ms: Callable[[], int]

    async def GetProfile(self, request: rpc.GetProfileRequest, context: Context) -> rpc.GetProfileResponse:
        limit = deadline(context.time_remaining(), self.settings)
        return await answer("GetProfile", context, lambda: self._get(request, limit))

    async def ExportProfile(  # type: ignore[override]
        self, request: rpc.ExportProfileRequest, context: Context
    ) -> None:
        limit = deadline(context.time_remaining(), self.settings)
        await answer("ExportProfile", context, lambda: self._export(request, context, limit))

    async def EraseProfile(
        self, request: rpc.EraseProfileRequest, context: Context
    ) -> rpc.EraseProfileResponse:
        until = writing_deadline(context, self.settings)
        return await answer("EraseProfile", context, lambda: self._erase(request, until))

    async def _get(self, request: rpc.GetProfileRequest, limit: Deadline) -> rpc.GetProfileResponse:
        with self.admission.call():
            validation.profile(request)
            awaited = await self.tokens.awaited(request, limit.answer)
            snapshot, included = await self.read_your_writes.snapshot(request.user_id, awaited, limit.answer)
            return rpc.GetProfileResponse(
                profile=view(request.user_id, _present(snapshot), self.profiles, self.now_ms()),
                includes_events=included,
            )

    async def _export(self, request: rpc.ExportProfileRequest, context: Context, limit: Deadline) -> None:
        with self.admission.call():
            validation.user(request.user_id)
            snapshot, _ = await self.read_your_writes.snapshot(request.user_id, Awaited(), limit.answer)
            profile = view(request.user_id, _present(snapshot), self.profiles, self.now_ms())
            await context.write(rpc.ExportProfileResponse(profile=profile))
            for part in consumed(snapshot.tail):
                await context.write(rpc.ExportProfileResponse(taken=part))

    async def _erase(self, request: rpc.EraseProfileRequest, until: float) -> rpc.EraseProfileResponse:
        with self.admission.call():
            validation.user(request.user_id)
            position = await self.erasure_writer.erase(request.user_id, until)
            return rpc.EraseProfileResponse(token=self.tokens.of_events(request.user_id, [position]))


def _present(snapshot: ProfileSnapshot) -> ProfileSnapshot:
    """Return the snapshot if the profile could be read. Unlike a slate, an answer cannot be made without it.

    Raises:
        NotAvailable: The store did not answer.
    """
    if snapshot.unavailable:
        raise NotAvailable(
            ERROR_REASON_STORE_UNAVAILABLE, "profiles cannot be read now; try again after the delay", 1000
        )
    return snapshot
