"""Each rule against its published recurrence, written out plainly."""

import json
import warnings
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

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
from isinglass.energies.hopfield import storage_rules
from isinglass.errors import FileError, ParameterError
from tests.cases import spins
from tests.seeds import seeded

RULES = [Hebb(), Storkey(), PseudoInverse(), Dreaming(time=3.0), Perceptron(margin=0.1)]
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)


def storkey_one_by_one(patterns: Tensor) -> Tensor:
    """The recurrence of the paper, pair by pair, times d."""
    d = patterns.shape[-1]
    w = torch.zeros(d, d, dtype=patterns.dtype)
    for x in patterns:
        h = torch.zeros_like(w)
        for i in range(d):
            for j in range(d):
                h[i, j] = sum(w[i, k] * x[k] for k in range(d) if k not in (i, j))
        w = w + (torch.outer(x, x) - x[:, None] * h.T - h * x) / d
    return d * w.fill_diagonal_(0.0)


@pytest.mark.parametrize("block", [1, 3])
def test_storkey_is_its_recurrence(block, monkeypatch):
    monkeypatch.setattr(storage_rules, "BLOCK", block)
    patterns = spins(5, 7)
    torch.testing.assert_close(Storkey().couplings(patterns), storkey_one_by_one(patterns))


def test_hebb_is_the_sum_of_outer_products():
    patterns = spins(7, 9)
    expected = sum(torch.outer(x, x) for x in patterns).fill_diagonal_(0.0)
    assert torch.equal(Hebb().couplings(patterns), expected)


def test_pseudo_inverse_is_the_projection():
    patterns = spins(7, 9)
    expected = 9 * (torch.linalg.pinv(patterns) @ patterns).fill_diagonal_(0.0)
    torch.testing.assert_close(PseudoInverse().couplings(patterns), expected)


@pytest.mark.parametrize("count", [1, 10, 40, 59])
def test_pseudo_inverse_holds_any_independent_patterns(count):
    """Random ones of which every two agree in about 4 of 5 units: for Hebb's rule hopeless."""
    generator = seeded(3)
    patterns = torch.where(torch.rand(count, 60, generator=generator) < 0.9, 1.0, -1.0)
    patterns = torch.unique(patterns, dim=0).double()
    assert torch.linalg.matrix_rank(patterns) == len(patterns)
    found = ig.ClassicalHopfield(patterns, PseudoInverse()).recall(patterns)
    assert torch.equal(found.state, patterns)


def test_pseudo_inverse_of_dependent_patterns():
    """Copies and negatives add nothing to the span; patterns one unit apart free that unit."""
    patterns = spins(4, 10)
    twice = torch.cat([patterns, -patterns[:1], patterns])
    expected = PseudoInverse().couplings(patterns)
    torch.testing.assert_close(PseudoInverse().couplings(twice), expected)
    pair = spins(1, 10).repeat(2, 1)
    pair[1, 0] *= -1
    for dtype in (torch.float32, torch.float64):
        weight = PseudoInverse().couplings(pair.to(dtype))
        assert (weight[0] == 0).all()
        full = spins(12, 10).to(dtype)
        assert torch.equal(PseudoInverse().couplings(full), torch.zeros(10, 10, dtype=dtype))


def test_dreaming_is_its_differential_equation():
    """(1 + t) dJ/dt = J − J² from Hebb's rule, by Runge and Kutta's method in 200 steps to t = 4.

    Their error is of order (4/200)⁴ times fifth derivatives: below 1e−6 of the largest coupling.
    """
    patterns = spins(7, 9)
    coupled, step = patterns.mT @ patterns / 9, 4 / 200

    def slope(time: float, now: Tensor) -> Tensor:
        return (now - now @ now) / (1 + time)

    for n in range(200):
        time = n * step
        first = slope(time, coupled)
        second = slope(time + step / 2, coupled + step / 2 * first)
        third = slope(time + step / 2, coupled + step / 2 * second)
        fourth = slope(time + step, coupled + step * third)
        coupled = coupled + step / 6 * (first + 2 * second + 2 * third + fourth)
    found = Dreaming(time=4.0).couplings(patterns)
    torch.testing.assert_close(found, 9 * coupled.fill_diagonal_(0.0), rtol=1e-6, atol=1e-6)


def test_dreaming_leads_from_hebb_to_the_pseudo_inverse():
    patterns = spins(7, 20)
    torch.testing.assert_close(Dreaming(0.0).couplings(patterns), Hebb().couplings(patterns))
    projection = PseudoInverse().couplings(patterns)
    apart = [
        float((Dreaming(time).couplings(patterns) - projection).norm())
        for time in (0.0, 1.0, 10.0, 100.0, 1e9)
    ]
    assert apart == sorted(apart, reverse=True)
    assert apart[-1] < 1e-6 * apart[0]


@pytest.mark.parametrize("count", [3, 9, 10, 30])
def test_dreaming_is_its_formula_for_few_and_for_many_patterns(count):
    """By (1 + tC)⁻¹ itself; with more patterns than units the rule takes the smaller matrix."""
    patterns, time = spins(count, 9), 2.5
    inverse = torch.linalg.inv(torch.eye(count) + time * patterns @ patterns.mT / 9)
    expected = ((1 + time) * patterns.mT @ inverse @ patterns).fill_diagonal_(0.0)
    torch.testing.assert_close(Dreaming(time).couplings(patterns), expected)


@pytest.mark.parametrize("rule", [Dreaming(), PseudoInverse()])
def test_many_patterns_of_few_units_need_no_matrix_of_all_pairs(rule):
    """200,000 patterns: XXᵀ would be 320 GB. They span all, and the projection joins nothing."""
    patterns = spins(10, 12).repeat(20_000, 1)
    torch.testing.assert_close(
        PseudoInverse().couplings(patterns), PseudoInverse().couplings(patterns[:10])
    )
    assert rule.couplings(patterns).isfinite().all()


def test_dreaming_holds_what_hebb_forgets():
    """α = 0.5, where Hebb's rule holds nothing; copies do no harm."""
    patterns = spins(50, 100)
    assert (ig.ClassicalHopfield(patterns).stability() > 0).all(-1).sum() == 0
    memory = ig.ClassicalHopfield(torch.cat([patterns, patterns[:3]]), Dreaming(time=1000.0))
    assert (memory.stability() > 0).all()
    assert torch.equal(memory.recall(patterns).state, patterns)


def test_perceptron_reaches_ten_times_the_load_of_hebb():
    """α = 1 at d = 100, where Hebb's rule holds nothing."""
    patterns = spins(100, 100)
    assert (ig.ClassicalHopfield(patterns).stability() > 0).all(-1).sum() == 0
    memory = ig.ClassicalHopfield(patterns, Perceptron())
    assert (memory.stability() > 0).all()
    assert torch.equal(memory.recall(patterns).state, patterns)


@pytest.mark.parametrize("margin", [0.3, 1.0])
def test_perceptron_holds_its_margin(margin):
    patterns = spins(30, 100)
    memory = ig.ClassicalHopfield(patterns, Perceptron(margin))
    # By hand: x_i Σ_j W_ij x_j over the length of row i.
    weight = memory.weight
    held = torch.einsum("ni,ij,nj->ni", patterns, weight, patterns) / weight.norm(dim=1)
    assert (held > margin).all()
    torch.testing.assert_close(memory.stability(), held)


def test_first_epoch_of_the_perceptron_is_hebb():
    patterns = spins(5, 50)
    with pytest.warns(ConvergenceWarning) as said:
        weight = Perceptron(margin=100.0, max_epochs=1).couplings(patterns)
    assert torch.equal(weight, Hebb().couplings(patterns))
    assert "after 1 epochs 250 of 250 units" in str(said[0].message)
    assert "Store fewer" in str(said[0].message)


def test_perceptron_that_has_nothing_to_learn_stays_as_it_is():
    patterns = spins(5, 50)
    memory = ig.ClassicalHopfield(patterns, Perceptron())
    before = memory.weight
    memory.store(patterns[:2])  # already held
    assert torch.equal(memory.weight, before)


@every_rule
def test_couplings_are_symmetric_without_diagonal(rule):
    patterns = spins(6, 20)
    weight = rule.couplings(patterns)
    torch.testing.assert_close(weight, weight.T, rtol=0, atol=1e-13)
    assert (weight.diagonal() == 0).all()


@every_rule
@pytest.mark.parametrize("count", [0, 1, 6, 25])
def test_shift_leaves_no_negative_eigenvalue(rule, count):
    patterns = spins(25, 20)[:count]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        weight = rule.couplings(patterns)
    for shift in (rule.shift(weight, patterns), Rule.shift(rule, weight, patterns)):
        least = -float(torch.linalg.eigvalsh(weight)[0])
        assert shift >= least - 1e-9
        if shift > 0 and count < 20 and not isinstance(rule, PseudoInverse | Dreaming):
            assert shift <= 1.3 * least


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@every_rule
def test_dtypes_are_kept(rule, dtype):
    patterns = spins(4, 20)
    weight = rule.couplings(patterns.to(dtype))
    assert weight.dtype == dtype
    exact = rule.couplings(patterns)
    assert (weight.double() - exact).abs().max() <= 8 * torch.finfo(dtype).eps * exact.abs().max()


@every_rule
def test_rules_are_json_and_back(rule):
    assert Rule.from_config(json.loads(json.dumps(rule.config()))) == rule


@dataclass(frozen=True)
class Diluted(Rule):
    """A rule of one's own: Hebb's with the weak couplings cut; only ``couplings`` is given."""

    least: float = 2.0

    def couplings(self, patterns: Tensor) -> Tensor:
        weight = Hebb().couplings(patterns)
        return torch.where(weight.abs() >= self.least, weight, 0.0)


def test_a_rule_of_ones_own_needs_couplings_alone(tmp_path):
    patterns = spins(6, 20)
    memory = ig.ClassicalHopfield(patterns[:4], Diluted(3.0))
    memory.store(patterns[4:])
    assert torch.equal(memory.weight, Diluted(3.0).couplings(patterns))
    memory.unlearn(patterns[:2])
    assert torch.equal(memory.weight, Diluted(3.0).couplings(patterns[2:]))
    ig.save(memory, tmp_path / "diluted.safetensors")
    loaded = ig.load(tmp_path / "diluted.safetensors")
    assert isinstance(loaded, ig.ClassicalHopfield)
    assert loaded.rule == Diluted(3.0)


def test_bad_input():
    for wrong in ({"margin": -0.1}, {"margin": float("nan")}, {"max_epochs": 0}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            Perceptron(**wrong)
    for time in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ParameterError, match="time"):
            Dreaming(time)
    with pytest.raises(FileError, match="'Unheard'"):
        Rule.from_config({"kind": "Unheard"})


@pytest.mark.parametrize("count", [3, 30])
def test_sleep_without_end_of_repeated_patterns_is_the_pseudo_inverse(count):
    once = torch.randn(count, 12, generator=seeded(count), dtype=torch.float64).sign()
    twice = torch.cat([once, once])
    expected = PseudoInverse().couplings(twice)
    for time in (1e12, 1e16, 1e300):
        torch.testing.assert_close(Dreaming(time).couplings(twice), expected, atol=1e-8, rtol=0)
