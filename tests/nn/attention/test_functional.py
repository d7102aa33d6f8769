"""Attention by look-up: agrees with the exact head, keeps to its mask, refuses what is wrong."""

import pytest
import torch

import isinglass as ig
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.nn.attention import functional
from tests.cases import double

ATTENTION = torch.nn.functional.scaled_dot_product_attention


def test_exact_head_with_and_without_mask():
    q, k, v = double(2, 5, 4), double(2, 7, 4, seed=1), double(2, 7, 3, seed=2)
    mask = double(2, 5, 7, seed=3) > 0
    torch.testing.assert_close(ig.nn.stochastic_attention(q, k, v), ATTENTION(q, k, v))
    torch.testing.assert_close(
        ig.nn.stochastic_attention(q, k, v, beta=2.0, mask=mask),
        ATTENTION(q, k, v, attn_mask=mask, scale=2.0),
    )


def test_draws_keep_to_the_mask(generator):
    q, k = double(3, 4), double(6, 4, seed=1)
    mask = torch.tensor([True, False] * 3)
    shares = ig.nn.stochastic_attention(
        q, k, torch.eye(6).double(), 8, mask=mask, generator=generator
    )
    assert (shares[:, 1::2] == 0).all()
    torch.testing.assert_close(shares.sum(-1), torch.ones(3).double())


@pytest.mark.parametrize("draws", [1, 5])
def test_variance_of_the_look_up_is_that_of_m_draws(draws, generator):
    """Var(n/m) = p(1 − p)/m."""
    q, k = double(1, 4), double(6, 4, seed=1)
    p = torch.softmax(q @ k.T / 2, -1)[0]
    one_each = torch.eye(6).double()
    many = ig.nn.stochastic_attention(q.expand(40_000, 4), k, one_each, draws, generator=generator)
    squares = (many - p).square()
    assert ((squares.mean(0) - p * (1 - p) / draws).abs() <= 5 * squares.std(0) / 200).all()


@pytest.mark.parametrize("draws", [None, 3])
def test_a_query_that_may_see_nothing_gets_zeros(draws):
    q, k, v = double(2, 4), double(6, 4, seed=1), double(6, 3, seed=2).requires_grad_()
    mask = torch.tensor([[True] * 6, [False] * 6])
    out = ig.nn.stochastic_attention(q, k, v, draws, mask=mask)
    assert (out[1] == 0).all()
    assert out[0].isfinite().all()
    out.sum().backward()
    assert v.grad is not None
    assert v.grad.isfinite().all()


@pytest.mark.parametrize("block", [1, 8, 70])
def test_blocks_of_queries_and_heads_are_put_together(block, monkeypatch):
    """At a large β every draw is the nearest key: what is looked up is known beforehand."""
    monkeypatch.setitem(functional.BLOCK, "cpu", block)
    keys = torch.eye(6).double()
    values, wanted = double(2, 3, 6, 4), torch.randint(6, (2, 3, 5))
    mask = torch.ones(2, 3, 5, 6, dtype=torch.bool)
    mask[1, 2, 3] = False
    found = ig.nn.stochastic_attention(keys[wanted], keys, values, 2, beta=500.0, mask=mask)
    expected = values.gather(-2, wanted.unsqueeze(-1).expand(2, 3, 5, 4))
    expected[1, 2, 3] = 0.0
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("draws", [None, 2, 8])
def test_scores_that_half_precision_cannot_hold(draws):
    """At scores up to 10⁶ the nearest key takes all, whichever way it is found."""
    q, k = 500 * double(3, 4), 500 * double(6, 4, seed=1)
    found = ig.nn.stochastic_attention(q.half(), k.half(), torch.eye(6).half(), draws)
    nearest = torch.nn.functional.one_hot((q @ k.T).argmax(-1), 6).half()
    assert torch.equal(found, nearest)


def test_gradient_to_queries_and_keys(generator):
    q, k, v = (double(5, 4, seed=seed).requires_grad_() for seed in range(3))
    ig.nn.stochastic_attention(q, k, v, 2, gradient="values", generator=generator).sum().backward()
    assert q.grad is None
    assert k.grad is None
    ig.nn.stochastic_attention(q, k, v, 2, generator=generator).square().sum().backward()
    for rows in (q, k, v):
        assert rows.grad is not None
        assert rows.grad.abs().sum() > 0


@pytest.mark.parametrize("draws", [None, 1, 8])
def test_a_batch_of_none(draws):
    rows = double(0, 3, 4)
    assert ig.nn.stochastic_attention(rows, rows, rows, draws).shape == (0, 3, 4)


@pytest.mark.parametrize("draws", [None, 1, 20])
def test_nothing_to_look_at_and_nobody_to_look(draws):
    q, k, v = torch.ones(3, 2, 4), torch.ones(3, 6, 4), torch.ones(3, 6, 5)
    found = ig.nn.stochastic_attention(q, k[:, :0], v[:, :0], draws)
    assert torch.equal(found, torch.zeros(3, 2, 5))
    assert ig.nn.stochastic_attention(q[:, :0], k, v, draws).shape == (3, 0, 5)
    assert ig.nn.stochastic_attention(q[:0], k[:0], v[:0], draws).shape == (0, 2, 5)


def test_bad_input():
    q, k, v = torch.zeros(2, 4), torch.zeros(6, 4), torch.zeros(6, 3)
    with pytest.raises(ShapeError, match=r"query \(2, 3\), key \(6, 4\)"):
        ig.nn.stochastic_attention(q[:, :3], k, v)
    with pytest.raises(ShapeError, match="same number of rows"):
        ig.nn.stochastic_attention(q, k, v[:5])
    with pytest.raises(ShapeError, match=r"batches of shape \(2,\), \(3,\), \(3,\)"):
        ig.nn.stochastic_attention(q.expand(2, 2, 4), k.expand(3, 6, 4), v.expand(3, 6, 3))
    with pytest.raises(DomainError, match="NaN"):
        ig.nn.stochastic_attention(torch.full((2, 4), torch.nan), k, v)
    with pytest.raises(DomainError, match=r"float64.*float32"):
        ig.nn.stochastic_attention(q, k, v.double())
    with pytest.raises(ShapeError, match="mask of shape"):
        ig.nn.stochastic_attention(q, k, v, mask=torch.ones(5, 5, dtype=torch.bool))
    for draws in (0, -1):
        with pytest.raises(ParameterError, match="draws"):
            ig.nn.stochastic_attention(q, k, v, draws)
    with pytest.raises(ParameterError, match="beta"):
        ig.nn.stochastic_attention(q, k, v, beta=0.0)
