"""The relational layer: the slope of its energy, downhill, by what is shared and nothing else."""

import pytest
import torch

from isinglass.errors import ShapeError
from isinglass.nn import RelationalHopfield
from isinglass.testing import rounding
from tests.seeds import seeded

DIM, WAYS = 6, 4


def problem(seed=0, batch=5, queries=7, patterns=4):
    """A layer with weights that are large enough to matter, and sets of tokens, in float64."""
    generator = seeded(seed)

    def draw(*size):
        return torch.randn(size, generator=generator, dtype=torch.float64)

    layer = RelationalHopfield(DIM, WAYS, num_heads=3, head_dim=2, memories=5).double()
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(draw(*weight.shape))
    shared = torch.rand(batch, queries, patterns, WAYS, generator=generator) < 0.3
    return layer, draw(batch, queries, DIM), draw(batch, patterns, DIM), shared, draw


def slow_energy(layer, state, tokens, stored, shared):
    """E by its definition, in Python's loops."""
    found = torch.zeros(state.shape[:-1], dtype=state.dtype)
    anchor, memory = layer.norm(tokens), layer.norm(stored)
    for b, i in torch.cartesian_prod(*map(torch.arange, found.shape)).tolist():
        energy = (state[b, i] - anchor[b, i]).square().sum() / 2
        energy -= (layer.patterns @ state[b, i]).clamp_min(0).square().sum() / 2
        for h in range(layer.num_heads):
            q = layer.query[h] @ state[b, i]
            terms = [layer.beta * q @ layer.null[h]]
            for j in range(stored.shape[1]):
                if shared[b, i, j].any():
                    field = (layer.fields[h] * shared[b, i, j]).sum()
                    terms.append(layer.beta * q @ (layer.key[h] @ memory[b, j]) + field)
            energy -= torch.stack(terms).logsumexp(0) / layer.beta
        found[b, i] = energy
    return found


def test_the_energy_is_the_one_of_the_equation():
    layer, tokens, stored, shared, draw = problem()
    state = draw(*tokens.shape)
    expected = slow_energy(layer, state, tokens, stored, shared)
    torch.testing.assert_close(layer.energy(state, tokens, stored, shared), expected)


def test_the_update_is_the_slope_of_what_is_concave():
    layer, tokens, stored, shared, _ = problem()
    anchor = layer.norm(tokens).detach().requires_grad_()
    slope = torch.autograd.grad(layer.energy(anchor, tokens, stored, shared).sum(), anchor)[0]
    # ½|ξ − g|² has no slope at ξ = g
    torch.testing.assert_close(layer(tokens, stored, shared), anchor - slope)


@pytest.mark.parametrize("seed", range(3))
def test_no_update_raises_the_energy_of_any_query(seed):
    layer, tokens, stored, shared, _ = problem(seed)
    states = [layer.norm(tokens)]
    for steps in range(1, 6):
        layer.steps = steps
        states.append(layer(tokens, stored, shared))
    energies = torch.stack([layer.energy(s, tokens, stored, shared) for s in states])
    terms = sum(s.square().sum(-1) for s in states).expand(5, *energies.shape[1:])
    assert (energies.diff(dim=0) <= rounding(terms + energies[1:].abs(), 100)).all()
    assert (energies[0] - energies[-1]).min() > 0  # all moved, and down


def test_what_shares_no_entity_is_not_seen():
    layer, tokens, stored, shared, draw = problem()
    shared[:, :, 2:] = False
    other = torch.cat([stored[:, :2], draw(5, 9, DIM)], 1)
    longer = torch.cat([shared[:, :, :2], torch.zeros(5, 7, 9, WAYS, dtype=torch.bool)], 2)
    found = layer(tokens, stored, shared)
    torch.testing.assert_close(layer(tokens, other, longer), found)
    shared[:, :, 2] = True
    assert not torch.allclose(layer(tokens, stored, shared), found)


def test_nothing_to_see_is_no_fault():
    layer, tokens, stored, shared, _ = problem()
    alone = layer(tokens, stored, torch.zeros_like(shared))
    assert alone.isfinite().all()
    torch.testing.assert_close(layer(tokens, stored[:, :0], shared[:, :, :0]), alone)


@pytest.mark.usefixtures("unannotated")
def test_sizes_that_do_not_fit_are_refused():
    layer, tokens, stored, shared, _ = problem()
    with pytest.raises(ShapeError, match=r"ways of shape \(5, 7, 4, 3\)"):
        layer(tokens, stored, shared[..., :3])
