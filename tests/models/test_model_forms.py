"""One model in three forms: a scan over all events, a fold of a history, and single steps."""

import pytest
import torch
from torch import Tensor

from models.network.recommender import Recommender, Shape
from models.network.scan import linear_scan, parallel_scan, sequential_scan

ACTIONS = 3


@pytest.fixture(
    scope="module",
    params=[(None, False), (0.1, False), (None, True), (0.1, True)],
    ids=["inner product", "cosine", "inner product, direct", "cosine, direct"],
)
def model(request: pytest.FixtureRequest) -> Recommender:
    torch.manual_seed(0)
    temperature, direct = request.param
    shape = Shape(
        text_width=8,
        width=12,
        channels=20,
        hidden=16,
        items=5,
        actions=ACTIONS,
        value_mean=(3.0, 0.0, 1.0),
        value_scale=(1.0, 1.0, 2.0),
        value_range=(1.0, 5.0),
        popularities=2,
        temperature=temperature,
        item_skip_connection=direct,
    )
    found = Recommender(shape, dropout=0.3, id_dropout=0.3).eval()
    with torch.no_grad():
        for parameter in found.parameters():
            if not parameter.any():
                parameter.normal_(std=0.3)
        # Decays of every strength, not only the initial ones.
        found.user.decay.weight.normal_(std=1.0)
    return found


def history(length: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Item vectors, actions, gaps and values of one user."""
    random = torch.Generator().manual_seed(seed)
    gaps = torch.rand(1, length, generator=random) ** 8 * 1e7
    gaps[:, 0] = 0
    values = torch.randint(1, 6, (1, length), generator=random).float()
    values[torch.rand(1, length, generator=random) < 0.3] = torch.nan
    actions = torch.randint(0, ACTIONS + 1, (1, length), generator=random)
    return torch.randn(1, length, 12, generator=random), actions, gaps, values


@pytest.mark.parametrize("length", [1, 2, 3, 17, 64, 96, 200, 500])
def test_scan_fold_and_steps_agree(model: Recommender, length: int) -> None:
    items, actions, gaps, values = history(length, seed=length)
    mask = torch.ones(1, length)
    with torch.no_grad():
        scanned = model.user.scan(items, actions, gaps, values, mask)
        folded, user, contributions = model.user.fold(items, actions, gaps, values, mask)
        state = torch.zeros(1, 20)
        for t in range(length):
            state, stepped_user = model.user.step(state, items[:, t], actions[:, t], gaps[:, t], values[:, t])
            torch.testing.assert_close(scanned[:, t], state, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(folded, state, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(user, stepped_user, rtol=1e-4, atol=1e-4)
    direction = model.user.output
    raw = direction.linear(folded)
    constant = direction.linear.bias * (user.norm() / raw.norm())
    torch.testing.assert_close(contributions.sum(1) + constant, user, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("length", [1, 2, 3, 17, 64, 500])
def test_both_scans_agree_and_so_do_their_gradients(length: int) -> None:
    torch.manual_seed(length)
    decay = torch.rand(2, length, 5, requires_grad=True)
    entering = torch.randn(2, length, 5, requires_grad=True)
    weight = torch.randn(2, length, 5)
    torch.testing.assert_close(
        sequential_scan(decay, entering), parallel_scan(decay, entering), rtol=1e-4, atol=1e-4
    )
    expected = torch.autograd.grad(
        (parallel_scan(decay, entering) * weight).sum(), (decay, entering), materialize_grads=True
    )
    found = torch.autograd.grad((linear_scan(decay, entering) * weight).sum(), (decay, entering))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("padding", [0, 1, 190])
@pytest.mark.parametrize("length", [1, 30, 96])
def test_padding_on_either_side_changes_nothing(model: Recommender, length: int, padding: int) -> None:
    items, actions, gaps, values = history(length, seed=7)
    bare, bare_user, _ = model.user.fold(items, actions, gaps, values, torch.ones(1, length))

    def padded(given: Tensor, filler: Tensor, left: bool) -> Tensor:
        return torch.cat((filler, given) if left else (given, filler), 1)

    for left in (True, False):
        mask = padded(torch.ones(1, length), torch.zeros(1, padding), left)
        state, user, contributions = model.user.fold(
            padded(items, torch.randn(1, padding, 12), left),
            padded(actions, torch.ones(1, padding, dtype=torch.long), left),
            padded(gaps, torch.ones(1, padding), left),
            padded(values, torch.full((1, padding), torch.nan), left),
            mask,
        )
        torch.testing.assert_close(state, bare, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(user, bare_user, rtol=1e-5, atol=1e-5)
        assert not contributions[mask == 0].any()


def test_an_empty_history_is_finite_and_has_the_constant_vector(model: Recommender) -> None:
    state, user, _ = model.user.fold(*history(4, seed=1), torch.zeros(1, 4))
    assert not state.any()
    constant = model.user.output.linear.bias
    torch.testing.assert_close(user[0] / user.norm(), constant / constant.norm())


def test_odd_raw_values_stay_finite(model: Recommender) -> None:
    items = torch.zeros(1, 4, 12)
    gaps = torch.tensor([[0.0, -5.0, 1e30, 3e38]])
    values = torch.tensor([[1e30, -1e30, torch.nan, 0.0]])
    state, user, contributions = model.user.fold(
        items, torch.tensor([[0, 1, 2, 3]]), gaps, values, torch.ones(1, 4)
    )
    logits, value = model.ranker(
        state,
        user,
        torch.tensor([[3e38]]),
        torch.randn(1, 5, 12),
        torch.tensor([[-1.0, 0.0, 1e30, 3e38, 5.0]]),
        torch.tensor([[0.0, -1.0, 1e30, 3e38, 5.0]])[..., None].expand(-1, -1, 2),
    )
    for out in (state, user, contributions, logits, value):
        assert out.isfinite().all()


def test_the_score_of_a_candidate_does_not_depend_on_the_others(model: Recommender) -> None:
    torch.manual_seed(3)
    state, user, idle = torch.randn(4, 20), torch.randn(4, 12), torch.tensor([[-1.0], [0.0], [60.0], [1e6]])
    candidates, ages, popularity = torch.randn(4, 9, 12), torch.rand(4, 9) * 1e6, torch.rand(4, 9, 2) * 50
    with torch.no_grad():
        together, values = model.ranker(state, user, idle, candidates, ages, popularity)
        for row in range(4):
            for place in range(9):
                one, two = slice(row, row + 1), slice(place, place + 1)
                logit, value = model.ranker(
                    state[one],
                    user[one],
                    idle[one],
                    candidates[one, two],
                    ages[one, two],
                    popularity[one, two],
                )
                torch.testing.assert_close(logit[0, 0], together[row, place], rtol=1e-5, atol=1e-5)
                torch.testing.assert_close(value[0, 0], values[row, place], rtol=1e-5, atol=1e-5)


def test_without_history_the_middle_popularity_alone_orders_a_list(model: Recommender) -> None:
    torch.manual_seed(4)
    popularity = torch.rand(1, 30, 2) * 50
    with torch.no_grad():
        scores = model.ranker.scores(
            torch.zeros(1, 20), torch.randn(1, 12), torch.tensor([[-1.0]]), torch.randn(1, 30, 12),
            torch.rand(1, 30) * 1e6, popularity,
        )  # fmt: skip
    assert scores[0].argsort().tolist() == popularity[0, :, 1].argsort().tolist()


def test_in_training_some_ids_are_dropped_and_unknown_ones_never_matter(model: Recommender) -> None:
    text = torch.randn(1, 8).expand(2000, 8)
    index = torch.full((2000,), 3)
    with torch.no_grad():
        only_text = model.item(text[:1], torch.zeros(1, dtype=torch.long))
        whole = model.item(text[:1], index[:1])
    assert not torch.allclose(only_text, whole)
    model.item.train()
    # Without the head's own dropout.
    model.item.head.eval()
    vectors = model.item(text, index)
    model.item.eval()
    share = torch.isclose(vectors, only_text, atol=1e-6).all(1).float().mean()
    assert 0.2 < share < 0.4


def test_the_item_skip_connection_starts_as_a_decaying_mean_of_the_history() -> None:
    torch.manual_seed(0)
    shape = Shape(
        text_width=8,
        width=12,
        channels=36,
        hidden=16,
        items=5,
        actions=1,
        value_mean=(0.0,),
        value_scale=(1.0,),
        value_range=(0.0, 1.0),
        popularities=1,
        temperature=0.1,
        item_skip_connection=True,
    )
    user = Recommender(shape, dropout=0.0, id_dropout=0.0).user.eval()
    items = torch.eye(12)
    with torch.no_grad():
        for parameter in user.input.parameters():
            parameter.zero_()
        nothing, ones = torch.full((1, 3), torch.nan), torch.ones(1, 3)
        _, vector, _ = user.fold(items[None, :3], ones.long(), torch.zeros(1, 3), nothing, ones)
        near = vector[0] @ items.T
    assert near[2] > near[1] > near[0] > 0.1  # the latest counts most
    torch.testing.assert_close(near[3:], torch.zeros(9))


@pytest.mark.parametrize("timed", [True, False])
def test_gaps_and_idle_times_count_only_if_times_were_real_in_training(timed: bool) -> None:
    torch.manual_seed(0)
    shape = Shape(
        text_width=8,
        width=12,
        channels=20,
        hidden=16,
        items=5,
        actions=ACTIONS,
        value_mean=(3.0, 0.0, 1.0),
        value_scale=(1.0, 1.0, 2.0),
        value_range=(1.0, 5.0),
        popularities=2,
        timed=timed,
    )
    model = Recommender(shape, dropout=0.0, id_dropout=0.0).eval()
    items, actions, gaps, values = history(9, seed=1)
    with torch.no_grad():
        model.ranker.mixture.weights[-1].weight.normal_()
        now, _, _ = model.user.fold(items, actions, gaps, values, torch.ones(1, 9))
        later, user, _ = model.user.fold(items, actions, gaps + 1e6, values, torch.ones(1, 9))
        near, ages, popularity = torch.randn(1, 7, 12), torch.full((1, 7), -1.0), torch.rand(1, 7, 2)
        idle = [
            model.ranker.scores(now, user, torch.tensor([[seconds]]), near, ages, popularity)
            for seconds in (5.0, 1e6, -1.0)
        ]
    assert torch.equal(now, later) == (not timed)
    assert torch.equal(idle[0], idle[1]) == (not timed)
    assert not torch.equal(idle[0], idle[2])  # without a history popularity decides
