"""All sources at once."""

import asyncio
from collections.abc import Sequence

import structlog

from ranking import metrics
from ranking.candidates import Candidates, Proposal, merge
from ranking.deadline.budget import Budget
from ranking.deadline.faults import log_fault
from ranking.query import Mask, Query
from ranking.sources.source import Source

log = structlog.get_logger()


async def propose(sources: Sequence[Source], query: Query, allowed: Mask, budget: Budget) -> Candidates:
    """The union of what the sources propose, in their order. A source that raises, or does not answer
    within the budget, is left out and counted: the others make the list."""
    tasks = [asyncio.create_task(source.propose(query, allowed)) for source in sources]
    try:
        # Even with no time left each source gets one turn: those that need nobody's answer are done in it.
        await asyncio.wait(tasks, timeout=budget.left())
    finally:
        for task in tasks:
            task.cancel()
    proposals = []
    for source, task in zip(sources, tasks, strict=True):
        if not task.done() or task.cancelled():
            log.warning("source_late", source=source.name)
        elif (error := task.exception()) is not None:
            log_fault("source_failed", error)
        else:
            proposals.append(Proposal(source.name, task.result()))
            continue
        metrics.SOURCE_FAILURES.labels(source.name).inc()
    return merge(proposals)
