"""What the served model learns from a teacher: not only what came next, but what else could have.

    loss = (1 - w) * -log p(wanted) + w * T^2 * KL(softmax(z / T) || softmax(s / T))

s are the served model's logits and z the frozen teacher's, on the same windows, over the same items (Hinton et al.
2015, arXiv:1503.02531, section 2; T^2 keeps the size of the gradient).
"""

import torch
from torch import Tensor
from torch.nn import functional

from models.data.windows import Batch
from models.training.distillation.teacher import Teacher
from models.training.stages.sequence_model import ItemTable


class Lesson:
    """A frozen teacher before the same items as its student."""

    def __init__(self, teacher: Teacher, items: ItemTable) -> None:
        self._teacher, self._settings = teacher.eval(), teacher.settings
        with torch.no_grad():
            self.vectors = teacher.vectors(items)

    @torch.no_grad()
    def told(self, given: Batch) -> tuple[Tensor, Tensor | None]:
        """Its user vectors, and its tastes where it has learned any [f, D]."""
        near, taste = self._teacher.told(self.vectors, given)
        return near, taste if self._settings.taste_weight else None

    def mixed(self, each: Tensor, student: Tensor, teacher: Tensor, correction: Tensor | None) -> Tensor:
        """The loss above [b], of -log p [b] and logits [b, m]. correction [m]: what was taken off these for the chance
        to be in the sample, where they are of one."""
        weight, softening = self._settings.weight, self._settings.softening
        # Of a sample the softened logits are corrected, not the corrected ones softened.
        again = 0.0 if correction is None else correction * (1 / softening - 1)
        wanted, told = (
            functional.log_softmax(logits / softening + again, -1) for logits in (teacher, student)
        )
        divergence = functional.kl_div(told, wanted, reduction="none", log_target=True).sum(-1)
        return (1 - weight) * each + weight * softening**2 * divergence
