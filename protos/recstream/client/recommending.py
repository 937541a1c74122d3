"""The client's calls for lists."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import TypedDict, Unpack

from recstream.client.arguments import text, texts
from recstream.client.connection import Connection
from recstream.client.filters import Filterable, filter_fields
from recstream.client.lists import Recommendations, from_slate
from recstream.client.reconnect import OnRetry
from recstream.client.session import Session
from recstream.client.stream import RecommendationStream
from recstream.v1.recommendation_service_pb2 import (
    RankRequest,
    RecommendRequest,
    SimilarItemsRequest,
    StreamRecommendationsRequest,
)
from recstream.v1.rules_pb2 import ListRules
from recstream.v1.slate_pb2 import ListView, RankedItem


class ListOptions(TypedDict, total=False):
    """The arguments of `recommend()` and `pages()` that describe a list.

    Keys:
        count: how many items, 1 to 500; 0: the server's default, 20.
        surface: where the list is shown; selects the surface's settings.
        domain: only items of this domain.
        filter: which items the list may have, such as `category("Comedy")`; see `Filterable`.
        excluded: ids of items to leave out.
        experiments: experiment name to arm; stored with the list's record.
        item_fields: fields of the items to show, such as `title` or `attributes.price`, at most 32; see
            `RankedItem.item`.
        model_outputs: True: each item has the model's probabilities and predicted rating, and its source.
        rules: rules of the list, on top of the surface's.
    """

    count: int
    surface: str
    domain: str
    filter: Filterable | None
    excluded: Iterable[str]
    experiments: Mapping[str, str] | None
    item_fields: Iterable[str]
    model_outputs: bool
    rules: ListRules | None


class Recommending:
    """Lists for users, the order of given items for a user, and items similar to an item."""

    _connection: Connection
    _idle_timeout: float | None

    async def recommend(
        self,
        user_id: str,
        *,
        count: int = 0,
        after: Iterable[str] = (),
        after_event_ids: Iterable[str] = (),
        surface: str = "",
        domain: str = "",
        filter: Filterable | None = None,
        excluded: Iterable[str] = (),
        page_token: str = "",
        experiments: Mapping[str, str] | None = None,
        item_fields: Iterable[str] = (),
        model_outputs: bool = False,
        rules: ListRules | None = None,
        timeout: float | None = None,
    ) -> Recommendations:
        """Returns one list. An unknown user gets popular and new items.

        Args:
            user_id: the user.
            count: how many items, 1 to 500; 0: the server's default, 20.
            after: tokens that the list must include, at most 32: of the user's events, and of items that were put,
                withdrawn or deleted; see `includes_events` of the answer.
            after_event_ids: ids of events of the user that the list must include, at most 32: for events that you
                published to Kafka yourself. One that has left the user's history is waited for in vain.
            surface: where the list is shown; selects the surface's settings.
            domain: only items of this domain.
            filter: which items the list may have, such as `category("Comedy")`; see `Filterable`.
            excluded: ids of items to leave out, at most 1,000.
            page_token: `next_page_token` of the previous list.
            experiments: experiment name to arm; stored with the list's record.
            item_fields: fields of the items to show, such as `title` or `attributes.price`, at most 32. Each
                `RankedItem.item` has them.
            model_outputs: True: each item has the model's probabilities and predicted rating, and its source.
            rules: rules of the list, on top of the surface's: boosts, pins, promotions, caps, diversity, rotation.
            timeout: seconds; None: the client's default. A short timeout gives a simpler list, not an error:
                see `tier` of the answer.

        Raises:
            InvalidRequest: a field is invalid.
            RecstreamError: see `recstream.client.errors`.

        Example:
            token = await client.record("ann", "tt0114709", "rate", value=5)
            comedies = category("Comedy") & attribute_between("year", min=1990)
            films = await client.recommend("ann", after=[token], filter=comedies, item_fields=["title"])
            for film in films:
                print(film.item_id, film.item.title, film.score, film.reason.text)
        """
        request = RecommendRequest(
            user_id=text("user_id", user_id),
            count=count,
            surface=surface,
            domain=domain,
            excluded_item_ids=texts("excluded", excluded),
            page_token=page_token,
            after=texts("after", after),
            after_event_ids=texts("after_event_ids", after_event_ids),
            experiments=experiments,
            **filter_fields(filter),
            view=_view(item_fields, model_outputs),
            rules=rules,
        )
        answer = await self._connection.call(
            self._connection.recommendations.Recommend,
            request,
            timeout,
            hedge=not (request.after or request.after_event_ids),
        )
        return from_slate(
            answer.slate, includes_events=answer.includes_events, next_page_token=answer.next_page_token
        )

    async def rank(
        self,
        user_id: str,
        item_ids: Iterable[str],
        *,
        after: Iterable[str] = (),
        after_event_ids: Iterable[str] = (),
        surface: str = "",
        experiments: Mapping[str, str] | None = None,
        item_fields: Iterable[str] = (),
        model_outputs: bool = False,
        timeout: float | None = None,
    ) -> Recommendations:
        """Orders items that you name, such as search results, for a user. Leaves no known item out.

        Args:
            user_id: the user.
            item_ids: ids of the items, 1 to 1,000, each once.
            after: as in `recommend()`.
            after_event_ids: as in `recommend()`.
            surface: where the items are shown; selects the surface's settings.
            experiments: experiment name to arm; stored with the list's record.
            item_fields: as in `recommend()`.
            model_outputs: as in `recommend()`.
            timeout: seconds; None: the client's default. A short timeout gives a simpler order, not an error.

        Returns:
            The items that the catalogue knows, best first; `unknown_item_ids` names the others.

        Raises:
            InvalidRequest: a field is invalid, such as an item that is named twice.
            RecstreamError: see `recstream.client.errors`.

        Example:
            found = await client.rank("ann", search("space"))
            show(found.item_ids, found.unknown_item_ids)
        """
        request = RankRequest(
            user_id=text("user_id", user_id),
            item_ids=texts("item_ids", item_ids),
            surface=surface,
            after=texts("after", after),
            after_event_ids=texts("after_event_ids", after_event_ids),
            experiments=experiments,
            view=_view(item_fields, model_outputs),
        )
        answer = await self._connection.call(
            self._connection.recommendations.Rank,
            request,
            timeout,
            hedge=not (request.after or request.after_event_ids),
        )
        return from_slate(
            answer.slate, includes_events=answer.includes_events, unknown_item_ids=answer.unknown_item_ids
        )

    async def pages(
        self,
        user_id: str,
        *,
        after: Iterable[str] = (),
        after_event_ids: Iterable[str] = (),
        timeout: float | None = None,
        **options: Unpack[ListOptions],
    ) -> AsyncGenerator[Recommendations, None]:
        """Yields one list after another until no items are left. No item comes twice.

        Args:
            user_id: the user.
            after: as in `recommend()`, for the first page.
            after_event_ids: as in `recommend()`, for the first page.
            timeout: seconds for each page.
            options: as in `recommend()`; `count` is the size of a page.

        Example:
            async for page in client.pages("ann", count=20):
                show(page)
        """
        token = ""
        while True:
            page = await self.recommend(
                user_id,
                after=() if token else after,
                after_event_ids=() if token else after_event_ids,
                page_token=token,
                timeout=timeout,
                **options,
            )
            if page:
                yield page
            token = page.next_page_token
            if not token:
                return

    def stream(
        self,
        user_id: str,
        *,
        count: int = 0,
        after: Iterable[str] = (),
        after_event_ids: Iterable[str] = (),
        surface: str = "",
        domain: str = "",
        filter: Filterable | None = None,
        excluded: Iterable[str] = (),
        experiments: Mapping[str, str] | None = None,
        item_fields: Iterable[str] = (),
        model_outputs: bool = False,
        rules: ListRules | None = None,
        deltas: bool = False,
        resume: Recommendations | None = None,
        on_retry: OnRetry | None = None,
    ) -> RecommendationStream:
        """Opens a stream of lists: a whole new list whenever something changes, for as long as you iterate.

        Args:
            user_id: the user.
            count: how many items, 1 to 500; 0: the server's default, 20.
            after: as in `recommend()`, for the first list; see its `includes_events`.
            after_event_ids: as in `recommend()`, for the first list.
            surface: where the list is shown.
            domain: only items of this domain.
            filter: which items the list may have.
            excluded: ids of items to leave out.
            experiments: experiment name to arm.
            item_fields: fields of the items to show, as in `recommend()`. When one of them changes, a new list comes.
            model_outputs: True: the model's numbers and the source of each item.
            rules: rules of the lists, on top of the surface's.
            deltas: True: only changes cross the network. You still get whole lists.
            resume: the last list of an earlier stream with the same arguments. If it has not changed since, it
                is not sent again.
            on_retry: called before each pause, with the error that broke the stream and the pause in seconds.

        Example:
            async with client.stream("ann", count=10) as lists:
                async for recommendations in lists:
                    print(recommendations.item_ids)
        """
        request = StreamRecommendationsRequest(
            user_id=text("user_id", user_id),
            count=count,
            surface=surface,
            domain=domain,
            excluded_item_ids=texts("excluded", excluded),
            experiments=experiments,
            view=_view(item_fields, model_outputs),
            rules=rules,
            deltas=deltas,
            after=texts("after", after),
            after_event_ids=texts("after_event_ids", after_event_ids),
            **filter_fields(filter),
        )
        return RecommendationStream(
            self._connection, request, resume=resume, idle_timeout=self._idle_timeout, on_retry=on_retry
        )

    def session(
        self,
        user_id: str,
        *,
        count: int = 0,
        after: Iterable[str] = (),
        after_event_ids: Iterable[str] = (),
        surface: str = "",
        domain: str = "",
        filter: Filterable | None = None,
        excluded: Iterable[str] = (),
        experiments: Mapping[str, str] | None = None,
        item_fields: Iterable[str] = (),
        model_outputs: bool = False,
        rules: ListRules | None = None,
        deltas: bool = False,
        in_flight: int = 64,
        on_retry: OnRetry | None = None,
    ) -> Session:
        """Opens a session, which sends events and receives lists on one stream. Use it with `async with`.

        Args:
            in_flight: most events without an answer; further ones wait.

        The other arguments are those of `stream()`. For an example see `Session`.
        """
        request = StreamRecommendationsRequest(
            user_id=text("user_id", user_id),
            count=count,
            surface=surface,
            domain=domain,
            excluded_item_ids=texts("excluded", excluded),
            experiments=experiments,
            view=_view(item_fields, model_outputs),
            rules=rules,
            deltas=deltas,
            after=texts("after", after),
            after_event_ids=texts("after_event_ids", after_event_ids),
            **filter_fields(filter),
        )
        return Session(
            self._connection,
            request,
            in_flight=in_flight,
            idle_timeout=self._idle_timeout,
            on_retry=on_retry,
        )

    async def similar(
        self,
        item_id: str,
        *,
        count: int = 0,
        domain: str = "",
        filter: Filterable | None = None,
        excluded: Iterable[str] = (),
        timeout: float | None = None,
    ) -> tuple[RankedItem, ...]:
        """Returns items similar to an item, nearest first.

        Raises:
            NotFound: the item is unknown.

        Example:
            for film in await client.similar("tt0114709", count=5):
                print(film.item_id, film.score)
        """
        request = SimilarItemsRequest(
            item_id=text("item_id", item_id),
            count=count,
            domain=domain,
            excluded_item_ids=texts("excluded", excluded),
            **filter_fields(filter),
        )
        answer = await self._connection.call(self._connection.recommendations.SimilarItems, request, timeout)
        return tuple(answer.items)


def _view(item_fields: Iterable[str], model_outputs: bool) -> ListView:
    return ListView(item_fields=texts("item_fields", item_fields), model_outputs=model_outputs)
