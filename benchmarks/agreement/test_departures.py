"""Every departure from hflayers: the original's defect, and what the layer here does.

One test a line of the table in ``docs/layers/from-hflayers.md``, in its order. Should the original
be mended, its half of a test fails, and the line can go.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.agreement.test_hflayers import normal, pair, randomized
from isinglass.errors import IsinglassError
from isinglass.nn import Hopfield, HopfieldDecoderLayer, HopfieldPooling

difflayers = pytest.importorskip("difflayers")
blocks = pytest.importorskip("difflayers.transformer")

STATIC: dict[str, Any] = {
    "stored_pattern_as_static": True,
    "state_pattern_as_static": True,
    "pattern_projection_as_static": True,
    "disable_out_projection": True,
    **{
        f"normalize_{name}{affine}": False
        for name in ("stored_pattern", "state_pattern", "pattern_projection")
        for affine in ("", "_affine")
    },
}


def one_head(beta: float, updates: int, stored: Tensor, state: Tensor) -> Tensor:
    """What a head without maps must give."""
    for _ in range(updates):
        state = torch.softmax(beta * state @ stored.mT, -1) @ stored
    return state


@pytest.mark.parametrize("count", [1, 2])
def test_number_of_updates(count):
    """The original makes one more than it is told."""
    stored, state = normal(1, 7, 4, seed=1).detach(), normal(1, 5, 4, seed=2).detach()
    steps = {"update_steps_max": count, "update_steps_eps": 1e-30}
    found = Hopfield.static(**steps, dtype=torch.float64)((stored, state, stored))
    torch.testing.assert_close(found, one_head(1.0, count, stored, state))
    theirs = difflayers.Hopfield(**STATIC, **steps)((stored, state, stored))
    torch.testing.assert_close(theirs, one_head(1.0, count + 1, stored, state))
    with pytest.raises(IsinglassError, match="where hflayers says k"):
        Hopfield(4, update_steps_max=0)


def test_one_beta_a_head():
    """The original's second head changes with the first one's β."""

    def second_head(layer: Any, first: float) -> Tensor:
        layer = randomized(layer(4, num_heads=2, scaling=torch.tensor([first, 1.0]).double()))
        return layer.get_association_matrix(normal(1, 5, 4, seed=1))[:, 1]

    assert torch.equal(second_head(Hopfield, 1.0), second_head(Hopfield, 5.0))
    assert not torch.allclose(
        second_head(difflayers.Hopfield, 1.0), second_head(difflayers.Hopfield, 5.0)
    )


def test_beta_is_learned_and_kept():
    """The original refuses a parameter, and has no β in its state."""
    rows = torch.randn(2, 3, 4)
    layer = Hopfield(4, scaling=nn.Parameter(torch.ones(1)))
    layer(rows).sum().backward()
    assert layer.scaling.grad is not None
    with pytest.raises(AssertionError):
        difflayers.Hopfield(4, scaling=nn.Parameter(torch.ones(1)))(rows)
    theirs = difflayers.Hopfield(4, scaling=torch.ones(1))
    assert "scaling" in layer.state_dict()
    assert not any("scaling" in name for name in theirs.state_dict())


def test_a_state_that_may_look_at_nothing():
    """The original is NaN."""
    mine, original = pair(Hopfield, difflayers.Hopfield, {"input_size": 4})
    mask = torch.tensor([[True] * 3, [False] * 3, [False] * 3])
    rows = normal(1, 3, 4, seed=1)
    assert mine(rows, association_mask=mask).isfinite().all()
    assert original(rows, association_mask=mask).isnan().any()


def test_rest_does_not_depend_on_neighbors():
    """The original goes on with all rows while one of the batch moves."""
    stored, state = normal(2, 6, 4, seed=1).detach(), normal(2, 5, 4, seed=4).detach()
    state[0] = one_head(1.0, 50, stored[0], state[0])
    state[0] += 1e-2

    def differs(layer: nn.Module) -> bool:
        alone = layer((stored[:1], state[:1], stored[:1]))
        return not torch.allclose(layer((stored, state, stored))[:1], alone, rtol=0, atol=1e-12)

    steps = {"update_steps_max": 20, "update_steps_eps": 0.05}
    assert not differs(Hopfield.static(**steps, dtype=torch.float64))
    assert differs(difflayers.Hopfield(**STATIC, **steps))


def test_bias_patterns():
    """The original accepts the option and adds nothing, or fails."""
    rows = torch.randn(2, 3, 4)
    mine, theirs = (layer(4, concat_bias_pattern=True) for layer in (Hopfield, difflayers.Hopfield))
    assert mine.get_association_matrix(rows).shape[-1] == 4
    assert theirs.get_association_matrix(rows).shape[-1] == 3
    wrong = {"concat_bias_pattern": True, "stored_pattern_as_static": True}
    with pytest.raises(IsinglassError, match="concat_bias_pattern"):
        Hopfield(4, **wrong)
    with pytest.raises(AssertionError):
        difflayers.Hopfield(4, **wrong)(rows)
    sizes = {"concat_bias_pattern": True, "pattern_size": 3}
    assert Hopfield(4, **sizes).bias_projection.shape[-1] == 3
    assert difflayers.Hopfield(4, **sizes).association_core.bias_v.shape[-1] == 4


def test_static_patterns_of_several_heads_keep_to_their_entry():
    """The original mixes the entries of the batch."""
    stored, state = normal(3, 7, 4, seed=1).detach(), normal(3, 5, 4, seed=2).detach()
    expected = one_head(1.0, 1, stored, state).repeat(1, 1, 2)
    found = Hopfield.static(num_heads=2, dtype=torch.float64)((stored, state, stored))
    torch.testing.assert_close(found, expected)
    theirs = difflayers.Hopfield(**STATIC, num_heads=2)((stored, state, stored))
    assert not torch.allclose(theirs, expected)


def test_static_projections_go_to_every_head():
    """The original cuts them into heads."""
    static = {name: True for name in STATIC if name.endswith("_static") and "state_" not in name}
    options = {"pattern_size": 2, "num_heads": 2, "disable_out_projection": True} | static
    options |= {name: False for name in STATIC if name.startswith("normalize_")}
    inputs = (normal(1, 7, 2, seed=1), normal(1, 5, 4, seed=2), normal(1, 7, 2, seed=3))
    mine, original = pair(Hopfield, difflayers.Hopfield, {"input_size": 4, **options})
    assert mine(inputs).shape == (1, 5, 4)
    assert original(inputs).shape == (1, 5, 2)


def test_byte_masks():
    """The original fails on its own warning."""
    rows, mask = torch.randn(2, 3, 4), torch.zeros(3, 3, dtype=torch.uint8)
    with pytest.raises(IsinglassError, match=r"Give a boolean mask"):
        Hopfield(4)(rows, association_mask=mask)
    with pytest.raises(NameError):
        difflayers.Hopfield(4)(rows, association_mask=mask)


def test_unknown_activation():
    """The original forgets it."""
    assert difflayers.Hopfield(4, association_activation="tnah").association_activation is None
    with pytest.raises(IsinglassError, match="activation 'tnah'"):
        Hopfield(4, association_activation="tnah")


def test_affine_normalization_of_the_association_space():
    """The original needs the size written out."""
    options = {"normalize_hopfield_space": True, "normalize_hopfield_space_affine": True}
    assert Hopfield(4, **options).norm_hopfield_space.weight.shape == (4,)
    with pytest.raises(TypeError):
        difflayers.Hopfield(4, **options)


def test_pooling_with_the_batch_in_the_second_dimension():
    """The original joins what belongs to different entries."""
    rows = torch.randn(5, 3, 4)
    assert HopfieldPooling(4, quantity=2, batch_first=False)(rows).shape == (3, 8)
    original = difflayers.HopfieldPooling(4, quantity=2, batch_first=False)
    assert original(rows).shape == (2, 12)


def test_size_of_a_decoder():
    """The original asks for what it does not have."""
    assert HopfieldDecoderLayer(Hopfield(4), Hopfield(4)).output_size == 4
    original = blocks.HopfieldDecoderLayer(difflayers.Hopfield(4), difflayers.Hopfield(4))
    with pytest.raises(AttributeError):
        _ = original.output_size


def test_options_of_options():
    """What the original asks for twice, ignores, or refuses."""
    assert not Hopfield(4, normalize_state_pattern=False).normalize_state_pattern_affine
    with pytest.raises(AssertionError):
        difflayers.Hopfield(4, normalize_state_pattern=False)
    ignored = {"disable_out_projection": True, "output_size": 3}
    assert difflayers.Hopfield(4, **ignored)(torch.randn(1, 2, 4)).shape == (1, 2, 4)
    with pytest.raises(IsinglassError, match="output_size 3 with disable_out_projection"):
        Hopfield(4, **ignored)
    assert float(Hopfield(4, scaling=2).scaling) == 2.0
    with pytest.raises(AssertionError):
        difflayers.Hopfield(4, scaling=2)(torch.randn(1, 2, 4))
