"""Deep Boltzmann machines: inference, bounds and gradients beside sums over all states."""

import itertools

import pytest
import torch
from torch import Tensor

import isinglass as ig
from isinglass.energies.layered import deep_boltzmann
from isinglass.energies.layered._layer_graph import colors, outward
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.testing import check_free_energy, check_posterior_gradient, check_stationary
from tests.cases import double, randomized

GRAPHS: dict[str, tuple[list[ig.Unit], list[tuple[int, int]] | None]] = {
    "two layers": ([ig.Bernoulli(3), ig.Bernoulli(3)], None),
    "three layers": ([ig.Bernoulli(3), ig.Spin(2), ig.Bernoulli(2)], None),
    "four layers": ([ig.Spin(2), ig.Bernoulli(2), ig.Categorical(3), ig.Bernoulli(2)], None),
    "a ring": (
        [ig.Bernoulli(2), ig.Bernoulli(2), ig.Spin(2), ig.Bernoulli(1)],
        [(0, 1), (1, 2), (2, 3), (3, 0)],
    ),
    "a triangle": ([ig.Bernoulli(2), ig.Spin(2), ig.Bernoulli(3)], [(0, 1), (2, 1), (0, 2)]),
    "a star": (
        [ig.Mixed([ig.Bernoulli(2), ig.Categorical(3)]), ig.Bernoulli(2), ig.Spin(2)],
        [(0, 1), (0, 2)],
    ),
}


def machine(graph: str = "three layers", scale: float = 0.8) -> ig.DeepBoltzmann:
    found = randomized(ig.DeepBoltzmann(*GRAPHS[graph]), scale=scale)
    assert isinstance(found, ig.DeepBoltzmann)
    return found


def joint_energies(deep: ig.DeepBoltzmann, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Every hidden state, and E of each with each visible row: ``(rows, hidden)``."""
    hidden = ig.Mixed(deep.layers[1:]).enumerate_states()
    rows = visible.unsqueeze(1).expand(-1, len(hidden), -1)
    joint = torch.cat([rows, hidden.expand(len(visible), -1, -1)], -1)
    return hidden, deep(joint)


def log_factors(deep: ig.DeepBoltzmann, hidden: Tensor, fields: Tensor, t: float) -> Tensor:
    """log q(h) of every hidden state under independent layers in these fields."""
    total = torch.zeros(len(fields), len(hidden), dtype=torch.float64)
    sizes = [layer.size for layer in deep.layers[1:]]
    parts = zip(deep.layers[1:], hidden.split(sizes, -1), fields.split(sizes, -1), strict=True)
    for layer, h, field in parts:
        total = total + (field @ h.mT - layer.log_partition(field, t)[:, None]) / t
    return total


@pytest.mark.parametrize("temperature", [0.5, 1.0])
@pytest.mark.parametrize("graph", GRAPHS)
def test_free_energy_is_the_enumeration(graph, temperature):
    deep = machine(graph)
    states = deep.visible.enumerate_states()
    check_free_energy(deep, states, temperature)
    check_posterior_gradient(deep, states, temperature)


def test_free_energy_in_blocks(monkeypatch):
    deep, rows = machine(), ig.Bernoulli(3).enumerate_states().reshape(2, 4, 3)
    whole = deep.free_energy(rows)
    monkeypatch.setattr(deep_boltzmann, "MOST_VALUES", 1)
    torch.testing.assert_close(deep.free_energy(rows), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("graph", GRAPHS)
def test_mean_field_descends_energy_less_entropy(graph, temperature):
    """G is ⟨E⟩_q − T·entropy(q), never rises, and stays above F."""
    deep = machine(graph)
    rows = deep.visible.enumerate_states()
    exact = deep.free_energy(rows, temperature).detach()
    hidden, energies = joint_energies(deep, rows)
    before = torch.full_like(exact, torch.inf)
    for steps in (1, 2, 3, 10, 1000):
        found = deep.mean_field(rows, temperature, steps=steps, tolerance=1e-12)
        log_q = log_factors(deep, hidden, found.fields[:, rows.shape[-1] :], temperature)
        q = log_q.exp()
        by_hand = (q * (energies + temperature * log_q)).sum(-1).detach()
        torch.testing.assert_close(found.free_energy, by_hand, rtol=0, atol=1e-10)
        torch.testing.assert_close(found.state[:, rows.shape[-1] :], q @ hidden)
        assert (found.free_energy <= before + 1e-12).all()
        assert (found.free_energy >= exact - 1e-12).all()
        before = found.free_energy
    assert found.converged.all()
    assert torch.equal(found.state[:, : rows.shape[-1]], rows)


@pytest.mark.parametrize("graph", ["two layers", "a star"])
def test_the_bound_is_tight_where_hidden_layers_do_not_touch(graph):
    deep = machine(graph)
    rows = deep.visible.enumerate_states()
    exact = deep.free_energy(rows)
    torch.testing.assert_close(deep.mean_field(rows).free_energy, exact.detach())
    torch.testing.assert_close(deep.positive_phase(rows), exact)
    for one, other in zip(
        torch.autograd.grad(deep.positive_phase(rows).sum(), list(deep.parameters())),
        torch.autograd.grad(exact.sum(), list(deep.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_a_machine_of_two_layers_is_an_rbm():
    deep, rows = machine("two layers"), ig.Bernoulli(3).enumerate_states()
    rbm = ig.RBM(ig.Bernoulli(3), ig.Bernoulli(3)).double()
    rbm.load_state_dict(deep.state_dict())
    torch.testing.assert_close(deep.free_energy(rows), rbm.free_energy(rows))
    state = deep.enumerate_states()
    torch.testing.assert_close(deep.negative_phase(state), rbm.negative_phase(state))


@pytest.mark.parametrize("graph", GRAPHS)
def test_bound_on_the_likelihood(graph):
    deep = machine(graph)
    rows = deep.visible.enumerate_states()
    log_z = torch.logsumexp(-deep(deep.enumerate_states()).detach(), 0)
    log_prob = -deep.free_energy(rows).detach() - log_z
    torch.testing.assert_close(log_prob.exp().sum(), torch.ones((), dtype=torch.float64))
    bound = deep.log_likelihood_bound(rows, log_z, tolerance=1e-12)
    assert (bound <= log_prob + 1e-12).all()
    assert (log_prob - bound).max() < 1  # and not far below


@pytest.mark.parametrize("graph", ["three layers", "a triangle"])
def test_gradient_on_data_is_that_at_the_means(graph):
    """⟨∂E⟩_q, which at rest is the gradient of the bound itself: the envelope theorem."""
    deep = machine(graph)
    rows, parameters = deep.visible.enumerate_states(), list(deep.parameters())
    found = torch.autograd.grad(deep.positive_phase(rows).sum(), parameters)
    fields = deep.mean_field(rows).fields[:, rows.shape[-1] :]
    hidden, energies = joint_energies(deep, rows)
    q = log_factors(deep, hidden, fields, 1.0).exp()
    expected = torch.autograd.grad((q * energies).sum(), parameters)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    step = 1e-5
    for parameter, slope in zip(parameters, found, strict=True):
        direction = double(*parameter.shape, seed=9)
        bounds = []
        for way in (step, -step):
            parameter.data += way * direction
            bounds.append(deep.mean_field(rows, steps=10_000, tolerance=1e-13).free_energy.sum())
            parameter.data -= way * direction
        difference = (bounds[0] - bounds[1]) / (2 * step)
        torch.testing.assert_close((slope * direction).sum(), difference, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("graph", GRAPHS)
def test_fantasies_teach_the_gradient_of_log_z(graph):
    """⟨∂ fantasy energy⟩ = ⟨∂E⟩ over the model = −∂ log Z, with less variance."""
    deep = machine(graph)
    states, parameters = deep.enumerate_states(), list(deep.parameters())
    energies = deep(states)
    p = torch.softmax(-energies.detach(), 0)
    log_z = torch.autograd.grad(torch.logsumexp(-energies, 0), parameters)
    found = torch.autograd.grad((p * deep.negative_phase(states)).sum(), parameters)
    for one, other in zip(found, log_z, strict=True):
        torch.testing.assert_close(one, -other)


def test_contrast_at_exact_fantasies_is_the_gradient_of_the_bound():
    deep = machine()
    rows, parameters = ig.Bernoulli(3).enumerate_states()[1:4], list(deep.parameters())
    states = deep.enumerate_states()
    energies = deep(states)
    bound = deep.positive_phase(rows).mean() + torch.logsumexp(-energies, 0)
    expected = torch.autograd.grad(bound, parameters)
    chosen = torch.multinomial(torch.softmax(-energies.detach(), 0), 200_000, replacement=True)
    found = torch.autograd.grad(deep.contrastive_loss(rows, states[chosen]), parameters)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() < 5 * 1.0 / 200_000**0.5  # products of units are within ±1


@pytest.mark.parametrize("graph", ["four layers", "a ring", "a triangle"])
def test_block_gibbs_keeps_the_exact_distribution(graph, generator):
    deep = machine(graph)
    states = deep.enumerate_states()
    weights = -deep(states).detach()
    check_stationary(ig.BlockGibbs(), deep, states, weights, 1.0, generator, samples=20_000)


@pytest.mark.parametrize("graph", GRAPHS)
def test_layers_of_a_color_do_not_touch(graph):
    layers, couplings = GRAPHS[graph]
    deep = machine(graph)
    sets = colors(len(layers), deep.couplings)
    assert sorted(itertools.chain(*sets)) == list(range(len(layers)))
    for together in sets:
        assert not [p for p in deep.couplings if p[0] in together and p[1] in together]
    assert deep.order[-1] == 0
    if couplings is None:
        assert len(sets) == 2
        assert deep.order == (*range(1, len(layers), 2), *range(2, len(layers), 2), 0)
        assert outward(len(layers), deep.couplings) == list(range(len(layers)))


def test_a_row_does_not_depend_on_its_neighbors():
    deep, rows = machine(), ig.Bernoulli(3).enumerate_states()
    together = deep.mean_field(rows)
    assert together.steps.unique().numel() > 1
    for number, row in enumerate(rows):
        alone = deep.mean_field(row)
        assert alone.state.shape == (7,)
        torch.testing.assert_close(alone.state, together.state[number], rtol=0, atol=1e-14)
        assert alone.steps == together.steps[number]
    assert str(together).startswith("8 of 8 converged")
    assert not deep.mean_field(rows, steps=1).converged.any()
    assert deep.mean_field(rows.reshape(2, 4, 3)).free_energy.shape == (2, 4)


def test_bad_input():
    for couplings in ([(0, 1)], [(1, 2)], []):
        with pytest.raises(ParameterError, match="joined to the visible one"):
            ig.DeepBoltzmann([ig.Bernoulli(2), ig.Bernoulli(2), ig.Bernoulli(2)], couplings)
    with pytest.raises(ParameterError, match="Give hidden layers"):
        ig.DeepBoltzmann([ig.Bernoulli(2)])
    with pytest.raises(ParameterError, match="at least one layer"):
        ig.DeepBoltzmann([])
    with pytest.raises(ParameterError, match="two different layers"):
        ig.DeepBoltzmann([ig.Bernoulli(2), ig.Bernoulli(2)], [(0, 5)])
    for averaged in (ig.Multinomial(2, draws=3), ig.Multinomial(2, beta=1.0)):
        with pytest.raises(ParameterError, match="several draws"):
            ig.DeepBoltzmann([ig.Bernoulli(2), averaged, ig.Bernoulli(2)])
    deep = ig.DeepBoltzmann([ig.Bernoulli(3), ig.Bernoulli(2), ig.Bernoulli(2)])
    rows = torch.ones(2, 3)
    for call in (deep.free_energy, deep.mean_field):
        for temperature in (-1.0, 0.0, float("nan")):
            with pytest.raises(ParameterError, match="temperature"):
                call(rows, temperature)
        with pytest.raises(ShapeError, match=r"\(\*batch, 3\)"):
            call(torch.ones(2, 4))
        with pytest.raises(DomainError, match="Bernoulli units take 0 or 1"):
            call(0.5 * rows)
        with pytest.raises(DomainError, match="float64"):
            call(rows.double())
    with pytest.raises(ParameterError, match="steps"):
        deep.mean_field(rows, steps=0)
    with pytest.raises(ParameterError, match="tolerance"):
        deep.mean_field(rows, tolerance=-1.0)
    large = ig.DeepBoltzmann([ig.Bernoulli(3), ig.Bernoulli(40), ig.Bernoulli(30)])
    with pytest.raises(IntractableError, match=r"states of layers.*mean_field"):
        large.free_energy(rows)
    with pytest.raises(IntractableError, match="inf states"):
        ig.DeepBoltzmann([ig.Bernoulli(3), ig.Gaussian(2), ig.RectifiedGaussian(2)]).free_energy(
            rows
        )
