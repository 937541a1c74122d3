"""The errors of ingest."""

from collections.abc import Sequence


class IngestError(Exception):
    """Base of this room's errors."""


class BatchAbandoned(IngestError):
    """A batch is left to the next owner of its partitions, because the worker stops or the partitions move."""


class BatchFailed(IngestError):
    """A batch could not be applied. It is kept and tried again. `cause` is one of `metrics.RETRY_CAUSES`."""

    cause = "error"


class StoreDown(BatchFailed):
    """The profile store did not answer."""

    cause = "store"


class WritesRefused(BatchFailed):
    """Profiles kept changing between the read and the write."""

    cause = "contention"

    def __init__(self, users: int, attempts: int) -> None:
        super().__init__(
            f"other writers changed {users} profiles between read and write, {attempts} times in a row"
        )


class DeadLetterNotWritten(BatchFailed):
    """Kafka did not take a dead letter, so its record is not committed."""

    cause = "dead_letter"

    def __init__(self, topic: str, cause: object) -> None:
        super().__init__(
            f"cannot write to the dead-letter topic {topic} ({cause}): create it with `recstream topics create`, or "
            "allow this client to write to it; ingest waits until then"
        )


class StoreChanged(IngestError):
    """The store was restarted or failed over. The writes of its last seconds may be missing."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        super().__init__("the profile store was restarted or failed over")


class Halted(IngestError):
    """Ingest stops and stays unready until an operator acts. If it is `final`, ingest also has to be restarted."""

    final = False


class TopicRecreated(Halted):
    """The interactions topic is not the one whose events the profiles hold."""

    def __init__(self, topic: str, remembered: bytes, found: bytes) -> None:
        super().__init__(
            f"topic {topic} was recreated (its id is {found.hex()}, the profiles hold events of {remembered.hex()}): "
            "stop ingest and run `recstream topics adopt --keep` to keep the profiles, or `--reset` to delete them; "
            "either way the new topic is read from its start"
        )


class TopicsMissing(Halted):
    """Topics that ingest needs do not exist."""


class StoreEmptied(Halted):
    """The store is empty, although events were committed as applied."""

    def __init__(self, group: str) -> None:
        super().__init__(
            f"the profile store is empty, but group {group} has committed offsets: if this is the right store, "
            "`recstream topics adopt --reset` reads everything again"
        )


class OffsetOutOfRange(Halted):
    """Records were deleted before they were read, or the log ends before the committed offset.

    Args:
        topic: The topic.
        ranges: (partition, committed offset, first offset, end offset) of each such partition.
    """

    def __init__(self, topic: str, ranges: Sequence[tuple[int, int, int, int]]) -> None:
        self.lost = sum(max(0, first - committed) for _, committed, first, _ in ranges)
        where = ", ".join(f"{p}: committed {c}, the log has {a} to {b}" for p, c, a, b in ranges[:8])
        super().__init__(
            f"topic {topic}: {self.lost} records were deleted before they were read, or the log ends before the "
            f"committed offset (partition {where}): `recstream topics adopt --keep` continues at the first record"
        )


class TooManyDeadLetters(Halted):
    """For a minute, no record could be used, and more than the limit came."""

    final = True

    def __init__(self, count: int, reason: str) -> None:
        super().__init__(
            f"none of the last {count} records can be used, the last one because of: {reason}. This looks like a wrong "
            "setting, or a bug in the producer or in this version: fix it and restart ingest"
        )


class GroupActive(IngestError):
    """Offsets cannot be reset while the group has members."""

    def __init__(self, group: str, cause: object) -> None:
        super().__init__(f"consumers of group {group} are running ({cause}): stop ingest first")


class BundleIncompatible(IngestError):
    """The model bundle was trained for other profile settings."""


class BundleMissing(IngestError):
    """The bundle of a published version is missing, or is not the published one."""

    def __init__(self, version: int, folder: object, reason: object) -> None:
        super().__init__(
            f"the bundle of model version {version} is not in {folder} ({reason}): set `bundles` to the folder that "
            "`recstream model publish` writes to, or publish the version again"
        )


class TopicsMisconfigured(Halted):
    """Topics are configured in a way that loses records."""


class StillBehind(IngestError):
    """A consumer group did not catch up in time."""

    def __init__(self, group: str, topic: str, records: int, seconds: float) -> None:
        super().__init__(
            f"{group} is still {records:,} records of {topic} behind after {seconds:g} s; see ingest's log and its "
            "/readyz"
        )
