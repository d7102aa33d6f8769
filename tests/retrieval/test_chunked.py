"""The streamed look-up is softmax attention, however many blocks it takes."""

import pytest
import torch

from isinglass.errors import DomainError, ParameterError
from isinglass.retrieval import streamed_lookup
from tests.cases import double


@pytest.mark.parametrize("block", [1, 3, 10, 64])
@pytest.mark.parametrize("beta", [1e-3, 1.0, 300.0])
def test_it_is_softmax_attention(block, beta):
    keys, values, queries = double(10, 4), double(10, 3, seed=1), double(2, 5, 4, seed=2)
    found = streamed_lookup(queries, keys, beta, values, block=block)
    scores = beta * queries @ keys.mT
    torch.testing.assert_close(found.average, scores.softmax(-1) @ values, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.log_partition, scores.logsumexp(-1) / beta)
    assert (found.omitted_mass_bound == 0).all()


def test_rows_that_overflow_alone_do_not_overflow_here():
    keys = torch.tensor([[1000.0], [-1000.0]])
    found = streamed_lookup(torch.tensor([[1.0]]), keys, beta=1.0, block=1)
    assert found.average.item() == 1000.0
    assert found.log_partition.item() == 1000.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_single(dtype):
    """100,000 equal keys: a sum of ones in half precision would stop at 2,048 or 256."""
    keys = torch.ones(100_000, 2, dtype=dtype)
    found = streamed_lookup(torch.ones(1, 2, dtype=dtype), keys, beta=1.0)
    assert found.average.dtype == dtype
    assert (found.average == 1).all()


def test_more_queries_than_are_taken_at_a_time():
    keys, queries = double(7, 3), double(2500, 3, seed=1)
    found = streamed_lookup(queries, keys, 2.0)
    torch.testing.assert_close(found.average, (2.0 * queries @ keys.mT).softmax(-1) @ keys)


def test_gradients_flow():
    keys, queries = double(6, 3).requires_grad_(), double(2, 3, seed=1).requires_grad_()

    def average(keys, queries):
        return streamed_lookup(queries, keys, 1.5, block=2).average

    assert torch.autograd.gradcheck(average, (keys, queries))


def test_bad_input():
    keys = double(4, 3)
    with pytest.raises(DomainError, match="float32"):
        streamed_lookup(double(2, 3).float(), keys, 1.0)
    with pytest.raises(DomainError, match="NaN"):
        streamed_lookup(torch.full((1, 3), torch.nan, dtype=torch.float64), keys, 1.0)
    with pytest.raises(ParameterError, match="beta"):
        streamed_lookup(double(2, 3), keys, -1.0)
    with pytest.raises(ParameterError, match="block"):
        streamed_lookup(double(2, 3), keys, 1.0, block=0)
