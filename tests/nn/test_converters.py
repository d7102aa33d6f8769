"""Memories as attention and attention as memories."""

import pytest
import torch
from torch import nn

import isinglass as ig
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.nn import HopfieldLayer, from_layer, to_attention, to_heads, to_layer
from tests.cases import double

EXACT = {"atol": 1e-10, "rtol": 0.0}


def memory(beta: float = 1.7) -> ig.ModernHopfield:
    return ig.ModernHopfield(double(7, 4), beta)


def test_a_memory_is_a_layer_and_back():
    one, state = memory(), double(3, 5, 4, seed=1)
    layer = to_layer(one)
    torch.testing.assert_close(layer(state), one.cccp_update(state), **EXACT)
    torch.testing.assert_close(layer.energy(state)[:, 0], one(state), **EXACT)
    torch.testing.assert_close(layer.association(state)[:, 0], one.association(state), **EXACT)
    back = from_layer(layer)
    assert torch.equal(back.patterns, one.patterns)
    assert back.beta == one.beta
    assert not back.patterns.requires_grad


def test_learned_patterns_stay_learned():
    one = ig.ModernHopfield(nn.Parameter(double(7, 4)), 1.7)
    layer = to_layer(one)
    assert layer.lookup_weights.requires_grad
    back = from_layer(layer)
    assert isinstance(back.patterns, nn.Parameter)
    back.patterns.data.zero_()  # a copy
    assert layer.lookup_weights.any()


@pytest.mark.parametrize("beta", [0.3, 1.7])
def test_a_memory_is_attention_and_back(beta):
    one, state = memory(beta), double(6, 4, seed=1)
    attention = to_attention(one)
    found, weights = attention(state, one.patterns, one.patterns)
    torch.testing.assert_close(found, one.cccp_update(state), **EXACT)
    torch.testing.assert_close(weights, one.association(state), **EXACT)
    (head,) = to_heads(attention, one.patterns, beta=beta)
    torch.testing.assert_close(head.memory.patterns, one.patterns, **EXACT)
    torch.testing.assert_close(head.query(state), state, **EXACT)
    torch.testing.assert_close(head.memory(head.query(state)), one(state), **EXACT)
    torch.testing.assert_close(head(state), one.cccp_update(state), **EXACT)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("beta", [None, 0.9])
def test_heads_are_the_attention_together(bias, beta):
    attention = nn.MultiheadAttention(6, 3, bias=bias).double().eval()
    for number, parameter in enumerate(attention.parameters()):
        parameter.data = double(*parameter.shape, seed=number)
    x, stored = double(5, 6, seed=7), double(9, 6, seed=8)
    expected, weights = attention(x, stored, stored, average_attn_weights=False)
    heads = to_heads(attention, stored, beta)
    total = sum(head(x) for head in heads)
    if bias:
        total = total + attention.out_proj.bias
    torch.testing.assert_close(total, expected, **EXACT)
    for head, share in zip(heads, weights, strict=True):
        torch.testing.assert_close(head.memory.association(head.query(x)), share, **EXACT)
        assert not head.memory.patterns.requires_grad


def test_a_head_can_be_recalled_and_sampled(generator):
    attention = nn.MultiheadAttention(4, 2).double().eval()
    head = to_heads(attention, 5 * double(9, 4))[0]
    cue = head.query(double(3, 4, seed=1)).detach()
    assert head.memory.recall(cue, max_steps=1000).converged.all()
    machine, _ = ig.energies.to_hopfield_boltzmann(head.memory)
    assert machine.sample(5, generator=generator).shape == (5, 2)


def test_what_cannot_be_converted(unannotated):
    plain, stored = nn.MultiheadAttention(4, 2), torch.ones(3, 4)
    for attention in (
        nn.MultiheadAttention(4, 2, kdim=3),
        nn.MultiheadAttention(4, 2, add_bias_kv=True),
        nn.MultiheadAttention(4, 2, add_zero_attn=True),
    ):
        with pytest.raises(IntractableError, match="kdim"):
            to_heads(attention, stored)
    with pytest.raises(ParameterError, match="MultiheadAttention"):
        to_heads(nn.Linear(4, 4), stored)
    with pytest.raises(ParameterError, match="beta"):
        to_heads(plain, stored, beta=0.0)
    with pytest.raises(ShapeError):
        to_heads(plain, torch.ones(3, 5))
    with pytest.raises(ShapeError):
        to_heads(plain, torch.ones(0, 4))
    with pytest.raises(DomainError, match="float64"):
        to_heads(plain, stored.double())
    for layer in (
        HopfieldLayer(4, quantity=3),
        HopfieldLayer.static(4, quantity=3, num_heads=2),
        HopfieldLayer.static(4, quantity=3, add_zero_association=True),
        HopfieldLayer.static(4, quantity=3, lookup_weights_as_separated=True),
        HopfieldLayer.static(4, quantity=3, update_steps_max=4, normalize_stored_pattern=True),
    ):
        with pytest.raises(IntractableError, match="static layer of one head"):
            from_layer(layer)
