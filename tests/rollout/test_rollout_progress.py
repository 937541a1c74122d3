"""Whoever follows a rollout has no part in it."""

from structlog.testing import capture_logs

from configuration.settings import Settings
from rollout.publisher import Publisher


class Gone:
    """A terminal that is closed after the first message."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def message(self, text: str) -> None:
        self.heard.append(text)
        if len(self.heard) > 1:
            raise BrokenPipeError(32, "Broken pipe")

    def progress(self, step: str, done: int, total: int | None) -> None:
        self.heard.append(step)


def test_a_listener_that_is_gone_does_not_end_a_rollout_and_is_asked_no_more() -> None:
    """rpm-ostree 185, sos 4474: `deploy | cat` was aborted by its own progress bar, with the work half done."""
    listener = Gone()
    publisher = Publisher(Settings(), listener)
    with capture_logs() as logs:
        for text in ("one", "two", "three"):
            publisher._listener.message(text)
            publisher._listener.progress(text, 1, None)
    assert listener.heard == ["one", "one", "two"]
    assert [line["event"] for line in logs] == ["rollout_listener_lost"]
