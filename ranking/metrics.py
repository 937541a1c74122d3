"""What the pipeline counts. Labels are bounded: names of this file, configured surfaces, live versions, `other`."""

from typing import Final

from prometheus_client import Counter, Histogram

STAGES: Final = ("hydrate", "filter", "source", "score", "select", "slate")
SOURCES: Final = ("nearest", "similar", "trending", "popular", "fresh")
FOLDED_FROM: Final = ("memory", "model")
TIERS: Final = ("ranked", "vectors", "popular")
STEPS: Final = (
    ("ranker", "unavailable"),
    ("ranker", "fault"),
    ("vectors", "no_vectors"),
    ("refold", "unavailable"),
    ("refold", "fault"),
    ("reasons", "late"),
    ("reasons", "unavailable"),
    ("reasons", "fault"),
)

_BUCKETS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

STAGE_SECONDS: Final = Histogram(
    "recstream_ranking_stage_seconds",
    "Time of one stage of one list, waiting included",
    ["stage"],
    buckets=_BUCKETS,
)
STAGE: Final = {stage: STAGE_SECONDS.labels(stage) for stage in STAGES}
LIST_SECONDS: Final = Histogram(
    "recstream_ranking_list_seconds",
    "Time from request to list, by the model version that answered; 0: none had a part in it",
    ["version"],
    buckets=_BUCKETS,
)
LISTS: Final = Counter(
    "recstream_ranking_lists_total", "Lists made, by tier and surface", ["tier", "surface"]
)
LISTS_BY_VERSION: Final = Counter(
    "recstream_ranking_lists_by_version_total",
    "Lists made, by the model version that answered; 0: none had a part in it",
    ["version"],
)
CANDIDATES: Final = Counter(
    "recstream_ranking_candidates_total", "Candidates by the source that named them first", ["source"]
)
PLACES: Final = Counter("recstream_ranking_places_total", "Places on lists by source", ["source"])
STEPS_DOWN: Final = Counter(
    "recstream_ranking_steps_down_total",
    "Times that a tier, a refold or a list's reasons had to be gone without, by what and why",
    ["what", "why"],
)
for _what, _why in STEPS:
    STEPS_DOWN.labels(_what, _why)
SOURCE_FAILURES: Final = Counter(
    "recstream_ranking_source_failures_total",
    "Sources that raised or came late, and were left out",
    ["source"],
)
for _source in SOURCES:
    SOURCE_FAILURES.labels(_source)
FOLDS: Final = Counter(
    "recstream_ranking_folds_total", "Histories folded here, and those remembered from before", ["from"]
)
for _from in FOLDED_FROM:
    FOLDS.labels(_from)
DROPPED_LATE: Final = Counter(
    "recstream_ranking_dropped_late_total",
    "Candidates that ceased to be eligible while they were being scored",
)
