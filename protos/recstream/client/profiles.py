"""The client's calls for profiles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import grpc.aio

from recstream.client.arguments import text, texts
from recstream.client.connection import Connection
from recstream.v1.profile_pb2 import Profile
from recstream.v1.profile_service_pb2 import (
    EraseProfileRequest,
    ExportProfileRequest,
    GetProfileRequest,
    GetProfileResponse,
    TakenItems,
)


@dataclass(frozen=True, slots=True)
class ProfileExport:
    """All stored data of a user.

    Attributes:
        profile: the profile.
        taken: the items that the user took before the history begins.
    """

    profile: Profile
    taken: TakenItems


class Profiles:
    """Reads, exports and erases the data of a user."""

    _connection: Connection

    async def profile(
        self,
        user_id: str,
        *,
        after: Iterable[str] = (),
        after_event_ids: Iterable[str] = (),
        timeout: float | None = None,
    ) -> GetProfileResponse:
        """Returns a user's profile. An unknown user has an empty profile with revision 0.

        Args:
            user_id: the user.
            after: tokens of events or erasures that the profile must include; see `includes_events` of the answer.
            after_event_ids: ids of events that it must include, for events that you published to Kafka yourself.
            timeout: seconds; None: the client's default.

        Example:
            answer = await client.profile("ann")
            print(answer.profile.totals["view"], len(answer.profile.history))
        """
        request = GetProfileRequest(
            user_id=text("user_id", user_id),
            after=texts("after", after),
            after_event_ids=texts("after_event_ids", after_event_ids),
        )
        return await self._connection.call(
            self._connection.profiles.GetProfile,
            request,
            timeout,
            hedge=not (request.after or request.after_event_ids),
        )

    async def export_profile(self, user_id: str, *, timeout: float | None = None) -> ProfileExport:
        """Returns all stored data of a user.

        Example:
            Path("ann.binpb").write_bytes((await client.export_profile("ann")).profile.SerializeToString())
        """

        async def attempt(seconds: float, metadata: grpc.aio.Metadata | None) -> ProfileExport:
            profile, taken = Profile(), TakenItems()
            request = ExportProfileRequest(user_id=text("user_id", user_id))
            call = self._connection.profiles.ExportProfile(request, timeout=seconds, metadata=metadata)
            async for part in self._connection.opened(call):
                if part.WhichOneof("part") == "profile":
                    profile.MergeFrom(part.profile)
                else:
                    taken.MergeFrom(part.taken)
            return ProfileExport(profile, taken)

        return await self._connection.retrying(attempt, timeout, hedge=False)

    async def erase(self, user_id: str, *, timeout: float | None = None) -> str:
        """Erases every event of the user that Kafka has now. A replay of the topic does not bring them back.

        Returns:
            The token of the erasure: pass it to `profile(after=...)` to wait until it is done.

        Example:
            token = await client.erase("ann")
            assert not (await client.profile("ann", after=[token])).profile.history
        """
        request = EraseProfileRequest(user_id=text("user_id", user_id))
        answer = await self._connection.call(self._connection.profiles.EraseProfile, request, timeout)
        return answer.token
