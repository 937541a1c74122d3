"""Names of keys and channels."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Names of keys and channels under a prefix, which has no braces.

    All names of a user have the hash tag `{user id}`, so that they are in the same slot of a cluster. `%` and braces in
    the id are percent-encoded, so that an id cannot choose its slot or collide with another one.
    """

    prefix: str

    def profile(self, user_id: str) -> str:
        """The key of the profile."""
        return f"{self.prefix}{{{_escaped(user_id)}}}:p"

    def tail(self, user_id: str) -> str:
        """The key of the tail."""
        return f"{self.prefix}{{{_escaped(user_id)}}}:t"

    def channel(self, user_id: str) -> str:
        """The channel of the user's announcements."""
        return f"{self.prefix}{{{_escaped(user_id)}}}:c"

    @property
    def topics(self) -> str:
        """The key of the ids of topics."""
        return f"{self.prefix}meta:topics"

    @property
    def probe(self) -> str:
        """The key for test writes."""
        return f"{self.prefix}{{meta}}:probe"

    @property
    def profiles(self) -> str:
        """A pattern that matches the keys of all profiles."""
        escaped = "".join(f"\\{c}" if c in "*?[]^-\\" else c for c in self.prefix)
        return f"{escaped}{{*}}:p"

    def user_id(self, key: str) -> str:
        """The user id in the key of a profile."""
        return _unescaped(key[len(self.prefix) + 1 : -len("}:p")])


def _escaped(user_id: str) -> str:
    return user_id.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")


def _unescaped(escaped: str) -> str:
    return escaped.replace("%7B", "{").replace("%7D", "}").replace("%25", "%")
