"""What is served now, as far as the servers answer. Changes nothing."""

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
        created: When its bundle was made, as the manifest has it.
        width: Components of its vectors.
        share: Of the users that it is to answer, 0 to 1.
        profiles: Profiles that it answers now; None where the store does not answer.
        items_to_embed: Records of items that its catalogue workers have not handled.
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
        versions: The older one first.
        profiles: Profiles with a history; None where the store does not answer.
        remaining: Profiles that have not moved to the version that is to answer them; None as above.
        leftovers: What retired versions have left, in words; empty where there is nothing.
    """

    versions: list[VersionStatus]
    profiles: int | None
    remaining: int | None
    leftovers: str


async def rollout_status(settings: Settings) -> RolloutStatus:
    """Asks Kafka, Valkey and Triton, and looks into the folders.

    Raises:
        TopicsError, KafkaError: Kafka does not answer.
        BadRecord: The record of served versions cannot be read.
        ValueError: A later release wrote the record.
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
