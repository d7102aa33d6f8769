"""Converters: the same energies up to the constant they return, and back again."""

import pytest
import torch

import isinglass as ig
from isinglass.energies import (
    Hebb,
    Perceptron,
    PseudoInverse,
    Storkey,
    to_classical,
    to_gaussian_rbm,
    to_hopfield_boltzmann,
    to_modern,
)
from isinglass.errors import IntractableError, ParameterError
from tests.cases import double, hopfield_boltzmann, randomized, spins
from tests.seeds import seeded

EXACT = {"atol": 1e-10, "rtol": 0.0}
ALL = ig.Spin(10).enumerate_states()


def dreamt() -> ig.ClassicalHopfield:
    memory = ig.ClassicalHopfield(spins(3, 10, seed=1))
    memory.dream(5, 0.1, seeded(0))
    return memory


CLASSICAL = {
    "Hebb": lambda: ig.ClassicalHopfield(spins(3, 10, seed=1)),
    "Hebb, more patterns than spins": lambda: ig.ClassicalHopfield(spins(14, 10, seed=1)),
    "Storkey": lambda: ig.ClassicalHopfield(spins(3, 10, seed=1), Storkey()),
    "PseudoInverse": lambda: ig.ClassicalHopfield(spins(3, 10, seed=1), PseudoInverse()),
    "Perceptron": lambda: ig.ClassicalHopfield(spins(3, 10, seed=1), Perceptron(0.1)),
    "Hebb after dreams": dreamt,
}


@pytest.mark.parametrize("temperature", [0.3, 1.0])
@pytest.mark.parametrize("name", CLASSICAL)
def test_a_classical_net_is_an_rbm_of_gaussian_units(name, temperature):
    memory = CLASSICAL[name]()
    rbm, constant = to_gaussian_rbm(memory, temperature)
    with torch.no_grad():
        found = rbm.free_energy(ALL, temperature) + constant
        torch.testing.assert_close(found, memory(ALL), **EXACT)
        back, other = to_classical(rbm, memory.patterns, memory.rule, temperature)
        torch.testing.assert_close(back(ALL) + other, rbm.free_energy(ALL, temperature), **EXACT)
    torch.testing.assert_close(back.weight, memory.weight, **EXACT)
    assert torch.equal(back.patterns, memory.patterns)
    assert back.rule == memory.rule
    assert abs(constant + other) < 1e-10


def test_with_hebb_the_patterns_are_the_weights_and_need_not_be_given():
    memory = CLASSICAL["Hebb"]()
    rbm, _ = to_gaussian_rbm(memory)
    assert torch.equal(rbm.weight, memory.patterns)
    assert torch.equal(to_classical(rbm)[0].patterns, memory.patterns)


def test_couplings_of_nothing_are_an_rbm_too():
    memory = ig.ClassicalHopfield(torch.ones(1, 10).double())
    memory.unlearn(torch.ones(1, 10).double())
    rbm, constant = to_gaussian_rbm(memory)
    torch.testing.assert_close((rbm.free_energy(ALL) + constant).detach(), memory(ALL), **EXACT)


def test_biases_that_cancel_are_no_field():
    rbm = randomized(ig.RBM(ig.Spin(10), ig.Gaussian(3)))
    with torch.no_grad():
        rbm.biases[0].copy_(-rbm.biases[1] @ rbm.weight)
        memory, constant = to_classical(rbm, spins(2, 10))
        torch.testing.assert_close(memory(ALL) + constant, rbm.free_energy(ALL), **EXACT)


def test_block_gibbs_on_the_rbm_samples_the_net(generator):
    """Spins that are drawn all at once have the classical net's own means."""
    memory = ig.ClassicalHopfield(spins(2, 4, seed=3))
    rbm, _ = to_gaussian_rbm(memory)
    states = ig.Spin(4).enumerate_states()
    weights = torch.softmax(-memory(states) / 3.0, 0)
    start = states[torch.multinomial(weights, 20_000, replacement=True, generator=generator)]
    chains = ig.run(
        ig.BlockGibbs(), rbm, rbm.extend(start),
        steps=2, temperature=3.0, generator=generator,
    )  # fmt: skip
    pairs = torch.einsum("ni,nj->nij", rbm.visible_part(chains), rbm.visible_part(chains)).mean(0)
    expected = torch.einsum("n,ni,nj->ij", weights, states, states)
    assert ((pairs - expected).abs() < 5 / 20_000**0.5).all()


@pytest.mark.parametrize("draws", [1, 4])
@pytest.mark.parametrize("constants", [False, True])
def test_a_modern_net_is_a_machine_of_one_group(draws, constants):
    memory = ig.ModernHopfield(double(5, 3), beta=1.7, constants=constants)
    machine, constant = to_hopfield_boltzmann(memory, draws)
    state = double(20, 3, seed=1, scale=2.0)
    with torch.no_grad():
        torch.testing.assert_close(machine.free_energy(state) + constant, memory(state), **EXACT)
        back, other = to_modern(machine)
        torch.testing.assert_close(back(state) + other, machine.free_energy(state), **EXACT)
    assert torch.equal(back.patterns, memory.patterns)
    assert back.beta == memory.beta
    assert machine.temperature == 1 / (draws * 1.7)
    step = machine.marginal().cccp_update(state)
    torch.testing.assert_close(step, memory.cccp_update(state))


def test_a_learned_beta_is_taken_as_it_stands():
    patterns = torch.nn.Parameter(double(5, 3))
    memory = ig.ModernHopfield(patterns, beta=1.7, learn_beta=True)
    machine, _ = to_hopfield_boltzmann(memory)
    state = double(20, 3, seed=1)
    torch.testing.assert_close(machine.free_energy(state), memory(state), **EXACT)
    machine.patterns.data.zero_()  # a copy
    assert patterns.any()


def test_visible_biases_go_into_the_patterns_and_equal_memory_biases_out():
    machine = hopfield_boltzmann(ig.Gaussian(3), memories=4, beta=1.3)
    machine.memory_bias.data.fill_(0.8)
    memory, constant = to_modern(machine)
    state = double(20, 3, seed=1)
    with torch.no_grad():
        torch.testing.assert_close(memory(state) + constant, machine.free_energy(state), **EXACT)


def test_what_cannot_be_converted():
    with pytest.raises(IntractableError, match="field of up to"):
        to_classical(randomized(ig.RBM(ig.Spin(3), ig.Gaussian(2))))
    for visible, hidden in (
        (ig.Bernoulli(3), ig.Gaussian(2)), (ig.Spin(3), ig.RectifiedGaussian(2)),
        (ig.Spin(3), ig.Bernoulli(2)),
    ):  # fmt: skip
        with pytest.raises(IntractableError, match="Spin and Gaussian"):
            to_classical(ig.RBM(visible, hidden))
    with pytest.raises(ParameterError, match="not ±1"):
        to_classical(ig.RBM(ig.Spin(3), ig.Gaussian(2)))
    memory = ig.ClassicalHopfield(torch.ones(1, 3), Hebb())
    for call in (
        lambda: to_gaussian_rbm(memory, 0.0),
        lambda: to_classical(to_gaussian_rbm(memory)[0], temperature=-1.0),
        lambda: to_hopfield_boltzmann(ig.ModernHopfield(torch.eye(3)), 0),
    ):
        with pytest.raises(ParameterError):
            call()
    for machine, why in (
        (hopfield_boltzmann(ig.Spin(3)), "Spin"),
        (hopfield_boltzmann(ig.Gaussian(3), groups=2), "2 groups"),
        (hopfield_boltzmann(ig.Gaussian(3)), "memory biases that differ"),
    ):
        with pytest.raises(IntractableError, match=why):
            to_modern(machine)
