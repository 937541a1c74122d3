"""The shards of one training: events of Parquet files that are never in memory as a whole."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.progress import Progress

from models.data.events import ItemText
from models.data.preparation import PreparationReport
from models.data.shard_writer import write_shards
from models.data.shards import Shards
from models.errors import ShardsMissing, ShardsUnwritten
from models.training.distributed import process_group
from models.training.settings import TrainSettings
from profiles.actions import Actions
from readers.interactions.format_options import InteractionOptions
from readers.parquet.user_partitions import parquet_rows, partition_by_user
from readers.report import Report


class ShardFolder:
    """The folder of shards beside the bundle. Rank 0 writes them. They are removed when the training is finished."""

    def __init__(self, bundle: Path, settings: TrainSettings) -> None:
        self._settings = settings
        # A folder of its own below the configured one, because it is removed as a whole.
        self._folder = (settings.streaming.folder or bundle.parent) / f"{bundle.name}-shards"

    def shards(
        self,
        paths: Sequence[Path],
        items: Sequence[ItemText],
        options: InteractionOptions,
        progress: Progress,
        on_written: Callable[[Report, PreparationReport], None] = lambda files, prepared: None,
    ) -> Shards:
        """The shards of these files. They are written now, unless an interrupted training of the same files and
        settings left them.

        Args:
            paths: Parquet files with one event per row.
            items: what the model knows about the items.
            options: how to read the files.
            progress: gets a task for each of the two passes.
            on_written: called with the reports of reading and preparation, if shards are written now.

        Raises:
            UnreadableFile: a file cannot be read as events.
            NothingToLearn: no event has a configured action.
            PreparationImpossible: the preparation needs all events in memory.
            ShardsUnwritten: the shards cannot be written to the folder.
            ShardsMissing: this process does not see what rank 0 wrote.
        """
        key = _key(paths, items, options, self._settings)
        if not process_group.rank() and self._read(key) is None:
            on_written(*self._write(key, paths, items, options, progress))
        # The other processes wait for rank 0.
        process_group.broadcast_text(key)
        found = self._read(key)
        if found is None:
            raise ShardsMissing(self._folder)
        return found

    def remove(self) -> None:
        """Removes the folder. Every process may call it; only rank 0 removes."""
        if not process_group.rank():
            shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self, key: str) -> Shards | None:
        return Shards.read(self._folder, key, self._settings.streaming.sample_rows)

    def _write(
        self,
        key: str,
        paths: Sequence[Path],
        items: Sequence[ItemText],
        options: InteractionOptions,
        progress: Progress,
    ) -> tuple[Report, PreparationReport]:
        self.remove()
        settings = self._settings
        rows = parquet_rows(paths) or 0
        partitioning = progress.add_task("Events by user", total=rows)
        try:
            partitions = partition_by_user(
                paths,
                self._folder,
                options,
                settings.streaming.shard_rows,
                lambda read: progress.advance(partitioning, read),
            )
            writing = progress.add_task("Shards", total=len(partitions.files))
            prepared = write_shards(
                progress.track(partitions.tables(options), task_id=writing),
                items,
                Actions(settings.actions),
                settings.preparation,
                self._folder,
                key,
                rows,
            )
        except OSError as error:
            raise ShardsUnwritten(self._folder, error) from error
        return partitions.report, prepared


def _key(
    paths: Sequence[Path], items: Sequence[ItemText], options: InteractionOptions, settings: TrainSettings
) -> str:
    """A key that changes with everything that the shards are made of. Files count by name, size and time."""
    files = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    made_of = [
        files,
        [item.item_id for item in items],
        repr(options),
        settings.model_dump(mode="json", include={"actions", "preparation"}),
        settings.streaming.shard_rows,
    ]
    return hashlib.blake2b(json.dumps(made_of).encode(), digest_size=16).hexdigest()
