"""Layers of mixed columns: the machines built of them, held against sums and integrals."""

import pytest
import torch
from torch import Tensor

import isinglass as ig
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.learning import em_step, expectation_maximization, seed_memories
from isinglass.testing import check_free_energy, check_posterior_gradient, check_stationary
from tests.cases import UNITS, double, hopfield_boltzmann, randomized
from tests.seeds import seeded

COLUMNS = ig.Mixed([ig.Gaussian(1), ig.Bernoulli(1), ig.Categorical(3)])


def grid(points: int = 2001, reach: float = 15.0) -> tuple[Tensor, Tensor]:
    """States of COLUMNS and their weights: the trapezoid rule times all discrete states."""
    line = torch.linspace(-reach, reach, points, dtype=torch.float64)
    discrete = ig.Mixed(COLUMNS.parts[1:]).enumerate_states()
    states = torch.cat(
        [line.repeat_interleave(len(discrete))[:, None], discrete.repeat(points, 1)], -1
    )
    return states, torch.full((len(states),), 2 * reach / (points - 1), dtype=torch.float64)


def table(count: int = 400) -> Tensor:
    """Rows of two clusters, in all columns."""
    generator = seeded(1)
    fields = torch.tensor([[3.0, 2.0, 2.0, 0, 0], [-3.0, -2.0, 0, 0, 2.0]], dtype=torch.float64)
    rows = COLUMNS.sample(fields[torch.arange(count) % 2], 1.0, generator)
    rows[:, 0] = fields[torch.arange(count) % 2, 0] + 0.5 * (rows[:, 0] - rows[:, 0].sign() * 3)
    return rows


def test_a_mixture_of_columns_is_a_distribution():
    states, weights = grid()
    total = hopfield_boltzmann(COLUMNS).log_prob(states).exp() @ weights
    torch.testing.assert_close(total.detach(), torch.ones((), dtype=torch.float64))


@pytest.mark.parametrize(
    "seen", [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 1, 1]]
)
def test_conditionals_agree_with_sums_and_integrals(seen):
    machine, (states, weights) = hopfield_boltzmann(COLUMNS), grid()
    observed = torch.tensor(seen).bool()
    p = (machine.log_prob(states).exp() * weights).detach()
    for cue in states[[4 + 6 * 900, 1 + 6 * 1100]]:
        agree = (states[:, observed] == cue[observed]).all(-1)
        found = machine.conditional(torch.where(observed, cue, torch.nan), observed)
        torch.testing.assert_close(
            found.mean().detach(), (p[agree] @ states[agree]) / p[agree].sum(), rtol=0, atol=1e-9
        )
        width = weights[0] if observed[0] else 1.0
        evidence = (found.value() - machine.mixture().value()) / machine.temperature
        torch.testing.assert_close(evidence.detach(), (p[agree].sum() / width).log())


def test_samples_have_the_moments_of_the_density(generator):
    machine, (states, weights) = hopfield_boltzmann(COLUMNS), grid()
    p = (machine.log_prob(states).exp() * weights).detach()
    draws = machine.sample(40_000, generator=generator)
    assert COLUMNS.contains(draws).all()
    pairs = [torch.einsum("ni,nj->nij", x, x).flatten(1) for x in (draws, states)]
    mean = p @ pairs[1]
    sigma = ((p @ pairs[1].square() - mean.square()) / len(draws)).clamp_min(0).sqrt()
    assert ((pairs[0].mean(0) - mean).abs() <= 5 * sigma + 1e-9).all()


@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_shares_add_up_to_the_whole(unit):
    field = double(5, unit.size)
    for temperature in (0.0, 0.7):
        shares = unit.log_partition_per_component(field, temperature)
        torch.testing.assert_close(shares.sum(-1), unit.log_partition(field, temperature))


def test_beta_is_learned_from_the_gaussian_columns(generator):
    """T is their variance about the memories; the likelihood never falls and rests in T too."""
    machine, data = ig.HopfieldBoltzmann(COLUMNS, 2).double(), table()
    seed_memories(machine, data, generator)
    report = expectation_maximization(
        machine, data, learn_beta=True, steps=200, tolerance=1e-13, pseudo_count=0.0
    )
    assert (torch.tensor(report.log_likelihood).diff() > -1e-9).all()
    reads = machine.mixture().responsibilities(data).detach()
    means = machine.mixture().fields[:, 0].detach()
    variance = (reads * (data[:, :1] - means).square()).sum() / len(data)
    assert abs(1 / machine.beta - float(variance)) < 1e-6
    best, beta = report.log_likelihood[-1], machine.beta
    for factor in (0.99, 1.01):
        machine.beta = factor * beta
        # The probabilities of the discrete columns are held by their fields over T.
        assert float(machine.log_prob(data).detach().mean()) < best
    with pytest.raises(ParameterError, match="learn_beta"):
        em_step(ig.HopfieldBoltzmann(ig.Mixed([ig.Bernoulli(1), ig.Spin(1)]), 2), torch.ones(4, 2),
                learn_beta=True)  # fmt: skip


def test_seeds_do_not_care_where_zero_is_in_gaussian_columns():
    data, found = table(), []
    for shift in (0.0, 100.0):
        machine = ig.HopfieldBoltzmann(COLUMNS, 3).double()
        moved = data + shift * torch.eye(5, dtype=torch.float64)[0]
        seed_memories(machine, moved, seeded(2))
        found.append(machine.mixture().fields.detach() - shift * torch.eye(5)[0].double())
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize(
    "hidden", [ig.Bernoulli(3), ig.Mixed([ig.Spin(2), ig.Categorical(3)])], ids=str
)
def test_rbm_of_mixed_columns(hidden):
    machine = randomized(ig.RBM(COLUMNS, hidden))
    check_free_energy(machine, table(6), 0.7)
    check_posterior_gradient(machine, table(6), 0.7)


def test_block_gibbs_of_mixed_columns(generator):
    machine = randomized(ig.RBM(ig.Mixed([ig.Bernoulli(1), ig.Categorical(3)]), ig.Spin(2)))
    states = machine.enumerate_states()
    weights = -machine(states).detach()
    check_stationary(ig.BlockGibbs(), machine, states, weights, 1.0, generator)


def test_parts_lie_side_by_side():
    nested = ig.Mixed([ig.Mixed([ig.Gaussian(1), ig.Bernoulli(1)]), ig.Categorical(6, groups=2)])
    assert nested.parts == (ig.Gaussian(1), ig.Bernoulli(1), ig.Categorical(6, groups=2))
    assert nested.variable_ids().tolist() == [0, 1, 2, 2, 2, 3, 3, 3]
    assert ig.Unit.from_config(nested.config()) == nested
    assert not nested.pointwise
    assert nested.bounded
    assert not ig.Mixed([ig.Gaussian(2), ig.RectifiedGaussian(1)]).bounded
    assert ig.Mixed([ig.Bernoulli(1), ig.Multinomial(2, draws=2)]).has_multiplicity
    assert len(ig.Mixed([ig.Bernoulli(2), ig.Categorical(3)]).enumerate_states()) == 12


def test_bad_input():
    with pytest.raises(ParameterError, match="at least one part"):
        ig.Mixed([])
    machine = ig.HopfieldBoltzmann(COLUMNS, 2)
    row = torch.tensor([[0.3, 1.0, 0, 1, 0]])
    with pytest.raises(DomainError, match=r"columns 1 to 1: .*Bernoulli units take 0 or 1"):
        machine.log_prob(torch.tensor([[0.3, 0.5, 0, 1, 0]]))
    with pytest.raises(DomainError, match=r"columns 2 to 4: .*sum to 1"):
        machine.log_prob(torch.tensor([[0.3, 1.0, 0, 1, 1]]))
    with pytest.raises(ShapeError, match=r"\(\*batch, 5\)"):
        machine.log_prob(torch.ones(1, 4))
    with pytest.raises(ShapeError, match=r"\(\*batch, 5\)"):
        COLUMNS.mean(torch.zeros(2, 6))
    for cut in ([True, True, True, False, False], [False, True, False, False, True]):
        with pytest.raises(ShapeError, match="cuts through a one-hot unit"):
            machine.conditional(row, torch.tensor(cut))
    machine.conditional(row, torch.tensor([True, True, False, False, False]))
    with pytest.raises(IntractableError, match="closed-form inverse"):
        ig.Mixed([ig.Bernoulli(1), ig.RectifiedGaussian(1)]).natural_parameter(torch.ones(2))
    with pytest.raises(IntractableError, match="infinitely many"):
        COLUMNS.enumerate_states()
    with pytest.raises(IntractableError, match="states"):
        ig.Mixed([ig.Bernoulli(15), ig.Spin(15)]).enumerate_states()
    with pytest.raises(ParameterError, match=r"1/\(mβ\)"):
        ig.Mixed([ig.Bernoulli(1), ig.Multinomial(2, beta=1.0)]).check_temperature(0.4)
    memory = ig.ClassicalHopfield(torch.ones(1, 2))
    memory.unit = ig.Mixed([ig.Spin(1), ig.Bernoulli(1)])
    with pytest.raises(IntractableError, match="local fields"):
        ig.SingleSite().init(memory, torch.ones(1, 2))
