"""Screening finds what the whole sum finds, and its bound holds against float64 brute force."""

import math

import pytest
import torch

from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.retrieval import Int8Index, int8_index
from isinglass.retrieval.int8_index import CELL
from tests.cases import double


def unit(rows: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(rows, dim=-1)


def brute_force(queries, keys, beta, values):
    scores = beta * queries.double() @ keys.double().mT
    return scores.softmax(-1) @ values.double(), scores.logsumexp(-1) / beta


def mass_left_out(found, log_partition, beta):
    """1 − Z_kept/Z, exact: both normalizers are known."""
    return -torch.expm1(beta * (found.log_partition.double() - log_partition))


@pytest.mark.parametrize("count", [1, 255, 256, 257, 9000, 20_011])
@pytest.mark.parametrize("beta", [5.0, 60.0, 2000.0])
@pytest.mark.parametrize("noise", [0.0, 0.5, 3.0])
def test_the_bound_holds(count, beta, noise):
    keys, values = unit(double(count, 48)), double(count, 5, seed=1)
    near = keys[torch.arange(9) * 7 % count]
    queries = unit(near + noise / math.sqrt(48) * double(9, 48, seed=2))
    average, log_partition = brute_force(queries, keys, beta, values)
    index = Int8Index(keys, cells=4)
    rounding = 1e-12 + 4 * beta * torch.finfo(torch.float64).eps  # of sums of N, and of β lse_β
    for tolerance in (0.0, 1e-6, 1e-3, 1.0):
        found = index.lookup(queries, beta, values, tolerance=tolerance)
        assert (found.omitted_mass_bound <= tolerance).all()
        assert (
            mass_left_out(found, log_partition, beta) <= found.omitted_mass_bound + rounding
        ).all()
        off = (found.average - average).norm(dim=-1)
        assert (off <= 2 * found.omitted_mass_bound * values.norm(dim=-1).max() + 1e-11).all()


def test_keys_of_unlike_lengths_and_a_zero_key():
    keys = double(3000, 20) * double(3000, 1, seed=1).exp()
    keys[17] = 0.0
    queries = keys[:5] / 10
    average, log_partition = brute_force(queries, keys, 3.0, keys)
    found = Int8Index(keys).lookup(queries, 3.0, tolerance=0.01)
    assert (mass_left_out(found, log_partition, 3.0) <= found.omitted_mass_bound + 1e-12).all()
    assert ((found.average - average).norm(dim=-1) <= 0.02 * keys.norm(dim=-1).max()).all()
    assert torch.equal(Int8Index(torch.zeros(3, 4)).lookup(torch.ones(1, 4), 1.0).average,
                       torch.zeros(1, 4))  # fmt: skip


def test_a_sharp_look_up_drops_little_and_a_wide_one_is_whole():
    keys = unit(double(30_000, 64))
    index = Int8Index(keys)
    sharp = index.lookup(keys[:4], 60.0)
    assert (sharp.omitted_mass_bound > 0).all()
    assert (sharp.omitted_mass_bound < 1e-6).all()
    wide = index.lookup(keys[:4], 1.0)  # everyone counts: summed in full by itself
    assert (wide.omitted_mass_bound == 0).all()
    torch.testing.assert_close(wide.average, brute_force(keys[:4], keys, 1.0, keys)[0])


def test_each_query_falls_back_alone():
    keys = unit(double(30_000, 64))
    stranger = unit(double(1, 64, seed=5))
    found = Int8Index(keys).lookup(torch.cat([keys[:1], stranger, keys[1:2]]), 40.0)
    assert (found.omitted_mass_bound == 0).tolist() == [False, True, False]


def test_many_alike_keys_are_all_summed():
    """2,000 copies of a key, in more cells than a query may keep: the whole sum is taken."""
    keys = unit(double(20_000, 32))
    keys[torch.arange(2000) * 10] = keys[0].clone()
    found = Int8Index(keys, cells=2).lookup(keys[:1], 50.0)
    assert found.omitted_mass_bound.item() == 0.0
    torch.testing.assert_close(found.average, brute_force(keys[:1], keys, 50.0, keys)[0])
    # Side by side they fit into the cells kept.
    keys = unit(double(20_000, 32))
    keys[: 3 * CELL] = keys[0].clone()
    found = Int8Index(keys, cells=8).lookup(keys[:1], 50.0)
    assert 0 < found.omitted_mass_bound.item() < 1e-4
    average = brute_force(keys[:1], keys, 50.0, keys)[0]
    assert (found.average - average).norm() <= 2 * found.omitted_mass_bound.item()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_dtypes_are_kept(dtype):
    keys = unit(double(1000, 33)).to(dtype)
    found = Int8Index(keys).lookup(keys[:3], 80.0)
    assert found.average.dtype == found.omitted_mass_bound.dtype == dtype
    off = (found.average - keys[:3]).abs().max()
    assert off <= 4 * torch.finfo(dtype).eps


def test_shapes_and_size():
    keys = double(300, 5)
    index = Int8Index(keys)
    assert index.lookup(keys[0], 1.0).average.shape == (5,)
    assert index.lookup(keys[:6].reshape(2, 3, 5), 1.0, double(300, 2)).average.shape == (
        2,
        3,
        2,
    )
    # Whole cells of keys, features in eights, a byte each; a float32 scale for eight keys.
    assert index.nbytes == 512 * 8 + 64 * 4
    assert "300 keys of 5" in repr(index)


@pytest.mark.parametrize("exact", ["keys", "queries"])
def test_both_roundings_are_in_the_bound(exact):
    """All keys left out are one key, so that nothing but rounding stands between mass and bound."""
    keys = double(1, 16).expand(2560, 16).clone()
    queries = double(50, 16, seed=1)
    if exact == "keys":
        keys = keys.sign()  # 8 bits hold them, the queries they round
    else:
        queries = queries.sign()
    log_partition = brute_force(queries, keys, 20.0, keys)[1]
    found = Int8Index(keys, cells=1).lookup(queries, 20.0, tolerance=1.0)
    left_out = mass_left_out(found, log_partition, 20.0)
    assert (left_out > 0.89).all()
    assert (left_out <= found.omitted_mass_bound).all()
    assert (found.omitted_mass_bound < 0.999).all()


def test_several_merges_of_the_best_cells():
    """More blocks than are merged at a time: early cells keep their numbers and their mass."""
    keys = unit(double(70_011, 8))
    queries = unit(double(6, 8, seed=1))
    log_partition = brute_force(queries, keys, 50.0, keys)[1]
    found = Int8Index(keys, cells=2).lookup(queries, 50.0, tolerance=1.0)
    left_out = mass_left_out(found, log_partition, 50.0)
    assert (left_out > 0.1).all()  # 70,000 keys in 8 dimensions: many are near
    assert (left_out <= found.omitted_mass_bound).all()
    found = Int8Index(keys).lookup(keys[[3, 40_000, 70_010]], 4000.0)
    assert (found.omitted_mass_bound > 0).all()
    assert (found.average - keys[[3, 40_000, 70_010]]).abs().max() < 0.05


def test_padding_counts_for_nothing():
    """Every key is opposed to the query: the zeros that fill the last cell would win."""
    keys = -unit(double(300, 16).abs())
    keys[256:] *= 2
    found = Int8Index(keys, cells=1).lookup(-keys[:1], 500.0)
    assert 0 < found.omitted_mass_bound.item() < 1e-4


def test_products_that_would_overflow_32_bits_are_summed_in_full(monkeypatch):
    assert int8_index.WIDEST * 127**2 < 2**31
    keys = unit(double(1000, 20))
    assert Int8Index(keys).lookup(keys[:1], 100.0).omitted_mass_bound.item() > 0
    monkeypatch.setattr(int8_index, "WIDEST", 19)
    found = Int8Index(keys).lookup(keys[:1], 100.0)
    assert found.omitted_mass_bound.item() == 0.0
    torch.testing.assert_close(found.average, brute_force(keys[:1], keys, 100.0, keys)[0])


def test_no_queries():
    found = Int8Index(double(300, 5)).lookup(double(0, 5), 1.0, double(300, 2))
    assert found.average.shape == (0, 2)
    assert found.omitted_mass_bound.shape == (0,)


def test_bad_input():
    small = Int8Index(double(4, 3))
    with pytest.raises(ShapeError, match="3 features"):
        small.lookup(double(2, 4), 1.0)
    with pytest.raises(ParameterError, match="beta"):
        small.lookup(double(2, 3), 0.0)
    with pytest.raises(ParameterError, match="tolerance"):
        small.lookup(double(2, 3), 1.0, tolerance=1.5)
    with pytest.raises(DomainError, match="NaN"):
        Int8Index(torch.full((2, 2), torch.nan))
    with pytest.raises(ParameterError, match="cells"):
        Int8Index(double(4, 3), cells=0)
