"""Metrics of ranking. Labels are bounded: names in this file, surfaces in force, live versions, `other`."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from prometheus_client import Counter, Histogram

from inference.version_labels import version_label
from inference.version_routing import VersionRouting
from ranking.query import HydratedQuery
from ranking.rules.active import NO_RULES
from ranking.slate.ranked import Ranked
from ranking.surfaces.in_force import SurfacesInForce
from recstream.v1 import slate_pb2
from telemetry.labels import ANSWERING_VERSIONS, SURFACES, LabelValues, LabelValuesOf
from telemetry.tracing.spans import child

STAGES: Final = ("hydrate", "filter", "source", "score", "select", "slate")
SOURCES: Final = ("nearest", "similar", "trending", "popular", "fresh", "pinned", "promoted", "given")
ENCODED_BY: Final = ("cache", "model")
TIERS: Final = ("ranked", "vectors", "popular")
FALLBACKS_FROM: Final = ("ranker", "vectors", "refold", "reasons")
FALLBACK_REASONS: Final = ("unavailable", "fault", "late")
RULES: Final = ("boost", "pin", "promotion", "cap", "diversity", "rotation")
RULE_RESULTS: Final = ("held", "missed")

_TIER_NAMES: Final = {value: name.removeprefix("TIER_").lower() for name, value in slate_pb2.Tier.items()}
_BUCKETS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

STAGE_SECONDS: Final = Histogram(
    "recstream_ranking_stage_seconds",
    "Time of one stage of one batch of lists, including waits",
    ["stage"],
    buckets=_BUCKETS,
)
_STAGE: Final = {stage: STAGE_SECONDS.labels(stage) for stage in STAGES}
LIST_SECONDS: Final = Histogram(
    "recstream_ranking_list_seconds",
    "Time from query to list, by the model version of the list; 0: no model was involved",
    ["version"],
    buckets=_BUCKETS,
)
LISTS: Final = Counter("recstream_ranking_lists_total", "Lists, by tier and surface", ["tier", "surface"])
LISTS_BY_VERSION: Final = Counter(
    "recstream_ranking_lists_by_version_total",
    "Lists, by model version; 0: no model was involved",
    ["version"],
)
CANDIDATES: Final = Counter(
    "recstream_ranking_candidates_total", "Candidates, by the source that retrieved them first", ["source"]
)
POSITIONS: Final = Counter("recstream_ranking_positions_total", "Positions of lists, by source", ["source"])
FALLBACKS: Final = Counter(
    "recstream_ranking_fallbacks_total",
    "Lists made without a tier, a refold or reasons, by what failed and why",
    ["what", "why"],
)
SOURCE_FAILURES: Final = Counter(
    "recstream_ranking_source_failures_total",
    "Sources that failed or were late, and were left out of a batch",
    ["source"],
)
HISTORIES: Final = Counter(
    "recstream_ranking_histories_total",
    "Encoded histories that lists used, from the model or from the cache",
    ["from"],
)
DROPPED_LATE: Final = Counter(
    "recstream_ranking_dropped_late_total",
    "Candidates that stopped being eligible while they were scored",
)
RULES_APPLIED: Final = Counter(
    "recstream_ranking_rules_total",
    "Rules of lists, by kind; missed: it could not hold, such as a pin of a withdrawn item, or a promotion or cap for "
    "which there were too few items",
    ["kind", "result"],
)
LABEL_VALUES: Final[LabelValuesOf] = {
    (STAGE_SECONDS, "stage"): LabelValues(STAGES),
    (LIST_SECONDS, "version"): ANSWERING_VERSIONS,
    (LISTS, "tier"): LabelValues(TIERS),
    (LISTS, "surface"): SURFACES,
    (LISTS_BY_VERSION, "version"): ANSWERING_VERSIONS,
    (CANDIDATES, "source"): LabelValues(SOURCES),
    (POSITIONS, "source"): LabelValues(SOURCES),
    (FALLBACKS, "what"): LabelValues(FALLBACKS_FROM),
    (FALLBACKS, "why"): LabelValues(FALLBACK_REASONS),
    (SOURCE_FAILURES, "source"): LabelValues(SOURCES),
    (HISTORIES, "from"): LabelValues(ENCODED_BY),
    (RULES_APPLIED, "kind"): LabelValues(RULES),
    (RULES_APPLIED, "result"): LabelValues(RULE_RESULTS),
}
# All series exist from the start, at zero.
for _what in FALLBACKS_FROM:
    FALLBACKS.labels(_what, "unavailable")
    FALLBACKS.labels(_what, "fault")
FALLBACKS.labels("reasons", "late")
for _source in SOURCES:
    SOURCE_FAILURES.labels(_source)
    POSITIONS.labels(_source)
for _from in ENCODED_BY:
    HISTORIES.labels(_from)
for _rule in RULES:
    RULES_APPLIED.labels(_rule, "held")
    RULES_APPLIED.labels(_rule, "missed")


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Measures the time of one of `STAGES`, as a metric and as a span of traced events."""
    began = time.perf_counter()
    with child(stage):
        yield
    _STAGE[stage].observe(time.perf_counter() - began)


def count_rules(query: HydratedQuery, missed: Mapping[str, int]) -> None:
    """Counts the rules of one list.

    Args:
        query: The query of the list.
        missed: How many of a kind could not hold.
    """
    rules = query.rules
    if rules is NO_RULES:
        return
    for kind, count in (
        ("boost", len(rules.boosts)),
        ("pin", len(query.pins)),
        ("promotion", len(rules.promotions)),
        ("cap", len(rules.caps)),
        ("diversity", int(rules.diversity > 0)),
        ("rotation", int(rules.rotation > 0)),
    ):
        if count:
            RULES_APPLIED.labels(kind, "missed").inc(missed.get(kind, 0))
            RULES_APPLIED.labels(kind, "held").inc(count - missed.get(kind, 0))


class CountLists:
    """A side effect that counts lists and their positions, and observes their time."""

    def __init__(
        self, surfaces: Callable[[], SurfacesInForce], versions: Callable[[], VersionRouting]
    ) -> None:
        """Args:
        surfaces: Returns the surfaces in force.
        versions: Returns the current routing.
        """
        self._surfaces = surfaces
        self._versions = versions
        for tier in TIERS:
            for name in surfaces().names:
                LISTS.labels(tier, name)

    def ranked(self, queries: Sequence[HydratedQuery], lists: Sequence[Ranked], seconds: float) -> None:
        """See `SideEffect.ranked`."""
        for query, made in zip(queries, lists, strict=True):
            version = version_label(made.slate.model_version, self._versions())
            LIST_SECONDS.labels(version).observe(seconds)
            LISTS_BY_VERSION.labels(version).inc()
            surface = self._surfaces().known(query.request.surface)
            LISTS.labels(_TIER_NAMES[made.slate.tier], surface).inc()
            sources = [item.source for item in made.slate.items]
            for source in set(sources):
                POSITIONS.labels(source).inc(sources.count(source))
