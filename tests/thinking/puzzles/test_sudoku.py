"""Real Sudokus, whose rules were learned from solved grids alone."""

import os
from pathlib import Path

import pytest
import torch
from benchmarks.evidence.sudoku_grids import one_hot, rules
from benchmarks.evidence.think_puzzles import HARD, grids_of, is_right, puzzles_of

from isinglass.thinking import ConstraintNetwork, PuzzleThinker
from tests.seeds import SEED

DATA = Path(os.environ.get("ISINGLASS_DATA", "data")) / "sudoku"


def test_random_grids_obey_the_rules():
    grids = grids_of(SEED, 5)
    assert (one_hot(grids)[:, torch.tensor(rules())].sum(-1) == 1).all()
    assert not torch.equal(grids[0], grids[1])


def test_what_is_right_is_judged_by_the_rules_where_there_is_no_solution():
    grids = grids_of(SEED, 2)
    puzzles = grids.clone()
    puzzles[:, 9:] = 0
    assert is_right(one_hot(grids).bool(), puzzles, None).tolist() == [True, True]
    assert is_right(one_hot(grids).bool(), puzzles.flip(0), None).tolist() == [False, False]
    wrong = grids.clone()
    wrong[:, [0, 1]] = wrong[:, [1, 0]]
    assert not is_right(one_hot(wrong).bool(), 0 * puzzles, None).any()


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="set ISINGLASS_DATA to the folder of data sets")
def test_sudokus_learned_from_grids_alone_are_all_answered_right():
    network = ConstraintNetwork(729).fit(one_hot(grids_of(SEED, 1200)))
    assert set(map(tuple, rules())) == set(network.groups)
    for name in ("rrn_test_17", "satnet_test", HARD):
        puzzles, true = puzzles_of(DATA, name)
        some = None if true is None else true[:100]
        answers = PuzzleThinker(network).think(one_hot(puzzles[:100]))
        assert answers.sure.all()
        assert is_right(answers.solutions, puzzles[:100], some).all()
