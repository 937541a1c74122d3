"""The record of what is served, from one state to the next. Pure; each raises CommandError where it would do harm.

A version alone is `next` with the whole share. Publishing makes it the `base`, and the new one `next` with no share
yet; the share grows to 1, or goes back to 0.
"""

from configuration.errors import CommandError
from inference.bundle.bundle import Manifest
from recstream.storage.v1.model_pb2 import ServedVersion, ServedVersions


def prepared(
    record: ServedVersions, manifest: Manifest, raw: bytes, now_ms: int, *, force: bool
) -> ServedVersions:
    """The version of this manifest.json is live, answering nobody yet, unless it was live before: then the record is
    as it was. `force`: also while another version is neither wholly taken on nor rolled back."""
    version = manifest.version
    for live in (record.base, record.next):
        if live.version == version and live.manifest != raw:
            raise CommandError(
                f"version {version} is published with another content", "give the bundle a version of its own"
            )
    if version == record.next.version:
        return record
    if version == record.base.version:
        if record.share:
            raise CommandError(
                f"version {version} is the one before {record.next.version}",
                "`recstream model rollback` goes back to it at once",
            )
        return record
    if 0 < record.share < 1 and not force:
        raise CommandError(
            f"version {record.next.version} answers {record.share:.0%} of the users and is still on trial",
            "promote it or roll it back first; --force retires it",
        )
    after = ServedVersions(vector_ends=record.vector_ends)
    after.next.CopyFrom(ServedVersion(version=version, manifest=raw, published_at_ms=now_ms))
    stays = record.next if record.share == 1 else record.base
    if stays.version:
        after.base.CopyFrom(stays)
    return after


def retires(record: ServedVersions) -> int:
    """The version that goes when another is published; 0: none."""
    gone = record.base if record.share == 1 else record.next
    return gone.version if record.base.version and record.next.version else 0


def shared(record: ServedVersions, share: float, vector_ends: dict[int, int]) -> ServedVersions:
    """`next` answers this share of the users; its vectors lie before these end offsets."""
    if not record.next.version:
        raise CommandError("no version is published", "`recstream model publish BUNDLE` does it")
    after = ServedVersions()
    after.CopyFrom(record)
    # Without a base nobody else could answer the others.
    after.share = share if record.base.version else 1.0
    for partition, end in vector_ends.items():
        after.vector_ends[partition] = max(end, record.vector_ends.get(partition, 0))
    return after


def rolled_back(record: ServedVersions) -> ServedVersions:
    """`base` answers everybody again."""
    if not record.base.version:
        raise CommandError(
            "there is no version before to go back to",
            "publish another, or the one that you want back, with `recstream model publish BUNDLE`",
        )
    after = ServedVersions()
    after.CopyFrom(record)
    after.share = 0
    return after


def alone(record: ServedVersions) -> ServedVersions:
    """The version that answers nobody is retired."""
    if not retires(record):
        return record
    if 0 < record.share < 1:
        raise CommandError(
            f"both versions answer users, {record.next.version} {record.share:.0%} of them",
            "promote it or roll it back first",
        )
    after = ServedVersions(vector_ends=record.vector_ends, share=1)
    after.next.CopyFrom(record.next if record.share == 1 else record.base)
    return after
