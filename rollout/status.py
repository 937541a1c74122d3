"""Finds out which versions are served now, as far as the servers answer. It changes nothing."""

from dataclasses import dataclass

from catalog.version_watcher import read_versions
from configuration.settings import Settings
from inference.triton import TritonModel
from inference.version_routing import Live, routing_of
from ingest.consuming.group_lag import group_lag
from ingest.consuming.groups import catalogue_group
from profiles.errors import StoreUnavailable
from profiles.store.store import ProfileStore
from rollout.bundle_folder import stored_versions
from rollout.cleanup import leftover_files
from rollout.migration_progress import MigrationProgress, migration_progress
from topics.ids import topic_ids


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """A live version.

    Attributes:
        version: Its number.
        created: When its bundle was made, from the manifest.
        width: The number of components of its vectors.
        share: The share of the users that is routed to it, 0 to 1.
        profiles: Profiles that it answers now. None if the store does not answer.
        items_to_embed: Records of items that its catalogue workers have not handled yet.
        ready: Whether Triton serves it.
        bundle_stored: Whether its bundle is in the folder of bundles.
    """

    version: int
    created: str
    width: int
    share: float
    profiles: int | None
    items_to_embed: int
    ready: bool
    bundle_stored: bool


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """All live versions.

    Attributes:
        versions: The versions, the older one first.
        profiles: Profiles with a history. None if the store does not answer.
        remaining: Profiles that have not moved to their target version. None if the store does not answer.
        leftovers: What retired versions have left behind, in words. Empty if there is nothing.
    """

    versions: list[VersionStatus]
    profiles: int | None
    remaining: int | None
    leftovers: str


async def rollout_status(settings: Settings) -> RolloutStatus:
    """Asks Kafka, Valkey and Triton, and inspects the folders.

    Raises:
        TopicsError, KafkaError: Kafka does not answer.
        ValueError: A newer release wrote the record.
    """
    routing = routing_of(await read_versions(settings.kafka))
    migration: MigrationProgress | None = None
    store = await ProfileStore.connect(settings.store)
    try:
        migration = await migration_progress(store, routing)
    except StoreUnavailable:
        pass
    finally:
        await store.close()
    stored = stored_versions(settings.bundles)
    model = TritonModel(settings.triton, [live.manifest for live in routing.live.values()])
    topics = settings.kafka.topics
    topic_id = (await topic_ids(settings.kafka, [topics.items]))[topics.items]

    async def version_status(live: Live, share: float) -> VersionStatus:
        group = catalogue_group(settings.kafka, live.version, live.published_at_ms, topic_id)
        return VersionStatus(
            version=live.version,
            created=live.manifest.created,
            width=live.manifest.width,
            share=share,
            profiles=migration.answered_by[live.version] if migration is not None else None,
            items_to_embed=await group_lag(settings.kafka, group, topics.items),
            ready=await model.ready(live.version),
            bundle_stored=live.version in stored,
        )

    try:
        shares = ((routing.base, 1 - routing.share), (routing.next, routing.share))
        live_versions = [await version_status(live, share) for live, share in shares if live is not None]
    finally:
        await model.close()
    return RolloutStatus(
        live_versions,
        migration.profiles if migration is not None else None,
        migration.remaining if migration is not None else None,
        str(leftover_files(settings, routing.live)),
    )
