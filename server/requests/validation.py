"""Checks requests. All problems of a request are reported together, by field."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from google.protobuf.duration_pb2 import Duration

from catalog.errors import BadFilterText
from catalog.filters import filter_check, filter_text
from catalog.items import item_fields
from catalog.popularity.stats import MAX_WINDOW_DAYS
from catalog.top_items import ItemOrder, TopItemsQuery
from ranking.query import ListRequest
from ranking.rules.check import MAX_RULES, problems
from ranking.settings import DEFAULT_SURFACE
from recstream.v1 import catalog_service_pb2, filter_pb2, interaction_pb2, profile_service_pb2, rules_pb2
from recstream.v1 import recommendation_service_pb2 as rpc
from server.errors import InvalidRequest, UnknownSurface, Violation
from server.tokens.stream_place import MAX_RESUME_TOKEN_BYTES
from server.tokens.written import Awaiting

MAX_COUNT: Final = 500
MAX_RANKED: Final = 1_000
DEFAULT_COUNT: Final = 20
MAX_EXCLUDED: Final = 1_000
MAX_ITEMS: Final = 1_000
"""Most items of one call for the catalogue."""
DEFAULT_PAGE: Final = 100
MAX_AFTER: Final = 32
MAX_BATCH: Final = 1_000
MAX_PROBLEMS: Final = 8
MAX_ID_BYTES: Final = 256
MAX_NAME_BYTES: Final = 128
MAX_EXPERIMENTS: Final = 32
MAX_LIST_TOKEN_BYTES: Final = 64
_DAY_NS: Final = 86_400 * 10**9
_ORDERS: Final = {
    catalog_service_pb2.ITEM_ORDER_UNSPECIFIED: ItemOrder.POPULAR,
    catalog_service_pb2.ITEM_ORDER_POPULAR: ItemOrder.POPULAR,
    catalog_service_pb2.ITEM_ORDER_TRENDING: ItemOrder.TRENDING,
    catalog_service_pb2.ITEM_ORDER_NEWEST: ItemOrder.NEWEST,
}
_LISTED_SURFACES: Final = 20
"""Surfaces that an error names at most. A status with more than 8 KiB of details would not reach the client."""


Filtered = (
    rpc.RecommendRequest
    | rpc.StreamRecommendationsRequest
    | rpc.SimilarItemsRequest
    | catalog_service_pb2.TopItemsRequest
    | catalog_service_pb2.ListItemsRequest
)
"""A request that may have a filter."""


class Check:
    """Collects the violations of one request."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self._unknown_surface: str | None = None

    def no(self, field: str, problem: str) -> None:
        """Add a violation."""
        if len(self.violations) < 50:
            self.violations.append(Violation(field, problem))

    def done(self) -> None:
        """Finish the checks.

        Raises:
            UnknownSurface: The surface is unknown. There may be other violations.
            InvalidRequest: There is a violation.
        """
        if self._unknown_surface is not None:
            raise UnknownSurface(self.violations, self._unknown_surface)
        if self.violations:
            raise InvalidRequest(self.violations)

    def identifier(self, field: str, value: str) -> None:
        """Check a required id."""
        if not value.strip():
            self.no(field, "is required and must not be blank")
        self.size(field, value, MAX_ID_BYTES)

    def size(self, field: str, value: str, limit: int) -> bool:
        """Check that a text has at most `limit` bytes in UTF-8, and return whether it has."""
        size = len(value.encode())
        if size > limit:
            self.no(field, f"is {size} bytes long, the limit is {limit}")
        return size <= limit

    def length(self, field: str, values: Sequence[object], limit: int) -> bool:
        """Check that there are at most `limit` entries, and return whether there are."""
        if len(values) > limit:
            self.no(field, f"has {len(values)} entries, the limit is {limit}")
        return len(values) <= limit

    def count(self, value: int) -> int:
        """Check the requested number of items. Return it, or the default if it is 0."""
        if not 0 <= value <= MAX_COUNT:
            self.no("count", f"is {value}; it must be 1 to {MAX_COUNT}, or 0 for {DEFAULT_COUNT}")
        return value or DEFAULT_COUNT

    def surface(self, name: str, surfaces: Sequence[str]) -> str:
        """Check that a surface is one of `surfaces`, and return it. Return the default surface for the empty name."""
        before = len(self.violations)
        self.size("surface", name, MAX_NAME_BYTES)
        if name and name not in surfaces and len(self.violations) == before:
            self._unknown_surface = name
            more = len(surfaces) - _LISTED_SURFACES
            listed = [*surfaces[:_LISTED_SURFACES], *([f"{more} more"] if more > 0 else [])]
            self.no("surface", f"is {name!r}, which is not a surface: there are {', '.join(listed)}")
        return name or DEFAULT_SURFACE

    def given_items(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Check the ids of items to rank, and return them."""
        if not ids:
            self.no("item_ids", f"is empty: name 1 to {MAX_RANKED} items")
        if self.length("item_ids", ids, MAX_RANKED):
            first: dict[str, int] = {}
            for at, item_id in enumerate(ids):
                self.identifier(f"item_ids[{at}]", item_id)
                if (before := first.setdefault(item_id, at)) != at:
                    self.no(f"item_ids[{at}]", f"is the same as item_ids[{before}]: name each item once")
        return tuple(ids)

    def items(self, field: str, ids: Sequence[str]) -> frozenset[str]:
        """Check the ids of items to leave out, and return them."""
        if self.length(field, ids, MAX_EXCLUDED):
            for at, item_id in enumerate(ids):
                self.size(f"{field}[{at}]", item_id, MAX_ID_BYTES)
        return frozenset(ids)

    def window(self, wanted: Duration) -> int:
        """Check a window of time, and return its milliseconds."""
        nanoseconds = wanted.seconds * 10**9 + wanted.nanos
        if not 0 < nanoseconds <= MAX_WINDOW_DAYS * _DAY_NS:
            seconds = nanoseconds / 10**9
            self.no("window", f"is {seconds:g} s; it must be above 0 and at most {MAX_WINDOW_DAYS} days")
        return nanoseconds // 10**6

    def item_ids(self, ids: Sequence[str]) -> None:
        """Check the ids of items that are to be read or changed."""
        if self.length("item_ids", ids, MAX_ITEMS):
            for at, item_id in enumerate(ids):
                self.identifier(f"item_ids[{at}]", item_id)

    def item_fields(self, field: str, paths: Sequence[str]) -> None:
        """Check the fields of items that are to be shown."""
        if self.length(field, paths, item_fields.MAX_FIELDS):
            for at, problem in item_fields.problems(paths):
                self.no(f"{field}[{at}]", problem)

    def experiments(self, labels: Mapping[str, str]) -> None:
        """Check the labels of experiments."""
        if len(labels) > MAX_EXPERIMENTS:
            self.no("experiments", f"has {len(labels)} entries, the limit is {MAX_EXPERIMENTS}")
        for name, arm in labels.items():
            self.size("experiments", name, MAX_NAME_BYTES)
            self.size("experiments", arm, MAX_NAME_BYTES)

    def filter(self, request: Filtered) -> filter_pb2.Filter | None:
        """Check the filter of a request, and return it. None: every item matches."""
        if not request.filter_text:
            if not request.HasField("filter"):
                return None
            for path, problem in filter_check.problems(request.filter):
                self.no(path, problem)
            return request.filter
        field = "filter_text"
        if request.HasField("filter"):
            self.no(field, "is given beside filter; give one of the two")
        if not self.size(field, request.filter_text, filter_text.MAX_TEXT_BYTES):
            return None
        try:
            wanted = filter_text.parse(request.filter_text)
        except BadFilterText as error:
            self.no(field, f"cannot be read: {error}")
            return None
        for path, problem in filter_check.problems(wanted):
            self.no(field, f"{problem} ({path})")
        return wanted

    def rules(self, rules: rules_pb2.ListRules, count: int) -> None:
        """Check the rules of a list of `count` items, with their filters."""
        for field, problem in problems(rules, count):
            self.no(f"rules.{field}" if field else "rules", problem)
        filtered: list[tuple[str, rules_pb2.Boost | rules_pb2.Promotion]] = [
            *((f"boosts[{at}]", boost) for at, boost in enumerate(rules.boosts[:MAX_RULES])),
            *((f"promotions[{at}]", each) for at, each in enumerate(rules.promotions[:MAX_RULES])),
        ]
        for path, rule in filtered:
            if rule.HasField("filter"):
                for place, problem in filter_check.problems(rule.filter):
                    self.no(f"rules.{path}.{place}", problem)

    def after(self, request: Awaiting) -> None:
        """Check how many writes the answer waits for, and the ids of events. What their tokens say is not looked at."""
        self.length("after", request.after, MAX_AFTER)
        if self.length("after_event_ids", request.after_event_ids, MAX_AFTER):
            for at, event_id in enumerate(request.after_event_ids):
                if not event_id.strip():
                    self.no(f"after_event_ids[{at}]", "must not be blank")
                self.size(f"after_event_ids[{at}]", event_id, MAX_NAME_BYTES)


def recommend(request: rpc.RecommendRequest, earlier: frozenset[int], surfaces: Sequence[str]) -> ListRequest:
    """Check a request for a slate.

    Args:
        request: The request.
        earlier: Hashes of the items on earlier pages.
        surfaces: The surfaces in force.

    Returns:
        The request for a list.

    Raises:
        InvalidRequest: The request is not valid.
        UnknownSurface: There is no surface of that name.
    """
    check = Check()
    wanted = _list(check, request, earlier, surfaces)
    check.after(request)
    check.done()
    return wanted


def rank(request: rpc.RankRequest, surfaces: Sequence[str]) -> ListRequest:
    """Check a request to rank items.

    Args:
        request: The request.
        surfaces: The surfaces in force.

    Returns:
        The request for a list.

    Raises:
        InvalidRequest: The request is not valid.
        UnknownSurface: There is no surface of that name.
    """
    check = Check()
    check.identifier("user_id", request.user_id)
    item_ids = check.given_items(request.item_ids)
    surface = check.surface(request.surface, surfaces)
    check.experiments(request.experiments)
    check.item_fields("view.item_fields", request.view.item_fields)
    check.after(request)
    check.done()
    return ListRequest(
        user_id=request.user_id,
        count=len(item_ids),
        item_ids=item_ids,
        surface=surface,
        experiments=dict(request.experiments),
    )


def stream(request: rpc.StreamRecommendationsRequest, surfaces: Sequence[str], path: str = "") -> ListRequest:
    """Check a request for a stream.

    Args:
        request: The request.
        surfaces: The surfaces in force.
        path: A prefix for the names of fields.

    Returns:
        The request for a list.

    Raises:
        InvalidRequest: The request is not valid.
        UnknownSurface: There is no surface of that name.
    """
    check = Check()
    wanted = _list(check, request, frozenset(), surfaces)
    check.size("resume_token", request.resume_token, MAX_RESUME_TOKEN_BYTES)
    check.after(request)
    check.violations[:] = [Violation(path + v.field, v.problem) for v in check.violations]
    check.done()
    return wanted


def similar(request: rpc.SimilarItemsRequest) -> tuple[int, filter_pb2.Filter | None]:
    """Check a request for similar items. Return the requested number, and the filter.

    Raises:
        InvalidRequest: The request is not valid.
    """
    check = Check()
    check.identifier("item_id", request.item_id)
    count = check.count(request.count)
    check.size("domain", request.domain, MAX_ID_BYTES)
    wanted = check.filter(request)
    check.items("excluded_item_ids", request.excluded_item_ids)
    check.done()
    return count, wanted


def top_items(request: catalog_service_pb2.TopItemsRequest) -> TopItemsQuery:
    """Check a request for top items, and return the query.

    Raises:
        InvalidRequest: The request is not valid.
    """
    check = Check()
    order = _ORDERS.get(request.order)
    if order is None:
        check.no("order", f"is {request.order}, which this release does not know: it must be 1 to 3, or 0")
    window_ms = None
    if request.HasField("window"):
        window_ms = check.window(request.window)
        if order is not None and order is not ItemOrder.POPULAR:
            check.no("window", f"is set, but the order is {order.name}: only POPULAR has a window")
    count = check.count(request.count)
    check.size("domain", request.domain, MAX_ID_BYTES)
    wanted = check.filter(request)
    excluded = check.items("excluded_item_ids", request.excluded_item_ids)
    check.item_fields("item_fields", request.item_fields)
    check.done()
    return TopItemsQuery(
        order=order or ItemOrder.POPULAR,
        count=count,
        window_ms=window_ms,
        domain=request.domain,
        filter=wanted,
        excluded=excluded,
    )


def user(user_id: str) -> None:
    """Check the user of a request.

    Raises:
        InvalidRequest: The id is not valid.
    """
    check = Check()
    check.identifier("user_id", user_id)
    check.done()


def profile(request: profile_service_pb2.GetProfileRequest) -> None:
    """Check a request for a profile.

    Raises:
        InvalidRequest: The request is not valid.
    """
    check = Check()
    check.identifier("user_id", request.user_id)
    check.after(request)
    check.done()


def item(item_id: str) -> None:
    """Check the item of a request.

    Raises:
        InvalidRequest: The request is not valid.
    """
    check = Check()
    check.identifier("item_id", item_id)
    check.done()


def item_ids(ids: Sequence[str]) -> None:
    """Check the items of a request.

    Raises:
        InvalidRequest: There are too many, or an id is not valid.
    """
    check = Check()
    check.item_ids(ids)
    check.done()


def batch_get(request: catalog_service_pb2.BatchGetItemsRequest) -> None:
    """Check a request for items.

    Raises:
        InvalidRequest: The request is not valid.
    """
    check = Check()
    check.item_ids(request.item_ids)
    check.item_fields("item_fields", request.item_fields)
    check.done()


def list_items(request: catalog_service_pb2.ListItemsRequest) -> tuple[int, filter_pb2.Filter | None]:
    """Check a request for a page of the catalogue. Return the size of the page, and the filter.

    Raises:
        InvalidRequest: The request is not valid.
    """
    check = Check()
    if not 0 <= request.page_size <= MAX_ITEMS:
        check.no("page_size", f"is {request.page_size}; it must be 1 to {MAX_ITEMS}, or 0 for {DEFAULT_PAGE}")
    check.size("page_token", request.page_token, MAX_LIST_TOKEN_BYTES)
    check.size("domain", request.domain, MAX_ID_BYTES)
    wanted = check.filter(request)
    check.item_fields("item_fields", request.item_fields)
    check.done()
    return request.page_size or DEFAULT_PAGE, wanted


def batch(interactions: Sequence[interaction_pb2.Interaction]) -> None:
    """Check the number of events of a batch. Each event is checked when it is recorded.

    Raises:
        InvalidRequest: There are none, or too many.
    """
    check = Check()
    if not interactions:
        check.no("interactions", f"is empty; it must have 1 to {MAX_BATCH} entries")
    check.length("interactions", interactions, MAX_BATCH)
    check.done()


def fields(problems: Iterable[tuple[str, str]], path: str) -> None:
    """Report the first problems that another room found in a message, at most 8, so that the answer to a batch has a
    bounded size.

    Args:
        problems: Pairs of field and problem. An empty field means the message itself.
        path: The path of the message in the request.

    Raises:
        InvalidRequest: There is a problem.
    """
    violations = [Violation(f"{path}.{field}" if field else path, problem) for field, problem in problems]
    del violations[MAX_PROBLEMS:]
    if violations:
        raise InvalidRequest(violations)


def _list(
    check: Check,
    request: rpc.RecommendRequest | rpc.StreamRecommendationsRequest,
    earlier: frozenset[int],
    surfaces: Sequence[str],
) -> ListRequest:
    check.identifier("user_id", request.user_id)
    count = check.count(request.count)
    surface = check.surface(request.surface, surfaces)
    check.size("domain", request.domain, MAX_ID_BYTES)
    wanted = check.filter(request)
    excluded = check.items("excluded_item_ids", request.excluded_item_ids)
    check.experiments(request.experiments)
    check.item_fields("view.item_fields", request.view.item_fields)
    if request.HasField("rules"):
        check.rules(request.rules, count if 0 < count <= MAX_COUNT else MAX_COUNT)
    return ListRequest(
        user_id=request.user_id,
        count=count,
        surface=surface,
        domain=request.domain,
        filter=wanted,
        excluded=excluded,
        served=earlier,
        experiments=dict(request.experiments),
        rules=request.rules if request.HasField("rules") else None,
    )
