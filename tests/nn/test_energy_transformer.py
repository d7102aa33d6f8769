"""The energy Transformer: the paper's energy, its slope, and a descent that never goes uphill."""

import copy

import pytest
import torch
from torch import Tensor

import isinglass as ig
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.nn import EnergyLayerNorm, EnergyTransformerBlock, TokenEnergy
from isinglass.testing import check_gradient, check_round_trip
from tests.cases import double
from tests.seeds import shifted

KINDS = {
    "ReLU": 7,
    "softmax": ig.Multinomial(7, beta=1.5),
    "Gaussian": ig.Gaussian(7),
}


def energy_of(kind: str = "ReLU", **options) -> TokenEnergy:
    torch.manual_seed(shifted(1))
    return TokenEnergy(4, 2, 3, KINDS[kind], beta=0.8, **options).double()


def block_of(**options) -> EnergyTransformerBlock:
    """A block whose tokens repel each other, so that long steps of all at once go uphill."""
    torch.manual_seed(shifted(1))
    block = EnergyTransformerBlock(4, 2, 3, 7, 0.1, **options).double()
    with torch.no_grad():
        block.token_energy.patterns.mul_(0.3)
        block.token_energy.query.copy_(double(2, 3, 4) / 10 - block.token_energy.key)
        block.norm.log_scale.fill_(0.7)
        block.norm.bias.copy_(double(4, seed=4))
    return block


def alike(*shape: int) -> Tensor:
    """Sets of tokens that lie close together."""
    return double(shape[0], 1, shape[-1], seed=5) + double(*shape, scale=0.3)


def by_the_paper(energy: TokenEnergy, tokens: Tensor, mask: Tensor, here: Tensor) -> Tensor:
    """E of one set, term by term: −β⁻¹ Σ_h Σ_C log Σ_{B≠C} exp(β K_B·Q_C) − ½ Σ_B Σ_μ r(ξ_μ·g_B)²."""  # noqa: E501
    total = tokens.new_zeros(())
    for c, looking in enumerate(tokens):
        if not here[c]:
            continue
        for key, query in zip(energy.key, energy.query, strict=True):
            terms = [
                energy.beta * (key @ other) @ (query @ looking)
                for b, other in enumerate(tokens)
                if b != c and mask[c, b] and here[b]
            ]
            if terms:
                total = total - torch.stack(terms).exp().sum().log() / energy.beta
        total = total - (energy.patterns @ looking).clamp_min(0).square().sum() / 2
    return total


def test_energy_is_the_paper_s():
    energy, sets = energy_of(), double(3, 5, 4)
    mask, padding = double(3, 5, 5, seed=2) > -0.5, torch.zeros(3, 5, dtype=torch.bool)
    mask[1, 2] = False  # a token that may look at none
    padding[0, 3:] = True
    all_pairs, nobody = torch.ones(5, 5).bool(), torch.ones(5).bool()
    plain = [by_the_paper(energy, one, all_pairs, nobody) for one in sets]
    torch.testing.assert_close(energy(sets), torch.stack(plain))
    masked = [by_the_paper(energy, *each) for each in zip(sets, mask, ~padding, strict=True)]
    torch.testing.assert_close(energy(sets, mask, padding), torch.stack(masked))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("exclude_self", [True, False])
def test_slope_is_autograd_s(kind, exclude_self):
    energy, sets = energy_of(kind, exclude_self=exclude_self), double(3, 5, 4)
    mask, padding = double(5, 5, seed=2) > -0.5, double(3, 5, seed=3) > 0.8
    mask[2] = False
    for masks in ({}, {"mask": mask}, {"padding": padding}, {"mask": mask, "padding": padding}):
        leaf = sets.clone().requires_grad_()
        expected = torch.autograd.grad(energy(leaf, **masks).sum(), leaf)[0]
        torch.testing.assert_close(energy.grad(sets, **masks), expected, rtol=0, atol=1e-10)
        if "padding" in masks:
            assert (expected[padding] == 0).all()


class Flat(ig.Energy):
    """A token energy of rows, as the properties take them."""

    def __init__(self, energy: TokenEnergy) -> None:
        super().__init__()
        self.energy = energy

    def forward(self, state: Tensor) -> Tensor:
        return self.energy(state.unflatten(-1, (-1, self.energy.dim)))

    def grad(self, state: Tensor) -> Tensor:
        return self.energy.grad(state.unflatten(-1, (-1, self.energy.dim))).flatten(-2)


@pytest.mark.parametrize("kind", KINDS)
def test_properties_of_energies(kind):
    check_gradient(Flat(energy_of(kind)), double(3, 20))
    check_round_trip(energy_of(kind, exclude_self=False), double(5, 4))  # one set


def test_kernels_are_refused_since_they_would_mix_sets():
    energy, sets = energy_of(), double(3, 5, 4)
    for call in (
        lambda: ig.run(ig.BlockGibbs(), energy, sets, steps=1, temperature=1.0),
        lambda: ig.recall(energy, sets, ig.CCCP()),
    ):
        with pytest.raises(IntractableError, match=r"EnergyTransformerBlock\.descend"):
            call()


def test_an_empty_twin_draws_nothing():
    energy, before = energy_of("softmax"), torch.get_rng_state()
    twin = TokenEnergy.from_config(energy.config())
    assert torch.equal(torch.get_rng_state(), before)
    assert all((parameter == 0).all() for parameter in twin.parameters())
    assert twin.key.device == energy.key.device


def test_normalization_is_the_slope_of_a_convex_function():
    norm = EnergyLayerNorm(5).double()
    with torch.no_grad():
        norm.log_scale.fill_(0.7)
        norm.bias.copy_(double(5, seed=3))
    tokens = double(6, 5)
    slope = torch.func.vmap(torch.func.grad(norm.lagrangian))(tokens)
    torch.testing.assert_close(norm(tokens), slope)
    hessians = torch.func.vmap(torch.func.jacrev(norm))(tokens)
    torch.testing.assert_close(hessians, hessians.mT)
    assert (torch.linalg.eigvalsh(hessians) >= -1e-12).all()


def test_energy_falls_along_the_flow():
    """dE/dt = −slopeᵀ (∂g/∂x) slope ≤ 0, where a step is small enough to be one."""
    block = block_of(step_size=1e-5, halvings=None)
    tokens = double(6, 5, 4)
    found = block.descend(tokens, steps=1)
    slope = block.token_energy.grad(block.norm(tokens))
    _, moved = torch.autograd.functional.jvp(block.norm, tokens, slope)
    rate = -(slope * moved).sum((-2, -1))
    assert (rate < 0).all()
    torch.testing.assert_close(found.energies.diff(dim=0)[0] / 1e-5, rate, rtol=1e-3, atol=0)


@pytest.mark.parametrize("step_size", [0.1, 3.0, 100.0])
@pytest.mark.parametrize("masked", [True, False])
def test_energy_never_rises(step_size, masked):
    tokens = alike(8, 5, 4)
    masks = {"mask": double(5, 5, seed=2) > -1, "padding": double(8, 5, seed=3) > 1.5}
    masks = masks if masked else {}
    with torch.no_grad():
        block = block_of(step_size=step_size, steps=30, halvings=14)
        found = block.descend(tokens, **masks)
        free = block_of(step_size=step_size, steps=30, halvings=None).descend(tokens, **masks)
        assert (found.energies.diff(dim=0) <= 0).all()
        assert (found.energies[-1] < found.energies[0] - 1.0).all()
        if step_size > 1:  # it is no property of steps left as they are
            assert (free.energies.diff(dim=0) > 1.0).any()
        torch.testing.assert_close(found.energies[0], block.energy(tokens, **masks))
        torch.testing.assert_close(found.energies[-1], block.energy(found.tokens, **masks))
    sizes = found.step_sizes
    assert sizes.shape == (30, 8)
    assert ((sizes == 0) | ((step_size / sizes).log2() % 1 == 0)).all()


def test_where_no_step_is_short_enough_the_tokens_stay():
    tokens = alike(8, 5, 4)
    found = block_of(step_size=100.0, halvings=0, steps=1).descend(tokens)
    stays = found.step_sizes[0] == 0
    assert 0 < stays.sum() < 8
    assert torch.equal(found.tokens[stays], tokens[stays])
    assert (found.energies.diff(dim=0)[0, ~stays] < 0).all()
    assert torch.equal(found.energies[1][stays], found.energies[0][stays])


@torch.no_grad()
def test_a_set_does_not_depend_on_its_neighbors_nor_on_padding():
    block, sets = block_of(step_size=5.0), alike(4, 5, 4)
    together = block.descend(sets)
    for number, one in enumerate(sets):
        alone = block.descend(one)
        torch.testing.assert_close(alone.tokens, together.tokens[number])
        torch.testing.assert_close(alone.energies, together.energies[:, number])
    padded = torch.cat([sets, double(4, 2, 4, seed=9)], 1)
    padding = torch.tensor([False] * 5 + [True] * 2)
    found = block.descend(padded, padding=padding)
    torch.testing.assert_close(found.tokens[:, :5], together.tokens)
    torch.testing.assert_close(found.energies, together.energies)
    assert torch.equal(found.tokens[:, 5:], padded[:, 5:])


def test_forward_is_its_steps_and_equivariant():
    block, tokens = block_of(steps=3), double(2, 5, 4)
    by_hand = tokens
    for _ in range(3):
        by_hand = block.update(by_hand)
    torch.testing.assert_close(block(tokens), by_hand)
    slope = block.token_energy.grad(block.norm(tokens))
    torch.testing.assert_close(block.update(tokens), tokens - 0.1 * slope)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(block(tokens[:, order]), block(tokens)[:, order])
    assert torch.equal(block.descend(tokens, steps=0).tokens, tokens)


@pytest.mark.slow
def test_training_goes_through_the_steps():
    block, tokens = block_of(steps=2, step_size=0.3), double(1, 3, 4)
    names = [name for name, _ in block.named_parameters()]
    parameters = [parameter.detach().clone() for parameter in block.parameters()]

    def loss(tokens, *values):
        state = dict(zip(names, values, strict=True))
        return torch.func.functional_call(block, state, tokens).square().sum()

    inputs = [values.requires_grad_() for values in (tokens, *parameters)]
    assert torch.autograd.gradcheck(loss, inputs)
    loss_before = loss(*inputs)
    slopes = torch.autograd.grad(loss_before, inputs)
    assert all(slope.abs().sum() > 0 for slope in slopes)


def test_vmap_autocast_and_half_precision():
    block = block_of(step_size=5.0)
    sets = alike(4, 5, 4)
    torch.testing.assert_close(torch.vmap(block)(sets), block(sets))
    single = copy.deepcopy(block).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = single.descend(sets.float())
    assert found.tokens.isfinite().all()
    assert (found.energies.diff(dim=0) <= 0).all()
    assert (found.energies[-1] < found.energies[0]).all()
    half = copy.deepcopy(block).bfloat16().descend(sets.bfloat16())
    assert half.tokens.dtype == torch.bfloat16
    assert (half.energies.diff(dim=0) <= 0).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda():
    block, tokens = block_of(), double(2, 5, 4)
    expected = block(tokens)
    torch.testing.assert_close(block.cuda()(tokens.cuda()).cpu(), expected)


def test_bad_settings():
    for options in (
        {"dim": 0}, {"num_heads": 0}, {"head_dim": 0}, {"memories": 0}, {"beta": 0.0},
        {"steps": 0}, {"step_size": 0.0}, {"halvings": -1}, {"eps": 0.0},
    ):  # fmt: skip
        with pytest.raises(ParameterError):
            EnergyTransformerBlock(**{"dim": 4, "num_heads": 2} | options)
    with pytest.raises(ParameterError, match="steps"):
        block_of().descend(double(2, 3, 4), steps=-1)


def test_bad_input():
    block, tokens = block_of(), double(2, 5, 4)
    bad = tokens.clone()
    bad[1, 2, 3] = torch.nan
    with pytest.raises(DomainError, match=r"1 of 40 values of the tokens.*\(1, 2, 3\)"):
        block(bad)
    with pytest.raises(ShapeError, match=r"\(\*batch, 4\)"):
        block(double(2, 5, 3))
    with pytest.raises(DomainError, match="float32"):
        block(tokens.float())
    with pytest.raises(ShapeError, match=r"mask of shape \(4, 5\).*\(2, 5, 5\)"):
        block(tokens, mask=torch.ones(4, 5).bool())
    with pytest.raises(ShapeError, match=r"padding of shape \(2, 4\)"):
        block(tokens, padding=torch.ones(2, 4).bool())
    with pytest.raises(ShapeError, match=r"padding of shape \(3, 2, 5\)"):
        block(tokens, padding=torch.ones(3, 2, 5).bool())
