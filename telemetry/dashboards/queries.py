"""Builds the queries of the dashboards."""

from typing import Final

from telemetry.dashboards.panels import Query

STEP: Final = "$__rate_interval"
"""Grafana replaces this with a window of at least four scrapes."""


def selected(metric: str, where: str = "") -> str:
    """Returns the series of a metric with these label matchers."""
    return f"{metric}{{{where}}}" if where else metric


def summed(inner: str, by: str = "") -> str:
    """Returns the sum, by labels."""
    return f"sum by ({by}) ({inner})" if by else f"sum({inner})"


def rate(counter: str, by: str = "", where: str = "", over: str = STEP) -> str:
    """Returns the rate per second, by labels."""
    return summed(f"rate({selected(counter, where)}[{over}])", by)


def share(counter: str, part: str, whole: str = "", by: str = "") -> str:
    """Returns the rate of `part` divided by the rate of `whole`, by labels."""
    return f"{rate(counter, by, part)} / {rate(counter, by, whole)}"


def quantile(q: float, histogram: str, by: str = "", where: str = "") -> str:
    """Returns the quantile of a histogram over all processes, by labels."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q:g}, {rate(histogram + '_bucket', labels, where)})"


def quantiles(histogram: str, *qs: float) -> tuple[Query, ...]:
    """Returns the quantiles, each as a query."""
    return tuple(Query(quantile(q, histogram), f"p{q * 100:g}") for q in qs)


def mean(histogram: str, by: str = "") -> str:
    """Returns the mean of a histogram's observations, by labels."""
    return f"{rate(histogram + '_sum', by)} / {rate(histogram + '_count', by)}"


def a_second(counter: str, by: str = "", where: str = "") -> Query:
    """Returns `rate` as a query, with the labels as legend."""
    return Query(rate(counter, by, where), legend(by))


def largest(gauge: str, by: str = "") -> Query:
    """Returns the largest value over all processes, by labels."""
    return Query(f"max by ({by}) ({gauge})" if by else f"max({gauge})", legend(by))


def total(gauge: str, by: str = "") -> Query:
    """Returns the sum over all processes, by labels."""
    return Query(summed(gauge, by), legend(by))


def legend(by: str) -> str:
    """Returns a legend with the values of these labels."""
    return " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(",")) if by else ""
