"""Settle, guess, retract: right answers, or none."""

import random

import pytest
import torch

import isinglass as ig
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.thinking import (
    ConstraintNetwork,
    ContradictionAhead,
    LearnedOrder,
    PuzzleThinker,
    SmallestGroup,
)
from isinglass.thinking.puzzles._neighbors import NeighborLists
from isinglass.thinking.puzzles.board import Board
from tests.seeds import seeded, shifted
from tests.thinking.puzzles.boards import every_solution, givens, groups_of, small_sudoku

#: Nine by nine, one solution, found with guesses.
HARD = "4.....8.5.3..........7......2.....6.....8.4......1.......6.3.7.5..2.....1.4......"


@pytest.fixture(scope="module")
def sudoku():
    return ConstraintNetwork(729, groups=groups_of(9, (3, 3)))


@pytest.fixture(scope="module")
def solutions():
    return every_solution(small_sudoku(), 4)


def orders(network):
    empty = torch.zeros(1, network.size)
    return [SmallestGroup(), ContradictionAhead(4), LearnedOrder(4).fit(network, empty, seeded())]


@pytest.mark.parametrize("which", range(3))
def test_all_solutions_are_found_whatever_the_order(solutions, which):
    network = small_sudoku()
    boards = "12..34..........", "12..............", "1......2..3....4", "12....1........2"
    given = torch.cat([givens(board, 4) for board in boards])
    found = PuzzleThinker(network, orders(network)[which]).think(given, solutions=1000)
    fits = (solutions[:, None] | (given == 0)).all(-1)
    assert found.found.tolist() == fits.sum(0).tolist()
    assert found.complete.all()
    assert torch.equal(found.contradictory, fits.sum(0) == 0)
    for puzzle in range(4):
        assert torch.equal(found.totals[puzzle], solutions[fits[:, puzzle]].long().sum(0))


@pytest.mark.parametrize("order", [SmallestGroup(), ContradictionAhead()])
def test_a_hard_board_is_solved_with_guesses(sudoku, order):
    answers = PuzzleThinker(sudoku, order).think(givens(HARD, 9), solutions=2)
    answer = answers[0]
    assert answer.status == "sure"
    assert answer.unique
    assert float(sudoku.energy(answers.solutions)) == 0
    assert answers.solutions[givens(HARD, 9) == 1].all()
    digits = answers.solutions[0].view(81, 9).int().argmax(1) + 1
    assert "".join(map(str, digits.tolist())).startswith("417369825632158947")
    assert answer.guesses == int(answers.guesses) > 0
    assert answer.retractions == int(answers.retractions) == answer.guesses


def test_a_puzzle_is_thought_of_alike_alone_and_among_others(solutions):
    given = (solutions & (torch.rand(288, 64, generator=seeded(2)) < 0.25)).long()
    thinker = PuzzleThinker(small_sudoku())
    together = thinker.think(given)
    for puzzle in range(0, 288, 60):
        alone = thinker.think(given[puzzle : puzzle + 1])
        assert str(alone[0]) == str(together[puzzle])
        assert torch.equal(alone.solutions[0], together.solutions[puzzle])


def test_looking_ahead_needs_fewer_guesses(sudoku):
    hand, ahead = (
        PuzzleThinker(sudoku, order).think(givens(HARD, 9)).guesses
        for order in (SmallestGroup(), ContradictionAhead())
    )
    assert ahead < hand


def test_the_budget_ends_in_unsure_never_in_an_answer(sudoku):
    given = givens(HARD, 9)
    thinker = PuzzleThinker(sudoku, SmallestGroup())
    needed = int(thinker.think(given).guesses)
    for budget in (0, 1, needed - 1):
        answers = thinker.think(given, budget)
        assert answers.unsure.all()
        assert answers[0].status == "unsure"
        assert answers[0].solution is None
        assert int(answers.guesses) == budget
        assert not answers.solutions.any()
    assert thinker.think(given, needed).sure.all()


def test_clashing_givens_are_few_and_none_is_idle(sudoku):
    board = HARD[:1] + "4" + HARD[2:]
    answer = PuzzleThinker(sudoku).think(givens(board, 9))[0]
    assert answer.status == "contradictory"
    assert answer.solution is None
    assert answer.clash == (0 * 9 + 3, 1 * 9 + 3)
    assert "contradictory: 3, 12" in str(answer)


def test_a_clash_that_only_a_search_shows():
    """A ring of five, and a sixth vertex apart; none of the five may be red: two colors are left.

    Nothing is forced, but a ring of odd length has no two colors; with any one red it has three.
    """
    network = ConstraintNetwork(18, groups=torch.arange(18).view(6, 3).tolist())
    ring = torch.tensor([(v, (v + 1) % 5) for v in range(5)])
    same = torch.cat([ring * 3 + color for color in range(3)])
    given = torch.zeros(2, 18, dtype=torch.int64)
    given[:, 0:15:3] = -1
    given[:, 15] = 1
    given[1, 0] = 0
    assert not network.settle(given)[1].any()
    answers = PuzzleThinker(network).think(given, exclusions=[same, same])
    assert answers[0].status == "contradictory"
    assert answers[0].guesses > 0
    assert answers[0].clash == (0, 3, 6, 9, 12)
    assert answers[1].status == "sure"
    assert answers[1].clash == ()


def test_exclusions_of_single_puzzles_color_graphs():
    """One network of three colors a vertex, another graph in each row."""
    vertices, colors = 6, 3
    network = ConstraintNetwork(
        vertices * colors, groups=torch.arange(vertices * colors).view(vertices, colors).tolist()
    )
    every = torch.cartesian_prod(*[torch.arange(colors)] * vertices)
    pairs = torch.combinations(torch.arange(vertices), 2)
    generator = seeded(3)
    graphs = [pairs[torch.rand(15, generator=generator) < share] for share in (0.3, 0.5, 0.7, 1.0)]
    exclusions = [
        torch.cat([graph * colors + color for color in range(colors)]) for graph in graphs
    ]
    for order in (SmallestGroup(), ContradictionAhead(3)):
        answers = PuzzleThinker(network, order).think(
            torch.zeros(4, 18), solutions=1000, exclusions=exclusions
        )
        counts = [int((every[:, g[:, 0]] != every[:, g[:, 1]]).all(1).sum()) for g in graphs]
        assert answers.found.tolist() == counts
        assert counts[-1] == 0
    chosen = answers.solutions.view(4, vertices, colors).int().argmax(-1)
    for graph, found, color in zip(graphs, counts, chosen, strict=True):
        assert not found or (color[graph[:, 0]] != color[graph[:, 1]]).all()


def test_a_proposition_that_a_puzzle_excludes_by_itself_is_false():
    network = ConstraintNetwork(4, groups=[[0, 1], [2, 3]])
    answers = PuzzleThinker(network).think(
        torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0]]), exclusions=[[(0, 0)], [(0, 0)]], solutions=9
    )
    assert answers.totals[0].tolist() == [0, 2, 1, 1]
    assert answers[1].status == "contradictory"
    assert answers[1].clash == (0,)


def random_puzzles(draw):
    """A small network of random rules, five rows of givens, and exclusions of each."""
    size = draw.randint(2, 8)
    groups = [draw.sample(range(size), draw.randint(1, min(size, 4))) for _ in range(3)]
    pairs = [[(draw.randrange(size), draw.randrange(size)) for _ in range(3)] for _ in range(6)]
    given = [[draw.choice([0, 0, 0, 0, 1, -1]) for _ in range(size)] for _ in range(5)]
    network = ConstraintNetwork(size, pairs.pop(), groups[: draw.randint(0, 3)])
    return network, torch.tensor(given), pairs


def fitting(network, given, pairs):
    """States of energy 0 that a puzzle allows, by enumeration; what is in no group is false."""
    states = network.unit.enumerate_states().float()
    fits = (network(states) == 0) & ((given == 0) | (2 * states - 1 == given)).all(1)
    for one, other in pairs:
        fits &= (states[:, one] * states[:, other]) == 0
    alone = torch.ones(network.size, dtype=torch.bool)
    alone[[unit for group in network.groups for unit in group]] = False
    return states[fits & ~(states.bool() & alone & (given != 1)).any(1)]


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_agree_with_enumeration(seed):
    network, given, pairs = random_puzzles(random.Random(shifted(seed)))
    for order in (SmallestGroup(), ContradictionAhead(2)):
        thinker = PuzzleThinker(network, order)
        every = thinker.think(given, solutions=1000, exclusions=pairs)
        one = thinker.think(given, exclusions=pairs)
        for row, (known, own) in enumerate(zip(given, pairs, strict=True)):
            states = fitting(network, known, own)
            assert torch.equal(every.totals[row].float(), states.sum(0))
            assert int(every.found[row]) == len(states)
            assert bool(one.contradictory[row]) == (len(states) == 0)
            if len(states):
                assert (states == one.solutions[row].float()).all(1).any()
                continue
            clash = torch.zeros_like(known)
            clash[list(one.clashes[row])] = known[list(one.clashes[row])]
            assert len(fitting(network, clash, own)) == 0
            for unit in one.clashes[row]:
                fewer = clash.clone()
                fewer[unit] = 0
                assert len(fitting(network, fewer, own)) > 0


def test_beliefs_are_those_of_enumeration(solutions):
    """Open cells of a 4 × 4 board as one-hot units, exp(−E/T) over all their states."""
    network = small_sudoku()
    hidden = torch.rand(500, 16, generator=seeded(5)) < 0.65
    given = (solutions[:1] & ~hidden.repeat_interleave(4, 1)).long()
    settled, _ = network.settle(given)
    open_cells = (settled == 0).view(-1, 16, 4).any(2).sum(1)
    puzzle = torch.where(open_cells > 7, 0, open_cells).argmax()[None]
    given, settled = given[puzzle], settled[puzzle]
    beliefs = PuzzleThinker(network).beliefs(given)
    cells = (settled.view(16, 4) != 1).all(1).nonzero().flatten()
    filled = (settled == 1).double().view(1, 16, 4)
    unit = ig.Categorical(4 * len(cells), groups=len(cells))
    states = unit.enumerate_states().double()
    boards = filled.repeat(len(states), 1, 1)
    boards[:, cells] = states.view(len(states), len(cells), 4)
    boards = boards.flatten(1)
    assert 4**4 <= len(states) <= 4**7
    assert ((beliefs > 0) & (beliefs < 1)).any()
    for energy in (network, network.to_boltzmann_machine().double()):
        weights = torch.softmax(-energy(boards).detach() / 0.02, 0)
        torch.testing.assert_close(beliefs[0], weights @ boards, atol=1e-9, rtol=0)
    fits = (solutions | (given == 0)).all(-1)
    torch.testing.assert_close(beliefs[0], solutions[fits].double().mean(0), atol=1e-9, rtol=0)


def test_beliefs_unknown_are_nan():
    thinker = PuzzleThinker(small_sudoku())
    assert thinker.beliefs(torch.zeros(1, 64), budget=3).isnan().all()
    assert thinker.beliefs(givens("11..............", 4)).isnan().all()


def test_propositions_in_no_group_are_false_unless_given():
    network = ConstraintNetwork(3, [(1, 2)], [[0]])
    answers = PuzzleThinker(network).think(torch.tensor([[0, 0, 0], [0, 1, 0], [0, 1, 1]]))
    assert answers.solutions.tolist() == [[True, False, False], [True, True, False], [False] * 3]
    assert answers[2].clash == (1, 2)


def test_no_puzzles_give_no_answers():
    answers = PuzzleThinker(small_sudoku()).think(torch.zeros(0, 64))
    assert len(answers) == 0
    assert str(answers).startswith("0 sure")


def test_an_order_of_ones_own_needs_one_method():
    class Last(SmallestGroup):
        def choose(self, board, columns):
            open_ones = board.state[:-1, columns] == 1
            return len(open_ones) - 1 - open_ones.flip(0).int().argmax(0)

    given = givens("12..34..........", 4)
    answers = PuzzleThinker(small_sudoku(), Last()).think(given, solutions=999)
    assert int(answers.found) == 12


def test_bellmans_equation_is_met_by_exact_trees():
    """Of two groups of two that exclude all between them, whatever is guessed clashes at once."""
    network = ConstraintNetwork(6, [(a, b) for a in (0, 1, 2) for b in (3, 4, 5)], [[0, 1, 2]])
    network = ConstraintNetwork(6, network.pairs, [[0, 1, 2], [3, 4, 5]])
    order = LearnedOrder(2).fit(network, torch.zeros(3, 6), seeded())
    found = PuzzleThinker(network, order).think(torch.zeros(1, 6))
    assert found.contradictory.all()
    board = Board.of(network, torch.zeros(1, 6, dtype=torch.int8))
    board.settle()
    torch.testing.assert_close(
        order.left(board), torch.tensor([4.0], dtype=torch.float64), rtol=0.01, atol=0
    )


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda thinker: thinker.think(torch.zeros(1, 63)), ShapeError),
        (lambda thinker: thinker.think(torch.full((1, 64), 3)), DomainError),
        (lambda thinker: thinker.think(torch.zeros(1, 64), budget=-1), ParameterError),
        (lambda thinker: thinker.think(torch.zeros(1, 64), solutions=0), ParameterError),
        (lambda thinker: thinker.think(torch.zeros(1, 64), exclusions=[]), ShapeError),
        (lambda thinker: thinker.think(torch.zeros(1, 64), exclusions=[[(0, 64)]]), ParameterError),
        (lambda thinker: thinker.think(torch.zeros(1, 64), exclusions=[[(0, 1, 2)]]), ShapeError),
        (lambda thinker: ContradictionAhead(0), ParameterError),
        (
            lambda thinker: PuzzleThinker(thinker.network, LearnedOrder()).think(
                torch.zeros(1, 64)
            ),
            ParameterError,
        ),
        (lambda thinker: LearnedOrder().fit(thinker.network, torch.zeros(0, 64)), DomainError),
    ],
)
def test_bad_input_is_named(call, error):
    with pytest.raises(error) as caught:
        call(PuzzleThinker(small_sudoku()))
    assert caught.value.remedy


def test_the_certificate_does_not_rest_on_settling():
    """Even where a truth tells no neighbor, no answer has an energy above 0."""
    network = ConstraintNetwork(4, [(0, 2), (0, 3), (1, 2)], [[0, 1], [2, 3]])
    nobody = torch.zeros(0, dtype=torch.int64)
    network.neighbors = NeighborLists.of(nobody, nobody, 4)
    answers = PuzzleThinker(network, SmallestGroup()).think(torch.zeros(1, 4), solutions=9)
    assert answers.totals.tolist() == [[0, 1, 0, 1]]
    assert float(network.energy(answers.solutions)) == 0


def test_two_givens_that_exclude_each_other_are_the_clash(sudoku):
    """Whatever else does not fit: of a board with two equal digits in a row, these two."""
    digits = torch.tensor([int(cell) if cell != "." else 0 for cell in HARD]).view(9, 9)
    digits[0, 8] = digits[0, 0]  # 4 and 4
    digits[2, 2] = 9
    givens = torch.nn.functional.one_hot(digits, 10)[..., 1:].reshape(1, 729)
    for order in (None, SmallestGroup()):
        (clash,) = PuzzleThinker(sudoku, order).think(givens).clashes
        assert clash == (3, 8 * 9 + 3)


def test_a_given_that_is_never_true_is_the_clash():
    network = ConstraintNetwork(4, exclusions=[(1, 1)], groups=[[0, 1], [2, 3]])
    given = torch.tensor([[0, 1, 1, 1], [1, 0, 1, 0]])
    thinker = PuzzleThinker(network)
    assert thinker.think(given).clashes == [(1,), ()]
    assert thinker.think(given[1:], exclusions=[[(2, 2)]]).clashes == [(2,)]
    assert thinker.think(given[1:], exclusions=[[(2, 0)]]).clashes == [(2,)]  # 0 is forced
    thinker = PuzzleThinker(ConstraintNetwork(4, groups=[[0, 1], [2, 3]]))
    assert thinker.think(given[1:], exclusions=[[(2, 0)]]).clashes == [(0, 2)]
