"""The teacher is causal, and a distilled student predicts more like it."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.data.events import Events
from models.data.windows import Batch, Window, collate, event_gaps
from models.network.recommender import Recommender, Shape
from models.network.sequence_model import ItemTable
from models.network.teacher import Member, Teacher
from models.training.distillation import DistillationTarget, untrained_teacher
from models.training.settings import TeacherSettings, TrainSettings
from models.training.stages.fit_encoder import fit_encoder
from profiles.actions import Action
from tests.models.stopped_runs import visits

ITEMS = 24
SHAPE = Shape(
    text_width=6,
    width=8,
    channels=12,
    hidden=16,
    items=ITEMS,
    actions=1,
    value_mean=(4.5,),
    value_scale=(0.5,),
    value_range=(1.0, 5.0),
    popularities=1,
    temperature=0.2,
)
FORM = TeacherSettings(
    members=1, width=16, layers=2, heads=2, dropout=0.1, temperature=0.2, long_term_weight=1.0
)
SETTINGS = TrainSettings(
    width=8, channels=12, hidden=16, history=8, refold_every=4, epochs=12, batch=8, threads=1, learning_rate=0.01,
    temperature=0.2, actions={"rate": Action(positive_from=5.0, value_range=(1, 5))},
)  # fmt: skip
TABLE = ItemTable(
    torch.randn(ITEMS, 6, generator=torch.Generator().manual_seed(0)), torch.arange(1, ITEMS + 1)
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def teacher(members: int = 1, **other: object) -> Teacher:
    torch.manual_seed(3)
    found = untrained_teacher(SHAPE, FORM.model_copy(update={"members": members, **other})).eval()
    with torch.no_grad():
        for parameter in found.parameters():
            if not parameter.any():
                parameter.normal_(std=0.3)
    return found


def windows(length: int = 9, users: int = 3) -> tuple[Events, Batch]:
    """A window for each user, in which every event is a target."""
    events = visits(users, length)
    none = np.zeros(0, np.int64)
    return events, collate(events, event_gaps(events), [Window(rows, 0, none) for rows in events.by_user()])


def changed(given: Batch, **columns: Tensor) -> Batch:
    fields = {name: getattr(given, name) for name in Batch.__dataclass_fields__}
    return Batch(**(fields | columns))


def padded(given: Batch, left: int, right: int) -> Batch:
    """The same batch with padding on the left and on the right, which holds arbitrary numbers."""
    random = torch.Generator().manual_seed(1)

    def wider(column: Tensor, fill: Tensor) -> Tensor:
        parts = fill[:, :left], column, fill[:, left:]
        return torch.cat([part.to(column.dtype) for part in parts], 1)

    size = len(given.items), left + right
    anything = torch.randint(0, ITEMS, size, generator=random)
    return changed(
        given,
        items=wider(given.items, anything),
        actions=wider(given.actions, anything % 2),
        gap_seconds=wider(given.gap_seconds, anything * 1e4),
        values=wider(given.values, anything),
        mask=wider(given.mask, torch.zeros(size)),
        target=wider(given.target, torch.zeros(size)),
    )


@torch.no_grad()
def test_later_events_do_not_change_earlier_states() -> None:
    taught, (_, given) = teacher(), windows()
    (member,) = taught.each()
    vectors = taught.vectors(TABLE)
    states = member.states(vectors, given)
    for place in range(1, given.items.shape[1]):
        later = given.items.clone(), given.gap_seconds.clone(), given.values.clone()
        later[0][:, place:] = (later[0][:, place:] + 7) % ITEMS
        later[1][:, place:] += 5e6
        later[2][:, place:] = 1.0
        other = member.states(vectors, changed(given, items=later[0], gap_seconds=later[1], values=later[2]))
        torch.testing.assert_close(other[:, :place], states[:, :place])
        assert not torch.allclose(other[:, place], states[:, place], atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize(("left", "right"), [(0, 3), (4, 0), (2, 150)])
def test_padding_on_either_side_changes_nothing(left: int, right: int) -> None:
    taught, (_, given) = teacher(members=2), windows()
    vectors = taught.vectors(TABLE)
    for one, other in zip(
        (*taught.user_vectors(vectors, given), taught.final_user_vectors(vectors, given)),
        (
            *taught.user_vectors(vectors, padded(given, left, right)),
            taught.final_user_vectors(vectors, padded(given, left, right)),
        ),
        strict=True,
    ):
        assert torch.isfinite(one).all()
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_distances_and_elapsed_times_matter_and_positions_do_not() -> None:
    """Compares the same events at the end of a window and in its middle."""
    taught, (_, given) = teacher(), windows()
    vectors = taught.vectors(TABLE)
    whole = taught.final_user_vectors(vectors, given)
    shifted = changed(given, gap_seconds=given.gap_seconds * torch.tensor([1.0, *[30.0] * 8]))
    assert not torch.allclose(taught.final_user_vectors(vectors, shifted), whole, atol=1e-3)
    next_item, _ = taught.user_vectors(vectors, given)
    cut = changed(
        given, **{n: getattr(given, n)[:, :5] for n in ("items", "actions", "gap_seconds", "values", "mask")}
    )
    torch.testing.assert_close(next_item.unflatten(0, (3, 9))[:, 5], taught.final_user_vectors(vectors, cut))


@torch.no_grad()
def test_an_ensemble_averages_the_logits_of_its_members() -> None:
    taught, (_, given) = teacher(members=3), windows()
    vectors = taught.vectors(TABLE)
    next_item, long_term = taught.user_vectors(vectors, given)
    each = []
    for member in taught.each():
        alone = untrained_teacher(SHAPE, FORM).eval()
        alone.members[0] = member
        own = alone.vectors(TABLE)
        each.append([users @ own.T for users in alone.user_vectors(own, given)])
    for users, place in ((next_item, 0), (long_term, 1)):
        torch.testing.assert_close(users @ vectors.T, torch.stack([logits[place] for logits in each]).mean(0))


def trained_member() -> Teacher:
    """A member that is trained for few epochs, so that it differs from what the student finds alone."""
    taught = teacher()
    (member,) = taught.each()
    assert isinstance(member, Member)
    settings = SETTINGS.model_copy(update={"epochs": 3})
    fit_encoder(member, visits(40), TABLE, settings, lambda share, loss: None)
    return taught


@pytest.fixture(scope="module")
def taught() -> Teacher:
    return trained_member()


def student(target: DistillationTarget | None, **settings: object) -> Recommender:
    torch.manual_seed(0)
    model = Recommender(SHAPE, 0.1, 0.1)
    wanted = SETTINGS.model_copy(update=settings)
    fit_encoder(model, visits(40), TABLE, wanted, lambda share, loss: None, distillation=target)
    return model.eval()


def target(taught: Teacher, **other: object) -> DistillationTarget:
    return DistillationTarget(taught, FORM.model_copy(update=other), TABLE)


@torch.no_grad()
def divergence(taught: Teacher, model: Recommender) -> float:
    """Mean KL divergence of the model's next-item distribution from the teacher's, for users that neither has seen."""
    events = visits(20, seed=9)
    none = np.zeros(0, np.int64)
    given = collate(events, event_gaps(events), [Window(rows, 1, none) for rows in events.by_user()])
    vectors, own = taught.vectors(TABLE), TABLE.vectors(model)
    wanted = torch.log_softmax(taught.user_vectors(vectors, given)[0] @ vectors.T, -1)
    states = functional.pad(model.states(own, given)[:, :-1], (0, 0, 1, 0))[given.target]
    predicted = torch.log_softmax(model.next_item_vector(states) @ own.T, -1)
    return float(functional.kl_div(predicted, wanted, reduction="batchmean", log_target=True))


def test_a_distilled_student_predicts_more_like_its_teacher(taught: Teacher) -> None:
    alone = divergence(taught, student(None))
    for temperature in (1.0, 2.0):
        assert (
            divergence(
                taught,
                student(target(taught, distillation_weight=0.7, distillation_temperature=temperature)),
            )
            < 0.5 * alone
        )


def test_distillation_works_on_a_sample_of_the_items(taught: Teacher) -> None:
    alone = divergence(taught, student(None, negatives=16))
    sampled = student(target(taught, distillation_weight=0.7, distillation_temperature=2.0), negatives=16)
    assert divergence(taught, sampled) < 0.5 * alone


def test_distillation_without_weight_does_not_change_the_training(taught: Teacher) -> None:
    alone, other = student(None).state_dict(), student(target(taught, distillation_weight=0.0)).state_dict()
    assert all(torch.equal(alone[name], numbers) for name, numbers in other.items())


def test_distillation_does_not_change_the_teacher(taught: Teacher) -> None:
    before = {name: numbers.clone() for name, numbers in taught.state_dict().items()}
    student(target(taught))
    assert all(torch.equal(before[name], numbers) for name, numbers in taught.state_dict().items())


def test_tempered_logits_of_a_sample_are_corrected_for_sampling() -> None:
    """Every second item represents two, which must equal having it twice."""
    random = torch.Generator().manual_seed(0)
    own, other = torch.randn(2, 5, 6, generator=random)
    q = torch.tensor([1.0, 0.5, 1.0, 0.5, 1.0, 0.5])
    twice = torch.tensor([0, 1, 1, 2, 3, 3, 4, 5, 5])
    distilled = target(teacher(), distillation_weight=1.0, distillation_temperature=3.0)
    nothing = torch.zeros(5)
    correction = q.log()
    sampled = distilled.mixed_loss(nothing, own - correction, other - correction, correction)
    torch.testing.assert_close(sampled, distilled.mixed_loss(nothing, own[:, twice], other[:, twice], None))


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="width 10 is not a multiple of 4"):
        TeacherSettings(width=10, heads=4)
