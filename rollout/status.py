"""What is served, as far as the servers tell. Changes nothing."""

from dataclasses import dataclass

from catalog.version_watcher import read_served
from configuration.settings import Settings
from inference.triton import TritonModel
from inference.version_routing import Live, pointer_of
from ingest.consuming.groups import catalogue_group
from profiles.errors import StoreUnavailable
from profiles.store.store import ProfileStore
from rollout.cleanup import files_left
from rollout.consumer_lag import lag
from rollout.migration_progress import Movement, movement
from rollout.paths import kept
from topics.ids import topic_ids


@dataclass(frozen=True, slots=True)
class Row:
    """A live version. profiles: whom it answers now; None: the store does not answer. to_embed: records of items that
    its catalogue workers have not been through. ready: on Triton. bundle: whether it is kept here."""

    version: int
    created: str
    width: int
    share: float
    profiles: int | None
    to_embed: int
    ready: bool
    bundle: bool


@dataclass(frozen=True, slots=True)
class Survey:
    """versions: the one before first. left: profiles that have yet to move."""

    versions: list[Row]
    profiles: int | None
    left: int | None
    leftovers: str


async def survey(settings: Settings) -> Survey:
    """Looks everywhere. Raises TopicsError, KafkaError, BadRecord, and ValueError for a record of a later release."""
    pointer = pointer_of(await read_served(settings.kafka))
    moving: Movement | None = None
    store = await ProfileStore.connect(settings.store)
    try:
        moving = await movement(store, pointer)
    except StoreUnavailable:
        pass
    finally:
        await store.close()
    there = kept(settings.bundles)
    model = TritonModel(settings.triton, [live.manifest for live in pointer.live.values()])
    topics = settings.kafka.topics
    topic_id = (await topic_ids(settings.kafka, [topics.items]))[topics.items]

    async def row(live: Live, share: float) -> Row:
        group = catalogue_group(settings.kafka, live.version, live.published_at_ms, topic_id)
        return Row(
            live.version,
            live.manifest.created,
            live.manifest.width,
            share,
            moving.answered[live.version] if moving is not None else None,
            await lag(settings.kafka, group, topics.items),
            await model.ready(live.version),
            live.version in there,
        )

    try:
        shares = ((pointer.base, 1 - pointer.share), (pointer.next, pointer.share))
        rows = [await row(live, share) for live, share in shares if live is not None]
    finally:
        await model.close()
    return Survey(
        rows,
        moving.profiles if moving is not None else None,
        moving.left if moving is not None else None,
        str(files_left(settings, pointer.live)),
    )
