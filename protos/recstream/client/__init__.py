"""An asyncio client of recstream.

from recstream.client import Client

async with Client("localhost:50051") as client:
    await client.record("ann", "tt0114709", "view")
    async for films in client.stream("ann", count=10):
        print(films.item_ids)

`recstream.client.sync` has the same client for code that blocks.
"""

from recstream.client.backoff import Backoff
from recstream.client.bulk import Recorded
from recstream.client.catalogue import PatchedItems
from recstream.client.client import Client
from recstream.client.connection import tls
from recstream.client.errors import (
    ClientClosed,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    GoingAway,
    InvalidRequest,
    NotAllowed,
    NotFound,
    Overloaded,
    ProtocolViolation,
    RecstreamError,
    ServerError,
    Unavailable,
)
from recstream.client.events import ActionFacts, EventFacts, impression, interaction, new_event_id, undo
from recstream.client.filters import (
    Condition,
    Filterable,
    attribute,
    attribute_between,
    category,
    domain,
    has_attribute,
    item_ids,
)
from recstream.client.lists import Recommendations, Tier
from recstream.client.profiles import ProfileExport
from recstream.client.session import Session
from recstream.client.stream import RecommendationStream
from recstream.v1.catalog_service_pb2 import TopItem
from recstream.v1.filter_pb2 import Filter
from recstream.v1.frame_pb2 import Cause
from recstream.v1.interaction_pb2 import Interaction
from recstream.v1.item_pb2 import Attribute, Item, ItemPatch
from recstream.v1.profile_pb2 import Profile
from recstream.v1.rules_pb2 import Boost, Cap, ListRules, Pin, Promotion, Rotation, TimeWindow
from recstream.v1.slate_pb2 import RankedItem

__all__ = [
    "ActionFacts",
    "Attribute",
    "Backoff",
    "Boost",
    "Cap",
    "Cause",
    "Client",
    "ClientClosed",
    "Condition",
    "DeadlineExceeded",
    "EventFacts",
    "FailedPrecondition",
    "FieldViolation",
    "Filter",
    "Filterable",
    "GoingAway",
    "Interaction",
    "InvalidRequest",
    "Item",
    "ItemPatch",
    "ListRules",
    "NotAllowed",
    "NotFound",
    "Overloaded",
    "PatchedItems",
    "Pin",
    "Profile",
    "ProfileExport",
    "Promotion",
    "ProtocolViolation",
    "RankedItem",
    "RecommendationStream",
    "Recommendations",
    "Recorded",
    "RecstreamError",
    "Rotation",
    "ServerError",
    "Session",
    "Tier",
    "TimeWindow",
    "TopItem",
    "Unavailable",
    "attribute",
    "attribute_between",
    "category",
    "domain",
    "has_attribute",
    "impression",
    "interaction",
    "item_ids",
    "new_event_id",
    "tls",
    "undo",
]
