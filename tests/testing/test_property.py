"""χ² is judged by its own distribution, not as a normal number."""

import math

import pytest
import torch

from isinglass.testing.property import FIVE_SIGMA, require_chi_square, require_likely
from tests.seeds import seeded


# χ² of one degree of freedom is a normal number squared, of two an exponential one of mean 2.
@pytest.mark.parametrize(("freedom", "limit"), [(1, 25.0), (2, -2 * math.log(FIVE_SIGMA))])
def test_the_limit_is_that_of_five_standard_deviations(freedom, limit):
    require_likely("draws", limit * (1 - 1e-9), freedom)
    with pytest.raises(AssertionError, match=f"at {freedom} degrees of freedom"):
        require_likely("draws", limit * (1 + 1e-9), freedom)
    with pytest.raises(AssertionError, match="nan"):
        require_likely("draws", math.nan, freedom)


@pytest.mark.parametrize("cells", [2, 8, 40])
def test_right_counts_pass_and_wrong_ones_do_not(cells):
    """A thousand times: the mean plus five deviations of χ² would refuse four right ones of two."""
    law, count = torch.ones(cells, dtype=torch.float64), 20 * cells
    draws = torch.randint(cells, (1000, count), generator=seeded())
    for row in draws:
        require_chi_square("draws", torch.bincount(row, minlength=cells), law)
    with pytest.raises(AssertionError, match="χ²"):
        require_chi_square("draws", torch.bincount(draws[0] // 2, minlength=cells), law)


def test_rare_cells_are_pooled():
    law = torch.tensor([0.5, 0.5 - 2e-3, 1e-3, 1e-3], dtype=torch.float64)
    require_chi_square("draws", torch.tensor([496, 496, 8, 0]), law)  # 8 of 1 in one cell alone
