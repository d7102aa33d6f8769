"""Slopes of mixtures of patterns beside those of torch's own logsumexp, in float64."""

import pytest
import torch

import isinglass as ig
from tests.cases import double

STATE = ig.Spin(5).enumerate_states()[[3, 17, 20, 31]]


def mixture(keys, fields, temperature=0.3):
    return ig.PatternMixture(ig.Spin(5), keys, fields, temperature)


def plain_score(keys, fields, temperature=0.3):
    return temperature * ((keys + (fields * STATE.unsqueeze(-2)).sum(-1)) / temperature).logsumexp(
        -1
    )


def parts(*batch):
    return [
        double(4, 3, seed=1).requires_grad_(),
        double(*batch, 3, 5, seed=2).requires_grad_(),
    ]


@pytest.mark.parametrize("batch", [(), (4,)], ids=["shared", "bent"])
def test_slopes_and_slopes_of_slopes(batch):
    def slopes(score, keys, fields):
        once = torch.autograd.grad(score @ double(4, seed=3), (keys, fields), create_graph=True)
        total = torch.stack([slope.pow(3).sum() for slope in once]).sum()
        return *once, *torch.autograd.grad(total, (keys, fields))

    keys, fields = parts(*batch)
    found = slopes(mixture(keys, fields).score(STATE), keys, fields)
    expected = slopes(plain_score(keys, fields), keys, fields)
    torch.testing.assert_close(found, expected)
    assert all(bool(slope.any()) for slope in found)


@pytest.mark.parametrize(
    ("keys", "fields"),
    [((3,), (3, 5)), ((4, 3), (3, 5)), ((4, 3), (4, 3, 5)), ((3,), (4, 3, 5)), ((2, 4, 3),) * 2],
    ids=str,
)
@pytest.mark.parametrize("unit", [ig.Spin(5), ig.Gaussian(5)], ids=str)
@pytest.mark.parametrize("clamped", [False, True])
def test_each_state_in_every_row(keys, fields, unit, clamped):
    """As state by state, whatever the batch of the mixture."""
    fields = fields if fields[-1] == 5 else (*fields, 5)
    distribution = ig.PatternMixture(unit, double(*keys, seed=1), double(*fields, seed=2), 0.7)
    states = double(6, 5, seed=3).sign()
    if clamped:
        mask = torch.tensor([True, False, True, False, False])
        distribution = distribution.condition(
            states[0].expand(distribution.zeros_like_event().shape), mask
        )
    found = distribution.score_each(states)
    one_by_one = [
        distribution.score(state.expand(distribution.zeros_like_event().shape)) for state in states
    ]
    torch.testing.assert_close(found, torch.stack(one_by_one, -1))
    assert found.std() > 0.1


def test_slopes_where_all_patterns_tie_and_where_one_is_far_ahead():
    for keys, shares in (
        ([7.0, 7.0, 7.0], [1 / 3, 1 / 3, 1 / 3]),
        ([1e4, -1e4, 0.0], [1.0, 0.0, 0.0]),
    ):
        leaf = torch.tensor(keys, dtype=torch.float64, requires_grad=True)
        mixture(leaf, torch.zeros(3, 5, dtype=torch.float64)).score(STATE[0]).backward()
        assert leaf.grad is not None
        torch.testing.assert_close(leaf.grad, torch.tensor(shares, dtype=torch.float64))


def test_under_vmap():
    keys, fields = parts()

    def score(row, state):
        return mixture(row, fields).score(state)

    expected = mixture(keys, fields).score(STATE)
    torch.testing.assert_close(torch.vmap(score)(keys, STATE), expected)
    slope = torch.func.grad(lambda row: score(row, STATE[0]))(keys[0].detach())
    torch.testing.assert_close(slope, mixture(keys, fields).responsibilities(STATE)[0])
