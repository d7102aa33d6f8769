"""What numbers of a column may be, against plain loops."""

import numpy as np
import torch

from isinglass.data.value_range import ValueRange
from tests.seeds import numpy_seeded


def table():
    rng = numpy_seeded(0)
    data = np.stack([rng.poisson(2, 60), rng.normal(size=60), rng.integers(0, 2, 60)], 1) * 1.0
    known = rng.random(data.shape) < 0.8
    return data, known


def test_numbers_are_brought_to_the_nearest_value_seen():
    data, known = table()
    found = ValueRange.of(torch.tensor(data), torch.tensor(known))
    fresh = 3 * numpy_seeded(1).normal(size=(200, 3))
    snapped = found.snap(torch.tensor(fresh)).numpy()
    for column in range(3):
        seen = np.unique(data[known[:, column], column])
        cut = np.clip(fresh[:, column], seen.min(), seen.max())
        if column != 1:
            cut = seen[np.abs(seen - cut[:, None]).argmin(1)]
        np.testing.assert_allclose(snapped[:, column], cut)
    outside = found.outside(torch.tensor(fresh)).numpy()
    np.testing.assert_array_equal(outside, found.clip(torch.tensor(fresh)).numpy() != fresh)


def test_a_table_without_repeats_has_no_values():
    data = torch.tensor(numpy_seeded(0).normal(size=(9, 2)))
    found = ValueRange.of(data, torch.ones_like(data).bool())
    assert found.values.numel() == 0
    torch.testing.assert_close(found.snap(data), data)
    none = ValueRange.of(data[:, :0], torch.ones(9, 0).bool())
    assert none.snap(data[:, :0]).shape == (9, 0)
