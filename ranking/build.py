"""The composition root of ranking: the only place that names the stages."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from catalog.in_memory import InMemoryCatalog
from inference.model import Model
from inference.version_routing import VersionRouting
from profiles.actions import Actions, ProfileSettings
from ranking.deadline.calls import Calls
from ranking.filters.conjunction import Conjunction
from ranking.filters.consumed import Consumed
from ranking.filters.eligible import Eligible
from ranking.filters.owned import Owned
from ranking.filters.requested import Requested
from ranking.hydration.candidate_vectors import CandidateVectors
from ranking.hydration.history_encoder import HistoryEncoder
from ranking.hydration.hydrate import ProfileHydrator
from ranking.metrics import CountLists
from ranking.popularity import Popularity
from ranking.runner import Runner, Stages
from ranking.score_order import ScoreOrder
from ranking.scorers.popular import Popular as PopularScorer
from ranking.scorers.ranker import Ranker
from ranking.scorers.vectors import Vectors
from ranking.selector import TopSelector
from ranking.settings import DEFAULT_SURFACE, RankingSettings
from ranking.similar_items import SimilarItems
from ranking.slate.reasons import Reasons
from ranking.slate.slate_ids import SlateIds
from ranking.sources.fresh import Fresh
from ranking.sources.given import Given
from ranking.sources.nearest import Nearest
from ranking.sources.pinned import Pinned
from ranking.sources.popular import Popular
from ranking.sources.promoted import Promoted
from ranking.sources.similar import Similar
from ranking.sources.trending import Trending
from ranking.stages import Scorer
from ranking.surfaces.in_force import SurfacesInForce


@dataclass(frozen=True, slots=True)
class Runners:
    """The two ways to make a list. They share all stages but those that find and select items.

    Attributes:
        found: Makes lists of items that its sources find.
        given: Ranks the items that a request names, all of them, whatever filters or the surface's caps say.
    """

    found: Runner
    given: Runner

    async def close(self) -> None:
        """Cancels calls to the model that are still in flight. Call it when no query is in progress."""
        await self.found.close()  # The calls belong to both.


def build(
    catalog: InMemoryCatalog,
    model: Model,
    versions: Callable[[], VersionRouting],
    profiles: ProfileSettings,
    settings: RankingSettings,
    *,
    surfaces: Callable[[], SurfacesInForce] | None = None,
    ranker: bool = True,
    slate_ids: SlateIds | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Runners:
    """Builds the runners. They need no sockets and no wall clock, because a query carries its moment.

    Args:
        catalog: The catalogue.
        model: The model.
        versions: Returns the current routing of users to model versions. Users without a version get popular lists.
        profiles: How profiles are folded, and the actions.
        settings: The surfaces, and how the time of a list is divided.
        surfaces: Returns the surfaces in force. None: those of the settings, for ever.
        ranker: Whether there is a ranker. Without it, lists are ordered by the user's vector.
        slate_ids: Generates the ids of lists. None: ULIDs.
        clock: The clock of deadlines, in seconds: the event loop's time.
    """
    fixed = SurfacesInForce.of(settings)
    in_force = surfaces or (lambda: fixed)
    calls = Calls()
    actions = Actions(profiles.actions)
    popularity = _popularity(catalog, settings)
    encoder = HistoryEncoder(
        catalog,
        model,
        calls,
        actions,
        cache_size=settings.history_cache_size,
        reasons_events=settings.reasons_events,
    )
    scorers: list[Scorer] = [Vectors(), PopularScorer(popularity)]
    if ranker:
        scorers.insert(0, Ranker(catalog, model, calls, popularity, actions))
    found = Stages(
        query_hydrator=ProfileHydrator(catalog, encoder, calls, versions, profiles, in_force),
        filters=_filters(catalog),
        sources=(
            Nearest(catalog),
            Similar(catalog),
            Trending(popularity),
            Popular(popularity),
            Fresh(catalog),
            Pinned(),
            Promoted(catalog, popularity),
        ),
        candidate_hydrator=CandidateVectors(catalog),
        scorers=scorers,
        selector=TopSelector(catalog),
        explainer=Reasons(catalog, encoder, calls, popularity),
        side_effects=(CountLists(in_force, versions),),
    )
    given = replace(
        found,
        filters=Conjunction(()),
        sources=(Given(catalog),),
        selector=ScoreOrder(catalog, popularity),
    )
    ids = slate_ids or SlateIds()
    return Runners(
        Runner(catalog, found, settings, calls, ids, clock),
        Runner(catalog, given, settings, calls, ids, clock),
    )


def build_similar_items(
    catalog: InMemoryCatalog, versions: Callable[[], VersionRouting], settings: RankingSettings
) -> SimilarItems:
    """Builds the search for similar items. See `build` for the arguments."""
    surface = settings.surface(DEFAULT_SURFACE)
    return SimilarItems(catalog, _popularity(catalog, settings), _filters(catalog), versions, surface)


def _filters(catalog: InMemoryCatalog) -> Conjunction:
    return Conjunction((Eligible(catalog), Requested(catalog), Consumed(), Owned(catalog)))


def _popularity(catalog: InMemoryCatalog, settings: RankingSettings) -> Popularity:
    return Popularity(catalog, settings.trending_half_life_hours * 3600)
