"""Outputs, association matrices and gradients beside hflayers, in float64, over its options.

Where ours departs on purpose the settings are those at which the original is right: one head or a
batch of one for static patterns, one β for all heads, thresholds that are never reached, no bias
patterns, and no row that may see nothing. The reasons are in ``docs/layers/from-hflayers.md``.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isinglass.integrations import hflayers_options, import_hflayers_state
from isinglass.nn import (
    Hopfield,
    HopfieldDecoderLayer,
    HopfieldEncoderLayer,
    HopfieldLayer,
    HopfieldPooling,
)

difflayers = pytest.importorskip("difflayers")
blocks = pytest.importorskip("difflayers.transformer")

NEVER = 1e-30  # a threshold that no update falls below, so both make all their updates
TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}


def randomized(module: nn.Module) -> nn.Module:
    """In float64, to be evaluated, with parameters that are far from special."""
    generator = torch.Generator().manual_seed(0)
    module = module.double().eval()
    for parameter in module.parameters():
        parameter.data = 0.5 * torch.randn(
            parameter.shape, dtype=torch.float64, generator=generator
        )
    return module


def pair(kind: type, theirs: type, options: dict[str, Any]) -> tuple[Any, Any]:
    """The two layers of one set of options, with the same weights."""
    original = randomized(theirs(update_steps_eps=NEVER, **options))
    mine = kind(update_steps_eps=NEVER, dtype=torch.float64, **hflayers_options(options)).eval()
    import_hflayers_state(mine, original.state_dict())
    return mine, original


def normal(*shape: int, seed: int) -> Tensor:
    """Normal numbers in float64 that want gradients."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


def assert_same(mine: nn.Module, original: nn.Module, inputs: Any, **masks: Tensor) -> None:
    """Outputs, gradients of inputs and of every parameter."""
    leaves = [x for x in (inputs if isinstance(inputs, tuple) else (inputs,)) if x.requires_grad]
    found, expected = mine(inputs, **masks), original(inputs, **masks)
    torch.testing.assert_close(found, expected, **TOLERANCE)
    assert_same_gradients(mine, original, found, expected, leaves)
    for name in ("get_association_matrix", "get_projected_pattern_matrix"):
        own, theirs = getattr(mine, name), getattr(original, name)
        torch.testing.assert_close(own(inputs, **masks), theirs(inputs, **masks), **TOLERANCE)


def assert_same_gradients(
    mine: nn.Module, original: nn.Module, found: Tensor, expected: Tensor, leaves: list[Tensor]
) -> None:
    """The same gradients in one direction, of the leaves and of every parameter."""
    direction = normal(*found.shape, seed=99).detach()
    own = torch.autograd.grad(
        (found * direction).sum(), leaves, retain_graph=True, allow_unused=True
    )
    theirs = torch.autograd.grad(
        (expected * direction).sum(), leaves, retain_graph=True, allow_unused=True
    )
    for one, other in zip(own, theirs, strict=True):
        torch.testing.assert_close(one, other, **TOLERANCE)
    if not list(mine.parameters()):
        return
    (found * direction).sum().backward()
    (expected * direction).sum().backward()
    gradients = {
        name: torch.zeros_like(value) if value.grad is None else value.grad
        for name, value in original.named_parameters()
    }
    own = [None if p.grad is None else p.grad.clone() for p in mine.parameters()]
    import_hflayers_state(mine, gradients)  # the gradients take the places of the parameters
    for (name, place), one in zip(mine.named_parameters(), own, strict=True):
        one = torch.zeros_like(place) if one is None else one
        torch.testing.assert_close(one, place.detach(), **TOLERANCE, msg=lambda m, n=name: n + m)
    import_hflayers_state(mine, original.state_dict())


STATIC = list(product((False, True), repeat=3))


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize(("heads", "batch"), [(1, 3), (2, 1)])
@pytest.mark.parametrize("static", STATIC, ids=str)
def test_static_and_mapped(static, heads, batch, steps):
    """Every choice of what is static, with its normalization off where it is."""
    stored, state, projection = static
    size = 6 // heads
    options = {
        "input_size": 6,
        "num_heads": heads,
        "update_steps_max": steps,
        "stored_pattern_as_static": stored,
        "state_pattern_as_static": state,
        "pattern_projection_as_static": projection,
        "normalize_stored_pattern": not stored,
        "normalize_stored_pattern_affine": not stored,
        "normalize_state_pattern": not state,
        "normalize_state_pattern_affine": not state,
        "normalize_pattern_projection": not projection,
        "normalize_pattern_projection_affine": not projection,
    }
    mine, original = pair(Hopfield, difflayers.Hopfield, options)
    inputs = (
        normal(batch, 7, size if stored else 6, seed=1),
        normal(batch, 5, size if state else 6, seed=2),
        normal(batch, 7, size if projection else 6, seed=3),
    )
    assert_same(mine, original, inputs)


MAPPED = {
    "plain": {},
    "sizes": {
        "hidden_size": 5,
        "pattern_size": 4,
        "output_size": 9,
        "stored_pattern_size": 8,
        "pattern_projection_size": 3,
    },
    "wide": {"hidden_size": 3, "pattern_size": 7},
    "connected": {"pattern_projection_as_connected": True},
    "connected, static": {
        "pattern_projection_as_connected": True,
        "pattern_projection_as_static": True,
        "normalize_pattern_projection": False,
        "normalize_pattern_projection_affine": False,
        "hidden_size": 6,
    },
    "no norms": {
        f"normalize_{name}{affine}": False
        for name in ("stored_pattern", "state_pattern", "pattern_projection")
        for affine in ("", "_affine")
    },
    "norms without affine": {
        f"normalize_{name}_affine": False
        for name in ("stored_pattern", "state_pattern", "pattern_projection")
    },
    "wide norms": {
        f"normalize_{name}_eps": 0.1
        for name in ("stored_pattern", "state_pattern", "pattern_projection")
    },
    "association space": {"normalize_hopfield_space": True, "normalize_hopfield_space_eps": 1e-3},
    "association space, affine": {
        "normalize_hopfield_space": True,
        "normalize_hopfield_space_affine": True,
        "hidden_size": 4,
    },
    "zero": {"add_zero_association": True},
    "no bias": {"input_bias": False},
    "no output map": {"disable_out_projection": True},
    "activation": {"association_activation": "tanh"},
    "sharp": {"scaling": 2.0},
    "one β a head": {"scaling": torch.full((2,), 1.5, dtype=torch.float64), "hidden_size": 4},
    "dropout, evaluated": {"dropout": 0.5},
}


def masks_of(kind: str, batch: int, heads: int, states: int, patterns: int) -> dict[str, Tensor]:
    """A mask of a kind, which leaves every state something to see."""
    if kind == "none":
        return {}
    padding = normal(batch, patterns, seed=7).detach() > 0.5
    padding[:, 0] = False
    if kind == "padding":
        return {"stored_pattern_padding_mask": padding}
    each = (batch * heads, states, patterns) if "each" in kind else (states, patterns)
    mask = normal(*each, seed=8).detach()
    if "boolean" in kind:
        mask = mask > 0.5
        mask[..., 0] = False
    return {"association_mask": mask} | (
        {"stored_pattern_padding_mask": padding} if "padding" in kind else {}
    )


MASKS = (
    "none",
    "padding",
    "boolean",
    "boolean each, padding",
    "floating",
    "floating each, padding",
)


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("name", MAPPED)
def test_options_and_masks(name, steps, kind):
    """Every other option, under every kind of mask."""
    options = {"input_size": 6, "num_heads": 2, "update_steps_max": steps} | MAPPED[name]
    mine, original = pair(Hopfield, difflayers.Hopfield, options)
    batch, states, patterns = 3, 5, 7
    inputs = (
        normal(batch, patterns, options.get("stored_pattern_size", 6), seed=1),
        normal(batch, states, 6, seed=2),
        normal(batch, patterns, options.get("pattern_projection_size", 6), seed=3),
    )
    assert_same(mine, original, inputs, **masks_of(kind, batch, 2, states, patterns))


@pytest.mark.parametrize("batch_first", [True, False])
def test_one_tensor_that_is_all_three(batch_first):
    """Self-association, both ways round."""
    options = {"input_size": 6, "num_heads": 2, "update_steps_max": 1, "batch_first": batch_first}
    mine, original = pair(Hopfield, difflayers.Hopfield, options)
    assert_same(mine, original, normal(3, 5, 6, seed=1))


@pytest.mark.parametrize("steps", [torch.tensor([0, 2]), torch.tensor([3, 1]), None])
def test_updates_of_each_head_and_until_rest(steps):
    """Numbers of updates of each head, and none."""
    options = {"input_size": 6, "num_heads": 2, "update_steps_max": steps}
    if steps is None:  # a threshold that is reached, and well below what is compared
        original = randomized(difflayers.Hopfield(update_steps_eps=1e-12, **options))
        mine = Hopfield(update_steps_eps=1e-12, dtype=torch.float64, **options)
        import_hflayers_state(mine.eval(), original.state_dict())
    else:
        mine, original = pair(Hopfield, difflayers.Hopfield, options)
    inputs = tuple(normal(3, rows, 6, seed=rows) for rows in (7, 5, 7))
    torch.testing.assert_close(mine(inputs), original(inputs), **TOLERANCE)


@pytest.mark.parametrize("quantity", [1, 3])
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("kind", ["none", "padding", "boolean"])
def test_pooling(static, quantity, kind):
    """Learned states, mapped and static."""
    options = {"input_size": 6, "quantity": quantity, "update_steps_max": 1} | (
        {"state_pattern_as_static": True, "hidden_size": 6} if static else {"num_heads": 2}
    )
    mine, original = pair(HopfieldPooling, difflayers.HopfieldPooling, options)
    masks = masks_of(kind, 4, 2, quantity, 7)
    assert_same(mine, original, normal(4, 7, 6, seed=1), **masks)
    assert_same(mine, original, (normal(4, 7, 6, seed=1), normal(4, 7, 6, seed=2)), **masks)


@pytest.mark.parametrize("separated", [False, True])
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("kind", ["none", "padding", "boolean"])
def test_look_up(static, separated, kind):
    """Learned patterns, with and without targets of their own."""
    options = {
        "input_size": 6,
        "quantity": 9,
        "update_steps_max": 1,
        "lookup_weights_as_separated": separated,
        "num_heads": 1 if static else 2,
        "stored_pattern_as_static": static,
    }
    mine, original = pair(HopfieldLayer, difflayers.HopfieldLayer, options)
    assert_same(mine, original, normal(4, 5, 6, seed=1), **masks_of(kind, 4, 2, 5, 9))


def block_pair(kind: type, theirs: type, count: int) -> tuple[Any, Any]:
    """The two blocks with the same weights."""
    options = {"input_size": 6, "num_heads": 2, "update_steps_max": 1}
    associations = [difflayers.Hopfield(update_steps_eps=NEVER, **options) for _ in range(count)]
    original = randomized(theirs(*associations, dim_feedforward=11))
    own = [
        Hopfield(update_steps_eps=NEVER, dtype=torch.float64, **hflayers_options(options))
        for _ in range(count)
    ]
    mine = kind(*own, dim_feedforward=11).double().eval()
    import_hflayers_state(mine, original.state_dict())
    return mine, original


def test_encoder():
    """The encoder's layer, masked."""
    mine, original = block_pair(HopfieldEncoderLayer, blocks.HopfieldEncoderLayer, 1)
    states = normal(3, 5, 6, seed=1)
    mask, padding = torch.ones(5, 5).triu(1).bool(), torch.zeros(3, 5, dtype=torch.bool)
    padding[:, 4:] = True
    masks = {"src_mask": mask, "src_key_padding_mask": padding}
    found, expected = mine(states, **masks), original(states, **masks)
    torch.testing.assert_close(found, expected, **TOLERANCE)
    assert_same_gradients(mine, original, found, expected, [states])
    torch.testing.assert_close(
        mine.get_association_matrix(states), original.get_association_matrix(states), **TOLERANCE
    )


def test_decoder():
    """The decoder's layer, masked."""
    mine, original = block_pair(HopfieldDecoderLayer, blocks.HopfieldDecoderLayer, 2)
    states, memory = normal(3, 5, 6, seed=1), normal(3, 8, 6, seed=2)
    padding = torch.zeros(3, 8, dtype=torch.bool)
    padding[1, 3:] = True
    masks = {"tgt_mask": torch.ones(5, 5).triu(1).bool(), "memory_key_padding_mask": padding}
    found, expected = mine(states, memory, **masks), original(states, memory, **masks)
    torch.testing.assert_close(found, expected, **TOLERANCE)
    assert_same_gradients(mine, original, found, expected, [states, memory])
    crossed = (memory, states, memory)
    for name, inputs in (("self", states), ("cross", crossed)):
        own = getattr(mine, f"get_association_matrix_{name}")(inputs)
        theirs = getattr(original, f"get_association_matrix_{name}")(inputs)
        torch.testing.assert_close(own, theirs, **TOLERANCE)
