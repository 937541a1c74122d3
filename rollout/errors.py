"""Why a rollout stops. What was served before is served on."""


class RolloutError(Exception):
    """Root of this room's errors.

    Attributes:
        what: What happened, and to which version or folder.
        next_step: What to do about it; empty where `what` says it.
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
    """The folder of bundles does not take the bundle, or does not give one up."""


class VersionNotLoaded(RolloutError):
    """Triton does not serve the version."""


class PublisherReplaced(RolloutError):
    """Another publisher of the same installation began after this one."""


class CleanupIncomplete(RolloutError):
    """Not all that a retired version left could be removed."""
