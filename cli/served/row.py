"""The row of a running server's lists, and how it agrees with the row that was composed here."""

import uvloop

from cli.served.agreement import Agreement
from cli.served.run import Plan, served_lists
from evaluation.methods.listed import Listed
from evaluation.metrics.measure import AT, Measured, measure
from evaluation.report.results import RowOf

__all__ = ["Plan", "served_row"]


def served_row(plan: Plan, offline: Measured) -> tuple[RowOf, Agreement]:
    """Starts a private stack and asks it for every list of the plan's split. Raises CommandError."""
    lists = uvloop.run(served_lists(plan))
    served = measure(plan.test, Listed(f"{offline.name}-served", plan.test, lists))
    row = RowOf(served, reference=False, note="lists of a running server", listed=AT)
    return row, Agreement.of(served, offline, plan.held_out)
