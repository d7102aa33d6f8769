"""What recall promises beyond the properties."""

import pytest
import torch

import isinglass as ig
import isinglass.testing
from isinglass.core import ConcaveConvex
from isinglass.errors import IntractableError, ParameterError
from tests import cases
from tests.cases import double, hopfield_boltzmann, spins


class Metropolis(ig.dynamics.Kernel):
    """Proposes a flip of a unit by chance: a rejected proposal is no rest."""

    leaves_invariant = True
    monotone = True

    def init(self, energy, state):
        return ig.dynamics.KernelState(state)

    def step(self, energy, kernel_state, temperature=0.0, generator=None):
        state = kernel_state.position
        flipped = state.clone()
        sites = torch.randint(state.shape[-1], (len(state), 1), generator=generator)
        flipped.scatter_(-1, sites, -state.gather(-1, sites))
        rise = energy(flipped) - energy(state)
        uniform = torch.rand(len(state), dtype=state.dtype, generator=generator)
        taken = uniform < torch.exp(-rise / temperature) if temperature > 0 else rise < 0
        return ig.dynamics.KernelState(torch.where(taken[:, None], flipped, state)), {}


def test_kernels_that_may_move_on_are_refused():
    memory = ig.ClassicalHopfield(spins(2, 6))
    with pytest.raises(ParameterError, match="without change means rest"):
        memory.recall(spins(3, 6), kernel=Metropolis())


def test_a_kernel_of_ones_own_keeps_its_properties(generator):
    memory = ig.ClassicalHopfield(spins(2, 4, seed=3))
    states = ig.Spin(4).enumerate_states()
    ig.testing.check_stationary(
        Metropolis(), memory, states, -memory(states) / 3.0, 3.0, generator, steps=6
    )
    ig.testing.check_monotone(Metropolis(), memory, spins(5, 4))


def test_joint_states_descend_by_the_energy_of_infinitely_many_draws():
    machine = hopfield_boltzmann(ig.Gaussian(3), memories=4, beta=2.0)
    cues = machine.extend(double(8, 3)).detach()
    found = ig.recall(machine, cues, ig.BlockGibbs(), trace=True)
    assert found.energy_trace is not None
    assert (found.energy_trace.diff(dim=0) <= 1e-12).all()
    torch.testing.assert_close(found.energy, machine.energy_at(found.state, 0.0).detach())


class Trembling(ConcaveConvex, ig.energies.Memory):
    """Falls back and forth by a millionth of its size."""

    def forward(self, state):
        return state.square().sum(-1)

    def cccp_update(self, state):
        return torch.where(state > 1e5, 1e5, 1e5 * (1 + 1e-6))


def test_tolerance_follows_the_size_of_the_numbers():
    """In float32 a state near 10⁵ cannot rest to within 10⁻⁵."""
    memory = Trembling(torch.ones(1, 3))
    found = memory.recall(torch.ones(2, 3))
    assert found.converged.all()
    assert (found.residual > 0.05).all()
    assert not memory.recall(torch.ones(2, 3), tolerance=1e-3, max_steps=9).converged.any()


def test_runs_have_the_shape_of_their_start(generator):
    memory = ig.ClassicalHopfield(spins(2, 6))
    for shape in ((6,), (2, 3, 6)):
        start = spins(*shape, seed=1)
        moved = ig.run(
            ig.SingleSite(), memory, start, steps=3, temperature=5.0, generator=generator
        )
        assert moved.shape == shape


def test_one_unit_at_a_time_needs_units_of_one_component():
    class Potts(ig.ModernHopfield):
        def __init__(self):
            super().__init__(double(2, 3))
            self.unit = ig.Categorical(3)

        def local_field(self, state):
            return state

        def moved_field(self, field, state, site, change):
            return state

    with pytest.raises(IntractableError, match="local fields"):
        ig.SingleSite().init(Potts(), double(2, 3))


def test_concave_convex_step_of_a_marginal_is_the_closed_form():
    """v ← argmax_state(b + Wᵀ σ((c + Wv)/T)), for Gaussian units the field itself."""
    machine = cases.randomized(ig.RBM(ig.Gaussian(4), ig.Bernoulli(3)))
    v, temperature = double(9, 4), 0.6
    (b, c), weight = machine.biases, machine.weights[0]
    expected = b + torch.sigmoid((v @ weight.T + c) / temperature) @ weight
    torch.testing.assert_close(machine.marginal(temperature).cccp_update(v), expected)


def test_energies_without_multiplicities_are_the_same_at_every_temperature():
    for memory, state in (
        (ig.ModernHopfield(double(4, 3), 2.0), double(5, 3)),
        (ig.ClassicalHopfield(spins(2, 6)), spins(3, 6)),
    ):
        assert torch.equal(memory.energy_at(state, 0.3), memory(state))


class Counting(ig.dynamics.Memoryless):
    """Attention that says in every step how far each row moved, and by which units."""

    converges = True

    def transition(self, energy, state, temperature, generator):
        return energy.cccp_update(state)

    def step(self, energy, kernel_state, temperature=0.0, generator=None):
        after, _ = super().step(energy, kernel_state, temperature, generator)
        moved = after.position - kernel_state.position
        return after, {"length": moved.norm(dim=-1), "moved": moved}


def test_info_is_what_the_kernel_said_in_each_row_s_last_step():
    memory, cues = ig.ModernHopfield(torch.eye(3).double(), beta=6.0), double(2, 5, 3)
    found = memory.recall(cues, kernel=Counting())
    assert found.steps.unique().numel() > 1  # rows left at different times
    assert found.info["length"].shape == (2, 5)
    assert found.info["moved"].shape == (2, 5, 3)
    torch.testing.assert_close(found.info["moved"].abs().amax(-1), found.residual)
    torch.testing.assert_close(found.info["moved"].norm(dim=-1), found.info["length"])
    cut = memory.recall(cues, kernel=Counting(), max_steps=1)
    torch.testing.assert_close(cut.info["moved"], cut.state - cues)
