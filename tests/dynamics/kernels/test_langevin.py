"""Langevin steps, adjusted and not."""

import math

import pytest
import torch

import isinglass as ig
from isinglass.dynamics import HMC, MALA, Langevin
from isinglass.testing import check_batch_invariance
from tests.cases import Bumps, double, hopfield_boltzmann, randomized
from tests.seeds import seeded


def test_mala_is_the_textbook_rule():
    """Its acceptance is that of the two Gaussian proposals; so is HMC of one leap."""
    energy, start = hopfield_boltzmann(ig.Gaussian(3)).marginal(), double(50, 3)
    temperature, size, mass = 0.8, 1.7, double(3, seed=3).abs() + 0.5
    again = seeded(1)
    noise = torch.randn(50, 3, dtype=torch.float64, generator=again)

    def mean(state):
        return state - size**2 / 2 * energy.grad(state) / mass

    spread = size * (temperature / mass).sqrt()
    proposal = mean(start) + spread * noise
    forth = torch.distributions.Normal(mean(start), spread).log_prob(proposal).sum(-1)
    back = torch.distributions.Normal(mean(proposal), spread).log_prob(start).sum(-1)
    ratio = (energy(start) - energy(proposal)).detach() / temperature + back - forth
    expected = ratio.clamp_max(0).exp()
    for kernel in (MALA(size, mass=mass), HMC(size, leaps=1, jitter=0.0, mass=mass)):
        source = seeded(1)
        kernel_state, info = kernel.step(energy, kernel.init(energy, start), temperature, source)
        torch.testing.assert_close(info["acceptance"], expected)
        moved = torch.where(info["accepted"][:, None], proposal, start)
        torch.testing.assert_close(kernel_state.position, moved)
    assert 0 < info["accepted"].sum() < 50


@pytest.mark.parametrize("kernel", [MALA(0.3), Langevin(0.3)], ids=str)
def test_at_zero_temperature_both_are_gradient_descent(kernel):
    energy, start = Bumps(3), double(5, 3)
    kernel_state, _ = kernel.step(energy, kernel.init(energy, start))
    torch.testing.assert_close(kernel_state.position, start - 0.045 * energy.grad(start))


def test_mala_takes_no_step_uphill_at_zero_temperature():
    energy, start = ig.ModernHopfield(double(4, 3), beta=2.0), double(5, 3, seed=1)
    kernel = MALA(3.0)
    kernel_state, info = kernel.step(energy, kernel.init(energy, start))
    assert not info["accepted"].all()
    assert (energy(kernel_state.position) <= energy(start)).all()


def test_the_unadjusted_step_is_off_by_what_it_says(generator):
    """On ½s² the chain is linear, and its variance T/(1 − h²/4) at any step size below 2."""
    size, temperature, count = 1.2, 0.7, 20_000
    energy = ig.RBM(ig.Gaussian(1), ig.Bernoulli(1), scale=0.0).double().marginal()
    expected = temperature / (1 - size**2 / 4)
    start = math.sqrt(expected) * torch.randn(count, 1, dtype=torch.float64, generator=generator)
    state = ig.run(
        Langevin(size), energy, start, steps=5, temperature=temperature, generator=generator
    )
    bound = 5 * expected * math.sqrt(2 / count)
    assert abs(float(state.var()) - expected) < bound
    assert abs(float(state.var()) - temperature) > bound


def test_mass_is_a_change_of_scale(generator):
    """With M the chain is that of s√M with unit mass."""
    mass = torch.tensor([4.0, 0.25]).double()
    plain = randomized(ig.RBM(ig.Gaussian(2), ig.Bernoulli(3))).marginal()

    class Rescaled(ig.Energy):
        def forward(self, state):
            return plain(state / mass.sqrt())

    start = double(7, 2)
    one, other = (
        ig.run(
            Langevin(0.4, mass=m), energy, begin,
            steps=4, temperature=0.6, generator=seeded(2),
        )
        for m, energy, begin in (
            (mass, plain, start), (None, Rescaled(), start * mass.sqrt())
        )
    )  # fmt: skip
    torch.testing.assert_close(one * mass.sqrt(), other)


def test_recall_by_gradient():
    memory = ig.ModernHopfield(double(4, 3, seed=1), beta=2.0)
    cues = double(5, 3, seed=2)
    found = ig.recall(memory, cues, Langevin(1.2))
    assert found.converged.all()
    settled = memory.recall(cues, max_steps=1000).state
    torch.testing.assert_close(found.state, settled, atol=1e-8, rtol=0)
    check_batch_invariance(Langevin(1.2), memory, cues[:2])
