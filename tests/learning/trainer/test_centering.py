"""The centered gradient is that of the centered machine, and does not care where zero is."""

import pytest
import torch
from torch import Tensor

import isinglass as ig
from isinglass.learning import ExactGradient, centered_step, fit
from isinglass.learning.trainer.centering import layer_means
from tests.cases import double, randomized
from tests.seeds import seeded


def explicit_step(deep: ig.Harmonium, data: Tensor, offsets: list[Tensor], rate: float) -> None:
    """One step in the parameters of the centered machine: W and b̃ = b + Σ W μ, by autograd."""
    weights = [w.detach().clone().requires_grad_() for w in deep.weights]

    def shifts(sign: int, couplings: list[Tensor]) -> list[Tensor]:
        total = [torch.zeros_like(b) for b in deep.biases]
        for (first, second), weight in zip(deep.couplings, couplings, strict=True):
            total[first] = total[first] + sign * offsets[second] @ weight
            total[second] = total[second] + sign * weight @ offsets[first]
        return total

    tilde = [
        (b.detach() + shift).detach().requires_grad_()
        for b, shift in zip(deep.biases, shifts(1, weights), strict=True)
    ]
    biases = [b + shift for b, shift in zip(tilde, shifts(-1, weights), strict=True)]
    names = [name for name, _ in deep.named_parameters()]

    def loss(visible: Tensor) -> Tensor:
        energy = torch.func.functional_call(
            deep, dict(zip(names, [*weights, *biases], strict=True)), (visible,)
        )
        return energy.mean()

    grads = torch.autograd.grad(loss(data), [*weights, *tilde])
    with torch.no_grad():
        new = [p - rate * g for p, g in zip([*weights, *tilde], grads, strict=True)]
        for weight, value in zip(deep.weights, new[: len(weights)], strict=True):
            weight.copy_(value)
        moved = shifts(-1, new[: len(weights)])
        for bias, value, shift in zip(deep.biases, new[len(weights) :], moved, strict=True):
            bias.copy_(value + shift)


@pytest.mark.parametrize(
    "layers",
    [
        ([ig.Bernoulli(3), ig.Bernoulli(2)], [(0, 1)]),
        ([ig.Spin(3), ig.Bernoulli(2), ig.Gaussian(2)], [(0, 1), (1, 2), (2, 0)]),
    ],
    ids=["two layers", "a triangle"],
)
def test_steps_are_those_of_the_centered_machine(layers):
    """Any offsets, changing from step to step, on joint states of every layer."""
    own, theirs = (randomized(ig.Harmonium(*layers)) for _ in range(2))
    size = sum(layer.size for layer in layers[0])
    for step in range(5):
        states = double(6, size, seed=step)
        offsets = [double(a.size, seed=10 * step + i) for i, a in enumerate(layers[0])]
        own.zero_grad()
        own(states).mean().backward()
        with centered_step(own, offsets):
            torch.optim.SGD(own.parameters(), lr=0.1).step()
        explicit_step(theirs, states, offsets, 0.1)
        for one, other in zip(own.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def flipped(rbm: ig.RBM) -> ig.RBM:
    """The machine that finds 1 − v what this one finds v."""
    other = ig.RBM(*rbm.layers).double()
    with torch.no_grad():
        other.weights[0].copy_(-rbm.weight)
        other.biases[0].copy_(-rbm.biases[0])
        other.biases[1].copy_(rbm.biases[1] + rbm.weight.sum(-1))
    return other


@pytest.mark.slow
@pytest.mark.parametrize("centered", [True, False])
def test_learning_does_not_see_flipped_bits_if_centered(centered):
    """Flipping all bits of the data: the same likelihoods, step by step; and not so uncentered."""
    rbm = randomized(ig.RBM(ig.Bernoulli(5), ig.Bernoulli(3)), scale=0.3)
    other = flipped(rbm)
    data = (double(40, 5) > 1).double()
    settings = {
        "objective": ExactGradient(), "epochs": 10, "batch_size": 10, "progress": False,
        "centered": centered, "optimizer": lambda p: torch.optim.SGD(p, lr=0.3),
    }  # fmt: skip
    own = fit(rbm, data, generator=seeded(), **settings)["log-likelihood"]
    theirs = fit(other, 1 - data, generator=seeded(), **settings)["log-likelihood"]
    same = all(abs(a - b) < 1e-9 for a, b in zip(own, theirs, strict=True))
    assert same == centered
    assert own[-1] > own[0]


@pytest.mark.parametrize("persistent", [True, False])
def test_offsets_lie_halfway_between_data_and_model(persistent):
    rbm = randomized(ig.RBM(ig.Bernoulli(4), ig.Spin(3)))
    data = (double(20, 4) > 0).double()
    every = rbm.visible.enumerate_states()
    weights = torch.softmax(-rbm.free_energy(every), 0).detach()
    hidden = [rbm.layers[1].mean(v @ rbm.weight.mT + rbm.biases[1]).detach() for v in (data, every)]
    expected = [
        (data.mean(0) + weights @ every) / 2,
        (hidden[0].mean(0) + weights @ hidden[1]) / 2,
    ]
    chains = None
    if persistent:  # a set of chains whose means are the model's
        chains = torch.cat([weights @ every, weights @ hidden[1]])[None]
    ExactGradient().loss(rbm, data, {})[0].backward()
    for one, other in zip(layer_means(rbm, data, chains), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_an_optimizer_of_its_own_mind_steps_in_the_centered_parameters():
    """Adam on (W, b̃) of a machine written out with its offsets, three steps."""
    own = randomized(ig.RBM(ig.Bernoulli(3), ig.Bernoulli(2)))
    offsets, states = [double(3, seed=1), double(2, seed=2)], double(6, 5)
    weight, below, above = (p.detach().clone() for p in own.parameters())
    tilde = [weight, below + offsets[1] @ weight, above + weight @ offsets[0]]
    tilde = [value.requires_grad_() for value in tilde]
    optimizers = [torch.optim.Adam(p, lr=0.1) for p in (list(own.parameters()), tilde)]
    v, h = states.split([3, 2], -1)
    signs = torch.tensor([1.0, 1, 1, -1, -1, -1]).double() / 3  # data and fantasies
    for _ in range(3):
        own.zero_grad()
        (own(states) * signs).sum().backward()
        with centered_step(own, offsets):
            optimizers[0].step()
        agreement = ((h - offsets[1]) @ tilde[0] * (v - offsets[0])).sum(-1)
        optimizers[1].zero_grad()
        (-(agreement + v @ tilde[1] + h @ tilde[2]) * signs).sum().backward()
        optimizers[1].step()
    with torch.no_grad():
        expected = [
            tilde[0], tilde[1] - offsets[1] @ tilde[0], tilde[2] - tilde[0] @ offsets[0]
        ]  # fmt: skip
    for one, other in zip(own.parameters(), expected, strict=True):
        torch.testing.assert_close(one.detach(), other, rtol=0, atol=1e-9)


def test_parameters_without_a_gradient_are_left_out():
    deep = randomized(
        ig.Harmonium([ig.Bernoulli(3), ig.Bernoulli(2), ig.Bernoulli(2)], [(0, 1), (1, 2)])
    )
    deep.weights[1].requires_grad_(False)
    deep(double(4, 7)).mean().backward()
    kept = deep.weights[1].clone()
    with centered_step(deep, [torch.ones(n).double() for n in (3, 2, 2)]):
        torch.optim.SGD(deep.parameters(), lr=0.1).step()
    assert deep.weights[1].grad is None
    assert torch.equal(deep.weights[1], kept)


@pytest.mark.parametrize("frozen", [0, 1])
def test_what_is_frozen_stays(frozen):
    rbm = randomized(ig.RBM(ig.Bernoulli(4), ig.Bernoulli(3)))
    rbm.biases[frozen].requires_grad_(False)
    held, weight = rbm.biases[frozen].detach().clone(), rbm.weight.detach().clone()
    data = double(20, 4).gt(0).double()
    fit(rbm, data, epochs=2, batch_size=10, progress=False, generator=seeded())
    assert torch.equal(rbm.biases[frozen], held)
    assert not torch.equal(rbm.weight, weight)


def test_offsets_are_half_way_between_data_and_model_at_every_temperature():
    """Two draws of β = 0.7 make T = 1/1.4: the bias' gradient is the difference over T."""
    machine = randomized(ig.HopfieldBoltzmann(ig.Spin(4), 3, groups=2, draws=2, beta=0.7))
    data = double(30, 4).sign()
    chains = machine.sweep(machine.extend(double(50, 4, seed=1).sign()), machine.temperature)
    machine.contrastive_loss(data, chains).backward()
    with torch.no_grad():
        on_data = [data.mean(0), machine.mean_sweep(machine.extend(data), machine.temperature)]
        of_data = machine.split(on_data[1])[1].mean(0)
        hidden = machine.conditional_field(chains, 1)
        of_model = machine.layers[1].mean(hidden, machine.temperature).mean(0)
    visible, memories = layer_means(machine, data, None)
    torch.testing.assert_close(visible, (on_data[0] + machine.split(chains)[0].mean(0)) / 2)
    torch.testing.assert_close(memories, (of_data + of_model) / 2)
