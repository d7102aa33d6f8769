"""The Krotov–Hopfield classifier: the paper's formula, its gradient, and what its twin shares."""

import math

import numpy as np
import pytest
import torch

import isinglass as ig
from isinglass.energies import Exponential, Power
from isinglass.errors import DomainError, ParameterError, ShapeError
from tests.cases import double
from tests.seeds import seeded

INTERACTIONS = [Power(2), Power(3, scale=1.5), Power(3, rectified=False), Power(6), Exponential()]


def classifier(interaction=Power(3), label_weight=1.0, std=0.4) -> ig.DenseClassifier:  # noqa: B008
    made = ig.DenseClassifier(
        7, 3, 12, interaction=interaction, std=std, generator=seeded(1)
    ).double()
    made.memories.data[:, 7:] *= label_weight
    return made


@pytest.mark.parametrize("interaction", INTERACTIONS, ids=str)
def test_label_fields_are_energy_differences(interaction):
    made, inputs = classifier(interaction), double(20, 7)
    off = torch.cat([inputs, -torch.ones(20, 3).double()], -1)
    on = off.unsqueeze(-2).repeat(1, 3, 1)
    on[:, range(3), range(7, 10)] = 1.0
    expected = (made(off).unsqueeze(-1) - made(on)) / 2
    torch.testing.assert_close(made.label_field(inputs), expected, rtol=1e-10, atol=1e-10)


def test_labels_are_the_paper_s_formula():
    """c_α = tanh(β Σ_μ [F(ξ_μα − Σ_{γ≠α} ξ_μγ + ξ_μ·v) − F(−ξ_μα − Σ_{γ≠α} ξ_μγ + ξ_μ·v)])."""
    n, temperature = 3, 1.7
    made, inputs = classifier(Power(n, scale=temperature)), double(5, 7)
    memories = made.memories.detach().numpy()
    for v, found in zip(inputs.numpy(), made.labels(inputs).tolist(), strict=True):
        for alpha in range(3):
            total = 0.0
            for xi in memories:
                rest = xi[:7] @ v - sum(xi[7 + g] for g in range(3) if g != alpha)
                high, low = max(rest + xi[7 + alpha], 0) ** n, max(rest - xi[7 + alpha], 0) ** n
                total += high - low
            assert math.isclose(found[alpha], np.tanh(total / temperature**n), rel_tol=1e-10)


@pytest.mark.parametrize("interaction", INTERACTIONS, ids=str)
def test_twin_is_the_slope_of_the_energy_at_labels_of_zero(interaction):
    """Exact for every F: the net's hidden layer and read-out are −∂E/∂c at c = 0."""
    made, inputs = classifier(interaction), double(20, 7)
    undecided = torch.cat([inputs, torch.zeros(20, 3).double()], -1)
    expected = (-2 * made.grad(undecided)[:, 7:]).tanh()
    torch.testing.assert_close(made.twin()(inputs), expected, rtol=1e-10, atol=1e-10)


def averaged_slope(made: ig.DenseClassifier, inputs: torch.Tensor, nodes: int) -> torch.Tensor:
    """½ ∫ −∂E/∂c_α dc_α from −1 to 1, the other labels at −1, by Gauss–Legendre."""
    state = torch.cat([inputs, -torch.ones(len(inputs), 3).double()], -1).unsqueeze(-2)
    total = torch.zeros(len(inputs), 3).double()
    for node, weight in zip(*np.polynomial.legendre.leggauss(nodes), strict=True):
        moved = state.repeat(1, 3, 1)
        moved[:, range(3), range(7, 10)] = node
        total += weight / 2 * -made.grad(moved)[:, range(3), range(7, 10)]
    return total


@pytest.mark.parametrize("degree", [2, 3, 4, 5, 6])
def test_the_energy_difference_is_feed_forward_nets_averaged(degree):
    """Exact with ⌈n/2⌉ of them for powers, and not with fewer."""
    made, inputs = classifier(Power(degree, rectified=False)), double(20, 7)
    nodes = math.ceil(degree / 2)
    expected = made.label_field(inputs)
    torch.testing.assert_close(
        averaged_slope(made, inputs, nodes), expected, rtol=1e-10, atol=1e-10
    )
    if nodes > 1:
        assert (averaged_slope(made, inputs, nodes - 1) - expected).abs().max() > 1e-3


def test_so_it_is_where_no_rectified_overlap_changes_sign():
    made, inputs = classifier(Power(4), label_weight=0.05), double(400, 7)
    state = torch.cat([inputs, torch.zeros(400, 3).double()], -1)
    overlap = (state @ made.memories.mT).abs().amin(-1)
    clear = overlap > made.memories[:, 7:].abs().sum(-1).max()
    assert clear.sum() > 10
    found, expected = averaged_slope(made, inputs, 2), made.label_field(inputs)
    torch.testing.assert_close(found[clear], expected[clear], rtol=1e-10, atol=1e-10)


def test_degree_two_is_its_twin_but_for_a_constant_a_label():
    made, inputs = classifier(Power(2, rectified=False), std=0.1), double(20, 7)
    on = made.memories[:, 7:]
    constant = -4 * (on * (on.sum(-1, keepdim=True) - on)).sum(0)
    gap = made.labels(inputs).atanh() - made.twin()(inputs).atanh()
    torch.testing.assert_close(gap, constant.expand(20, 3), rtol=0.0, atol=1e-10)


@pytest.mark.parametrize("interaction", INTERACTIONS, ids=str)
def test_twin_is_exact_to_first_order_in_label_weights(interaction):
    """Half the label weights: half the field, and a quarter of what the twin misses."""
    inputs, misses = double(200, 7), []
    for label_weight in (2e-4, 1e-4):
        made = classifier(interaction, label_weight=label_weight)
        field, twin = 2 * made.label_field(inputs), made.twin()(inputs).atanh()
        misses.append((field - twin).norm())
        assert misses[-1] < 0.01 * twin.norm()
    assert 3.9 < misses[0] / misses[1] < 4.1


def test_loss_is_the_paper_s_or_the_likelihood_of_the_label_spins():
    made, inputs, targets = classifier(std=0.1), double(10, 7), torch.arange(10) % 3
    sign = 2 * torch.nn.functional.one_hot(targets, 3) - 1.0
    paper = (made.labels(inputs) - sign).abs().pow(6).sum(-1)
    torch.testing.assert_close(made.loss(inputs, targets, exponent=6), paper)
    up = ig.Spin(3).mean(made.label_field(inputs), 0.5) / 2 + 0.5
    likelihood = torch.where(sign > 0, up, 1 - up).log().sum(-1)
    torch.testing.assert_close(made.loss(inputs, targets), -likelihood)


@pytest.mark.parametrize("interaction", INTERACTIONS, ids=str)
def test_gradients_reach_the_memories(interaction):
    made, inputs, targets = classifier(interaction), double(4, 7), torch.tensor([0, 1, 2, 0])

    def loss(memories: torch.Tensor) -> torch.Tensor:
        memory = {"memories": memories}
        return torch.func.functional_call(made, memory, (inputs, targets))

    made.forward = made.loss
    assert torch.autograd.gradcheck(loss, made.memories.detach().requires_grad_())


@pytest.mark.parametrize("twin", [False, True])
def test_exclusive_or_is_learned_in_a_plain_torch_loop(twin):
    """No feature alone says anything; the twin learns the same memories."""
    inputs = torch.tensor([[-1.0, -1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, 1]])
    targets = torch.tensor([0, 1, 1, 0])
    made = ig.DenseClassifier(3, 2, memories=8, std=0.3, generator=seeded())
    sign = 2 * torch.nn.functional.one_hot(targets, 2) - 1.0
    optimizer = torch.optim.Adam(made.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        losses = (made.twin()(inputs) - sign).square() if twin else made.loss(inputs, targets)
        losses.mean().backward()
        optimizer.step()
    answers = (made.twin()(inputs) if twin else made.labels(inputs)).argmax(-1)
    assert torch.equal(answers, targets)


def test_shapes_and_vmap():
    made, inputs = classifier(), double(2, 5, 7)
    assert made.labels(inputs).shape == made.twin()(inputs).shape == (2, 5, 3)
    assert made.labels(inputs[0, 0]).shape == (3,)
    torch.testing.assert_close(torch.vmap(made.labels)(inputs), made.labels(inputs))


def test_bad_input():
    made, inputs, targets = classifier(), double(4, 7), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ShapeError, match=r"\(\*batch, 7\).*\(4, 10\)"):
        made.labels(double(4, 10))
    with pytest.raises(ShapeError, match=r"\(\*batch, 10\).*\(4, 7\)"):
        made(inputs)
    with pytest.raises(ShapeError, match=r"targets of shape \(3,\)"):
        made.loss(inputs, targets[:3])
    for wrong, found in (([0, 1, 2, 3], "from 0 to 3"), ([0, 1, 2, -1], "from -1 to 2")):
        with pytest.raises(DomainError, match=found):
            made.loss(inputs, torch.tensor(wrong))
    with pytest.raises(DomainError, match=r"targets of torch.float64.*long"):
        made.loss(inputs, targets.double())
    with pytest.raises(ParameterError, match="exponent"):
        made.loss(inputs, targets, exponent=0)
    with pytest.raises(DomainError, match="NaN"):
        made.check_state(torch.full((1, 10), float("nan")).double())
    with pytest.raises(ParameterError, match="memories"):
        ig.DenseClassifier(7, 3, 0)
    with pytest.raises(ParameterError, match="belong to interaction='power'"):
        ig.DenseClassifier(7, 3, 5, degree=3, interaction="exp")


def test_bad_states_are_named_at_every_door(unannotated):
    made, targets = classifier(), torch.zeros(4, dtype=torch.int64)
    doors = [made.labels, made.label_field, made.twin(), lambda x: made.loss(x, targets)]
    for door in doors:
        with pytest.raises(DomainError, match=r"float32.*float64"):
            door(torch.zeros(4, 7))
        with pytest.raises(DomainError, match="type list"):
            door([[0.0] * 7] * 4)
    with pytest.raises(DomainError, match=r"float32.*float64"):
        made(torch.zeros(4, 10))
    for mean in ("a", math.nan, math.inf):
        with pytest.raises(ParameterError, match="mean"):
            ig.DenseClassifier(7, 3, 5, mean=mean)


def test_loading_draws_nothing(tmp_path):
    made = ig.DenseClassifier(7, 3, 5, mean=-0.3)
    ig.save(made, tmp_path / "memories.safetensors")
    before = torch.get_rng_state()
    loaded = ig.load(tmp_path / "memories.safetensors")
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(loaded, ig.DenseClassifier)
    assert torch.equal(loaded.memories, made.memories)
    assert (ig.DenseClassifier(7, 3, 5, mean=-0.3, std=0.0).memories == -0.3).all()
