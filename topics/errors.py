"""The errors of topics."""

from collections.abc import Sequence


class TopicsError(Exception):
    """Base of the errors of topics."""


class KafkaUnreachable(TopicsError):
    """No broker answered in time, or its answer could not be used."""

    def __init__(self, bootstrap: str, cause: object) -> None:
        super().__init__(
            f"no usable answer from Kafka at {bootstrap} ({cause}): check that it runs and its address"
        )


class TopicMissing(TopicsError):
    """Topics do not exist."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        super().__init__(f"missing topics: {', '.join(self.names)}; create them: `recstream topics create`")


class TopicNotCreated(TopicsError):
    """The broker refused to create a topic."""

    def __init__(self, name: str, cause: object) -> None:
        self.name = name
        super().__init__(f"Kafka refused to create the topic {name}: {cause}")
