"""The few forms that the dashboards' queries have."""

from typing import Final

from telemetry.dashboards.panels import Query

STEP: Final = "$__rate_interval"
"""Grafana puts in a window that holds at least four scrapes."""


def selected(metric: str, where: str = "") -> str:
    """The series of a metric with these label matchers."""
    return f"{metric}{{{where}}}" if where else metric


def summed(inner: str, by: str = "") -> str:
    """The sum, by labels."""
    return f"sum by ({by}) ({inner})" if by else f"sum({inner})"


def rate(counter: str, by: str = "", where: str = "", over: str = STEP) -> str:
    """How often a second, by labels."""
    return summed(f"rate({selected(counter, where)}[{over}])", by)


def share(counter: str, part: str, whole: str = "", by: str = "") -> str:
    """Which share of what matches `whole` matches `part`, by labels."""
    return f"{rate(counter, by, part)} / {rate(counter, by, whole)}"


def quantile(q: float, histogram: str, by: str = "", where: str = "") -> str:
    """The quantile of a histogram over all processes, by labels."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q:g}, {rate(histogram + '_bucket', labels, where)})"


def quantiles(histogram: str, *qs: float) -> tuple[Query, ...]:
    """The quantiles, each a series."""
    return tuple(Query(quantile(q, histogram), f"p{q * 100:g}") for q in qs)


def mean(histogram: str, by: str = "") -> str:
    """The mean of a histogram's observations, by labels."""
    return f"{rate(histogram + '_sum', by)} / {rate(histogram + '_count', by)}"


def a_second(counter: str, by: str = "", where: str = "") -> Query:
    """`rate` as a query whose series are called by their labels."""
    return Query(rate(counter, by, where), legend(by))


def largest(gauge: str, by: str = "") -> Query:
    """The largest value over all processes, by labels."""
    return Query(f"max by ({by}) ({gauge})" if by else f"max({gauge})", legend(by))


def total(gauge: str, by: str = "") -> Query:
    """The sum over all processes, by labels."""
    return Query(summed(gauge, by), legend(by))


def legend(by: str) -> str:
    """Series called by the values of these labels."""
    return " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(",")) if by else ""
