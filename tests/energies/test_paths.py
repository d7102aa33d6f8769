"""Paths of harmoniums, held to the plain formula over all states; sums over states."""

import math

import pytest
import torch
from torch import Tensor

import isinglass as ig
from isinglass.energies import DrawCountPath, HarmoniumPath
from isinglass.energies.layered.harmonium_path import layers_to_sum_out
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.testing.property import require_chi_square
from tests.cases import deep, double, hopfield_boltzmann, randomized
from tests.seeds import seeded

PAIRS = [ig.Spin(3), ig.Bernoulli(2), ig.Categorical(3), ig.Multinomial(3, draws=2)]


def triangle() -> ig.Harmonium:
    """Three layers that all touch."""
    layers = [ig.Bernoulli(2), ig.Spin(2), ig.Categorical(3)]
    return randomized(ig.Harmonium(layers, [(0, 1), (1, 2), (0, 2)]), scale=1.0)


MACHINES = [
    *(
        pytest.param(lambda v=v, h=h: randomized(ig.RBM(v, h)), 0.8, id=f"{v} with {h}")
        for v in PAIRS
        for h in PAIRS
    ),
    pytest.param(
        lambda: ig.RBM(ig.Mixed([ig.Bernoulli(2), ig.Categorical(3)]), ig.Bernoulli(2)).double(),
        1.0,
    ),
    pytest.param(deep, 1.3, id="three layers in a row"),
    pytest.param(triangle, 1.0, id="three layers that all touch"),
    pytest.param(
        lambda: hopfield_boltzmann(ig.Spin(3), groups=2, draws=2), 1 / 1.4, id="two groups"
    ),
]


def log_weights(path: HarmoniumPath, states: Tensor, level: float) -> Tensor:
    """[λ (agreement) + (1 − λ) b⁰·s − U]/T of joint states, term by term."""
    machine, temperature = path.harmonium, path.temperature
    total = torch.zeros(len(states), dtype=torch.float64)
    parts = machine.split(states)
    for layer, part, bias, base in zip(
        machine.layers, parts, machine.biases, path.base, strict=True
    ):
        total += part @ (level * bias + (1 - level) * base)
        total -= layer.base_measure_energy(part, temperature)
    for (a, b), weight in zip(machine.couplings, machine.weights, strict=True):
        total += level * torch.einsum("ni,ij,nj->n", parts[b], weight, parts[a])
    return total / temperature


def at(level: float, states: Tensor) -> Tensor:
    return torch.full((len(states),), level, dtype=torch.float64)


def kept(path: HarmoniumPath, states: Tensor) -> Tensor:
    parts = path.harmonium.split(states)
    return torch.cat([parts[index] for index in path.kept], -1)


@torch.no_grad()
@pytest.mark.parametrize(("build", "temperature"), MACHINES)
@pytest.mark.parametrize("level", [0.0, 0.37, 1.0])
def test_weights_are_those_of_all_states_summed(build, temperature, level):
    path = HarmoniumPath(build(), temperature)
    states = path.harmonium.enumerate_states(temperature)
    plain = log_weights(path, states, level).exp()
    which = kept(path, states).unique(dim=0, return_inverse=True)[1]
    expected = torch.zeros(len(states), dtype=torch.float64).index_add(0, which, plain)[which]
    found = path.log_weight(states, at(level, states))
    torch.testing.assert_close(found, expected.log())
    if level == 0:
        torch.testing.assert_close(path.base_log_partition, plain.sum().log())
    if level == 1:
        exact = path.harmonium.exact_log_partition(temperature)
        torch.testing.assert_close(exact, plain.sum().log())
        energies = path.harmonium.energy_at(states, temperature)
        torch.testing.assert_close(exact, torch.logsumexp(-energies / temperature, 0))


@torch.no_grad()
@pytest.mark.parametrize(
    "build", [deep, triangle, lambda: hopfield_boltzmann(ig.Bernoulli(3), draws=4)]
)
def test_ratio_and_advance_share_the_work_of_weight_and_move(build):
    path = build().path()
    states = path.draw_base(20, seeded(0))
    start, end = torch.rand(2, 20, dtype=torch.float64)
    expected = path.log_weight(states, end) - path.log_weight(states, start)
    torch.testing.assert_close(path.log_ratio(states, start, end), expected)
    moved, ratio = path.advance(states, start, end, seeded(1))
    torch.testing.assert_close(ratio, expected)
    assert torch.equal(moved, path.transition(states, end, seeded(1)))


@torch.no_grad()
@pytest.mark.parametrize(
    ("build", "temperature"),
    [
        (lambda: randomized(ig.RBM(ig.Spin(2), ig.Categorical(3)), scale=1.0), 0.7),
        (deep, 1.3),
        (triangle, 1.0),
        (lambda: hopfield_boltzmann(ig.Spin(2), groups=2, draws=2), 1 / 1.4),
    ],
    ids=["two layers", "in a row", "triangle", "two groups"],
)
def test_moves_keep_every_level_in_one_batch_and_are_reversible(build, temperature, generator):
    path = HarmoniumPath(build(), temperature)
    states, levels, draws = path.harmonium.enumerate_states(temperature), (0.4, 1.0), 30_000
    probabilities = [torch.softmax(log_weights(path, states, level), 0) for level in levels]
    chosen = torch.cat(
        [torch.multinomial(p, draws, True, generator=generator) for p in probabilities]
    )
    level = torch.tensor(levels, dtype=torch.float64).repeat_interleave(draws)
    orders = [path.kept, path.kept[::-1]]  # a batch has one of the two, by chance
    assert {tuple(path._order(generator)) for _ in range(50)} == set(map(tuple, orders))
    moved = torch.empty_like(states[chosen])
    for number, order in enumerate(orders):
        path._order = lambda _, order=order: order
        rows = slice(number, None, 2)
        moved[rows] = path.transition(states[chosen[rows]], level[rows], generator)
    after = torch.cdist(moved, states).argmin(-1)
    for probability, now in zip(probabilities, after.split(draws), strict=True):
        counts = torch.bincount(now, minlength=len(states)).double()
        require_chi_square("a move", counts, probability)
    which = kept(path, states).unique(dim=0, return_inverse=True)[1]
    size = int(which.max()) + 1
    pairs = torch.zeros(size, size, dtype=torch.float64)
    pairs.index_put_((which[chosen], which[after]), torch.ones(2 * draws).double(), True)
    seen = torch.triu(pairs + pairs.mT, 1) > 10
    surplus = ((pairs - pairs.mT).square() / (pairs + pairs.mT))[seen].sum()
    assert surplus < seen.sum() + 5 * math.sqrt(2 * seen.sum())


def test_the_base_has_the_means_of_the_data(generator):
    machine = randomized(
        ig.RBM(ig.Mixed([ig.Bernoulli(2), ig.Gaussian(1)]), ig.RectifiedGaussian(2)), scale=0.2
    )
    data = torch.cat([double(4000, 2).gt(0.5).double(), 1 + double(4000, 1, seed=1)], -1)
    path = machine.path(data=data)
    drawn = path.draw_base(40_000, generator)
    error = drawn[:, :3].std(0) / 200
    assert ((drawn[:, :3].mean(0) - data.mean(0)).abs() < 5 * error + 1e-3).all()
    assert (drawn[:, 3:] >= 0).all()


@torch.no_grad()
def test_draws_path_passes_through_every_number_of_draws():
    """At whole t its distribution is that of the machine with t draws, up to a constant."""
    machine = hopfield_boltzmann(ig.Categorical(3), draws=5)
    path = machine.path()
    assert isinstance(path, DrawCountPath)
    states = machine.extend(machine.visible.enumerate_states())
    for draws in range(1, 6):
        temperature = 1 / (draws * machine.beta)
        expected = -machine.free_energy(states[:, :3], temperature) / temperature
        found = path.log_weight(states, at((draws - 1) / 4, states))
        torch.testing.assert_close(found, expected)
    total = path.log_weight(states, at(0.0, states)).logsumexp(0)
    torch.testing.assert_close(path.base_log_partition, total)


@torch.no_grad()
@pytest.mark.parametrize("level", [0.0, 0.25, 0.6, 1.0])
def test_draws_path_moves_keep_whole_and_broken_draws(level, generator):
    machine = hopfield_boltzmann(ig.Spin(3), draws=3, beta=1.2)
    path = machine.path()
    states = machine.extend(machine.visible.enumerate_states())
    probability = torch.softmax(path.log_weight(states, at(level, states)), 0)
    chosen = torch.multinomial(probability, 40_000, True, generator=generator)
    now = path.transition(states[chosen], at(level, chosen), generator)
    if level == 0:
        now = path.draw_base(40_000, generator)
    if level == 1:
        machine.check_state(now)
    which = torch.cdist(now[:, :3], states[:, :3]).argmin(-1)
    require_chi_square("a move", torch.bincount(which, minlength=8).double(), probability)


def test_draws_path_of_gaussian_units(generator):
    """One step from the exact distribution of one real unit between two whole numbers of draws."""
    machine = hopfield_boltzmann(ig.Gaussian(1), draws=3, beta=1.5)
    path, edges = machine.path(), torch.linspace(-8, 8, 4001, dtype=torch.float64)
    middle = machine.extend(((edges[1:] + edges[:-1]) / 2).unsqueeze(-1))
    with torch.no_grad():
        mass = torch.softmax(path.log_weight(middle, at(0.3, middle)), 0)
        start = middle[torch.multinomial(mass, 40_000, True, generator=generator)]
        after = path.transition(start, at(0.3, start), generator)[:, 0]
    counts = torch.histc(after, bins=40, min=-8, max=8)
    require_chi_square("a move", counts, mass.reshape(40, -1).sum(-1))


def quadrature(machine: ig.Harmonium, low: float = -12.0) -> Tensor:
    """log Z of one visible real unit, by the trapezoid rule on its free energy."""
    grid = torch.linspace(low, 12, 200_001, dtype=torch.float64)
    with torch.no_grad():
        weights = (-machine.free_energy(grid.unsqueeze(-1)) / machine.temperature).exp()
    return torch.trapezoid(weights, grid).log()


@pytest.mark.parametrize("hidden", [ig.Bernoulli(3), ig.Spin(2), ig.Categorical(3), ig.Gaussian(1)])
@pytest.mark.parametrize("visible", [ig.Gaussian(1), ig.RectifiedGaussian(1)])
def test_real_visible_units_by_quadrature(visible, hidden):
    machine = randomized(ig.RBM(visible, hidden), scale=0.5, pinned=True)  # whose mass is in reach
    if isinstance(visible, ig.RectifiedGaussian) and isinstance(hidden, ig.Gaussian):
        with pytest.raises(IntractableError, match="infinitely many"):
            machine.exact_log_partition()
        return
    expected = quadrature(machine, 0.0 if isinstance(visible, ig.RectifiedGaussian) else -12.0)
    found = machine.exact_log_partition().detach()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_several_draws_of_one_group_by_quadrature():
    machine = hopfield_boltzmann(ig.Gaussian(1), draws=4, beta=1.2)
    torch.testing.assert_close(
        machine.exact_log_partition().detach(), quadrature(machine), rtol=1e-6, atol=1e-6
    )


def test_exact_gradient_is_that_of_the_sum_over_all_states():
    machine = deep()
    states = machine.enumerate_states()
    exact = torch.autograd.grad(machine.exact_log_partition(), list(machine.parameters()))
    plain = torch.autograd.grad(torch.logsumexp(-machine(states), 0), list(machine.parameters()))
    for found, expected in zip(exact, plain, strict=True):
        torch.testing.assert_close(found, expected)


def test_the_smaller_side_is_enumerated_whatever_the_larger():
    machine = randomized(ig.RBM(ig.Gaussian(500), ig.Bernoulli(10)), scale=0.05)
    hidden = ig.Bernoulli(10).enumerate_states()
    with torch.no_grad():
        fields = hidden @ machine.weights[0] + machine.biases[0]
        weights = hidden @ machine.biases[1] + machine.visible.log_partition(fields)
        torch.testing.assert_close(machine.exact_log_partition(), weights.logsumexp(0))
    with pytest.raises(IntractableError, match="method='ais'"):
        ig.RBM(ig.Bernoulli(40), ig.Bernoulli(30)).exact_log_partition()


def test_the_layers_worth_most_are_summed_out():
    def chosen(sizes: list[int], couplings: list[tuple[int, int]]) -> list[int]:
        machine = ig.Harmonium([ig.Bernoulli(size) for size in sizes], couplings)
        return layers_to_sum_out(machine, lambda layer: layer.size)

    assert chosen([5, 3], [(0, 1)]) == [0]
    assert chosen([3, 5, 3], [(0, 1), (1, 2)]) == [0, 2]
    assert chosen([3, 9, 3], [(0, 1), (1, 2)]) == [1]
    assert chosen([3, 2, 4], [(0, 1), (1, 2), (0, 2)]) == [2]


@pytest.mark.parametrize(
    "machine",
    [
        ig.RBM(ig.Gaussian(2), ig.Gaussian(2)),
        ig.RBM(ig.RectifiedGaussian(2), ig.Gaussian(2)),
        ig.RBM(ig.RectifiedGaussian(2), ig.RectifiedGaussian(2)),
    ],
    ids=["Gaussian", "RectifiedGaussian with Gaussian", "ReLU"],
)
def test_machines_that_run_away_are_refused(machine):
    machine.weights[0].data = torch.tensor([[0.9, 0.5], [0.5, 0.9]])
    for call in (machine.path, machine.exact_log_partition):
        with pytest.raises(IntractableError, match="run away"):
            call()
    machine.weights[0].data *= 0.5
    machine.path()


def test_rectified_units_that_hold_each_other_down_are_not_refused():
    machine = ig.RBM(ig.RectifiedGaussian(2), ig.RectifiedGaussian(2))
    machine.weights[0].data = torch.full((2, 2), -2.0)
    machine.path()


def test_bad_input_is_named():
    machine = deep()
    with pytest.raises(ParameterError, match="temperature"):
        machine.path(0.0)
    with pytest.raises(ParameterError, match="temperature"):
        machine.exact_log_partition(-1.0)
    with pytest.raises(ShapeError):
        machine.path(data=torch.ones(3, 4, dtype=torch.float64))
    with pytest.raises(DomainError):
        machine.path(data=torch.full((3, 3), 0.5, dtype=torch.float64))
    with pytest.raises(ParameterError, match="whole m"):
        hopfield_boltzmann(ig.Spin(3), draws=3).path(1.0)
    with pytest.raises(IntractableError, match="groups"):
        DrawCountPath(hopfield_boltzmann(ig.Spin(3), groups=2))
