"""The transitions of the record of served versions.

A single version is `next` with a share of 1. When another version is published, the first one becomes `base`, and the
new one is `next` with a share of 0. The share then grows to 1, or goes back to 0.

The functions are pure: each takes a record and returns another. They raise TransitionRefused if the step would take
users away from a version that answers them.
"""

from inference.bundle.bundle import Manifest
from recstream.storage.v1.model_pb2 import ServedVersion, ServedVersions
from rollout.errors import TransitionRefused


def published(
    record: ServedVersions, manifest: Manifest, raw: bytes, now_ms: int, *, force: bool
) -> ServedVersions:
    """Makes a version live. It answers no users yet. If it is live already, the record does not change.

    Args:
        record: The served versions.
        manifest: The manifest of the version.
        raw: The bytes of its manifest.json.
        now_ms: Unix milliseconds. Part of the name of the consumer group that computes its item vectors.
        force: Retires `next` even if it has a share between 0 and 1.

    Raises:
        TransitionRefused: The version is live with other bytes, it is `base` and needs a rollback instead, or `next`
            has a share between 0 and 1.
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
                f"version {version} is live already, as the version before {record.next.version}",
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
    """Returns the version that answers no users, and is retired when another one is published. 0: none."""
    gone = record.base if record.share == 1 else record.next
    return gone.version if record.base.version and record.next.version else 0


def with_share(record: ServedVersions, share: float, vector_ends: dict[int, int]) -> ServedVersions:
    """Gives `next` a share of the users.

    Args:
        record: The served versions.
        share: The share, 0 to 1. Without a `base` it is 1, because no version could answer the other users.
        vector_ends: The offset of each partition of `item-vectors` before which all vectors of `next` are. An offset
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
    """Lets `base` answer all users again. Raises TransitionRefused if there is no `base`."""
    if not record.base.version:
        raise TransitionRefused(
            "there is no older version to roll back to",
            "publish the version that you want: `recstream model publish BUNDLE`",
        )
    after = ServedVersions()
    after.CopyFrom(record)
    after.share = 0
    return after


def retired(record: ServedVersions) -> ServedVersions:
    """Drops the version that answers no users. Raises TransitionRefused if both answer users."""
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
