"""Ranks of methods over tables, as the tables of evidence report them."""

import numpy as np
import pytest
from benchmarks.evidence.uci import rank_differences


def test_ranks_are_means_over_tables_less_the_middle():
    accuracy = np.array([[0.9, 0.5, 0.8], [0.8, 0.5, 0.7], [0.1, 0.1, 0.9]])
    # Ranks 1, 1.5, 2; 2, 1.5, 3; 3, 3, 1. The middle of three is 2.
    assert rank_differences(accuracy) == pytest.approx([-0.5, 1 / 6, 1 / 3])
    assert rank_differences(accuracy).sum() == pytest.approx(0)
