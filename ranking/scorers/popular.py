"""The lowest tier, which needs nobody: popularity."""

from ranking.popularity import Popularity
from ranking.query import Rows
from ranking.scorers.scores import Scores
from recstream.v1 import slate_pb2


def score(popularity: Popularity, rows: Rows, now_ms: int) -> Scores:
    """The popularity of these rows now."""
    return Scores(popularity.scores(now_ms, rows), slate_pb2.TIER_POPULAR)
