"""The values of metrics' labels: few, whatever comes in from outside.

A module of metrics says in `LABEL_VALUES` which values each label of each of its metrics takes. The documentation of
the metrics prints them, and a test checks them against a real run.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from prometheus_client.metrics import MetricWrapperBase

NO_VERSION: Final = "0"
"""The label of a model version: no model had a part in it."""
OTHER: Final = "other"
"""The label of a surface or a model version: one that is not known here."""


@dataclass(frozen=True, slots=True)
class LabelValues:
    """The values that one label of one metric takes.

    Attributes:
        values: Those that the code names.
        more: Which others there may be, in words. They are few too: settings, Kafka, or the number of live versions
            bound them.
        pattern: The others as a regular expression.
    """

    values: tuple[str, ...] = ()
    more: str = ""
    pattern: str = ""

    def holds(self, value: str) -> bool:
        """Return whether the label may have this value."""
        return value in self.values or bool(self.pattern and re.fullmatch(self.pattern, value))

    def __str__(self) -> str:
        named = [f"`{value}`" for value in self.values]
        return ", ".join([*named, *([self.more] if self.more else [])])


LabelValuesOf: TypeAlias = Mapping[tuple[MetricWrapperBase, str], LabelValues]
"""The values by metric and label."""

LIVE_VERSIONS: Final = LabelValues((), "live versions, two at most", r"\d+")
ANSWERING_VERSIONS: Final = LabelValues((NO_VERSION, OTHER), "live versions, two at most", r"\d+")
SURFACES: Final = LabelValues((OTHER,), "surfaces of the settings", r"[\w.-]+")
PARTITIONS: Final = LabelValues((), "partitions that the process holds", r"\d+")
ACTIONS: Final = LabelValues((), "actions of the settings", r"[\w.-]+")
