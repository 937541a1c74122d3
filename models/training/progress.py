"""Progress of a training's stages."""

from rich.progress import Progress


class StageProgress:
    """A stage's progress in epochs or steps, with its loss."""

    def __init__(self, progress: Progress, title: str, total: int) -> None:
        self._progress, self._title = progress, title
        self._task = progress.add_task(title, total=total)

    def advance(self, share: float, loss: float) -> None:
        """Shows a step, with its share of an epoch and its loss."""
        self._progress.update(self._task, advance=share, description=f"{self._title}, loss {loss:.3f}")
