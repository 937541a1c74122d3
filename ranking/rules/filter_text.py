"""Filters as text, for settings."""

from google.protobuf import json_format

from recstream.v1 import filter_pb2


def parse(text: str) -> filter_pb2.Filter:
    """Returns the filter of a text: its protobuf JSON form, such as `{"categories": ["Comedy"]}`.

    Raises:
        ValueError: The text is not a filter.
    """
    try:
        return json_format.Parse(text, filter_pb2.Filter())
    except json_format.ParseError as error:
        raise ValueError(f"{text!r} is not a filter: {error}") from error
