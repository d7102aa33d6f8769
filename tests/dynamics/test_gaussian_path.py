"""The way from a Gaussian to an energy of real states."""

import math
from itertools import pairwise

import pytest
import torch

import isinglass as ig
from isinglass.dynamics import HMC, MALA, GaussianPath, Langevin
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.testing.property import require_chi_square
from tests.cases import Bumps, double, hopfield_boltzmann

LEVELS = (0.0, 0.3, 1.0)


def line_path(kernel=None, temperature=0.8):
    mean, deviation = torch.tensor([0.5]).double(), torch.tensor([1.5]).double()
    return GaussianPath(Bumps(1), mean, deviation, temperature=temperature, kernel=kernel)


def test_its_ends_are_the_gaussian_and_the_energy():
    path, states = line_path(), double(9, 1, scale=2.0)
    normal = torch.distributions.Normal(path.mean, path.deviation)
    at_base = path.log_weight(states, torch.zeros(9)) - path.base_log_partition
    torch.testing.assert_close(at_base, normal.log_prob(states)[:, 0])
    at_end = path.log_weight(states, torch.ones(9))
    torch.testing.assert_close(at_end, -path.energy(states).detach() / 0.8)
    levels = torch.linspace(0, 1, 9).double()
    steps = path.log_ratio(states, levels, levels.flip(0))
    torch.testing.assert_close(
        steps, path.log_weight(states, levels.flip(0)) - path.log_weight(states, levels)
    )


def test_what_is_drawn_at_the_base_is_the_gaussian(generator):
    path = line_path()
    drawn = path.draw_base(20_000, generator)
    assert abs(float(drawn.mean()) - 0.5) < 5 * 1.5 / math.sqrt(20_000)
    assert abs(float(drawn.std()) / 1.5 - 1) < 5 / math.sqrt(2 * 20_000)


@pytest.mark.parametrize("kernel", [None, MALA()], ids=["HMC", "MALA"])
def test_moves_leave_every_level_as_it_is(kernel, generator):
    """Rows at three levels in one batch, each with its own density."""
    path, count = line_path(kernel), 20_000
    line = torch.linspace(-12, 12, 12_001, dtype=torch.float64)[:, None]
    masses = [torch.softmax(path.log_weight(line, torch.full((12_001,), at)), 0) for at in LEVELS]
    start = torch.cat(
        [line[torch.multinomial(m, count, replacement=True, generator=generator)] for m in masses]
    )
    start += (torch.rand(start.shape, dtype=torch.float64, generator=generator) - 0.5) * 0.002
    level = torch.tensor(LEVELS).double().repeat_interleave(count)
    after = path.transition(start, level, generator)
    assert (after != start).double().mean() > 0.3
    for rows, mass in zip(after.split(count), masses, strict=True):
        counts = torch.histc(rows, bins=40, min=-12, max=12)
        require_chi_square("move", counts, mass[:-1].reshape(40, -1).sum(-1))


def annealed(path, count, levels, generator):
    """Annealed importance sampling, as it is written: log Z, its standard error."""
    state, weight = path.draw_base(count, generator), torch.zeros(count).double()
    ladder = path.levels(levels)[:, None].expand(-1, count)
    for low, high in pairwise(ladder):
        weight += path.log_ratio(state, low, high)
        state = path.transition(state, high, generator)
    ratio = torch.softmax(weight, 0) * count
    value = path.base_log_partition + torch.logsumexp(weight, 0) - math.log(count)
    return float(value), float(ratio.std()) / math.sqrt(count)


def test_annealing_finds_log_z_of_a_mixture(generator):
    machine = hopfield_boltzmann(ig.Gaussian(3), memories=4, beta=1.0)
    temperature, fields = machine.temperature, machine.patterns + machine.visible_bias
    exact = float(machine.mixture().value().detach()) / temperature
    data = fields.detach()
    path = GaussianPath(
        machine.marginal(), data.mean(0), (data.var(0) + temperature).sqrt(),
        temperature=temperature,
    )  # fmt: skip
    value, error = annealed(path, 500, 20, generator)
    assert error < 0.05
    assert abs(value - exact) < 5 * error


def test_bad_paths(unannotated):
    one, energy = torch.ones(2), ig.ModernHopfield(torch.eye(2))
    with pytest.raises(ShapeError):
        GaussianPath(energy, one, torch.ones(3))
    with pytest.raises(DomainError):
        GaussianPath(energy, one, one.double())
    for deviation in (torch.zeros(2), torch.full((2,), math.nan)):
        with pytest.raises(ParameterError, match="deviation"):
            GaussianPath(energy, one, deviation)
    with pytest.raises(ParameterError, match="temperature"):
        GaussianPath(energy, one, one, temperature=0.0)
    for kernel in (Langevin(), ig.BlockGibbs(), HMC):
        with pytest.raises(ParameterError, match="HMC or MALA"):
            GaussianPath(energy, one, one, kernel=kernel)
    for visible in (ig.Bernoulli(2), ig.RectifiedGaussian(2)):
        with pytest.raises(IntractableError, match="reals of any sign"):
            GaussianPath(ig.RBM(visible, ig.Bernoulli(2)).marginal(), one, one)
