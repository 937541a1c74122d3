"""A model that was trained without real times gives them no weight in serving, where times are real."""

import torch

from models.network.mixture import Mixture


def scores(mixture: Mixture, popularity: float, idle: float) -> torch.Tensor:
    """Scores of five candidates. The first one has this popularity, the others have none."""
    near = torch.arange(5.0)[None]
    given = torch.zeros(1, 5, 3)
    given[0, 0] = popularity
    return mixture(near, -near, given, torch.full((1, 5), -1.0), torch.tensor([[idle]]))


def test_popularity_counts_for_users_with_history_only_if_times_were_real() -> None:
    torch.manual_seed(0)
    for timed in (False, True):
        mixture = Mixture(3, timed)
        with torch.no_grad():
            for parameter in mixture.parameters():
                parameter.normal_()
        changed = [
            not torch.equal(scores(mixture, 9, idle), scores(mixture, 0, idle)) for idle in (0.0, 500.0)
        ]
        assert changed == [timed, timed]
        # For a user without history, only popularity counts.
        assert scores(mixture, 9, -1).argmax() == 0


def test_training_gives_no_weight_to_popularity_that_is_always_zero() -> None:
    """Adam divides a gradient by its own size, so a rounding error would count like any other gradient."""
    torch.manual_seed(0)
    mixture = Mixture(3, timed=False)
    before = mixture.weights[-1].weight[4:].clone(), mixture.weights[-1].bias[4:].clone()
    optimizer = torch.optim.Adam(mixture.parameters(), lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(scores(mixture, 0, 60.0), torch.tensor([3]))
        loss.backward()
        optimizer.step()
    torch.testing.assert_close((mixture.weights[-1].weight[4:], mixture.weights[-1].bias[4:]), before)
