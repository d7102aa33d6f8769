"""Dense memories: fields against turned energies, the exponential's log form, capacity."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import isinglass as ig
from isinglass.energies import Exponential, Interaction, Power
from isinglass.errors import FileError, IntractableError, ParameterError
from isinglass.testing import check_gradient, check_round_trip, check_stationary
from tests.cases import double, spins


@dataclass(frozen=True)
class Cosh(Interaction):
    """Of a user's own, with one method and a parameter."""

    width: float = 2.0

    def __call__(self, overlap: Tensor) -> Tensor:
        return (overlap / self.width).cosh()


class PlainExponential(Interaction):
    """The sum itself, which overflows."""

    def __call__(self, overlap: Tensor) -> Tensor:
        return overlap.exp()


INTERACTIONS = [
    Power(2), Power(3), Power(5, scale=7.0), Power(3, rectified=False), Power(4, rectified=False),
    Exponential(), Exponential(0.1), Exponential(10.0), Cosh(), PlainExponential(),
]  # fmt: skip


def flipped_one_by_one(memory: ig.DenseMemory, state: Tensor) -> Tensor:
    """The plain reference: E with each spin at −1, less E with it at +1, halved."""
    low, high = (state.unsqueeze(-2).repeat(1, state.shape[-1], 1) for _ in range(2))
    for i in range(state.shape[-1]):
        low[:, i, i], high[:, i, i] = -1.0, 1.0
    return (memory(low) - memory(high)) / 2


@pytest.mark.parametrize("interaction", INTERACTIONS, ids=str)
def test_fields_are_energy_differences(interaction):
    memory = ig.DenseMemory(spins(30, 14, seed=1), interaction=interaction)
    state = torch.cat([spins(20, 14, seed=2), memory.patterns])
    expected = flipped_one_by_one(memory, state)
    torch.testing.assert_close(memory.local_field(state), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("beta", [5.0, 30.0, 60.0, 1000.0])
def test_fields_of_a_large_beta_are_as_exact(beta):
    """At β = 60 the share of a pattern one spin off is e^(−120), beyond float32."""
    interaction = Exponential(beta)
    patterns = spins(30, 14, seed=1)
    state = torch.cat([spins(20, 14, seed=2), patterns, patterns * (1 - 2 * torch.eye(30, 14))])
    expected = flipped_one_by_one(ig.DenseMemory(patterns, interaction=interaction), state)
    found = ig.DenseMemory(patterns.float(), interaction=interaction).local_field(state.float())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    pair = torch.ones(2, 6)
    pair[1, 0] = -1  # the first spin is tied
    tied = ig.DenseMemory(pair, interaction=interaction).local_field(pair)[:, 0]
    torch.testing.assert_close(tied, torch.zeros(2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("interaction", INTERACTIONS, ids=str)
def test_own_interactions_have_slopes_and_files(interaction):
    memory = ig.DenseMemory(spins(6, 8, seed=1), interaction=interaction)
    check_gradient(memory, double(5, 8, seed=2) / 8, tolerance=1e-5)
    check_round_trip(memory, spins(5, 8, seed=2))


def test_where_patterns_tie_the_small_share_decides():
    """At β = 10 a pattern two spins away has a share of e⁻⁴⁰, beyond float32 next to one."""
    one = torch.ones(1, 40)
    two = one.clone()
    two[:, :2] = -1.0
    patterns = torch.cat([one, two, one.repeat(3, 1)])
    memory = ig.DenseMemory(patterns, interaction=Exponential(10.0))
    exact = ig.DenseMemory(patterns.double(), interaction=Exponential(10.0))
    expected = flipped_one_by_one(exact, one.double())
    torch.testing.assert_close(memory.local_field(one).double(), expected, rtol=1e-5, atol=0.0)


def test_log_form_descends_as_the_sum_does():
    patterns, cues = spins(60, 16, seed=1), spins(200, 16, seed=2)
    log_form = ig.DenseMemory(patterns, interaction="exp").recall(cues)
    plain = ig.DenseMemory(patterns, interaction=PlainExponential()).recall(cues)
    assert torch.equal(log_form.state, plain.state)
    torch.testing.assert_close(log_form.energy, -(-plain.energy).log())


def test_log_form_does_not_overflow():
    patterns = spins(20, 300).float()
    cues = torch.where(double(20, 300, seed=3) > 0.8, -patterns, patterns)
    with pytest.raises(ParameterError, match=r"overlap of 300 is not within torch\.float32"):
        ig.DenseMemory(patterns, interaction=PlainExponential())
    found = ig.DenseMemory(patterns, interaction="exp").recall(cues)
    assert found.energy.isfinite().all()
    assert torch.equal(found.state, patterns)


def test_at_temperature_one_the_log_form_is_a_mixture():
    """exp(−E) = Σ_μ exp(x_μ·v), each term a product of independent spins."""
    patterns, states = spins(5, 6), ig.Spin(6).enumerate_states()
    energy = ig.DenseMemory(patterns, interaction="exp")(states)
    mixture = ig.PatternMixture(ig.Spin(6), torch.zeros(5, dtype=torch.float64), patterns)
    offset = energy + mixture.log_prob(states)
    torch.testing.assert_close(offset, offset[:1].expand(64), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_heat_bath_of_the_log_form_is_exact(beta, generator):
    memory = ig.DenseMemory(spins(3, 4, seed=3), interaction=Exponential(beta))
    states = ig.Spin(4).enumerate_states()
    weights = -memory(states) / 2.0
    check_stationary(ig.SingleSite(), memory, states, weights, 2.0, generator, steps=6)


def test_the_exponential_retrieves_many_patterns_in_one_step():
    """600 patterns of 24 spins, one spin wrong in each cue.

    A cue fails if another pattern is within two spins of its own, which has a probability of
    600·301/2²⁴ = 0.011, or if several conspire; powers of 2 and 3 hold about 3 and 30.
    """
    patterns = spins(600, 24)
    cues = patterns.clone()
    cues[torch.arange(600), torch.arange(600) % 24] *= -1

    def retrieved(memory: ig.DenseMemory) -> float:
        found = memory.recall(cues, kernel=ig.Synchronous(), max_steps=1)
        return float((found.state == patterns).all(-1).double().mean())

    assert retrieved(ig.DenseMemory(patterns, interaction="exp")) > 0.9
    assert retrieved(ig.DenseMemory(patterns, 3)) < 0.1
    assert retrieved(ig.DenseMemory(patterns, 2)) < 0.01


def test_scale_keeps_high_degrees_in_range():
    patterns = spins(20, 200).float()
    cues = torch.where(double(20, 200, seed=5) > 1.0, -patterns, patterns)
    with pytest.raises(ParameterError, match="scale=d"):
        ig.DenseMemory(patterns, 30)
    memory = ig.DenseMemory(patterns, interaction=Power(30, scale=200.0))
    exact = ig.DenseMemory(patterns.double(), 30)
    assert torch.equal(memory.recall(cues).state.double(), exact.recall(cues.double()).state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtypes_are_kept(dtype):
    patterns = spins(5, 64).to(dtype)
    found = ig.DenseMemory(patterns, interaction="exp").recall(patterns)
    assert found.state.dtype == found.energy.dtype == dtype
    assert torch.equal(found.state, patterns)


def test_high_degrees_come_back_from_their_file(tmp_path):
    """Beyond float32's range in between, where a memory is built before it is filled."""
    memory = ig.DenseMemory(spins(20, 200), 30)
    ig.save(memory, tmp_path / "memory.safetensors")
    loaded = ig.load(tmp_path / "memory.safetensors")
    assert torch.equal(loaded(memory.patterns), memory(memory.patterns))


def test_an_interaction_must_work_element_by_element():
    class Total(Interaction):
        def __call__(self, overlap):
            return overlap.sum()

    with pytest.raises(ParameterError, match="element by element"):
        ig.DenseMemory(spins(3, 5), interaction=Total())


def test_bad_input():
    patterns = torch.ones(1, 3)
    assert ig.DenseMemory(patterns).interaction == Power(3)
    assert ig.DenseMemory(patterns, 4, rectified=False).interaction == Power(4, rectified=False)
    for given in ({"degree": 3}, {"rectified": True}, {"degree": 2, "rectified": False}):
        for interaction in ("exp", Power(3), Cosh()):
            with pytest.raises(ParameterError, match="belong to interaction='power'"):
                ig.DenseMemory(patterns, **given, interaction=interaction)
    with pytest.raises(ParameterError, match=r"'exponential'.*'power', 'exp', or an Interaction"):
        ig.DenseMemory(patterns, interaction="exponential")
    with pytest.raises(ParameterError, match="beta"):
        Exponential(0.0)
    with pytest.raises(ParameterError, match="scale"):
        Power(3, scale=-1.0)
    with pytest.raises(IntractableError, match=r"Cosh.*not convex"):  # it does not say that it is
        ig.DenseMemory(patterns, interaction=Cosh()).recall(patterns, kernel=ig.CCCP())
    with pytest.raises(FileError, match="'Gone' is not imported"):
        Interaction.from_config({"kind": "Gone"})
