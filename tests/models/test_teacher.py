"""The teacher looks back and never ahead, and who learns from it answers more like it."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.data.events import Events
from models.data.windows import Batch, Window, batch, gaps
from models.network.recommender import Recommender, Shape
from models.training.distillation.settings import TeacherSettings
from models.training.distillation.target import Lesson
from models.training.distillation.teacher import Member, Teacher
from models.training.settings import TrainSettings
from models.training.stages.fit_encoder import fit_encoder
from models.training.stages.sequence_model import ItemTable
from profiles.actions import Action
from tests.models.stopped_runs import visits

ITEMS = 24
SHAPE = Shape(6, 8, 12, 16, ITEMS, 1, (4.5,), (0.5,), (1.0, 5.0), 1, temperature=0.2)
FORM = TeacherSettings(members=1, width=16, layers=2, heads=2, dropout=0.1, temperature=0.2, taste_weight=1.0)
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
    found = Teacher(SHAPE, FORM.model_copy(update={"members": members, **other})).eval()
    with torch.no_grad():
        for parameter in found.parameters():
            if not parameter.any():
                parameter.normal_(std=0.3)
    return found


def windows(length: int = 9, users: int = 3) -> tuple[Events, Batch]:
    """A window a user, in which every event is to be foretold."""
    events = visits(users, length)
    none = np.zeros(0, np.int64)
    return events, batch(events, gaps(events), [Window(rows, 0, none) for rows in events.by_user()])


def changed(given: Batch, **columns: Tensor) -> Batch:
    fields = {name: getattr(given, name) for name in Batch.__dataclass_fields__}
    return Batch(**(fields | columns))


def padded(given: Batch, left: int, right: int) -> Batch:
    """The same with so many places before and after that hold anything and are no events."""
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
def test_what_happens_later_changes_nothing_before() -> None:
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
        (*taught.told(vectors, given), taught.after(vectors, given)),
        (
            *taught.told(vectors, padded(given, left, right)),
            taught.after(vectors, padded(given, left, right)),
        ),
        strict=True,
    ):
        assert torch.isfinite(one).all()
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_where_a_window_begins_says_nothing_but_what_is_before_and_how_long_ago_does() -> None:
    """The same events, asked for as the last of a window and as its middle."""
    taught, (_, given) = teacher(), windows()
    vectors = taught.vectors(TABLE)
    whole = taught.after(vectors, given)
    shifted = changed(given, gap_seconds=given.gap_seconds * torch.tensor([1.0, *[30.0] * 8]))
    assert not torch.allclose(taught.after(vectors, shifted), whole, atol=1e-3)
    near, _ = taught.told(vectors, given)
    cut = changed(
        given, **{n: getattr(given, n)[:, :5] for n in ("items", "actions", "gap_seconds", "values", "mask")}
    )
    torch.testing.assert_close(near.unflatten(0, (3, 9))[:, 5], taught.after(vectors, cut))


@torch.no_grad()
def test_several_answer_with_the_mean_of_their_logits() -> None:
    taught, (_, given) = teacher(members=3), windows()
    vectors = taught.vectors(TABLE)
    near, taste = taught.told(vectors, given)
    each = []
    for member in taught.each():
        alone = Teacher(SHAPE, FORM).eval()
        alone.members[0] = member
        own = alone.vectors(TABLE)
        each.append([users @ own.T for users in alone.told(own, given)])
    for users, place in ((near, 0), (taste, 1)):
        torch.testing.assert_close(users @ vectors.T, torch.stack([logits[place] for logits in each]).mean(0))


def trained_member() -> Teacher:
    """Of few passes: it does not say what the student finds by himself."""
    taught = teacher()
    (member,) = taught.each()
    assert isinstance(member, Member)
    settings = SETTINGS.model_copy(update={"epochs": 3})
    fit_encoder(member, visits(40), TABLE, settings, lambda share, loss: None)
    return taught


@pytest.fixture(scope="module")
def taught() -> Teacher:
    return trained_member()


def student(lesson: Lesson | None, **settings: object) -> Recommender:
    torch.manual_seed(0)
    model = Recommender(SHAPE, 0.1, 0.1)
    wanted = SETTINGS.model_copy(update=settings)
    fit_encoder(model, visits(40), TABLE, wanted, lambda share, loss: None, lesson=lesson)
    return model.eval()


def lesson(taught: Teacher, **other: object) -> Lesson:
    taught.settings = FORM.model_copy(update=other)
    return Lesson(taught, TABLE)


@torch.no_grad()
def divergence(taught: Teacher, model: Recommender) -> float:
    """Mean KL from the teacher's distribution over what comes next to the model's, of users that neither has seen."""
    events = visits(20, seed=9)
    none = np.zeros(0, np.int64)
    given = batch(events, gaps(events), [Window(rows, 1, none) for rows in events.by_user()])
    vectors, own = taught.vectors(TABLE), TABLE.vectors(model)
    wanted = torch.log_softmax(taught.told(vectors, given)[0] @ vectors.T, -1)
    states = functional.pad(model.states(own, given)[:, :-1], (0, 0, 1, 0))[given.target]
    told = torch.log_softmax(model.near(states) @ own.T, -1)
    return float(functional.kl_div(told, wanted, reduction="batchmean", log_target=True))


def test_who_learns_from_a_teacher_answers_more_like_it(taught: Teacher) -> None:
    alone = divergence(taught, student(None))
    for softening in (1.0, 2.0):
        assert divergence(taught, student(lesson(taught, weight=0.7, softening=softening))) < 0.5 * alone


def test_a_sample_of_the_items_teaches_too(taught: Teacher) -> None:
    alone = divergence(taught, student(None, negatives=16))
    sampled = student(lesson(taught, weight=0.7, softening=2.0), negatives=16)
    assert divergence(taught, sampled) < 0.5 * alone


def test_a_lesson_without_weight_leaves_the_training_as_it_is(taught: Teacher) -> None:
    alone, other = student(None).state_dict(), student(lesson(taught, weight=0.0)).state_dict()
    assert all(torch.equal(alone[name], numbers) for name, numbers in other.items())


def test_the_teacher_itself_stays_as_it_was(taught: Teacher) -> None:
    before = {name: numbers.clone() for name, numbers in taught.state_dict().items()}
    student(lesson(taught))
    assert all(torch.equal(before[name], numbers) for name, numbers in taught.state_dict().items())


def test_softened_logits_of_a_sample_are_corrected_by_the_chance_to_be_in_it() -> None:
    """Every second item stands for two: the same as if it were there twice."""
    random = torch.Generator().manual_seed(0)
    own, other = torch.randn(2, 5, 6, generator=random)
    chances = torch.tensor([1.0, 0.5, 1.0, 0.5, 1.0, 0.5])
    twice = torch.tensor([0, 1, 1, 2, 3, 3, 4, 5, 5])
    told = lesson(teacher(), weight=1.0, softening=3.0)
    nothing = torch.zeros(5)
    correction = chances.log()
    sampled = told.mixed(nothing, own - correction, other - correction, correction)
    torch.testing.assert_close(sampled, told.mixed(nothing, own[:, twice], other[:, twice], None))


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="width of 10 is not divided by 4"):
        TeacherSettings(width=10, heads=4)
