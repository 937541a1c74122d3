"""A training from Parquet files that are never in memory as a whole."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from cli.input.files import FileForm
from cli.terminal.reports import preparation_table, report_table
from configuration.errors import CommandError
from models.data.events import ItemText
from models.data.shard_writer import write_shards
from models.data.shards import Shards
from models.training.distributed import process_group as workers
from models.training.settings import TrainSettings
from profiles.actions import Actions
from readers.errors import UnreadableFile
from readers.parquet.sharding import deal_out, parquet_rows


class ShardFolder:
    """Shards beside the bundle, made by the first of the processes and removed when the training is done."""

    def __init__(self, bundle: Path, settings: TrainSettings) -> None:
        self._settings = settings
        # A folder of its own below the one that is named, for it is removed as a whole.
        self._place = (settings.streaming.folder or bundle.parent) / f"{bundle.name}-shards"

    def shards(
        self,
        paths: Sequence[Path],
        items: Sequence[ItemText],
        form: FileForm,
        console: Console,
        progress: Progress,
    ) -> Shards:
        """Made now, or by a training of the same files and settings that did not come to its end.

        Raises CommandError, NothingToLearn, PreparationImpossible.
        """
        key = _key(paths, items, form, self._settings)
        if not workers.rank() and self._read(key) is None:
            self._make(key, paths, items, form, console, progress)
        # The others wait until it is there.
        workers.told(key)
        found = self._read(key)
        if found is None:
            raise CommandError(
                f"{self._place} is not what the first process has written",
                "all processes need the same files under the same paths: set train.streaming.folder to a shared one",
            )
        return found

    def remove(self) -> None:
        """All processes may call it; one removes."""
        if not workers.rank():
            shutil.rmtree(self._place, ignore_errors=True)

    def _read(self, key: str) -> Shards | None:
        return Shards.read(self._place, key, self._settings.streaming.sample_rows)

    def _make(
        self,
        key: str,
        paths: Sequence[Path],
        items: Sequence[ItemText],
        form: FileForm,
        console: Console,
        progress: Progress,
    ) -> None:
        self.remove()
        settings, reading = self._settings, form.of_interactions()
        rows = parquet_rows(paths) or 0
        dealing = progress.add_task("Events by user", total=rows)
        try:
            dealt = deal_out(
                paths,
                self._place,
                reading,
                settings.streaming.shard_rows,
                lambda read: progress.advance(dealing, read),
            )
            writing = progress.add_task("Shards", total=len(dealt.files))
            prepared = write_shards(
                progress.track(dealt.tables(reading), task_id=writing),
                items,
                Actions(settings.actions),
                settings.preparation,
                self._place,
                key,
                rows,
            )
        except UnreadableFile as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(
                f"shards cannot be written: {error}",
                "set train.streaming.folder to one with room for about the size of the files, twice",
            ) from error
        console.print(report_table(dealt.report))
        console.print(preparation_table(prepared))


def _key(paths: Sequence[Path], items: Sequence[ItemText], form: FileForm, settings: TrainSettings) -> str:
    """Changes with whatever the shards are made of: files by name, size and time."""
    files = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    made_of = [
        files,
        [item.item_id for item in items],
        repr(form),
        settings.model_dump(mode="json", include={"actions", "preparation"}),
        settings.streaming.shard_rows,
    ]
    return hashlib.blake2b(json.dumps(made_of).encode(), digest_size=16).hexdigest()
