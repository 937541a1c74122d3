"""Names and values of the record headers that recstream reads."""

from typing import Final

KIND_HEADER: Final = "recstream-kind"
"""The header that says what a record's value is, on the topic `interactions`. Absent: an interaction."""

KIND_ERASURE: Final = b"erasure"
"""The value is a `recstream.storage.v1.Erasure`."""
