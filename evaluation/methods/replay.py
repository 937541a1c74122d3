"""Rebuilds the state of the product just before each query of a split: catalogue, statistics and profiles."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from catalog.in_memory import InMemoryCatalog
from catalog.items.items import Item
from catalog.popularity.stats import add, hour_of
from catalog.settings import CatalogSettings
from evaluation.method import EvalQueries
from evaluation.methods.evaluated_model import EvaluatedModel
from evaluation.protocols.split import Split
from evaluation.protocols.visible import visible_events, visible_limits
from models.data.events import Events, Ints
from profiles.actions import ProfileSettings
from profiles.folding.events import Event, Position
from profiles.folding.fold import fold
from profiles.folding.tail import Tail
from profiles.profile import Profile, Stored
from recstream.storage.v1 import catalog_pb2


@dataclass(frozen=True, slots=True)
class Folded:
    """A user after the history of a query.

    Attributes:
        stored: The profile.
        tail: Consumed items that are older than the profile's history.
    """

    stored: Stored
    tail: Tail


class Replay:
    """Replays the events of a split to a catalogue and to profiles, in the order of time.

    Before each query, the catalogue has the statistics of the events that a running product would have seen
    (`evaluation.protocols.visible`), and the profile is the fold of the query's history. Both come from the code that
    ingest runs, without Kafka and Valkey. For a query that goes back in time, the statistics start over.
    """

    def __init__(
        self, split: Split, catalogue: Sequence[Item], model: EvaluatedModel, profiles: ProfileSettings
    ) -> None:
        """Args:
        split: The events.
        catalogue: What is known about the items. An item that only events name has nothing but its id. An item that is
            withdrawn today still counts, because it was there when its events happened.
        model: Its vectors are put into the catalogue, so that an item's row there is its index in the split.
        profiles: Settings of the fold. N and K are the model's.
        """
        self.profiles = profiles.model_copy(
            update={"history": model.manifest.history, "refold_every": model.manifest.refold_every}
        )
        self.catalog = _catalog(split.known, catalogue, model)
        self._split = split
        self._statistics = _Statistics(self.catalog, split)
        self._histories: dict[int, tuple[Ints, Folded]] = {}

    def batches(self, queries: EvalQueries) -> Iterator[Ints]:
        """Groups queries before which the same events had happened, in the order of time.

        While a group is handled, the catalogue is in the state of that moment.

        Yields:
            Indices into the queries. Each query is in one group.
        """
        limits = visible_limits(self._split.known, queries)
        order = np.lexsort((queries.time_ms, limits))
        for limit, group in groupby(order.tolist(), key=lambda index: int(limits[index])):
            self._statistics.advance(limit)
            yield np.array(list(group), np.int64)

    def folded(self, queries: EvalQueries, index: int) -> Folded | None:
        """The profile of a query's user after the query's history; None if there is no history."""
        history, user = queries.before[index], int(queries.users[index])
        if not len(history):
            return None
        seen, folded = self._histories.get(user, (history[:0], None))
        if len(seen) > len(history) or not np.array_equal(seen, history[: len(seen)]):
            seen, folded = history[:0], None
        if folded is None or len(seen) < len(history):
            folded = self._fold(folded, history[len(seen) :])
            self._histories[user] = history, folded
        return folded

    def _fold(self, before: Folded | None, rows: Ints) -> Folded:
        known = self._split.known
        user_id = known.user_ids[known.users[rows[0]]]
        profile: Profile | None = before.stored.profile if before is not None else None
        found = fold(profile, user_id, [event(known, row) for row in rows.tolist()], self.profiles)
        tail = before.tail if before is not None else Tail()
        return Folded(
            Stored(found.profile.events, found.profile), tail.add(found.tail_added, self.profiles.tail)
        )


def event(known: Events, row: int) -> Event:
    """An event of a split as the fold takes it.

    Its id is its row, because profiles order events with equal timestamps by id. Its value is the shortest decimal that
    equals its float32, as in a file or a message: 3.3, and not 3.2999999523.
    """
    value = known.values[row]
    time_ms = int(known.time_ms[row])
    return Event(
        user_id=known.user_ids[known.users[row]],
        position=Position(b"", 0, row),
        record_time_ms=time_ms,
        event_id=f"{row:012}",
        item_id=known.item_ids[known.items[row]],
        action=known.action_names[known.actions[row]],
        time_ms=time_ms,
        value=None if np.isnan(value) else float(str(value)),
    )


class _Statistics:
    """Feeds statistics to the catalogue, as ingest counts them.

    Events without times have no hours either. Popularity is then the number of all positive events.
    """

    def __init__(self, catalog: InMemoryCatalog, split: Split) -> None:
        self._catalog, self._known = catalog, split.known
        self._rows = np.flatnonzero(visible_events(split) & split.known.positive)
        self._stats: dict[int, catalog_pb2.ItemStats] = {}
        self._fed = 0

    def advance(self, limit: int) -> None:
        """Counts the events below this row, and no others."""
        end = int(np.searchsorted(self._rows, limit))
        if end < self._fed:
            for item in self._stats:
                self._put(item, catalog_pb2.ItemStats())
            self._stats.clear()
            self._fed = 0
        for item, by_hour in self._counts(self._rows[self._fed : end]).items():
            self._put(item, self._added(item, by_hour))
        self._fed = end

    def _counts(self, rows: Ints) -> Mapping[int, Counter[int]]:
        counts: dict[int, Counter[int]] = {}
        known = self._known
        for item, time_ms in zip(known.items[rows].tolist(), known.time_ms[rows].tolist(), strict=True):
            counts.setdefault(item, Counter())[hour_of(time_ms)] += 1
        return counts

    def _added(self, item: int, by_hour: Counter[int]) -> catalog_pb2.ItemStats:
        stats = self._stats.get(item) or catalog_pb2.ItemStats()
        if not self._known.timed:
            return catalog_pb2.ItemStats(positives=stats.positives + by_hour.total())
        return add(stats, by_hour)

    def _put(self, item: int, stats: catalog_pb2.ItemStats) -> None:
        self._stats[item] = stats
        self._catalog.put_stats(self._known.item_ids[item], stats)


def _catalog(known: Events, catalogue: Sequence[Item], model: EvaluatedModel) -> InMemoryCatalog:
    # Every search is an exact scan, and popularity is computed at every read.
    catalog = InMemoryCatalog(CatalogSettings(popularity_seconds=0).unsearched())
    by_id = {item.item_id: replace(item, withdrawn=False, media=()) for item in catalogue}
    for item_id, vector in zip(known.item_ids, model.vectors, strict=True):
        catalog.put_item(by_id.get(item_id) or Item(item_id))
        catalog.put_vector(model.manifest.version, item_id, vector)
    return catalog
