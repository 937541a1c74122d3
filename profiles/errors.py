"""The errors of profiles."""


class ProfilesError(Exception):
    """Base of the errors of profiles."""


class ProfileCorrupt(ProfilesError):
    """A stored value is not a profile of this user, or cannot be decoded."""


class StoreUnavailable(ProfilesError):
    """The store did not answer a request in time, or refused it: it is unreachable, too slow, or out of memory.

    After a failed write it is unknown which profiles were written. Each was written as a whole or not at all, so it is
    safe to read and fold them again.
    """
