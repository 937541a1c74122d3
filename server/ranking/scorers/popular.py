"""The lowest tier, which needs nobody: popularity."""

from recstream.v1 import slate_pb2
from server.ranking.popularity import Popularity
from server.ranking.query import Rows
from server.ranking.scorers.scores import Scores


def score(popularity: Popularity, rows: Rows, now_ms: int) -> Scores:
    """The popularity of these rows now."""
    return Scores(popularity.scores(now_ms, rows), slate_pb2.TIER_POPULAR)
