"""The composition root of the server: the only place that builds its parts and shuts them down."""

import asyncio
import gc
import signal
import time

import structlog
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection

from catalog.catalog import Catalog
from catalog.top_items import TopItems
from inference.model import Model
from inference.settings import TritonSettings
from inference.triton import TritonModel
from inference.version_labels import Retiring
from inference.version_routing import VersionRouting, Versions
from profiles.announcements.subscriber import AnnouncementSubscriber
from profiles.store.store import ProfileStore
from ranking.build import build, build_similar_items
from ranking.metrics import LIST_SECONDS, LISTS, LISTS_BY_VERSION
from ranking.surfaces.in_force import LiveSurfaces, SurfacesInForce, changed, retiring
from recstream.v1 import (
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    interaction_service_pb2,
    interaction_service_pb2_grpc,
    profile_service_pb2,
    profile_service_pb2_grpc,
    recommendation_service_pb2,
    recommendation_service_pb2_grpc,
)
from server import metrics
from server.config import ServerConfig
from server.items.item_reader import ItemReader
from server.profiles.profile_reader import ProfileReader
from server.profiles.read_your_writes import ReadYourWrites
from server.profiles.subscriptions import Subscriptions
from server.requests.admission import Admission
from server.requests.pages import Pages
from server.requests.ranking_limiter import RankingLimiter
from server.requests.slate_service import SlateService
from server.services.catalog import CatalogService
from server.services.health import HealthService
from server.services.interaction import InteractionService
from server.services.profile import ProfileService
from server.services.recommendation import RecommendationService
from server.streaming.item_watch import ItemWatch
from server.streaming.streams import Streams
from server.tokens.keys import TokenKey, parse_keys
from server.tokens.sealing import Sealer
from server.tokens.written import WriteTokens
from server.transport import grpc_server, listen
from server.writes.erasure import ErasureWriter
from server.writes.item_writer import ItemWriter
from server.writes.log_writer import LogWriter
from server.writes.recording import Recording
from server.writes.slate_log import SlateLog
from telemetry.background import BackgroundTask, OnFailure, TaskFailed, run_background
from telemetry.health import SHUTDOWN, Health
from telemetry.probe_server import ProbeServer
from topics.errors import TopicsError

log = structlog.get_logger()

SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (recommendation_service_pb2, "RecommendationService"),
        (interaction_service_pb2, "InteractionService"),
        (profile_service_pb2, "ProfileService"),
        (catalog_service_pb2, "CatalogService"),
    )
)
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
_CATALOG = "catalog"
"""The health component that is up once the catalogue has been read."""
_FLUSH_SECONDS = 1.0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Server:
    """One server process: `start`, then `drain` and `close`.

    Args:
        config: The settings of all rooms.
        model: The model. The catalogue's topics say which of its versions are served.

    Attributes:
        versions: The routing of users to model versions.
        surfaces: The surfaces in force.
        failed: A task that ends only when a task of `background` has failed for good. It raises TaskFailed, and the
            server is no longer ready.
    """

    def __init__(self, config: ServerConfig, model: Model) -> None:
        self.config = config
        self._model = model
        self.versions = Versions()
        self.health = Health(metrics.READY)
        self.health.down(_CATALOG, "is being read")
        self.admission = Admission(config.server)
        self.surfaces = LiveSurfaces(config.ranking)
        further = {config.kafka.topics.surfaces: self.surfaces.on_record}
        self.catalog = Catalog(config.catalog, config.kafka, _now_ms, further, changes=True)
        self.catalog.version_watcher.listen(self.versions.update)
        by_version = (LIST_SECONDS, LISTS_BY_VERSION, metrics.EVENT_TO_FRAME_SECONDS)
        self.versions.listen(Retiring(by_version).follow)
        self.surfaces.listen(retiring((LISTS, metrics.EVENT_TO_FRAME_SECONDS)))
        self.port = 0

    async def start(self) -> None:
        """Listen, and start to read the catalogue. The server is ready once the catalogue has been read.

        Kafka, Valkey and Triton need not be up.

        Raises:
            OSError: A port is taken.
        """
        config, settings = self.config, self.config.server
        self._grpc = grpc_server(settings)
        self.probes = ProbeServer(self.health, settings.host, settings.http_port)
        await self.probes.start()
        self._sealer = Sealer(self._token_keys())
        self._store = await ProfileStore.connect(config.store)
        self._announcements = await AnnouncementSubscriber.connect(config.store, self._reread)
        self._runners = build(
            self.catalog,
            self._model,
            self.versions,
            config.profiles,
            config.ranking,
            surfaces=self.surfaces,
        )
        self._writer = LogWriter(config.kafka, settings)
        self._slate_log = SlateLog(config.kafka, settings)
        self._profile_reader = ProfileReader(self._store, settings, _now_ms)
        self._subscriptions = Subscriptions(self._announcements)
        self.items = ItemWatch(self.catalog, _now_ms)
        slate_service = SlateService(
            runners=self._runners,
            catalog=self.catalog,
            limiter=RankingLimiter(settings.ranking_concurrency),
            settings=settings,
            now_ms=_now_ms,
            versions=self.versions,
            surfaces=self.surfaces,
        )
        self.streams = Streams(
            profile_reader=self._profile_reader,
            slate_service=slate_service,
            items=self.items,
            subscriptions=self._subscriptions,
            slate_log=self._slate_log,
            store=self._store,
            sealer=self._sealer,
            settings=settings,
        )
        self.catalog.listen(self.items.changed)
        self.versions.listen(self._flipped)
        self.surfaces.listen(self._resurfaced)
        self._add_services(slate_service)
        self.port = listen(self._grpc, settings)
        await self._grpc.start()
        self.failed = asyncio.create_task(self._run_background(), name="background")
        log.info("server_listens", port=self.port, http_port=self.probes.port)

    def background(self) -> tuple[BackgroundTask, ...]:
        """Return all background tasks of a started server."""
        return (
            *self.catalog.background(),
            *self._announcements.background(),
            BackgroundTask("log-producer", self._writer.keep_producer, OnFailure.RETRY, (TopicsError,)),
            BackgroundTask("log-topics", self._writer.keep_states, OnFailure.RETRY),
            BackgroundTask("slate-log", self._slate_log.run, OnFailure.RETRY, SlateLog.EXPECTED),
            BackgroundTask("stream-revisions", self.streams.reread, OnFailure.RETRY),
            BackgroundTask("stream-tiers", self.streams.recover_tiers, OnFailure.RETRY),
            # A process that cannot become ready is useless. A restarted one may do better.
            BackgroundTask("readiness", self._when_ready, OnFailure.FATAL),
        )

    async def drain(self, cut: asyncio.Event | None = None) -> None:
        """Stop accepting calls, end the streams one by one, and let the other calls finish.

        Args:
            cut: Once it is set, calls that are still open are cancelled. Otherwise, they are cancelled after
                `drain_seconds`.
        """
        settings = self.config.server
        self.health.shut_down()
        self.admission.close()
        log.info("server_drains", streams=self.admission.streams, unary=self.admission.unary)
        # New calls are refused first, so that a client whose stream ends does not reconnect to this server.
        stopping = asyncio.ensure_future(self._grpc.stop(settings.drain_seconds))
        # The other half of the time is for the last clients, which may read slowly.
        spread = min(settings.reconnect_spread_ms / 1000, settings.drain_seconds / 2)
        leaving = asyncio.ensure_future(self.streams.leave(spread))
        cutting = asyncio.ensure_future((cut or asyncio.Event()).wait())
        try:
            await asyncio.wait({stopping, cutting}, return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                await self._grpc.stop(None)
            await stopping
        finally:
            cutting.cancel()
            leaving.cancel()
            stopping.cancel()

    async def close(self) -> None:
        """End everything. Calls in progress are cancelled."""
        await self._grpc.stop(None)
        await self._slate_log.flush(_FLUSH_SECONDS)
        self.failed.cancel()
        await asyncio.gather(self.failed, return_exceptions=True)
        await self._subscriptions.close()
        await self._profile_reader.close()
        await self._runners.close()
        await self._announcements.close()
        await self._store.close()
        self.probes.close()

    async def _run_background(self) -> None:
        try:
            await run_background(self.background())
        except TaskFailed as error:
            self.health.down(SHUTDOWN, str(error))
            raise

    def _reread(self) -> None:
        self.streams.reread_now()

    def _flipped(self, routing: VersionRouting) -> None:
        metrics.MODEL_SHARE.clear()
        for live, share in ((routing.base, 1 - routing.share), (routing.next, routing.share)):
            if live is not None:
                metrics.MODEL_SHARE.labels(str(live.version)).set(share)
        self.streams.look_again("model")

    def _resurfaced(self, before: SurfacesInForce, after: SurfacesInForce) -> None:
        self.streams.look_again("surfaces", lambda surface: changed(surface, before, after))

    async def _when_ready(self) -> None:
        await self.catalog.wait_ready()
        # A full collection takes tens of ms. Objects that live as long as the process are excluded from now on.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        self.health.up(_CATALOG)
        log.info("server_ready", items=self.catalog.item_count)

    def _add_services(self, slate_service: SlateService) -> None:
        config, settings, admission = self.config, self.config.server, self.admission
        topics = config.kafka.topics
        read_your_writes = ReadYourWrites(self.catalog, self._profile_reader, self._subscriptions, settings)
        tokens = WriteTokens(self._sealer, self._writer, topics)
        recording = Recording(
            writer=self._writer,
            topic=topics.interactions,
            profiles=config.profiles,
            settings=settings,
            now_ms=_now_ms,
        )
        recommendation_service_pb2_grpc.add_RecommendationServiceServicer_to_server(
            RecommendationService(
                slate_service=slate_service,
                read_your_writes=read_your_writes,
                pages=Pages(self._sealer, settings),
                similar_items=build_similar_items(self.catalog, self.versions, config.ranking),
                streams=self.streams,
                sealer=self._sealer,
                tokens=tokens,
                recording=recording,
                slate_log=self._slate_log,
                admission=admission,
                settings=settings,
                surfaces=lambda: self.surfaces().names,
            ),
            self._grpc,
        )
        interaction_service_pb2_grpc.add_InteractionServiceServicer_to_server(
            InteractionService(recording, tokens, admission, settings), self._grpc
        )
        erasure_writer = ErasureWriter(self._writer, topics.interactions)
        profile_service_pb2_grpc.add_ProfileServiceServicer_to_server(
            ProfileService(
                read_your_writes=read_your_writes,
                tokens=tokens,
                erasure_writer=erasure_writer,
                profiles=config.profiles,
                admission=admission,
                settings=settings,
                now_ms=_now_ms,
            ),
            self._grpc,
        )
        half_life = config.ranking.trending_half_life_hours * 3600
        catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server(
            CatalogService(
                item_reader=ItemReader(
                    self.catalog,
                    version=self._version,
                    half_life_seconds=half_life,
                    now_ms=_now_ms,
                    sealer=self._sealer,
                ),
                item_writer=ItemWriter(
                    catalog=self.catalog,
                    writer=self._writer,
                    topic=topics.item_changes,
                    now_ns=time.time_ns,
                ),
                tokens=tokens,
                top_items=TopItems(self.catalog, half_life),
                slate_service=slate_service,
                admission=admission,
                settings=settings,
            ),
            self._grpc,
        )
        add_HealthServicer_to_server(HealthService(self.health, SERVICES), self._grpc)
        reflection.enable_server_reflection((*SERVICES, _HEALTH, reflection.SERVICE_NAME), self._grpc)

    def _token_keys(self) -> tuple[TokenKey, ...]:
        keys = self.config.server.token_keys
        if keys is not None:
            return parse_keys(keys.get_secret_value())
        log.warning(
            "token_keys_missing", fix="set server.token_keys; until then no other server accepts our tokens"
        )
        return (TokenKey.random(),)

    def _version(self) -> int:
        manifest = self.versions().default
        return manifest.version if manifest else 0


async def serve(config: ServerConfig, triton: TritonSettings) -> None:
    """Run a server until SIGTERM or SIGINT. A second signal cuts the draining short.

    Until a model is published, slates have popular items. Run it under uvloop, which serves a third more requests:
    `uvloop.run(serve(...))`.

    Args:
        config: The settings of the server's rooms.
        triton: The connection to Triton.

    Raises:
        OSError: A port is taken.
        TaskFailed: A background task failed for good, and the server was drained.
    """
    model = TritonModel(triton, [])
    server = Server(config, model)
    server.versions.listen(lambda routing: model.serve(live.manifest for live in routing.live.values()))
    stop, cut = asyncio.Event(), asyncio.Event()

    def signalled() -> None:
        (cut if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    try:
        await server.start()
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({stopped, server.failed}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        broken = server.failed.exception() if server.failed.done() else None
        await server.drain(cut)
        await server.close()
        if broken is not None:
            raise broken
    finally:
        await model.close()
