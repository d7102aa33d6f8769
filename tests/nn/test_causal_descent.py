"""Every token on its own energy among those before it: nothing of what follows, always downhill."""

import pytest
import torch
from torch import Tensor

from isinglass.nn import EnergyTransformerBlock, TokenEnergy
from tests.cases import double
from tests.nn.test_energy_transformer import KINDS, alike, block_of, energy_of


def one_by_one(energy: TokenEnergy, moved: Tensor, still: Tensor, seen: Tensor) -> Tensor:
    """E_C of each token of one set, term by term, the tokens before as they stood."""
    found = []
    for c, looking in enumerate(moved):
        total = -energy.hidden.log_partition(energy.patterns @ looking, 0.0)
        for key, query in zip(energy.key, energy.query, strict=True):
            others = [(key @ still[b]) for b in range(c) if seen[c, b]]
            if not energy.exclude_self and seen[c, c]:
                others.append(key @ looking)
            if others:
                terms = torch.stack([energy.beta * other @ (query @ looking) for other in others])
                total = total - terms.exp().sum().log() / energy.beta
        found.append(total)
    return torch.stack(found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("exclude_self", [True, False])
def test_energies_and_slopes_are_those_of_each_token_by_itself(kind, exclude_self):
    energy = energy_of(kind, exclude_self=exclude_self)
    moved, still = double(2, 5, 4), double(2, 5, 4, seed=7)
    mask = double(5, 5, seed=2) > -0.5
    mask[2] = False
    for before, masks in ((None, {}), (still, {}), (None, {"mask": mask}), (still, {"mask": mask})):
        leaf = moved.clone().requires_grad_()
        seen = masks.get("mask", torch.ones(5, 5, dtype=torch.bool))
        there = moved if before is None else before
        plain = torch.stack(
            [one_by_one(energy, *sets, seen) for sets in zip(leaf, there, strict=True)]
        )
        slope = torch.autograd.grad(plain.sum(), leaf)[0]
        found = energy.causal_with_slope(moved, **masks, still=before)
        torch.testing.assert_close(found[0], plain, rtol=0, atol=1e-10)
        torch.testing.assert_close(found[1], slope, rtol=0, atol=1e-10)


@pytest.mark.parametrize("exclude_self", [True, False])
@pytest.mark.parametrize("halvings", [None, 14])
def test_what_follows_changes_nothing_before(exclude_self, halvings):
    block = block_of(
        causal=True, step_size=3.0, steps=4, exclude_self=exclude_self, halvings=halvings
    )
    tokens = alike(3, 7, 4)
    other = tokens.clone()
    other[:, 4:] = double(3, 3, 4, seed=11)
    with torch.no_grad():
        one, two = block.descend(tokens), block.descend(other)
        alone = block.descend(tokens[:, :4])
    assert not torch.allclose(one.tokens[:, 4:], two.tokens[:, 4:])
    for found in (two, alone):
        torch.testing.assert_close(found.tokens[:, :4], one.tokens[:, :4])
        torch.testing.assert_close(found.energies[..., :4], one.energies[..., :4])
        assert torch.equal(found.step_sizes[..., :4], one.step_sizes[..., :4])
    # Nor do its gradients.
    leaf = tokens.clone().requires_grad_()
    slope = torch.autograd.grad(block(leaf)[:, :4].square().sum(), leaf)[0]
    assert (slope[:, 4:] == 0).all()
    assert (slope[:, :4] != 0).any()


@pytest.mark.parametrize("exclude_self", [True, False])
def test_energy_falls_along_the_flow_of_each_token(exclude_self):
    """dE_C/dt = −slopeᵀ (∂g/∂x) slope ≤ 0 among tokens that stand still."""
    block = block_of(causal=True, step_size=1e-5, halvings=None, exclude_self=exclude_self)
    tokens = double(6, 5, 4)
    found = block.descend(tokens, steps=1)
    _, slope = block.token_energy.causal_with_slope(block.norm(tokens))
    _, moved = torch.autograd.functional.jvp(block.norm, tokens, slope)
    rate = -(slope * moved).sum(-1)
    assert (rate < 0).all()
    torch.testing.assert_close(found.changes[0] / 1e-5, rate, rtol=1e-3, atol=1e-6)


MASKS = {"mask": double(6, 6, seed=2) > -1, "padding": double(8, 6, seed=3) > 1.5}


@pytest.mark.parametrize("step_size", [0.1, 3.0, 100.0, 1e4])
@pytest.mark.parametrize("masks", [{}, MASKS], ids=["all", "masked"])
@torch.no_grad()
def test_a_step_of_any_size_lowers_a_concave_energy(step_size, masks):
    tokens = alike(8, 6, 4)
    found = block_of(causal=True, step_size=step_size, steps=20).descend(tokens, **masks)
    assert (found.step_sizes == step_size).all()
    assert (found.changes <= 1e-13 * found.energies.abs().max()).all()
    assert found.changes.sum() < -1


@pytest.mark.parametrize("step_size", [0.1, 3.0, 100.0])
@pytest.mark.parametrize("masks", [{}, MASKS], ids=["all", "masked"])
@torch.no_grad()
def test_no_step_raises_the_energy_of_a_token_that_looks_at_itself(step_size, masks):
    tokens = alike(8, 6, 4)
    options = {"causal": True, "step_size": step_size, "steps": 20, "exclude_self": False}
    block = block_of(**options, halvings=14)
    found, sizes = block.descend(tokens, **masks), block.descend(tokens, **masks).step_sizes
    assert found.energies.shape == (21, 8, 6)
    assert sizes.shape == found.changes.shape == (20, 8, 6)
    assert (found.changes <= 0).all()
    assert ((sizes == 0) | ((step_size / sizes).log2() % 1 == 0)).all()
    if step_size > 3:  # it is no property of steps left as they are
        free = block_of(**options, halvings=None).descend(tokens, **masks)
        assert (free.changes > 0).any()
    # What was compared is the energy of the moved token among the others as they stood.
    after = block.descend(tokens, **masks, steps=1)
    inside, moved = block.norm(tokens), block.norm(after.tokens)
    before, _ = block.token_energy.causal_with_slope(inside, **masks)
    among, _ = block.token_energy.causal_with_slope(moved, **masks, still=inside)
    torch.testing.assert_close(among - before, after.changes[0], atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(block.energy(after.tokens, **masks), after.energies[1])
    if masks:
        assert torch.equal(found.tokens[masks["padding"]], tokens[masks["padding"]])
        assert (found.energies[:, masks["padding"]] == 0).all()


@pytest.mark.parametrize("exclude_self", [True, False])
@pytest.mark.parametrize("halvings", [None, 8])
@torch.no_grad()
def test_forward_is_its_steps(exclude_self, halvings):
    block = block_of(
        causal=True, step_size=2.0, steps=3, exclude_self=exclude_self, halvings=halvings
    )
    tokens, by_hand = alike(8, 6, 4), alike(8, 6, 4)
    for _ in range(3):
        by_hand = block.update(by_hand, **MASKS)
    torch.testing.assert_close(block(tokens, **MASKS), by_hand)
    torch.testing.assert_close(block.descend(tokens, **MASKS).tokens, by_hand)


@torch.no_grad()
def test_the_first_token_descends_alone():
    block = block_of(causal=True, step_size=5.0, steps=30)
    tokens = double(4, 3, 4)
    found, alone = block.descend(tokens), block.descend(tokens[:, :1])
    assert (found.energies[..., 0].diff(dim=0) <= 1e-12).all()
    torch.testing.assert_close(found.energies[..., :1], alone.energies)


def test_a_set_does_not_depend_on_its_neighbors_nor_a_set_of_energies_on_vmap():
    block, sets = block_of(causal=True, step_size=5.0), alike(4, 5, 4)
    together = block(sets)
    for number, one in enumerate(sets):
        torch.testing.assert_close(block(one), together[number])
    torch.testing.assert_close(torch.vmap(block)(sets), together)


@pytest.mark.slow
@pytest.mark.parametrize("exclude_self", [True, False])
def test_training_goes_through_the_steps(exclude_self):
    block = block_of(causal=True, steps=2, step_size=0.3, exclude_self=exclude_self)
    names = [name for name, _ in block.named_parameters()]
    parameters = [parameter.detach().clone() for parameter in block.parameters()]

    def loss(tokens, *values):
        state = dict(zip(names, values, strict=True))
        return torch.func.functional_call(block, state, tokens).square().sum()

    inputs = [values.requires_grad_() for values in (double(1, 3, 4), *parameters)]
    assert torch.autograd.gradcheck(loss, inputs)
    slopes = torch.autograd.grad(loss(*inputs), inputs)
    assert all(slope.abs().sum() > 0 for slope in slopes)


def test_a_state_of_the_other_kind_is_refused_and_an_older_one_loaded():
    causal, plain = (EnergyTransformerBlock(4, 2, causal=kind) for kind in (True, False))
    with pytest.raises(Exception, match="causal = True"):
        plain.load_state_dict(causal.state_dict())
    assert "causal=True" in repr(causal)
    assert "causal" not in repr(plain)
