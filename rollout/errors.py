"""The errors of a rollout. After each of them the versions that were served before are still served, and the surfaces
that were in force still are."""


class RolloutError(Exception):
    """Base of this room's errors.

    Attributes:
        what: What happened, and to which version or folder.
        next_step: What to do about it. Empty if `what` says it.
    """

    def __init__(self, what: str, next_step: str = "") -> None:
        self.what = what
        self.next_step = next_step
        super().__init__(f"{what}: {next_step}" if next_step else what)


class TransitionRefused(RolloutError):
    """The step does not fit what is served now."""


class BundleUnfit(RolloutError):
    """The bundle cannot be served by this installation."""


class BundleNotStored(RolloutError):
    """A bundle cannot be written to the folder of bundles, or removed from it."""


class VersionNotLoaded(RolloutError):
    """Triton does not serve the version."""


class PublisherReplaced(RolloutError):
    """Another publisher of the same installation started after this one."""


class CleanupIncomplete(RolloutError):
    """Some leftovers of retired versions could not be removed."""


class SurfacesChanged(RolloutError):
    """Another version of the surfaces is in force than the one that a change was made from."""


class VersionNotKept(RolloutError):
    """The topic `surfaces` does not hold the version, or this release cannot read it."""


class SurfacesRefused(RolloutError):
    """A file of surfaces is not valid."""
