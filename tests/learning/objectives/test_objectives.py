"""Objectives have the gradient of the likelihood, exactly or in expectation."""

import copy

import pytest
import torch
from torch import Tensor

import isinglass as ig
from isinglass.errors import IntractableError, ParameterError
from isinglass.learning import (
    ContrastiveDivergence,
    ExactGradient,
    ExpectationMaximization,
    PersistentCD,
    PseudoLikelihood,
    TemperedPCD,
    contrastive_loss,
    em_step,
    pseudo_log_likelihood,
    seed_memories,
)
from tests.cases import double, hopfield_boltzmann, randomized, spins
from tests.seeds import seeded

MACHINES = {
    "bits": lambda: ig.RBM(ig.Bernoulli(4), ig.Bernoulli(3)),
    "spins and bits": lambda: ig.RBM(ig.Spin(4), ig.Bernoulli(2)),
    "spins and Gaussians": lambda: ig.RBM(ig.Spin(4), ig.Gaussian(2)),
    "one-hot": lambda: ig.RBM(ig.Categorical(6, groups=2), ig.Bernoulli(2)),
    "two hidden layers": lambda: ig.Harmonium(
        [ig.Bernoulli(3), ig.Bernoulli(2), ig.Spin(2)], [(0, 1), (0, 2)]
    ),
    "memories": lambda: ig.HopfieldBoltzmann(ig.Spin(4), memories=3, groups=2, beta=0.7),
    "memories, two draws": lambda: ig.HopfieldBoltzmann(
        ig.Bernoulli(3), memories=2, draws=2, beta=2.0
    ),
}


def machine(name: str) -> ig.Harmonium:
    return randomized(MACHINES[name]())


def visible_states(rbm: ig.Harmonium) -> Tensor:
    return rbm.visible.enumerate_states(rbm.temperature)


def examples(rbm: ig.Harmonium, count: int = 12) -> Tensor:
    every = visible_states(rbm)
    return every[torch.randint(len(every), (count,), generator=seeded(3))]


def log_likelihood(rbm: ig.Harmonium, data: Tensor) -> Tensor:
    """By its definition: every visible state enumerated."""
    log_weights = -rbm.free_energy(visible_states(rbm)) / rbm.temperature
    return (-rbm.free_energy(data) / rbm.temperature - log_weights.logsumexp(0)).mean()


def gradients(loss: Tensor, rbm: ig.Energy) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(rbm.parameters())))


def assert_same(found: list[Tensor], expected: list[Tensor], tolerance: float = 1e-9) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", MACHINES)
def test_exact_gradient_is_that_of_enumeration(name):
    rbm = machine(name)
    data = examples(rbm)
    expected = log_likelihood(rbm, data)
    loss, memory = ExactGradient().loss(rbm, data, {})
    assert memory == {}
    torch.testing.assert_close(loss, -expected, rtol=0, atol=1e-9)
    assert_same(gradients(loss, rbm), gradients(-expected, rbm))


@pytest.mark.parametrize("name", MACHINES)
def test_contrast_has_the_gradient_of_the_free_energies(name):
    """The fused products of two-sided machines against autograd of F, in float64."""
    rbm = machine(name)
    data, fantasies = examples(rbm), visible_states(rbm)[::2]
    state = rbm.extend(fantasies)
    expected = contrastive_loss(rbm.marginal(), data, fantasies) / rbm.temperature
    assert_same(gradients(rbm.contrastive_loss(data, state), rbm), gradients(expected, rbm))


@pytest.mark.parametrize("name", MACHINES)
def test_persistent_contrast_is_the_contrast_where_the_chains_arrive(name):
    """One product of fields serves the slope and the draw: held against the chains themselves."""
    rbm = machine(name)
    data, state = examples(rbm), rbm.extend(visible_states(rbm)[::2])
    state = rbm.sweep(state, rbm.temperature, seeded(1))
    loss, moved = rbm.persistent_contrastive_loss(data, state, 2, seeded(2))
    expected = contrastive_loss(rbm.marginal(), data, rbm.visible_part(moved)) / rbm.temperature
    assert_same(gradients(loss, rbm), gradients(expected, rbm))
    rbm.check_state(moved)
    parts, generator = list(rbm.split(state)), seeded(2)
    for _ in range(2):  # visible units given hidden ones, then these
        for index, layer in enumerate(rbm.layers):
            field = rbm.conditional_field(torch.cat(parts, -1), index)
            parts[index] = layer.sample(field, rbm.temperature, generator)
    torch.testing.assert_close(moved, torch.cat(parts, -1))


def test_a_contrast_can_be_scaled_and_gone_back_through_twice():
    rbm = machine("bits")
    loss = rbm.contrastive_loss(examples(rbm), rbm.extend(visible_states(rbm)))
    once = torch.autograd.grad(3 * loss, list(rbm.parameters()), retain_graph=True)
    again = torch.autograd.grad(loss, list(rbm.parameters()))
    assert_same([slope / 3 for slope in once], list(again))


def test_contrast_of_a_deep_machine_is_left_to_its_energies():
    deep = ig.DeepBoltzmann(
        [ig.Bernoulli(3), ig.Bernoulli(2), ig.Bernoulli(2)], generator=seeded()
    ).double()
    data, state = torch.ones(2, 3).double(), torch.ones(2, 7).double()
    expected = deep.positive_phase(data).mean() - deep.negative_phase(state).mean()
    torch.testing.assert_close(deep.contrastive_loss(data, state), expected)


@pytest.mark.parametrize("objective", [PersistentCD(3, 4000), TemperedPCD(4, 1, 1000)])
@pytest.mark.parametrize("name", ["bits", "spins and bits", "one-hot", "memories"])
def test_persistent_chains_have_the_gradient_of_the_likelihood(name, objective):
    rbm = machine(name)
    data, generator = examples(rbm), seeded(1)
    memory = objective.init(rbm, data, generator)
    for _ in range(15):  # the chains forget where they began: these weights mix fast
        loss, memory = objective.loss(rbm, data, memory, generator)
    # A mean of n independent numbers between −1 and 1, over T: 5 standard errors at most.
    tolerance = 5 / objective.chains**0.5 / rbm.temperature
    assert_same(gradients(loss, rbm), gradients(-log_likelihood(rbm, data), rbm), tolerance)


def test_contrastive_divergence_is_the_mean_over_reconstructions():
    """k = 1 by enumeration of all hidden and visible states: an expectation, not a sample."""
    rbm = machine("bits")
    data = examples(rbm, 3)
    every_v, every_h = visible_states(rbm), rbm.layers[1].enumerate_states()
    hidden = torch.sigmoid(data @ rbm.weights[0].mT + rbm.biases[1]).detach()
    p_h = (hidden[:, None] * every_h + (1 - hidden[:, None]) * (1 - every_h)).prod(-1)
    on = torch.sigmoid(every_h @ rbm.weights[0] + rbm.biases[0]).detach()
    p_v = (on[:, None] * every_v + (1 - on[:, None]) * (1 - every_v)).prod(-1)
    probability = (p_h @ p_v).mean(0)
    expected = rbm.free_energy(data).mean() - probability @ rbm.free_energy(every_v)
    many = data.repeat(20_000, 1)
    loss, _ = ContrastiveDivergence(steps=1).loss(rbm, many, {}, seeded(2))
    assert_same(gradients(loss, rbm), gradients(expected, rbm), 5 / len(many) ** 0.5)


def test_more_steps_of_contrastive_divergence_come_nearer_to_the_likelihood():
    rbm = randomized(MACHINES["bits"](), scale=1.2)
    data = examples(rbm, 1).repeat(20_000, 1)
    truth = torch.cat([g.flatten() for g in gradients(-log_likelihood(rbm, data), rbm)])

    def error(steps: int) -> float:
        loss, _ = ContrastiveDivergence(steps).loss(rbm, data, {}, seeded(2))
        return float((torch.cat([g.flatten() for g in gradients(loss, rbm)]) - truth).norm())

    assert error(1) > 3 * error(5)


def flipped_one_by_one(rbm: ig.Energy, kind: ig.Unit, data: Tensor) -> Tensor:
    """The slow reference: unit after unit, state after state."""
    one, total = kind.with_count(1).enumerate_states(rbm.temperature), []
    for row in data:
        found = torch.zeros((), dtype=torch.float64)
        for unit in range(len(row) // one.shape[-1]):
            columns = slice(unit * one.shape[-1], (unit + 1) * one.shape[-1])
            weights = []
            for state in one:
                other = row.clone()
                other[columns] = state
                weights.append(-rbm.free_energy(other) / rbm.temperature)
            here = -rbm.free_energy(row) / rbm.temperature
            found = found + here - torch.stack(weights).logsumexp(0)
        total.append(found)
    return torch.stack(total)


@pytest.mark.parametrize("name", MACHINES)
def test_pseudo_likelihood_is_its_formula(name):
    rbm = machine(name)
    data = examples(rbm, 5)
    expected = flipped_one_by_one(rbm, rbm.visible, data)
    torch.testing.assert_close(pseudo_log_likelihood(rbm, data), expected, rtol=0, atol=1e-9)
    loss, _ = PseudoLikelihood().loss(rbm, data, {})
    assert_same(gradients(loss, rbm), gradients(-expected.mean(), rbm))


def test_pseudo_likelihood_without_hidden_units():
    ising = ig.BoltzmannMachine(ig.Spin(5), generator=seeded()).double()
    data = spins(6, 5)
    expected = flipped_one_by_one(ising, ising.unit, data)
    torch.testing.assert_close(pseudo_log_likelihood(ising, data), expected, rtol=0, atol=1e-9)


def test_pseudo_likelihood_of_mixed_columns():
    columns = ig.Mixed([ig.Bernoulli(2), ig.Categorical(3), ig.Spin(1)])
    rbm = randomized(ig.RBM(columns, ig.Bernoulli(2)))
    data = torch.tensor([[1.0, 0, 0, 1, 0, -1], [0, 0, 1, 0, 0, 1]]).double()
    whole = torch.tensor([0, 1, 2, 5])  # the first column of each unit
    found = pseudo_log_likelihood(rbm, data)
    total = torch.zeros(2, dtype=torch.float64)
    for first in whole.tolist():
        others = [data.clone() for _ in range(3 if first == 2 else 2)]
        for number, other in enumerate(others):
            if first == 2:
                other[:, 2:5] = torch.eye(3)[number].double()
            else:
                other[:, first] = [-1.0 if first == 5 else 0.0, 1.0][number]
        weights = torch.stack([-rbm.free_energy(other) for other in others])
        total = total - rbm.free_energy(data) - weights.logsumexp(0)
    torch.testing.assert_close(found, total, rtol=0, atol=1e-9)


def test_some_sites_stand_for_all_in_the_mean():
    rbm = machine("bits")
    row = examples(rbm, 1)
    exact = float(pseudo_log_likelihood(rbm, row).detach())
    rows = row.expand(20_000, -1)
    some = pseudo_log_likelihood(rbm, rows, sites=2, generator=seeded(1)).detach()
    assert abs(float(some.mean()) - exact) < 5 * float(some.std()) / len(rows) ** 0.5
    assert float(some.std()) > 0.01


@pytest.mark.parametrize("unit", [ig.Spin(4), ig.Bernoulli(4), ig.Gaussian(2)], ids=str)
def test_expectation_maximization_steps_as_em_does(unit):
    learner = hopfield_boltzmann(unit)
    data = unit.sample(2 * double(30, unit.size), 1.0)
    seed_memories(learner, data, seeded())
    twin = copy.deepcopy(learner)
    objective = ExpectationMaximization(pseudo_count=0.5)
    optimizer = objective.optimizer(learner.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        loss, _ = objective.loss(learner, data, {})
        loss.backward()
        optimizer.step()
        before = em_step(twin, data, pseudo_count=0.5)
        assert float(loss.detach()) == pytest.approx(-before, abs=1e-9)
    assert_same([p.detach() for p in learner.parameters()], [p.detach() for p in twin.parameters()])


def test_what_an_objective_cannot_do_is_named():
    rbm, data = ig.RBM(ig.Gaussian(2), ig.Bernoulli(2)), torch.ones(3, 2)
    with pytest.raises(IntractableError, match="infinitely many"):
        PseudoLikelihood().loss(rbm, data, {})
    with pytest.raises(IntractableError, match="states are left"):
        ExactGradient().loss(ig.RBM(ig.Bernoulli(50), ig.Bernoulli(50)), torch.ones(3, 50), {})
    with pytest.raises(ParameterError, match="PersistentCD"):
        ExpectationMaximization().loss(rbm, data, {})
    deep = ig.DeepEnergy(torch.nn.Linear(2, 1), 2)
    with pytest.raises(IntractableError, match="no energy of units"):
        pseudo_log_likelihood(deep, data)


@pytest.mark.parametrize(
    "build",
    [
        lambda: PersistentCD(steps=0),
        lambda: PersistentCD(chains=1.5),
        lambda: ContrastiveDivergence(-1),
        lambda: TemperedPCD(levels=1),
        lambda: PseudoLikelihood(sites=0),
        lambda: ExpectationMaximization(pseudo_count=-1.0),
    ],
)
def test_settings_out_of_range_are_refused(build, unannotated):
    with pytest.raises(ParameterError):
        build()


@pytest.mark.parametrize(
    "machine", [ig.BoltzmannMachine(ig.Spin(5)), ig.RBM(ig.Spin(3), ig.Spin(2))]
)
def test_persistent_chains_draw_from_the_generator_alone(machine):
    data = torch.ones(4, 5)[:, : machine.layers[0].size]
    chains = torch.ones(4, 5)
    moved = []
    for other in (0, 1):
        torch.manual_seed(other)  # of no consequence
        moved.append(machine.persistent_contrastive_loss(data, chains, 3, seeded(2))[1])
    assert torch.equal(*moved)
