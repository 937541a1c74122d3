"""Whether this process lives and is ready: the AND of named components, shutting down being one of them."""

import contextlib
from collections.abc import Mapping

from ingest import metrics


class Health:
    """What each component lacks, in a sentence; a component that lacks nothing is ready.

    Ready means: takes in events and keeps up. A dead Triton leaves it ready, since no event waits for it.
    """

    def __init__(self) -> None:
        self._lacks: dict[str, str] = {}

    def down(self, component: str, reason: str) -> None:
        """The component cannot do its part, because of `reason` (bounded)."""
        self._lacks[component] = reason[:500]
        metrics.READY.labels(component).set(0)

    def up(self, component: str) -> None:
        """The component is in order."""
        self._lacks.pop(component, None)
        metrics.READY.labels(component).set(1)

    def forget(self, component: str) -> None:
        """The component is no part of this process any more."""
        self._lacks.pop(component, None)
        with contextlib.suppress(KeyError):
            metrics.READY.remove(component)

    @property
    def ready(self) -> bool:
        """Whether nothing is lacking."""
        return not self._lacks

    @property
    def lacks(self) -> Mapping[str, str]:
        """What is lacking, by component."""
        return dict(self._lacks)
