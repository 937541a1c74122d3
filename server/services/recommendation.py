"""RecommendationService."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc

from profiles.folding.events import Position
from ranking.similar_items import ItemUnknown, SimilarItems
from recstream.v1 import frame_pb2, interaction_pb2
from recstream.v1 import recommendation_service_pb2 as rpc
from recstream.v1.recommendation_service_pb2_grpc import RecommendationServiceServicer
from server.errors import InvalidRequest, UnknownItem, Violation
from server.profiles.profile_reader import ProfileSnapshot
from server.profiles.read_your_writes import ReadYourWrites
from server.requests import validation
from server.requests.admission import Admission
from server.requests.deadline import Deadline, deadline
from server.requests.pages import Pages
from server.requests.slate_service import SlateService
from server.requests.status import answer
from server.requests.task_group import run_task_group
from server.requests.view import View
from server.settings import ServerSettings
from server.streaming.mailbox import Mailbox
from server.streaming.stream import Opening
from server.streaming.streams import Streams
from server.tokens.sealing import Sealer
from server.tokens.stream_place import decode_place
from server.tokens.written import Awaited, WriteTokens
from server.writes.recording import Recording
from server.writes.slate_log import SlateLog
from server.writes.upload import Answer, Upload, Written

Context = grpc.aio.ServicerContext[Any, Any]
_OPEN_SECONDS = 30.0


@dataclass(frozen=True)
class RecommendationService(RecommendationServiceServicer):
    """Serves slates, streams of slates, the order of given items, and similar items.

    Attributes:
        surfaces: Returns the names of the surfaces in force. Requests may name no others.
    """

    slate_service: SlateService
    read_your_writes: ReadYourWrites
    pages: Pages
    similar_items: SimilarItems
    streams: Streams
    sealer: Sealer
    tokens: WriteTokens
    recording: Recording
    slate_log: SlateLog
    admission: Admission
    settings: ServerSettings
    surfaces: Callable[[], Sequence[str]]

    async def Recommend(self, request: rpc.RecommendRequest, context: Context) -> rpc.RecommendResponse:
        limit = deadline(context.time_remaining(), self.settings)
        return await answer("Recommend", context, lambda: self._recommend(request, limit))

    async def Rank(self, request: rpc.RankRequest, context: Context) -> rpc.RankResponse:
        limit = deadline(context.time_remaining(), self.settings)
        return await answer("Rank", context, lambda: self._rank(request, limit))

    async def StreamRecommendations(  # type: ignore[override]
        self, request: rpc.StreamRecommendationsRequest, context: Context
    ) -> None:
        # Frames are written, not yielded. So a cancelled call ends inside our code, and frees its resources at once.
        await answer("StreamRecommendations", context, lambda: self._stream(request, context))

    async def Session(  # type: ignore[override]
        self, request_iterator: AsyncIterator[rpc.SessionRequest], context: Context
    ) -> None:
        await answer("Session", context, lambda: self._session(request_iterator, context))

    async def SimilarItems(
        self, request: rpc.SimilarItemsRequest, context: Context
    ) -> rpc.SimilarItemsResponse:
        return await answer("SimilarItems", context, lambda: self._similar(request))

    async def _recommend(self, request: rpc.RecommendRequest, limit: Deadline) -> rpc.RecommendResponse:
        with self.admission.call():
            self.slate_service.check_ready()
            wanted = validation.recommend(request, frozenset(), self.surfaces())
            if request.page_token:
                earlier = self.pages.earlier_items(request)
                wanted = validation.recommend(request, earlier, self.surfaces())
            awaited = await self.tokens.awaited(request, limit.events)
            snapshot, included = await self.read_your_writes.snapshot(wanted.user_id, awaited, limit.events)
            ranked = await self.slate_service.for_call(wanted, snapshot, limit.answer)
            given = [item.item_id for item in ranked.slate.items]
            self.slate_log.sent(wanted, ranked)
            return rpc.RecommendResponse(
                slate=self.slate_service.show(ranked, View.of(request.view)),
                includes_events=included,
                next_page_token=self.pages.next(request, wanted.served, given, ranked.remaining),
            )

    async def _rank(self, request: rpc.RankRequest, limit: Deadline) -> rpc.RankResponse:
        with self.admission.call():
            self.slate_service.check_ready()
            wanted = validation.rank(request, self.surfaces())
            awaited = await self.tokens.awaited(request, limit.events)
            snapshot, included = await self.read_your_writes.snapshot(wanted.user_id, awaited, limit.events)
            ranked = await self.slate_service.for_call(wanted, snapshot, limit.answer)
            self.slate_log.sent(wanted, ranked)
            known = {item.item_id for item in ranked.slate.items}
            return rpc.RankResponse(
                slate=self.slate_service.show(ranked, View.of(request.view)),
                includes_events=included,
                unknown_item_ids=[item_id for item_id in wanted.item_ids if item_id not in known],
            )

    async def _stream(self, request: rpc.StreamRecommendationsRequest, context: Context) -> None:
        async def send(frame: frame_pb2.Frame) -> None:
            await context.write(rpc.StreamRecommendationsResponse(frame=frame))

        self.slate_service.check_ready()  # First: until then not all surfaces are known.
        wanted = validation.stream(request, self.surfaces())
        with self.admission.stream(wanted.user_id):
            opening = await self._opened(request, context)
            await self.streams.run_one(wanted, opening, send, Mailbox())

    async def _session(self, requests: AsyncIterator[rpc.SessionRequest], context: Context) -> None:
        request = await _opening(requests)
        self.slate_service.check_ready()
        wanted = validation.stream(request, self.surfaces(), "open.")
        writing = asyncio.Lock()
        mailbox = Mailbox()
        newest: dict[tuple[bytes, int], Position] = {}  # By topic id and partition.

        async def send(frame: frame_pb2.Frame) -> None:
            async with writing:
                await context.write(rpc.SessionResponse(frame=frame))

        async def recorded(given: Answer) -> None:
            response = rpc.SessionResponse()
            if isinstance(given, Written):
                response.recorded = self.tokens.of_events(given.user_id, [given.position])
                newest[given.position[:2]] = given.position
            else:
                response.refused.CopyFrom(given)
            async with writing:
                await context.write(response)

        async def up() -> None:
            await Upload(self.recording, self.settings, recorded, wanted.user_id).run(_interactions(requests))
            # The client has ended its half. As in Recommend, its deadline bounds the wait for its events.
            until = deadline(context.time_remaining(), self.settings).events
            recorded_events = Awaited(events=tuple(newest.values()))
            snapshot, _ = await self.read_your_writes.snapshot(wanted.user_id, recorded_events, until)
            mailbox.end(snapshot.revision)

        with self.admission.stream(wanted.user_id):
            opening = await self._opened(request, context, "open.")
            await run_task_group(self.streams.run_one(wanted, opening, send, mailbox), up())

    async def _opened(
        self, request: rpc.StreamRecommendationsRequest, context: Context, path: str = ""
    ) -> Opening:
        """Return how a stream begins, once the writes that its first list must include are there, or as Recommend
        waits for them."""
        includes: Callable[[ProfileSnapshot], bool] | None = None
        if request.after or request.after_event_ids:
            until = deadline(context.time_remaining(), self.settings).events
            awaited = await self.tokens.awaited(request, until, path)
            await self.read_your_writes.snapshot(request.user_id, awaited, until)
            includes = partial(self.read_your_writes.included, awaited=awaited)
        return Opening(
            view=View.of(request.view),
            deltas=request.deltas,
            resumed=decode_place(request.resume_token, request.user_id, self.sealer),
            resume_token=request.resume_token,
            includes_events=includes,
        )

    async def _similar(self, request: rpc.SimilarItemsRequest) -> rpc.SimilarItemsResponse:
        with self.admission.call():
            self.slate_service.check_ready()
            count, wanted = validation.similar(request)
            try:
                found = self.similar_items.find(
                    request.item_id,
                    count=count,
                    now_ms=self.slate_service.now_ms(),
                    filter=wanted,
                    domain=request.domain,
                    excluded=frozenset(request.excluded_item_ids),
                )
            except ItemUnknown as error:
                raise UnknownItem(request.item_id) from error
            return rpc.SimilarItemsResponse(items=found.items, model_version=found.model_version)


async def _opening(requests: AsyncIterator[rpc.SessionRequest]) -> rpc.StreamRecommendationsRequest:
    """Return the first message of a session.

    Raises:
        InvalidRequest: It is not `open`, or does not arrive in time.
    """
    started = time.monotonic()
    try:
        async with asyncio.timeout(_OPEN_SECONDS):
            async for request in requests:
                if request.WhichOneof("kind") == "open":
                    return request.open
                break
    except TimeoutError:
        waited = time.monotonic() - started
        raise InvalidRequest([Violation("open", f"did not arrive within {waited:.0f} s")]) from None
    raise InvalidRequest([Violation("open", "must be the first message")])


async def _interactions(
    requests: AsyncIterator[rpc.SessionRequest],
) -> AsyncIterator[interaction_pb2.Interaction]:
    async for request in requests:
        if request.WhichOneof("kind") != "interaction":
            raise InvalidRequest([Violation("interaction", "must be set on every message after the first")])
        yield request.interaction
