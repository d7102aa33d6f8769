"""Means of draws stay within Bernstein's bound, rare events too: exact tails of the binomial."""

import pytest
import torch
from scipy.stats import binom

from isinglass.testing import sampling_error
from isinglass.testing.property import FIVE_SIGMA


@pytest.mark.parametrize("chance", [1e-7, 1e-6, 1e-4, 0.01, 0.3, 0.5])
def test_events_pass_the_bound_no_more_often_than_five_deviations(chance):
    count = 20_000
    variance, largest = torch.tensor([chance * (1 - chance), 1.0]).double()
    most = chance + sampling_error(variance, largest, count).item()
    assert binom.sf(most * count, count, chance) <= FIVE_SIGMA


def test_of_rare_events_five_deviations_are_passed_often():
    count, chance = 20_000, 1e-6
    most = chance + 5 * (chance / count) ** 0.5
    assert binom.sf(most * count, count, chance) > 0.01
