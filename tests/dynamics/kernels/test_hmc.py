"""Hamiltonian Monte Carlo and what gradient kernels share."""

import math

import pytest
import torch

import isinglass as ig
from isinglass.dynamics import HMC, MALA, NUTS, Langevin, SamplingWarning
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.testing import check_stationary_density
from tests.cases import Bumps, double, hopfield_boltzmann, randomized
from tests.seeds import seeded


class Bowl(ig.Energy):
    """½ Σ (s_i/σ_i)², which counts how often it is asked."""

    def __init__(self, *scales: float) -> None:
        super().__init__()
        self.scales, self.asked = torch.tensor(scales).double(), 0

    def forward(self, state):
        self.asked += 1
        return (state / self.scales).square().sum(-1) / 2


DENSITIES = {
    "two wells": (lambda: ig.ModernHopfield(double(3, 1, seed=1), beta=1.5), -9.0),
    "hidden bits": (lambda: randomized(ig.RBM(ig.Gaussian(1), ig.Bernoulli(2))).marginal(), -9.0),
    "rectified": (
        lambda: randomized(ig.RBM(ig.RectifiedGaussian(1), ig.Bernoulli(2))).marginal(),
        0.0,
    ),
    "a network": (lambda: Bumps(1), -14.0),
}
MASS = torch.tensor([2.0])


@pytest.mark.parametrize(
    "kernel",
    [
        HMC(),
        HMC(0.9, leaps=3, jitter=1.0),
        HMC(0.5, mass=MASS),
        MALA(),
        MALA(0.7, mass=MASS),
        NUTS(),
        NUTS(0.3, doublings=3, mass=MASS),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", DENSITIES)
def test_the_density_stays(name, kernel, generator):
    build, low = DENSITIES[name]
    for temperature in (0.4, 1.0):
        check_stationary_density(kernel, build(), low, 9.0, temperature, generator)


def by_hand(energy, start, kick, uniform, *, size, leaps, mass, temperature):
    """One row of HMC, number by number."""
    state, momentum = start.clone(), kick.clone()
    for _ in range(leaps):
        momentum -= size / 2 * energy.grad(state)
        for i in range(len(state)):
            state[i] += size * momentum[i] / mass[i]
        momentum -= size / 2 * energy.grad(state)
    heat = [
        float(energy(s).detach() + (p**2 / mass).sum() / 2)
        for s, p in ((start, kick), (state, momentum))
    ]
    acceptance = min(1.0, math.exp((heat[0] - heat[1]) / temperature))
    return (state if uniform < acceptance else start), acceptance


def test_a_step_is_the_plain_one():
    machine, start, mass = hopfield_boltzmann(ig.Gaussian(3)).marginal(), double(6, 3), double(3)
    mass = mass.abs() + 0.5
    kernel, temperature = HMC(1.4, leaps=3, jitter=0.0, mass=mass), 1 / 0.7
    kernel_state, info = kernel.step(machine, kernel.init(machine, start), temperature, seeded(4))
    again = seeded(4)
    kicks = torch.randn(6, 3, dtype=torch.float64, generator=again) * (temperature * mass).sqrt()
    uniform = torch.rand(6, dtype=torch.float64, generator=again)
    for row in range(6):
        state, acceptance = by_hand(
            machine, start[row], kicks[row], uniform[row],
            size=1.4, leaps=3, mass=mass, temperature=temperature,
        )  # fmt: skip
        torch.testing.assert_close(kernel_state.position[row], state)
        assert abs(float(info["acceptance"][row]) - acceptance) < 1e-12
    assert 0 < info["accepted"].sum() < 6
    torch.testing.assert_close(kernel_state.energy, machine(kernel_state.position).detach())
    torch.testing.assert_close(kernel_state.grad, machine.grad(kernel_state.position))


def test_nothing_is_computed_twice():
    energy = Bowl(1.0, 1.0)
    kernel = HMC(leaps=3)
    kernel_state = kernel.init(energy, double(4, 2))
    assert energy.asked == 1
    for _ in range(5):
        kernel_state, _ = kernel.step(energy, kernel_state, 1.0)
    assert energy.asked == 1 + 5 * 3


@pytest.mark.parametrize("kernel", [HMC(), MALA(), Langevin()], ids=str)
def test_what_is_carried_records_no_gradient(kernel, generator):
    energy = Bumps(2)
    kernel_state = kernel.init(energy, double(4, 2))
    for temperature in (1.0, 0.0):
        with torch.no_grad():
            kernel_state, info = kernel.step(energy, kernel_state, temperature, generator)
        kept = (*kernel_state, *info.values())
        assert all(len(part) == 4 and not part.requires_grad for part in kept)
    assert all(parameter.grad is None for parameter in energy.parameters())


def test_chains_are_drawn_again_from_the_same_seed():
    one, two = (
        ig.run(HMC(), Bumps(2), double(9, 2), steps=5, temperature=1.0, generator=source)
        for source in (seeded(7), seeded(7))
    )
    assert torch.equal(one, two)


def test_variances_are_met_from_afar(generator):
    """Units of three scales, each seen at its own by its mass."""
    scales = torch.tensor([0.05, 1.0, 20.0]).double()
    energy, temperature = Bowl(*scales.tolist()), 0.5
    kernel = HMC(mass=scales**-2)
    state = ig.run(
        kernel, energy, torch.zeros(20_000, 3).double(),
        steps=30, temperature=temperature, generator=generator,
    )  # fmt: skip
    expected = temperature * scales**2
    assert ((state.var(0) - expected).abs() < 5 * expected * math.sqrt(2 / 20_000)).all()
    assert (state.mean(0).abs() < 5 * (expected / 20_000).sqrt()).all()


def test_at_zero_temperature_it_rolls_from_rest():
    energy, start = Bowl(1.0, 1.0), double(5, 2)
    kernel = HMC(0.1, leaps=4)
    kernel_state, info = kernel.step(energy, kernel.init(energy, start))
    # Leapfrog on U = ½s² turns by θ each leap, cos θ = 1 − h²/2.
    angle = 4 * math.acos(1 - 0.1**2 / 2)
    torch.testing.assert_close(kernel_state.position, start * math.cos(angle))
    assert info["accepted"].all()
    far = HMC(2.5)  # too large a step flies off: it is not taken
    kernel_state, info = far.step(energy, far.init(energy, start))
    assert torch.equal(kernel_state.position, start)
    assert not info["accepted"].any()


class Cliff(ig.Energy):
    """½s² below 1, NaN or minus infinity beyond."""

    def __init__(self, beyond: float) -> None:
        super().__init__()
        self.beyond = beyond

    def forward(self, state):
        return torch.where(state < 1, state.square() / 2, self.beyond).sum(-1)


@pytest.mark.parametrize("beyond", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kernel", [HMC(), MALA(), Langevin(1.0)], ids=str)
def test_what_is_not_finite_is_not_taken(kernel, beyond, generator):
    state = ig.run(
        kernel, Cliff(beyond), torch.zeros(500, 1).double(),
        steps=20, temperature=1.0, generator=generator,
    )  # fmt: skip
    assert (state < 1).all()
    assert state.min() < -1


def test_rectified_units_stay_rectified(generator):
    energy = randomized(ig.RBM(ig.RectifiedGaussian(2), ig.Bernoulli(2))).marginal()
    for kernel in (HMC(), MALA(), Langevin(0.5)):
        state = ig.run(
            kernel, energy, torch.ones(200, 2).double(),
            steps=20, temperature=1.0, generator=generator,
        )  # fmt: skip
        assert (state >= 0).all()
        assert (state != 1).any()


@pytest.mark.parametrize("kernel", [HMC(20.0), MALA(1e-3)], ids=str)
def test_tuning_meets_its_target(kernel, generator):
    energy = hopfield_boltzmann(ig.Gaussian(6), memories=4, beta=2.0).marginal()
    start = double(200, 6)
    tuned, _ = kernel.warm_up(energy, start, 0.5, generator, steps=150)
    kernel_state, rates = tuned.init(energy, start), []
    for _ in range(30):
        kernel_state, info = tuned.step(energy, kernel_state, 0.5, generator)
        rates.append(info["acceptance"].mean())
    assert abs(float(torch.stack(rates[5:]).mean()) - kernel.target) < 0.06
    assert type(tuned) is type(kernel)
    assert tuned.leaps == kernel.leaps


def test_tuning_finds_the_scale_of_every_unit(generator):
    scales = torch.tensor([0.02, 1.0, 50.0]).double()
    start = torch.zeros(50, 3).double()
    kernel, _ = HMC().warm_up(Bowl(*scales.tolist()), start, 0.3, generator, adapt_mass=True)
    assert kernel.mass is not None
    assert ((kernel.mass * scales**2).log().abs() < math.log(1.6)).all()
    assert 0.5 < float(kernel.step_size or 0) < 2


class Quartic(ig.Energy):
    """¼ Σ s⁴: a hundred widths out, ten thousand times as steep as where it is sampled."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = ig.Gaussian(9)

    @property
    def layers(self):
        return (self.unit,)

    def forward(self, state):
        return state.pow(4).sum(-1) / 4


@pytest.mark.parametrize(
    "kernel", [HMC(), MALA(), pytest.param(NUTS(), marks=pytest.mark.slow)], ids=str
)
def test_warm_up_hands_back_a_state_that_moves(kernel, generator):
    """A step size that suits the bulk is rejected for ever where chains were started, far out."""
    energy, start = Quartic(), 20 * double(8, 9)
    warm, position = kernel.warm_up(energy, start, 1.0, generator)
    state, total = warm.init(energy, position), 0.0
    for _ in range(20):
        state, info = warm.step(energy, state, 1.0, generator)
        total += float(info["acceptance"].mean()) / 20
    assert position.shape == start.shape
    assert total > 0.4
    assert (state.position != position).any(-1).all()


def test_chains_that_never_move_are_reported(generator):
    energy, start = Quartic(), 100 * double(8, 9)
    with pytest.warns(SamplingWarning, match="8 of 8 chains never moved in 100 steps of HMC"):
        ig.run(HMC(1.0), energy, start, steps=100, temperature=1.0, generator=generator)
    tuned, _ = HMC().warm_up(energy, start, 1.0, generator, steps=300)
    with pytest.warns(SamplingWarning, match="8 of 8 chains never moved in 100 steps of HMC"):
        ig.run(tuned, energy, start, steps=100, temperature=1.0, generator=generator)


def test_without_u_turns_moments_are_met_and_rolls_are_as_long_as_needed(generator):
    energy, kernel = Bowl(3.0), NUTS(0.1)
    state = kernel.init(energy, 3 * double(4000, 1))
    state, info = kernel.step(energy, state, 1.0, generator)
    # Half a period, 3π, takes 94 leaps of 0.1; a doubling stops between that and half of it.
    assert 47 < info["leaps"].mean() < 188
    assert not info["divergent"].any()
    assert abs(float(state.position.var()) - 9) < 5 * 9 * math.sqrt(2 / 4000)
    _, lost = NUTS(50.0).step(energy, NUTS(50.0).init(energy, state.position), 1.0, generator)
    assert lost["divergent"].double().mean() > 0.9  # but for those at rest near the bottom


def test_bad_settings(unannotated):
    for call in (
        lambda: HMC(0.0), lambda: HMC(-1.0), lambda: MALA(math.nan), lambda: Langevin(math.inf),
        lambda: HMC(leaps=0), lambda: NUTS(doublings=0), lambda: HMC(jitter=1.5),
        lambda: HMC(mass=torch.tensor([1.0, 0.0])),
        lambda: HMC(mass=torch.ones(2, 2)), lambda: HMC(mass=torch.tensor([math.nan])),
    ):  # fmt: skip
        with pytest.raises(ParameterError):
            call()
    bowl, start = Bowl(1.0, 1.0), double(3, 2)
    with pytest.raises(ParameterError, match="2 units"):
        HMC(mass=torch.ones(3)).init(bowl, start)
    with pytest.raises(ParameterError, match="temperature"):
        HMC().step(bowl, HMC().init(bowl, start), -1.0)
    with pytest.raises(ParameterError, match="target"):
        HMC().warm_up(bowl, start, 1.0, target=1.0)
    for temperature, steps in ((0.0, 10), (1.0, 1)):
        with pytest.raises(ParameterError):
            HMC().warm_up(bowl, start, temperature, steps=steps)


@pytest.mark.parametrize("kernel", [HMC(), MALA(), Langevin()], ids=str)
def test_units_that_have_no_gradient_are_refused(kernel):
    """Not without an error that says what to do."""
    for energy, state in (
        (ig.ClassicalHopfield(torch.ones(1, 3)), torch.ones(2, 3)),
        (ig.RBM(ig.Bernoulli(2), ig.Gaussian(1)).marginal(), torch.ones(2, 2)),
        (ig.RBM(ig.Gaussian(2), ig.Bernoulli(1)), torch.zeros(2, 3)),
        (ig.RBM(ig.Categorical(2), ig.Gaussian(1)), torch.tensor([[1.0, 0, 0]])),
    ):
        with pytest.raises(IntractableError, match=r"not made of real numbers.*BlockGibbs"):
            ig.run(kernel, energy, state, steps=1, temperature=1.0)


@pytest.mark.parametrize("kernel", [HMC(), MALA(), Langevin()], ids=str)
def test_states_where_no_chain_can_start_are_refused(kernel):
    rectified = ig.RBM(ig.RectifiedGaussian(2), ig.Bernoulli(2)).marginal()
    with pytest.raises(DomainError, match="RectifiedGaussian units take"):
        kernel.init(rectified, torch.tensor([[1.0, -1.0]]))
    with pytest.raises(DomainError, match="NaN"):
        kernel.init(rectified, torch.tensor([[1.0, math.nan]]))
    with pytest.raises(ShapeError):
        kernel.init(rectified, torch.ones(1, 3))
    with pytest.raises(DomainError, match="the energy of the state"):
        kernel.init(Cliff(math.inf), torch.tensor([[2.0]]))
