"""What a file of interactions does not say of itself."""

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

# Where times that are made up begin: the turn of the millennium.
EPOCH_MS = 946_684_800_000


@dataclass(frozen=True, slots=True)
class InteractionOptions:
    """What to read of a file and how; the usual is guessed.

    action: of rows without one; None: `rate` where there are values, else `view`.
    value_range: values outside are refused. time_unit: seconds, milliseconds, ...; None: by magnitude.
    columns: names for user, item, time, value, action, event_id and order that are not among the usual ones.
    user_names: the usual columns for the user. action_names: what actions of the file are called here.
    ties: what orders events of one moment: a hash of user, item, action and value with `tie_seed`, so that
    the order of a file tells nothing, or the order of the file.
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
        """Which columns may hold it."""
        return [self.columns[what]] if what in self.columns else usual
