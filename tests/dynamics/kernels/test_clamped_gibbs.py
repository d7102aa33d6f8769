"""Observed units stay, and the others follow their distribution given them."""

import pytest
import torch

import isinglass as ig
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.testing import check_stationary
from tests.cases import deep, double, hopfield_boltzmann, randomized, spins, symmetric


def test_clamped_gibbs_keeps_the_conditional_distribution(generator):
    """Some units of every layer are observed, hidden ones too."""
    machine = deep()
    states = machine.enumerate_states()
    observed = torch.tensor([True, False, False, False, True, True, False])
    agree = (states == states[-1])[:, observed].all(-1)
    weights = torch.where(agree, -machine(states).detach(), -torch.inf)
    check_stationary(ig.ClampedGibbs(observed), machine, states, weights, 1.0, generator)


MACHINES = {
    "RBM": lambda: randomized(ig.RBM(ig.Bernoulli(4), ig.Spin(3))),
    "line of layers": lambda: randomized(
        ig.DeepBoltzmann([ig.Bernoulli(4), ig.Bernoulli(2), ig.Spin(2)])
    ),
    "two groups": lambda: hopfield_boltzmann(ig.Bernoulli(4), groups=2),
    "two groups, three draws": lambda: hopfield_boltzmann(ig.Spin(4), groups=2, draws=3),
    "joined spins": lambda: ig.BoltzmannMachine(
        ig.Spin(4),
        symmetric(4),  # weak enough for 15 steps to forget where they began
    ).double(),
    "mixed columns": lambda: hopfield_boltzmann(
        ig.Mixed([ig.Categorical(3), ig.Bernoulli(1)]), groups=2
    ),
}


@pytest.mark.parametrize("name", MACHINES)
def test_imputed_units_follow_their_conditional(name, generator):
    machine = MACHINES[name]()
    states = machine.layers[0].enumerate_states()
    observed = torch.tensor([False, False, False, True])
    cue = torch.where(observed, states[0], torch.nan)
    weights = -machine.free_energy(states).detach() / machine.temperature
    weights = weights.masked_fill(states[:, 3] != cue[3], -torch.inf).softmax(0)
    mean = weights @ states
    # Of a clamped unit it is zero, which rounding may push below.
    variance = (weights @ states.square() - mean.square()).clamp_min(0.0)
    deviation = (variance / 20_000).sqrt()
    drawn = ig.impute(machine, cue.expand(20_000, 4), observed, steps=15, generator=generator)
    assert machine.layers[0].contains(drawn).all()
    assert ((drawn.mean(0) - mean).abs() <= 5 * deviation + 1e-12).all()


def test_imputing_agrees_with_the_closed_form(generator):
    """One group of Gaussian memories, another mask in every row."""
    machine = hopfield_boltzmann(ig.Gaussian(3), beta=1.3)
    cue, seen = double(3, 3), double(3, 3, seed=5) > 0
    exact = machine.conditional(cue, seen).mean().detach()
    rows = cue.expand(10_000, 3, 3)
    drawn = ig.impute(machine, rows, seen.expand(10_000, 3, 3), steps=20, generator=generator)
    assert (drawn == rows)[:, seen].all()
    assert ((drawn.mean(0) - exact).abs() <= 5 * drawn.std(0) / 100 + 1e-12).all()


def test_descent_with_observed_units():
    machine, state = deep(), torch.cat([spins(8, 3).gt(0), spins(8, 2), spins(8, 2).gt(0)], -1)
    state = state.double()
    observed = double(8, 7, seed=3) > 0  # a mask a row
    recalled = ig.recall(machine, state, ig.ClampedGibbs(observed))
    assert recalled.converged.all()
    assert (recalled.state == state)[observed].all()
    assert (recalled.energy <= machine(state) + 1e-12).all()


def test_bad_input():
    machine = ig.RBM(ig.Categorical(3), ig.Bernoulli(2))
    row = torch.tensor([[1.0, 0, 0]])
    seen = torch.ones(3, dtype=torch.bool)
    with pytest.raises(ShapeError, match="cuts through"):
        ig.impute(machine, row, torch.tensor([True, False, False]))
    with pytest.raises(ShapeError, match="boolean mask of 3"):
        ig.impute(machine, row, torch.ones(2, dtype=torch.bool))
    with pytest.raises(ShapeError, match="for all rows, or one for each"):
        ig.impute(machine, row, torch.ones(5, 3, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"\(\*batch, 3\)"):
        ig.impute(machine, torch.ones(1, 4), seen)
    with pytest.raises(DomainError, match="sum to 1"):
        ig.impute(machine, 2 * row, seen)
    with pytest.raises(ParameterError, match="steps"):
        ig.impute(machine, row, seen, steps=0)
    with pytest.raises(ParameterError, match="temperature"):
        ig.impute(machine, row, seen, temperature=-1.0)
    with pytest.raises(IntractableError, match="given some units"):
        ig.impute(ig.ModernHopfield(torch.eye(3)), row, seen)
    with pytest.raises(ShapeError, match="for all rows, or one for each"):
        ig.ClampedGibbs(torch.ones(4, dtype=torch.bool)).init(machine, torch.ones(1, 5))
