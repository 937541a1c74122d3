"""Nobody teaches of events that it has learned itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.progress import Progress

from models.checkpoint import Checkpoint
from models.data import Events
from models.foretelling import ItemTable
from models.learned import InMemory
from models.recommender import Shape
from models.settings import TrainSettings
from models.teacher.folds import folds, windows_without
from models.teacher.lesson import Lesson
from models.teacher.settings import TeacherSettings
from models.teacher.teacher import Teacher
from models.teacher.training import Teaching
from models.windows import Batch, Window, batch, gaps
from profiles.actions import Action
from stopped_runs import visits

MEMBERS, ITEMS, USERS = 3, 24, 30
SHAPE = Shape(6, 8, 12, 16, ITEMS, 1, (4.5,), (0.5,), (1.0, 5.0), 1, temperature=0.2)
TABLE = ItemTable(
    torch.randn(ITEMS, 6, generator=torch.Generator().manual_seed(0)), torch.arange(1, ITEMS + 1)
)
SETTINGS = TrainSettings(
    width=8, channels=12, hidden=16, history=8, refold_every=4, batch=8, threads=1, temperature=0.2,
    actions={"rate": Action(positive_from=5.0, value_range=(1, 5))},
    teacher=TeacherSettings(members=MEMBERS, width=16, layers=1, heads=2, epochs=2, batch=8, taste_weight=1.0),
)  # fmt: skip


def users_of(events: Events, member: int) -> np.ndarray:
    return np.flatnonzero(folds(events, np.arange(len(events.user_ids)), MEMBERS) == member)


def trained(events: Events) -> Teacher:
    teaching = Teaching(SHAPE, SETTINGS, TABLE.text, Checkpoint(), Progress(disable=True))
    assert teaching.lesson("Teacher", InMemory(events), TABLE) is not None
    assert teaching.teacher is not None
    return teaching.teacher


def all_windows(events: Events) -> Batch:
    none = np.zeros(0, np.int64)
    return batch(events, gaps(events), [Window(rows, 1, none) for rows in events.by_user()])


def test_a_user_is_in_one_fold_whatever_else_is_known() -> None:
    events = visits(USERS)
    whole = folds(events, events.users, MEMBERS)
    assert set(whole.tolist()) == set(range(MEMBERS))
    some = np.flatnonzero(events.users % 4 == 1)
    names = sorted({events.user_ids[user] for user in events.users[some]})
    alone = replace(
        events.take(some),
        user_ids=names,
        users=np.array([names.index(events.user_ids[user]) for user in events.users[some]]),
    )
    np.testing.assert_array_equal(folds(alone, alone.users, MEMBERS), whole[some])


@pytest.mark.parametrize("member", range(MEMBERS))
def test_a_member_foretells_each_event_of_the_others_once(member: int) -> None:
    events = visits(USERS)
    found = windows_without(member, MEMBERS, 8, 4)(events, np.random.default_rng(0))
    rows = np.concatenate([window.events[window.first :] for window in found])
    others = np.flatnonzero(~np.isin(events.users, users_of(events, member)))
    np.testing.assert_array_equal(np.sort(rows), others)


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return trained(visits(USERS))


@pytest.mark.parametrize("member", range(MEMBERS))
def test_what_a_user_does_changes_all_members_but_the_one_that_teaches_of_him(
    teacher: Teacher, member: int
) -> None:
    events = visits(USERS)
    own = np.isin(events.users, users_of(events, member))
    other = replace(events, items=np.where(own, (events.items + 7) % ITEMS, events.items))
    for place, (one, changed) in enumerate(zip(teacher.each(), trained(other).each(), strict=True)):
        same = [
            torch.equal(changed.state_dict()[name], numbers) for name, numbers in one.state_dict().items()
        ]
        assert all(same) == (place == member)


def test_each_window_is_told_of_by_the_member_that_has_not_learned_it(teacher: Teacher) -> None:
    events = visits(USERS)
    lesson, given = Lesson(teacher, TABLE), all_windows(events)
    near, taste = lesson.told(events, given)
    assert taste is not None
    speakers = folds(events, events.users[given.foretold], MEMBERS)
    for place, member in enumerate(teacher.each()):
        alone = Teacher(SHAPE, SETTINGS.teacher.model_copy(update={"members": 1})).eval()
        alone.members[0] = member
        vectors = alone.vectors(TABLE).detach()
        mine = torch.from_numpy(speakers == place)
        with torch.no_grad():
            expected_of = alone.told(vectors, given)
        for told, expected in zip((near, taste), expected_of, strict=True):
            torch.testing.assert_close(told[mine] @ lesson.vectors.T, expected[mine] @ vectors.T)


def test_some_windows_of_a_batch_are_a_batch_of_some_windows() -> None:
    events = visits(USERS)
    windows = [Window(rows, place % 3, rows[:0]) for place, rows in enumerate(events.by_user())]
    chosen = torch.arange(USERS) % 4 == 1
    some = batch(events, gaps(events), windows).of(chosen)
    alone = batch(events, gaps(events), [windows[place] for place in torch.nonzero(chosen)[:, 0].tolist()])
    for name in Batch.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(some, name), getattr(alone, name))
