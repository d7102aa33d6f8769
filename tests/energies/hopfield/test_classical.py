"""Storing, unlearning and dreaming of the classical network."""

import copy
import warnings
from dataclasses import dataclass

import pytest
import torch

import isinglass as ig
from isinglass.energies import (
    ConvergenceWarning,
    Dreaming,
    Hebb,
    Perceptron,
    PseudoInverse,
    Rule,
    Storkey,
)
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.testing import check_gradient, check_monotone, check_round_trip
from tests.cases import double, spins
from tests.energies.hopfield.test_storage_rules import every_rule
from tests.seeds import seeded


@every_rule
def test_storing_bit_by_bit_is_storing_at_once(rule):
    patterns = spins(8, 40)
    memory = ig.ClassicalHopfield(patterns[:3], rule)
    memory.store(patterns[3:4])
    memory.store(patterns[4:])
    assert torch.equal(memory.patterns, patterns)
    if isinstance(rule, Perceptron):  # another way to the same end
        assert (memory.stability() > rule.margin).all()
    else:
        torch.testing.assert_close(memory.weight, rule.couplings(patterns))


@every_rule
def test_unlearning_takes_storing_back(rule):
    patterns = spins(8, 40)
    memory = ig.ClassicalHopfield(patterns, rule)
    memory.unlearn(patterns[[6, 2]])
    kept = patterns[[0, 1, 3, 4, 5, 7]]
    assert torch.equal(memory.patterns, kept)
    torch.testing.assert_close(memory.weight, rule.couplings(kept))
    memory.unlearn(kept)
    assert memory.patterns.shape == (0, 40)
    assert (memory.weight == 0).all()
    cues = spins(3, 40, seed=4)
    assert torch.equal(memory.recall(cues).state, cues)  # no field, no wish to move
    memory.store(patterns)
    torch.testing.assert_close(memory.weight, rule.couplings(patterns))


def test_one_copy_is_unlearned_the_last():
    a, b, c = spins(3, 10)
    memory = ig.ClassicalHopfield(torch.stack([a, b, a, c, a, b]))
    memory.unlearn(torch.stack([a, b, a]))
    assert torch.equal(memory.patterns, torch.stack([a, b, c]))
    assert torch.equal(memory.weight, Hebb().couplings(torch.stack([a, b, c])))
    with pytest.raises(DomainError, match="1 of 2 patterns are not stored"):
        memory.unlearn(torch.stack([a, -a]))
    with pytest.raises(DomainError, match="not as often"):
        memory.unlearn(torch.stack([a, a]))
    assert len(memory.patterns) == 3  # as it was


@every_rule
def test_files_and_state_dicts_keep_the_couplings(rule):
    memory = ig.ClassicalHopfield(spins(5, 16), rule)
    memory.dream(3, rate=0.1, generator=seeded(0))
    check_round_trip(memory, double(4, 16))
    other = ig.ClassicalHopfield(spins(5, 16, seed=9), rule)
    other.cccp_update(spins(2, 16))
    other.load_state_dict(memory.state_dict())
    assert torch.equal(other.weight, memory.weight)
    assert torch.equal(other.patterns, memory.patterns)
    assert other.dreams == 3
    cues = spins(9, 16, seed=2)
    assert torch.equal(other.cccp_update(cues), memory.cccp_update(cues))  # no stale diagonal
    assert torch.equal(copy.deepcopy(memory).weight, memory.weight)


def test_loaded_memories_know_their_rule(tmp_path):
    memory = ig.ClassicalHopfield(spins(5, 16).float(), Perceptron(margin=0.25, max_epochs=77))
    ig.save(memory, tmp_path / "memory.safetensors")
    loaded = ig.load(tmp_path / "memory.safetensors")
    assert isinstance(loaded, ig.ClassicalHopfield)
    assert loaded.rule == Perceptron(margin=0.25, max_epochs=77)
    loaded.store(spins(2, 16, seed=5).float())
    assert (loaded.stability() > 0.25).all()
    assert "Perceptron" in repr(loaded)


@every_rule
@pytest.mark.parametrize("kernel", [ig.Asynchronous, ig.SingleSite, ig.CCCP])
def test_descent_never_raises_the_energy(rule, kernel):
    memory = ig.ClassicalHopfield(spins(10, 40), rule)
    check_monotone(kernel(), memory, spins(30, 40, seed=1))
    check_gradient(memory, double(3, 40))
    memory.dream(5, rate=0.5, generator=seeded(1))
    check_monotone(kernel(), memory, spins(30, 40, seed=1))


@every_rule
def test_noisy_cues_are_cleaned(rule):
    """N = 10 patterns of 200 spins, a tenth of each cue flipped: inside the basins of all."""
    patterns = spins(10, 200)
    cues = torch.where(double(10, 200, seed=9) > 1.28, -patterns, patterns)
    found = ig.ClassicalHopfield(patterns, rule).recall(cues)
    assert torch.equal(found.state, patterns)


def test_dreams_unlearn_what_they_find():
    patterns = spins(4, 30)
    memory = ig.ClassicalHopfield(patterns)
    found = memory.dream(6, rate=0.25, generator=seeded(2))
    weight = Hebb().couplings(patterns)
    for state in found:  # each at rest when it was unlearned
        assert (state * (weight @ state) >= 0).all()
        weight = (weight - 0.25 * torch.outer(state, state)).fill_diagonal_(0.0)
    torch.testing.assert_close(memory.weight, weight)
    assert memory.dreams == 6


def test_dreams_make_recall_better():
    """Hopfield, Feinstein & Palmer: near capacity more patterns are held after some unlearning."""
    patterns = spins(20, 100)
    memory = ig.ClassicalHopfield(patterns)
    before = (memory.recall(patterns).state == patterns).all(-1).sum()
    memory.dream(100, rate=0.05, generator=seeded(0))
    after = (memory.recall(patterns).state == patterns).all(-1).sum()
    assert before < 10
    assert after > 15


@every_rule
def test_concave_convex_steps_know_of_dreams(rule):
    """W + s·1 has no negative eigenvalue after a long night either, which Hebb's s = N misses."""
    memory = ig.ClassicalHopfield(spins(3, 30), rule)
    memory.dream(40, rate=1.0, generator=seeded(0))
    assert torch.linalg.eigvalsh(memory.weight)[0] < -3  # s = N would not do
    step = memory.cccp_update(spins(200, 30, seed=1))
    assert (memory(step) <= memory(spins(200, 30, seed=1)) + 1e-9).all()
    assert torch.linalg.eigvalsh(memory.weight)[0] + memory._shift > 0


def test_a_night_cut_short_changes_nothing(monkeypatch):
    memory = ig.ClassicalHopfield(spins(4, 30))
    before, recall = memory.weight.clone(), memory.recall
    calls = []

    def waking(*cues):
        calls.append(cues)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return recall(*cues)

    monkeypatch.setattr(memory, "recall", waking)
    with pytest.raises(KeyboardInterrupt):
        memory.dream(5, rate=1.0)
    assert torch.equal(memory.weight, before)
    assert memory.dreams == 0


def test_patterns_given_as_a_parameter_are_not_learned():
    memory = ig.ClassicalHopfield(torch.nn.Parameter(spins(3, 8)))
    memory.store(torch.nn.Parameter(spins(1, 8, seed=1)))
    assert not list(memory.parameters())
    assert not memory.weight.requires_grad


def test_nets_of_half_the_precision_recall():
    patterns = spins(5, 100).bfloat16()
    cues = patterns.clone()
    cues[:, :10] *= -1
    for rule in (Hebb(), Storkey(), PseudoInverse(), Dreaming(), Perceptron()):
        assert torch.equal(ig.ClassicalHopfield(patterns, rule).recall(cues).state, patterns)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_rule
def test_on_cuda(rule):
    patterns, cues = spins(5, 64), spins(9, 64, seed=1)
    near, far = ig.ClassicalHopfield(patterns, rule), ig.ClassicalHopfield(patterns.cuda(), rule)
    far.store(patterns[:1].cuda())
    far.unlearn(patterns[:1].cuda())
    torch.testing.assert_close(far.weight.cpu(), near.weight)
    for kernel in (ig.Asynchronous(), ig.SingleSite(), ig.Synchronous(), ig.CCCP()):
        assert torch.equal(
            far.recall(cues.cuda(), kernel=kernel).state.cpu(),
            near.recall(cues, kernel=kernel).state,
        )


def test_too_much_is_said_and_the_couplings_are_there():
    with pytest.warns(ConvergenceWarning, match="after 20 epochs"):
        memory = ig.ClassicalHopfield(spins(80, 20), Perceptron(max_epochs=20))
    assert memory.stability().min() <= 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        memory.unlearn(memory.patterns[10:])
    assert memory.stability().min() > 0


def test_bad_input():
    memory = ig.ClassicalHopfield(spins(3, 6))
    for change in (memory.store, memory.unlearn):
        with pytest.raises(DomainError, match=r"0\.5.*Spin"):
            change(torch.full((1, 6), 0.5).double())
        with pytest.raises(ShapeError, match="6 features"):
            change(spins(1, 5))
        with pytest.raises(ShapeError, match="at least one pattern"):
            change(torch.ones(0, 6).double())
        with pytest.raises(DomainError, match=r"float32.*float64"):
            change(spins(1, 6).float())
        with pytest.raises(DomainError, match="NaN"):
            change(torch.full((1, 6), torch.nan).double())
    with pytest.raises(ParameterError, match="steps"):
        memory.dream(0)
    with pytest.raises(ParameterError, match="rate"):
        memory.dream(1, rate=-1.0)
    assert torch.equal(memory.weight, Hebb().couplings(memory.patterns))


def assert_steps_descend(memory: ig.ClassicalHopfield) -> None:
    assert float(torch.linalg.eigvalsh(memory.weight)[0]) + memory._shift > -1e-9
    cues = spins(200, 30, seed=1)
    assert (memory(memory.cccp_update(cues)) <= memory(cues) + 1e-9).all()


@every_rule
def test_concave_convex_steps_know_of_couplings_changed_by_hand(rule):
    memory = ig.ClassicalHopfield(spins(3, 30), rule)
    assert_steps_descend(memory)
    opposite = -5 * memory.weight
    memory.weight = opposite
    assert_steps_descend(memory)
    memory.weight.mul_(3)
    assert_steps_descend(memory)
    memory = ig.ClassicalHopfield(spins(3, 30), rule)
    assert_steps_descend(memory)
    memory.load_state_dict({"weight": opposite, "patterns": memory.patterns}, strict=False)
    assert_steps_descend(memory)
    with torch.inference_mode():  # whose tensors have no version
        memory = ig.ClassicalHopfield(spins(3, 30), rule)
        assert_steps_descend(memory)
        memory.weight.mul_(-5)
        assert_steps_descend(memory)


def test_the_diagonal_is_found_once(monkeypatch):
    memory = ig.ClassicalHopfield(spins(3, 30), Storkey())
    assert_steps_descend(memory)
    monkeypatch.setattr(Storkey, "shift", lambda *_: pytest.fail("found anew"))
    assert_steps_descend(memory)


@dataclass(frozen=True)
class Wrong(Rule):
    """Couplings as they are told."""

    weight: torch.Tensor

    def couplings(self, patterns):
        return self.weight


@pytest.mark.parametrize(
    ("weight", "found"),
    [
        (torch.zeros(5, 5), r"shape \(5, 5\) for 4 units"),
        (torch.full((4, 4), torch.inf).fill_diagonal_(0.0), "not finite"),
        (torch.ones(4, 4), "to themselves"),
        (torch.ones(4, 4).triu(1), "not symmetric"),
    ],
)
def test_couplings_without_an_energy_are_refused(weight, found, unannotated):
    with pytest.raises(ParameterError, match=found):
        ig.ClassicalHopfield(torch.ones(1, 4), Wrong(weight))
    memory = ig.ClassicalHopfield(torch.ones(2, 4))
    memory.rule = Wrong(weight)
    for change in (memory.store, memory.unlearn):
        with pytest.raises(ParameterError, match=found):
            change(torch.ones(1, 4))
    assert torch.equal(memory.weight, Hebb().couplings(torch.ones(2, 4)))


def test_infinite_couplings_end():
    assert Hebb().shift(torch.full((4, 4), torch.inf), torch.ones(1, 4)) == torch.inf


@pytest.mark.parametrize(("dtype", "most"), [(torch.bfloat16, 256), (torch.float16, 2048)])
def test_half_precision_counts_so_far(dtype, most):
    patterns = torch.ones(most + 1, 2, dtype=dtype)
    memory = ig.ClassicalHopfield(patterns[:-1])
    assert float(memory.weight[0, 1]) == most
    with pytest.raises(DomainError, match=rf"{most + 1} patterns.*counts to {most}"):
        memory.store(patterns[:1])
    with pytest.raises(DomainError, match=r"patterns\.float"):
        ig.ClassicalHopfield(patterns)


def test_states_of_another_dtype_are_named():
    memory = ig.ClassicalHopfield(spins(3, 6).float())
    with pytest.raises(DomainError, match=r"float64.*float32"):
        memory(spins(2, 6))


def test_dreams_at_a_rate_beyond_floats(unannotated):
    memory = ig.ClassicalHopfield(torch.ones(1, 4))
    for rate in (1e40, 10**400):
        with pytest.raises(ParameterError, match="rate ="):
            memory.dream(1, rate)
    memory.dream(1, 2**70)  # a whole number that is no int64
