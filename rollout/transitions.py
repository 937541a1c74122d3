"""The record of what is served, from one state to the next.

A single version is `next` with the whole share. Publishing another makes the first one `base`, and the new one `next`
with a share of 0. The share then grows to 1, or goes back to 0.

The functions are pure: each takes a record and returns another. Each raises TransitionRefused where the step would
take users away from a version that answers them.
"""

from inference.bundle.bundle import Manifest
from recstream.storage.v1.model_pb2 import ServedVersion, ServedVersions
from rollout.errors import TransitionRefused


def published(
    record: ServedVersions, manifest: Manifest, raw: bytes, now_ms: int, *, force: bool
) -> ServedVersions:
    """Makes a version live that answers nobody yet. A version that is live already leaves the record as it is.

    Args:
        record: What is served now.
        manifest: Of the version.
        raw: The bytes of its manifest.json.
        now_ms: Unix milliseconds; part of the name of the consumer group that computes its item vectors.
        force: Retires `next` even while it has a share between 0 and 1.

    Raises:
        TransitionRefused: The version is live with other bytes, answers through a rollback only, or `next` has a share
            between 0 and 1.
    """
    version = manifest.version
    for live in (record.base, record.next):
        if live.version == version and live.manifest != raw:
            raise TransitionRefused(
                f"version {version} is published with other content",
                "give the bundle a version of its own",
            )
    if version == record.next.version:
        return record
    if version == record.base.version:
        if record.share:
            raise TransitionRefused(
                f"version {version} is live already, as the one before {record.next.version}",
                "`recstream model rollback` returns to it at once",
            )
        return record
    if 0 < record.share < 1 and not force:
        raise TransitionRefused(
            f"version {record.next.version} is a canary: it answers {record.share:.0%} of the users",
            "promote it or roll it back first, or retire it with --force",
        )
    after = ServedVersions(vector_ends=record.vector_ends)
    after.next.CopyFrom(ServedVersion(version=version, manifest=raw, published_at_ms=now_ms))
    stays = record.next if record.share == 1 else record.base
    if stays.version:
        after.base.CopyFrom(stays)
    return after


def retiring(record: ServedVersions) -> int:
    """The version that goes when another is published: the one that answers nobody. 0: none."""
    gone = record.base if record.share == 1 else record.next
    return gone.version if record.base.version and record.next.version else 0


def with_share(record: ServedVersions, share: float, vector_ends: dict[int, int]) -> ServedVersions:
    """Gives `next` a share of the users.

    Args:
        record: What is served now.
        share: 0 to 1. Without a `base` it is 1: nobody else could answer the other users.
        vector_ends: For each partition of `item-vectors` the offset before which all vectors of `next` lie. An offset
            never goes back.

    Raises:
        TransitionRefused: No version is published.
    """
    if not record.next.version:
        raise TransitionRefused("no version is published", "publish one: `recstream model publish BUNDLE`")
    after = ServedVersions()
    after.CopyFrom(record)
    after.share = share if record.base.version else 1.0
    for partition, end in vector_ends.items():
        after.vector_ends[partition] = max(end, record.vector_ends.get(partition, 0))
    return after


def rolled_back(record: ServedVersions) -> ServedVersions:
    """Lets `base` answer everybody again. Raises TransitionRefused where there is none."""
    if not record.base.version:
        raise TransitionRefused(
            "there is no version before this one to roll back to",
            "publish the one that you want: `recstream model publish BUNDLE`",
        )
    after = ServedVersions()
    after.CopyFrom(record)
    after.share = 0
    return after


def retired(record: ServedVersions) -> ServedVersions:
    """Drops the version that answers nobody. Raises TransitionRefused where both answer users."""
    if not retiring(record):
        return record
    if 0 < record.share < 1:
        raise TransitionRefused(
            f"both versions answer users: version {record.next.version} answers {record.share:.0%} of them",
            "promote it or roll it back first",
        )
    after = ServedVersions(vector_ends=record.vector_ends, share=1)
    after.next.CopyFrom(record.next if record.share == 1 else record.base)
    return after
