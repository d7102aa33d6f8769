"""The general Boltzmann machine: its sweeps, its sums, its hidden units, its learning."""

import copy
import math

import pytest
import torch

import isinglass as ig
from isinglass.energies import DenseCouplings, GridCouplings, SparseCouplings
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.testing import check_stationary
from tests.cases import double, spins, symmetric
from tests.energies.pairwise.machines import (
    MACHINES,
    MIXED,
    machine,
    machines,
    mixed_couplings,
    touching,
)
from tests.seeds import seeded


@machines
@pytest.mark.parametrize("temperature", [0.7, 2.0])
def test_gibbs_keeps_the_exact_distribution(name, temperature, generator):
    energy = machine(name)
    states = energy.unit.enumerate_states()
    with torch.no_grad():
        weights = -energy.energy_at(states, temperature) / temperature
    check_stationary(
        ig.BlockGibbs(), energy, states, weights, temperature, generator, samples=20_000
    )


@machines
@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_log_partition_is_the_sum_over_states(name, temperature):
    energy = machine(name)
    with torch.no_grad():
        states = energy.unit.enumerate_states()
        weights = -energy.energy_at(states, temperature) / temperature
    torch.testing.assert_close(energy.exact_log_partition(temperature), weights.logsumexp(0))


@machines
def test_classes_do_not_touch(name):
    couplings = machine(name).couplings
    classes = couplings.colors()
    assert sorted(torch.cat(classes).tolist()) == list(range(couplings.units))
    joined = touching(couplings)
    for units in classes:
        assert not joined[units][:, units].any()


@machines
def test_the_matrix_is_symmetric_without_a_diagonal(name):
    couplings = machine(name).couplings
    weight = couplings.matrix()
    assert torch.equal(weight, weight.mT)
    assert not touching(couplings).diagonal().any()
    state = double(3, couplings.size)
    torch.testing.assert_close(couplings(state), state @ weight.double())


@machines
def test_the_list_of_pairs_is_the_matrix(name):
    couplings = machine(name).couplings
    joined, strength = couplings.pairs()
    assert (joined[:, 0] != joined[:, 1]).all()
    upper = torch.zeros_like(couplings.matrix())
    upper.index_put_(joined.unbind(-1), strength.to(upper), accumulate=True)
    torch.testing.assert_close(upper + upper.mT, couplings.matrix().detach())


@pytest.mark.parametrize("name", [name for name in MACHINES if "all joined" in name])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_block_is_drawn_as_one_unit_after_another(name, temperature):
    energy = machine(name)
    unit = energy.unit
    start = unit.sample(double(50, unit.size), 1.0, seeded())
    draw = unit.sampler(start, temperature, seeded(1))
    state = start.clone()
    for number in range(unit.count):
        here = unit.variable_ids() == number
        field = state @ energy.weight + energy.biases
        state[:, here] = draw(field, start)[:, here]
    torch.testing.assert_close(energy.sweep(start, temperature, seeded(1)), state)


def test_blocks_of_many_units_are_drawn_in_turn():
    """300 units all joined, more than one block, at T = 0 as unit by unit."""
    energy = ig.BoltzmannMachine(ig.Spin(300), symmetric(300))
    start = spins(9, 300)
    state = start.clone()
    for unit in range(300):
        state[:, unit] = (state @ energy.weight[:, unit]).sign()
    assert torch.equal(energy.sweep(start, 0.0), state)


def test_small_classes_are_drawn_together():
    """Two rings joined densely within: many small classes, no couplings across blocks."""
    mask = torch.block_diag(torch.ones(40, 40), torch.ones(40, 40)).bool()
    couplings = DenseCouplings.of(symmetric(80)).masked(mask)
    assert [touch for _, touch in couplings._draw()] == [True]
    energy = ig.BoltzmannMachine(ig.Spin(80), couplings)
    state = energy.sweep(spins(20, 80), 0.0)
    for _ in range(100):
        state = energy.sweep(state, 0.0)
    assert (state * energy.local_field(state) >= 0).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["spins, all joined", "odd torus", "one-hot edges", "even torus", "mixed, all joined"]
)
def test_held_units_stay_and_the_others_follow_their_distribution(name, generator):
    """Three units held: the chain of the rest ends in p(rest | held), by enumeration."""
    energy = machine(name)
    states = energy.unit.enumerate_states()
    size = energy.unit.size
    held = energy.unit.variable_ids() < (2 if "one-hot" in name else 3)
    assert 0 < held.sum() < size
    start = states[len(states) // 3].expand(20_000, -1)
    same = (states[:, held] == start[0, held]).all(-1)
    with torch.no_grad():
        probability = torch.softmax(-energy(states[same]), 0)
    kernel = ig.ClampedGibbs(held)
    state = ig.run(kernel, energy, start, steps=30, temperature=1.0, generator=generator)
    assert torch.equal(state[:, held], start[:, held])
    found = torch.cdist(state, states[same]).argmin(-1).bincount(minlength=int(same.sum()))
    spread = (20_000 * probability * (1 - probability)).sqrt()
    assert ((found - 20_000 * probability).abs() < 5 * spread + 1).all()


def hidden_machine(hidden: int = 3, kind: type[ig.Unit] = ig.Bernoulli) -> ig.BoltzmannMachine:
    return ig.BoltzmannMachine(kind(7), symmetric(7), double(7), hidden=hidden)


@pytest.mark.parametrize("kind", [ig.Bernoulli, ig.Spin])
@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_free_energy_is_the_sum_over_hidden_states(kind, temperature):
    energy = hidden_machine(kind=kind)
    visible, hidden = kind(4).enumerate_states(), kind(3).enumerate_states()
    rows = torch.cat([visible[:, None].expand(-1, 8, -1), hidden.expand(16, -1, -1)], -1)
    expected = -temperature * torch.logsumexp(-energy(rows) / temperature, -1)
    found = energy.free_energy(visible, temperature)
    torch.testing.assert_close(found, expected)
    for one, other in zip(
        torch.autograd.grad(found.sum(), list(energy.parameters())),
        torch.autograd.grad(expected.sum(), list(energy.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_free_energy_of_mixed_units_is_the_sum_over_hidden_states(temperature):
    """Two hidden units, a bit and the average of two draws, whose own energy depends on T."""
    energy = ig.BoltzmannMachine(MIXED, mixed_couplings(), double(9), hidden=2)
    visible, hidden = (layer.enumerate_states() for layer in energy.layers)
    count = len(hidden)
    rows = torch.cat(
        [visible[:, None].expand(-1, count, -1), hidden.expand(len(visible), -1, -1)], -1
    )
    expected = -temperature * torch.logsumexp(
        -energy.energy_at(rows, temperature) / temperature, -1
    )
    torch.testing.assert_close(energy.free_energy(visible, temperature), expected)


def test_mean_field_of_mixed_units_bounds_from_above(monkeypatch):
    energy = ig.BoltzmannMachine(MIXED, mixed_couplings(), double(9), hidden=2)
    visible = energy.visible.enumerate_states()
    exact = energy.free_energy(visible).detach()
    monkeypatch.setattr(ig.BoltzmannMachine, "_summable", False)
    bound = energy.positive_phase(visible)
    # Both are sums of some ten terms of order one.
    assert (bound > exact - 1e-13).all()
    assert (bound - exact).max() < 0.5


def test_mean_field_bounds_from_above(monkeypatch):
    """And is near where couplings are weak; its gradient is ⟨∇E⟩ at the means."""
    energy = hidden_machine()
    visible = ig.Bernoulli(4).enumerate_states()
    exact = energy.free_energy(visible).detach()
    monkeypatch.setattr(ig.BoltzmannMachine, "_summable", False)
    with pytest.raises(IntractableError, match="positive_phase"):
        energy.free_energy(visible)
    bound = energy.positive_phase(visible)
    assert (bound > exact).all()
    assert (bound - exact).max() < 0.2
    (slope,) = torch.autograd.grad(bound.sum(), [energy.bias])
    torch.testing.assert_close(slope[:4], -visible.sum(0))
    state = energy.sweep(energy.extend(visible), 1.0, seeded())
    torch.testing.assert_close(energy.negative_phase(state), energy(state))


def test_learning_lowers_the_divergence():
    """Exact gradients of a fully visible machine: its correlations become the data's."""
    data = spins(200, 5, seed=3)
    data[:, 1] = data[:, 0]
    data[:20, 1] *= -1
    energy = ig.BoltzmannMachine(ig.Spin(5)).double()
    states = ig.Spin(5).enumerate_states()
    optimizer = torch.optim.Adam(energy.parameters(), lr=0.1)
    for _ in range(150):
        model = torch.softmax(-energy(states), 0).detach()
        loss = energy.positive_phase(data).mean() - model @ energy.negative_phase(states)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    probability = torch.softmax(-energy(states), 0).detach()
    pairs = torch.einsum("n,ni,nj->ij", probability, states, states)
    torch.testing.assert_close(pairs, data.mT @ data / 200, atol=1e-2, rtol=0)
    torch.testing.assert_close(probability @ states, data.mean(0), atol=1e-2, rtol=0)


@pytest.mark.parametrize("hidden", [0, 2])
@pytest.mark.parametrize(
    "objective",
    [
        ig.learning.ExactGradient(),
        ig.learning.PersistentCD(chains=200, steps=3),
        ig.learning.ContrastiveDivergence(3),
    ],
    ids=lambda one: type(one).__name__,
)
def test_every_objective_learns_it(objective, hidden):
    """Of two units that mostly agree, with and without hidden ones, from visible states alone."""
    data = spins(200, 4, seed=3)
    data[20:, 1] = data[20:, 0]
    energy = ig.BoltzmannMachine(ig.Spin(4 + hidden), hidden=hidden, generator=seeded()).double()

    def likelihood() -> float:
        with torch.no_grad():
            return float(-energy.free_energy(data).mean() - energy.exact_log_partition())

    start = likelihood()
    ig.learning.fit(
        energy, data, objective=objective, epochs=15, generator=seeded(),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.02),
    )  # fmt: skip
    assert likelihood() > start + 0.25
    with pytest.raises(ShapeError):
        energy.check_visible(data[:, :3])
    with pytest.raises(DomainError):
        energy.check_visible(data / 2)


def test_masked_couplings_stay_away():
    mask = torch.ones(4, 4).bool()
    mask[0, 3] = mask[3, 0] = False
    energy = ig.BoltzmannMachine(ig.Spin(4), DenseCouplings.of(symmetric(4)).masked(mask))
    assert energy.weight[0, 3] == 0
    energy(spins(5, 4)).sum().backward()
    assert energy.couplings.upper.grad[0, 3] == 0
    assert energy.couplings.upper.grad[0, 1] != 0


def test_a_loaded_mask_is_the_one_that_is_drawn_by():
    full = ig.BoltzmannMachine(ig.Spin(40), symmetric(40))
    full.sweep(spins(2, 40), 1.0)
    ring = torch.eye(40).roll(1, 0).bool()
    masked = ig.BoltzmannMachine(ig.Spin(40), DenseCouplings.of(symmetric(40)).masked(ring))
    assert len(list(masked.couplings.blocks())) == 2
    full.load_state_dict(masked.state_dict())
    assert len(list(full.couplings.blocks())) == 2
    start = spins(3, 40)
    assert torch.equal(full.sweep(start, 1.0, seeded()), masked.sweep(start, 1.0, seeded()))
    assert torch.equal(copy.deepcopy(masked)(start), masked(start))


def test_single_precision_and_halves():
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for energy in (
            ig.BoltzmannMachine(ig.Spin(6), symmetric(6)), ig.BoltzmannMachine.ising(4, 4)
        ):  # fmt: skip
            energy = energy.to(dtype)
            state = energy.sweep(spins(5, energy.unit.size).to(dtype), 1.0, seeded())
            assert state.dtype == dtype
            assert (state.abs() == 1).all()
            assert energy(state).dtype == dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda():
    for name in set(MACHINES) - {"a user's own"}:
        near = machine(name)
        far = copy.deepcopy(near).cuda()
        state = near.unit.sample(double(9, near.unit.size), 1.0, seeded())
        torch.testing.assert_close(far(state.cuda()).cpu(), near(state))
        torch.testing.assert_close(far.sweep(state.cuda(), 0.0).cpu(), near.sweep(state, 0.0))
        drawn = far.sweep(state.cuda(), 1.0, seeded(0, "cuda"))
        far.check_state(drawn)
        torch.testing.assert_close(far.exact_log_partition(), near.exact_log_partition())


def test_bad_input(unannotated):
    wrong = [
        (ShapeError, "square", lambda: ig.BoltzmannMachine(ig.Spin(3), torch.zeros(3, 2))),
        (ShapeError, "4 units", lambda: ig.BoltzmannMachine(ig.Spin(3), torch.zeros(4, 4))),
        (ParameterError, "themselves", lambda: ig.BoltzmannMachine(ig.Spin(3), torch.eye(3))),
        (ParameterError, "not symmetric",
         lambda: ig.BoltzmannMachine(ig.Spin(3), torch.ones(3, 3).triu(1))),
        (ParameterError, "themselves",
         lambda: ig.BoltzmannMachine(ig.Categorical(4, groups=2), torch.ones(4, 4))),
        (DomainError, "NaN",
         lambda: ig.BoltzmannMachine(ig.Spin(2), torch.full((2, 2), torch.nan))),
        (ParameterError, "list", lambda: ig.BoltzmannMachine(ig.Spin(2), [[0.0, 1.0]])),
        (ParameterError, "finitely many", lambda: ig.BoltzmannMachine(ig.Gaussian(3))),
        (ParameterError, "fixed draws", lambda: ig.BoltzmannMachine(ig.Multinomial(3, beta=1.0))),
        (ShapeError, "couplings of 2 units",
         lambda: ig.BoltzmannMachine(MIXED, GridCouplings((2, 1)))),
        (ShapeError, "bias", lambda: ig.BoltzmannMachine(ig.Spin(3), None, torch.zeros(2))),
        (ParameterError, "hidden", lambda: ig.BoltzmannMachine(ig.Spin(3), hidden=3)),
        (ParameterError, "hidden", lambda: ig.BoltzmannMachine(ig.Spin(3), hidden=-1)),
        (ParameterError, "side", lambda: ig.BoltzmannMachine.ising(4, 0)),
        (ShapeError, "grid", lambda: ig.BoltzmannMachine.ising(4, 4, coupling=[1.0, 2.0, 3.0])),
        (DomainError, "infinite", lambda: ig.BoltzmannMachine.ising(4, 4, coupling=math.inf)),
        (ParameterError, "components", lambda: ig.BoltzmannMachine.potts(4, 4, states=0)),
        (ParameterError, "twice", lambda: SparseCouplings(3, [(0, 1), (1, 0)])),
        (ParameterError, "different", lambda: SparseCouplings(3, [(1, 1)])),
        (ParameterError, "different", lambda: SparseCouplings(3, [(1, 3)])),
        (ShapeError, "pairs", lambda: SparseCouplings(3, [(0, 1, 2)])),
        (ShapeError, "one for each edge", lambda: SparseCouplings(3, [(0, 1)], torch.ones(2))),
        (ShapeError, "mask", lambda: DenseCouplings(3).masked(torch.ones(2, 2).bool())),
    ]  # fmt: skip
    for error, match, build in wrong:
        with pytest.raises(error, match=match):
            build()


def test_bad_states_and_temperatures(unannotated):
    energy = ig.BoltzmannMachine(ig.Spin(4), symmetric(4), hidden=1)
    for state, error in (
        (torch.full((2, 4), 0.5), DomainError),
        (spins(2, 3), ShapeError),
        (spins(2, 4).float(), DomainError),
        (torch.full((2, 4), torch.nan).double(), DomainError),
    ):
        with pytest.raises(error):
            ig.run(ig.BlockGibbs(), energy, state, steps=1, temperature=1.0)
    for call in (
        lambda: energy.sweep(spins(2, 4), -1.0),
        lambda: energy.sweep(spins(2, 4), 1.0, sweeps=0),
        lambda: energy.exact_log_partition(0.0),
        lambda: energy.path(-1.0),
        lambda: energy.free_energy(spins(2, 3), 0.0),
    ):
        with pytest.raises(ParameterError):
            call()
    with pytest.raises(DomainError, match="Spin"):
        energy.free_energy(torch.zeros(2, 3).double())
    with pytest.raises(IntractableError, match="ais"):
        ig.BoltzmannMachine(ig.Spin(30)).exact_log_partition()
    with pytest.raises(IntractableError, match="ais"):
        ig.BoltzmannMachine.potts(20, 20, states=3).exact_log_partition()
    with pytest.raises(IntractableError, match="couplings"):
        ig.run(
            ig.Asynchronous(), ig.BoltzmannMachine.ising(128, 128), torch.ones(1, 128**2),
            steps=1, temperature=1.0,
        )  # fmt: skip


def test_couplings_without_values_are_named():
    with pytest.raises(DomainError, match="without values, on meta"):
        ig.BoltzmannMachine(ig.Spin(4), torch.zeros(4, 4, device="meta"))
