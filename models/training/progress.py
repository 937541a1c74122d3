"""Progress of a stage of training."""

from rich.progress import Progress


class Bar:
    """A progress bar in epochs or steps, with the loss beside it."""

    def __init__(self, progress: Progress, title: str, total: int) -> None:
        self._progress, self._title = progress, title
        self._task = progress.add_task(title, total=total)

    def advance(self, share: float, loss: float) -> None:
        """One step more: its share of an epoch, and its loss."""
        self._progress.update(self._task, advance=share, description=f"{self._title}, loss {loss:.3f}")
