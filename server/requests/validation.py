"""Checks requests. All problems of a request are reported together, by field."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from catalog.errors import BadFilterText
from catalog.filters import filter_check, filter_text
from profiles.folding.events import Position
from ranking.query import ListRequest
from ranking.settings import DEFAULT_SURFACE
from recstream.v1 import filter_pb2, interaction_pb2
from recstream.v1 import recommendation_service_pb2 as rpc
from server.errors import InvalidRequest, Violation

MAX_COUNT: Final = 500
DEFAULT_COUNT: Final = 20
MAX_EXCLUDED: Final = 1_000
MAX_AFTER: Final = 32
MAX_ID_BYTES: Final = 256
MAX_NAME_BYTES: Final = 128
MAX_EXPERIMENTS: Final = 32
MAX_TOKEN_BYTES: Final = 256 * 1024
MAX_RESUME_TOKEN_BYTES: Final = 256


Filtered = rpc.RecommendRequest | rpc.StreamRecommendationsRequest | rpc.SimilarItemsRequest
"""A request that may have a filter."""


class Check:
    """Collects the violations of one request."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []

    def no(self, field: str, problem: str) -> None:
        """Add a violation."""
        if len(self.violations) < 50:
            self.violations.append(Violation(field, problem))

    def done(self) -> None:
        """Finish the checks.

        Raises:
            InvalidRequest: There is a violation.
        """
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

    def items(self, field: str, ids: Sequence[str]) -> frozenset[str]:
        """Check the ids of items to leave out, and return them."""
        if self.length(field, ids, MAX_EXCLUDED):
            for at, item_id in enumerate(ids):
                self.size(f"{field}[{at}]", item_id, MAX_ID_BYTES)
        return frozenset(ids)

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

    def after(self, tokens: Sequence[interaction_pb2.EventToken]) -> tuple[Position, ...]:
        """Check the tokens of the events to wait for, and return their positions."""
        if not self.length("after", tokens, MAX_AFTER):
            return ()
        for at, token in enumerate(tokens):
            if len(token.topic_id) != 16:
                self.no(f"after[{at}].topic_id", f"is {len(token.topic_id)} bytes long; it must be 16")
            if token.partition < 0:
                self.no(f"after[{at}].partition", "must not be negative")
            if token.offset < 0:
                self.no(f"after[{at}].offset", "must not be negative")
        return tuple(Position(token.topic_id, token.partition, token.offset) for token in tokens)


def recommend(
    request: rpc.RecommendRequest, earlier: frozenset[int]
) -> tuple[ListRequest, tuple[Position, ...]]:
    """Check a request for a slate.

    Args:
        request: The request.
        earlier: Hashes of the items on earlier pages.

    Returns:
        The request for a list, and the positions of the events that the slate has to include.

    Raises:
        InvalidRequest: The request is not valid.
    """
    check = Check()
    wanted = _list(check, request, earlier)
    after = check.after(request.after)
    check.done()
    return wanted, after


def page_token(request: rpc.RecommendRequest) -> None:
    """Check the size of a page token before it is decoded.

    Raises:
        InvalidRequest: It is too large.
    """
    check = Check()
    check.size("page_token", request.page_token, MAX_TOKEN_BYTES)
    check.done()


def stream(request: rpc.StreamRecommendationsRequest, path: str = "") -> ListRequest:
    """Check a request for a stream.

    Args:
        request: The request.
        path: A prefix for the names of fields.

    Returns:
        The request for a list.

    Raises:
        InvalidRequest: The request is not valid.
    """
    check = Check()
    wanted = _list(check, request, frozenset())
    check.size("resume_token", request.resume_token, MAX_RESUME_TOKEN_BYTES)
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


def user(user_id: str, after: Sequence[interaction_pb2.EventToken] = ()) -> tuple[Position, ...]:
    """Check the user and the events of a request. Return the positions of the events.

    Raises:
        InvalidRequest: The request is not valid.
    """
    check = Check()
    check.identifier("user_id", user_id)
    positions = check.after(after)
    check.done()
    return positions


def item(item_id: str) -> None:
    """Check the item of a request.

    Raises:
        InvalidRequest: The request is not valid.
    """
    check = Check()
    check.identifier("item_id", item_id)
    check.done()


def fields(problems: Iterable[tuple[str, str]], path: str) -> None:
    """Report the problems that another room found in a message.

    Args:
        problems: Pairs of field and problem. An empty field means the message itself.
        path: The path of the message in the request.

    Raises:
        InvalidRequest: There is a problem.
    """
    violations = [Violation(f"{path}.{field}" if field else path, problem) for field, problem in problems]
    if violations:
        raise InvalidRequest(violations)


def _list(
    check: Check,
    request: rpc.RecommendRequest | rpc.StreamRecommendationsRequest,
    earlier: frozenset[int],
) -> ListRequest:
    check.identifier("user_id", request.user_id)
    count = check.count(request.count)
    check.size("surface", request.surface, MAX_NAME_BYTES)
    check.size("domain", request.domain, MAX_ID_BYTES)
    wanted = check.filter(request)
    excluded = check.items("excluded_item_ids", request.excluded_item_ids)
    check.experiments(request.experiments)
    return ListRequest(
        user_id=request.user_id,
        count=count,
        surface=request.surface or DEFAULT_SURFACE,
        domain=request.domain,
        filter=wanted,
        excluded=excluded,
        served=earlier,
        experiments=dict(request.experiments),
    )
