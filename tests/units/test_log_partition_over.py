"""Sums over allowed states by one matrix product are the sums one by one, however small."""

import pytest
import torch

import isinglass as ig
from tests.cases import double
from tests.seeds import seeded

KINDS = {
    "one group": ig.Categorical(7),
    "groups": ig.Categorical(12, groups=3),
    "averages": ig.Multinomial(6, beta=2.0),
    "columns": ig.Mixed([ig.Categorical(4), ig.Spin(2), ig.Categorical(3), ig.Gaussian(2)]),
    "spins": ig.Spin(5),
}


def masks_of(unit, rows):
    """Random masks; of some units nothing is allowed, and those of one component are kept."""
    draw = seeded(3)
    allowed = torch.rand(rows, unit.size, generator=draw) < 0.5
    empty = torch.rand(rows, unit.count, generator=draw) < 0.2
    return allowed & ~empty[:, unit.variable_ids()]


def one_by_one(unit, fields, allowed, temperature):
    """Naive: every unit of every row and field by itself, over what is allowed of it."""
    found, ids = torch.zeros(len(allowed), len(fields), dtype=fields.dtype), unit.variable_ids()
    for row, mask in enumerate(allowed):
        for number in range(unit.count):
            place = (ids == number) & mask
            if not place.any():
                continue
            one = unit.select([number])
            field = fields[:, ids == number].masked_fill(~mask[ids == number], -torch.inf)
            found[row] += one.log_partition(field, temperature)
    return found


@pytest.mark.parametrize("scale", [1.0, 500.0])
@pytest.mark.parametrize("temperature", [0.0, 0.5, 5.0])
@pytest.mark.parametrize("few", [2**16, 0], ids=["formed", "multiplied"])
@pytest.mark.parametrize("name", KINDS)
def test_it_is_the_sum_one_by_one(name, few, temperature, scale, monkeypatch):
    """At scale 500 and T = ½ weights of some patterns underflow in float64 too."""
    monkeypatch.setattr("isinglass.units.categorical.FEW_NUMBERS", few)
    unit = KINDS[name]
    temperature = 0.5 if name == "averages" else temperature
    fields, allowed = scale * double(5, unit.size), masks_of(unit, 6)
    found = unit.log_partition_over(fields, allowed, temperature)
    expected = one_by_one(unit, fields, allowed, temperature)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12 * scale)


@pytest.mark.parametrize("few", [2**16, 0])
def test_slopes_are_finite_where_weights_underflow(few, monkeypatch):
    monkeypatch.setattr("isinglass.units.categorical.FEW_NUMBERS", few)
    fields = torch.tensor([[0.0, 900.0, 1.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    fields.requires_grad_()
    allowed = torch.tensor([[True, False, True], [False, False, False]])
    value = ig.Categorical(3).log_partition_over(fields, allowed, 1.0)
    (slope,) = torch.autograd.grad(value.sum(), fields)
    share = torch.sigmoid(torch.tensor(1.0, dtype=torch.float64))
    expected = torch.tensor([[1 - share, 0, share], [share, 0, 1 - share]], dtype=torch.float64)
    torch.testing.assert_close(slope, expected)


def test_fields_are_not_copied_for_each_row():
    """Neither by masks nor by what is observed: the patterns stay shared."""
    mixture = ig.PatternMixture(ig.Categorical(4), double(3, 5), double(5, 4))
    masked = mixture.masked(torch.tensor([True, False, True, True]))
    spins = ig.PatternMixture(ig.Spin(4), double(3, 5), double(5, 4))
    clamped = spins.condition(torch.ones(3, 4, dtype=torch.float64), torch.arange(4) < 2)
    assert masked.fields is mixture.fields
    assert clamped.fields is spins.fields


@pytest.mark.parametrize("unit", [ig.Categorical(4), ig.Categorical(6, groups=2)])
def test_states_are_listed_in_order(unit):
    states = unit.enumerate_states()
    hot = states.unflatten(-1, (unit.groups, -1)).argmax(-1)
    counts = [unit.components] * unit.groups
    expected = torch.cartesian_prod(*map(torch.arange, counts)).reshape(len(states), -1)
    assert torch.equal(hot, expected)
    assert unit.contains(states).all()
