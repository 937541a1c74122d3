"""What a file of interactions does not say about itself: column names, units, defaults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from readers.tables.text import Layout

USER = (
    "user_id",
    "userId",
    "user",
    "uid",
    "visitorid",
    "reviewerID",
    "household_id",
    "household_key",
    "customer_id",
    "session_id",
    "sessionId",
)
ITEM = (
    "item_id",
    "itemId",
    "item",
    "movieId",
    "movie_id",
    "itemid",
    "product_id",
    "parent_asin",
    "asin",
    "sku",
    "news_id",
)
TIME = ("event_time_ms", "timestamp", "time", "event_time", "ts", "unixReviewTime", "transaction_timestamp")
VALUE = ("value", "rating", "overall", "score", "stars")
ACTION = ("action", "event", "event_type", "behavior")
EVENT_ID = ("event_id", "eventId")

# The start of synthetic timestamps: 2000-01-01 UTC.
EPOCH_MS = 946_684_800_000


@dataclass(frozen=True, slots=True)
class InteractionOptions:
    """How to read a file of interactions. Defaults suit the usual names and units.

    Attributes:
        layout: How to read a text file.
        action: The action of rows without one. None: `rate` if the file has values, else `view`.
        value_range: Lowest and highest value; rows outside are dropped. None: the range of the format.
        time_unit: seconds, milliseconds, microseconds or nanoseconds. None: inferred from the magnitude.
        columns: Unusual column names, by user, item, time, value, action, event_id or order.
        user_names: Columns that may hold the user.
        action_names: Maps the file's names of actions to recstream's.
        ties: How events with equal timestamps are ordered. `hash`: by a hash of user, item, action and value, so that
            the order of the file leaks nothing. `file`: in the order of the file.
        tie_seed: Seed of that hash.
    """

    layout: Layout = field(default_factory=Layout)
    action: str | None = None
    value_range: tuple[float, float] | None = None
    time_unit: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    user_names: Sequence[str] = USER
    action_names: Mapping[str, str] = field(default_factory=dict)
    ties: Literal["hash", "file"] = "hash"
    tie_seed: int = 0

    def names(self, what: str, usual: Sequence[str]) -> Sequence[str]:
        """Columns that may hold `what`: the named one, else the usual ones."""
        return [self.columns[what]] if what in self.columns else usual
