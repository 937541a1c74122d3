"""What can go wrong with profiles."""


class ProfilesError(Exception):
    """The root of this room's errors."""


class ProfileCorrupt(ProfilesError):
    """A stored value is no profile of this user, or one in a form that is not understood."""


class StoreUnavailable(ProfilesError):
    """The store did not do what was asked within its time: unreachable, too slow, or out of memory.

    Of a write it is then unknown which profiles it reached; each was written as a whole or not at all,
    so that reading again and folding again is right.
    """
