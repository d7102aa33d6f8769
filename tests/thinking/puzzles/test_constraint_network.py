"""The energy of a puzzle and what is learned from solved examples."""

import pytest
import torch

import isinglass as ig
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.thinking import ConstraintNetwork
from tests.seeds import seeded
from tests.thinking.puzzles.boards import every_solution, groups_of, small_sudoku


@pytest.fixture(scope="module")
def solutions():
    return every_solution(small_sudoku(), 4)


def test_every_small_sudoku_has_energy_zero(solutions):
    assert len(solutions) == 288
    assert (small_sudoku().energy(solutions) == 0).all()


def test_energy_counts_exclusions_and_groups():
    network = ConstraintNetwork(4, [(0, 3), (2, 2)], [[0, 1], [1, 2]])
    states = network.unit.enumerate_states().float()
    s = states.T
    expected = s[0] * s[3] + s[2] + s[0] * s[1] + s[1] * s[2]
    expected = expected + (1 - s[0] - s[1]).abs() + (1 - s[1] - s[2]).abs()
    torch.testing.assert_close(network(states), expected)
    torch.testing.assert_close(network.energy(states.bool()), expected)


def test_rules_are_learned_from_solved_examples_alone(solutions):
    """No sizes, no rules; the order of propositions tells nothing either."""
    shuffled = torch.randperm(64, generator=seeded())
    found = ConstraintNetwork(64).fit(solutions[:, shuffled])
    place = shuffled.argsort()
    rules = [tuple(sorted(place[list(group)].tolist())) for group in groups_of(4, (2, 2))]
    assert set(rules) <= set(found.groups)
    true_pairs = place[small_sudoku().pairs].sort(1).values.unique(dim=0)
    assert torch.equal(found.pairs, true_pairs)


@pytest.mark.parametrize("count", [3, 10, 30, 100])
def test_no_true_rule_is_lost_on_few_examples(solutions, count):
    some = solutions[torch.randperm(288, generator=seeded(count))[:count]]
    found = ConstraintNetwork(64).fit(some)
    pairs = {tuple(pair) for pair in small_sudoku().pairs.tolist()}
    kept = {tuple(pair) for pair in found.pairs.tolist()}
    never = {unit for unit, other in kept if unit == other}
    assert all(pair in kept or never & set(pair) for pair in pairs)
    assert (found.energy(some) == 0).all()


def test_one_contrary_example_takes_a_rule_away(solutions):
    """Both true once: no exclusion any more, nor a group that holds both."""
    found = ConstraintNetwork(64).fit(solutions)
    one, other = found.pairs[0].tolist()
    contrary = solutions[:1].clone()
    contrary[0, [one, other]] = True
    found = ConstraintNetwork(64).fit(torch.cat([solutions, contrary]))
    assert [one, other] not in found.pairs.tolist()
    assert not any({one, other} <= set(group) for group in found.groups)


def test_what_is_always_or_never_true_is_learned():
    network = ConstraintNetwork(3).fit(torch.tensor([[1, 0, 0], [1, 1, 0]]))
    assert network.groups == [(0,)]
    assert network.pairs.tolist() == [[2, 2]]
    settled, clashing = network.settle(torch.zeros(1, 3))
    assert settled.tolist() == [[1, 0, -1]]
    assert not clashing.any()


def test_settling_keeps_every_solution(solutions):
    network = small_sudoku()
    hidden = torch.rand(288, 64, generator=seeded(1)) < 0.8
    given = (solutions & ~hidden).long()
    settled, clashing = network.settle(given)
    assert not clashing.any()
    assert (solutions[settled == 1]).all()
    assert not solutions[settled == -1].any()
    assert (settled != 0).sum() > (given != 0).sum()


def test_the_machine_of_bits_has_the_same_states_of_lowest_energy():
    """A 2 × 2 Latin square by enumeration: 2⁸ states."""
    network = ConstraintNetwork(8, groups=groups_of(2))
    states = ig.Bernoulli(8).enumerate_states().float()
    energies = network(states)
    machine = network.to_boltzmann_machine(penalty=3.0)
    shifted = machine(states) + 3.0 * len(network.groups)
    lowest = shifted <= 1e-4
    assert torch.equal(lowest, energies == 0)
    assert lowest.sum() == 2
    one, other = network.pairs.T
    legal = (states[:, one] * states[:, other]).sum(-1) == 0
    torch.testing.assert_close(shifted[legal], 3.0 * energies[legal])


def test_the_machine_refuses_what_never_holds():
    network = ConstraintNetwork(3, [(2, 2), (0, 2)], [[0, 1]])
    states = ig.Bernoulli(3).enumerate_states().float()
    energies = network.to_boltzmann_machine()(states)
    assert torch.equal(energies == energies.min(), network(states) == 0)


def test_files_keep_a_network(tmp_path, solutions):
    network = ConstraintNetwork(64).fit(solutions)
    ig.save(network, tmp_path / "network.safetensors")
    again = ig.load(tmp_path / "network.safetensors")
    assert isinstance(again, ConstraintNetwork)
    assert again.groups == network.groups
    assert torch.equal(again.pairs, network.pairs)
    assert (again.energy(solutions) == 0).all()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: ConstraintNetwork(0), ParameterError),
        (lambda: ConstraintNetwork(3, [(0, 3)]), ParameterError),
        (lambda: ConstraintNetwork(3, [(0, 1, 2)]), ShapeError),
        (lambda: ConstraintNetwork(3, groups=[[]]), ParameterError),
        (lambda: ConstraintNetwork(3, groups=[[0, -1]]), ParameterError),
        (lambda: ConstraintNetwork(3).fit(torch.zeros(0, 3)), ShapeError),
        (lambda: ConstraintNetwork(3).fit(torch.zeros(2, 4)), ShapeError),
        (lambda: ConstraintNetwork(3).fit(torch.full((2, 3), 0.5)), DomainError),
        (lambda: ConstraintNetwork(3).fit(torch.full((2, 3), torch.nan)), DomainError),
        (lambda: ConstraintNetwork(3).settle(torch.full((2, 3), 2)), DomainError),
        (lambda: ConstraintNetwork(3).settle(torch.full((2, 3), torch.nan)), DomainError),
        (lambda: ConstraintNetwork(3).settle(torch.zeros(2, 4)), ShapeError),
        (lambda: ConstraintNetwork(3).to_boltzmann_machine(), ParameterError),
        (
            lambda: ConstraintNetwork(3, groups=[[0, 1]]).to_boltzmann_machine(penalty=0.0),
            ParameterError,
        ),
    ],
)
def test_bad_input_is_named(call, error):
    with pytest.raises(error) as caught:
        call()
    assert caught.value.remedy
