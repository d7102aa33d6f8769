"""The Hopfield layers under compile, vmap and autocast, in every precision, and with bad input."""

import copy

import pytest
import torch
from torch import nn

from isinglass.errors import DomainError, IsinglassError, ParameterError, ShapeError
from isinglass.nn import (
    Hopfield,
    HopfieldDecoderLayer,
    HopfieldEncoderLayer,
    HopfieldLayer,
    HopfieldPooling,
)
from tests.cases import double
from tests.test_package import clean

LAYERS = {
    "associate": lambda: Hopfield(8, num_heads=2, update_steps_max=3, concat_bias_pattern=True),
    "pool": lambda: HopfieldPooling(8, num_heads=2, quantity=2, update_steps_max=2),
    "look up": lambda: HopfieldLayer(8, num_heads=2, quantity=6, update_steps_max=2),
    "encode": lambda: HopfieldEncoderLayer(Hopfield(8, num_heads=2), dim_feedforward=16),
    "static": lambda: Hopfield.static(scaling=2.0, update_steps_max=4),
}
each_layer = pytest.mark.parametrize("name", LAYERS)


def made(name: str) -> nn.Module:
    return LAYERS[name]().eval()


@pytest.mark.slow
def test_compile_whole_and_wrong_types():
    """Without the type checker of the tests, as users have it."""
    script = """
import torch
from isinglass import IsinglassError
from isinglass.integrations import hflayers_options
from isinglass.nn import (
    EnergyTransformerBlock, Hopfield, HopfieldDecoderLayer, HopfieldLayer, HopfieldPooling,
)
torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
rows, block = torch.randn(3, 5, 8, requires_grad=True), Hopfield(8, num_heads=2)
for layer in (
    Hopfield.static(scaling=2.0, update_steps_max=4),
    HopfieldPooling(8, num_heads=2, quantity=2, update_steps_max=(1, 3)),
):
    compiled = torch.compile(layer.eval(), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(rows), layer(rows))

layer = Hopfield(8, num_heads=2, update_steps_max=3, add_zero_association=True).eval()
padding, mask = torch.zeros(3, 5, dtype=torch.bool), torch.ones(5, 5).triu(1).bool()
padding[0], padding[1, 2:] = True, True
slopes = []
for call in (torch.compile(layer, fullgraph=True, backend="eager"), layer):
    slopes.append(torch.autograd.grad(call(rows, padding, mask).square().sum(), rows)[0])
torch.testing.assert_close(*slopes)
compiled = torch.compile(layer.energy, fullgraph=True, backend="eager")
torch.testing.assert_close(compiled(rows, padding), layer.energy(rows, padding))

wrong = [
    lambda: layer([[1.0] * 8]),
    lambda: layer(None),
    lambda: layer((rows, None, rows)),
    lambda: layer(rows, [True] * 5),
    lambda: layer(rows, padding.double()),
    lambda: layer(rows, association_mask="causal"),
    lambda: HopfieldLayer(8)([rows]),
    lambda: Hopfield(8, update_steps_max=1.5),
    lambda: Hopfield(8, update_steps_eps="a"),
    lambda: Hopfield("8"),
    lambda: Hopfield(8, scaling="2"),
    lambda: Hopfield(8, association_activation=3),
    lambda: HopfieldDecoderLayer(block, torch.nn.Linear(8, 8)),
    lambda: hflayers_options({"update_steps_max": [0, "2"]}),
    lambda: EnergyTransformerBlock(4, 2, beta=torch.nn.Parameter(torch.ones(()))),
]
for number, call in enumerate(wrong):
    try:
        call()
    except IsinglassError as error:
        assert error.remedy
    else:
        raise AssertionError(number)
print("whole")
"""
    assert clean(script) == "whole"


@each_layer
def test_vmap(name):
    layer, rows = made(name).double(), double(3, 5, 8)
    torch.testing.assert_close(torch.vmap(layer)(rows), layer(rows))


def test_vmap_over_masks():
    layer, rows = made("associate").double(), double(3, 5, 8)
    padding = double(3, 5, seed=1) > 0.5
    padding[0] = True
    torch.testing.assert_close(torch.vmap(layer)(rows, padding), layer(rows, padding))


def test_until_rest_cannot_be_traced():
    for layer in (Hopfield(8, update_steps_max=None), HopfieldPooling(8, update_steps_max=None)):
        with pytest.raises(ParameterError, match="until rest, under"):
            torch.vmap(layer)(torch.randn(2, 3, 8))


@each_layer
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_precisions(name, dtype):
    layer, rows = made(name).double(), double(3, 5, 8)
    expected = layer(rows)
    found = copy.deepcopy(layer).to(dtype)(rows.to(dtype))
    assert found.dtype == dtype
    near = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.double(), expected, rtol=near, atol=near)


@each_layer
def test_autocast(name):
    layer, rows = made(name), double(3, 5, 8).float()
    expected = layer(rows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(rows)
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05)


def test_autocast_with_masks():
    layer, rows = made("associate"), double(3, 5, 8).float()
    padding, mask = double(3, 5, seed=1) > 0.5, double(5, 5, seed=2).float()
    expected = layer(rows, padding, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(rows, padding, mask)
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU at hand")
@each_layer
def test_cuda(name):
    layer, rows = made(name), double(3, 5, 8).float()
    expected = layer(rows)
    found = layer.cuda()(rows.cuda())
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_head": 2}, "Did you mean 'num_heads'"),
        ({"zzz": 2}, "no option 'zzz'"),
        ({"num_heads": 3}, "cannot be shared by 3 heads"),
        ({"num_heads": 0}, "num_heads = 0"),
        ({"hidden_size": -4}, "hidden_size = -4"),
        ({"dropout": 1.5}, "dropout"),
        ({"update_steps_max": 0}, "where hflayers says k, say k \\+ 1"),
        ({"update_steps_max": (1, 2)}, "2 values of update_steps_max for 1 heads"),
        ({"update_steps_eps": 0.0}, "update_steps_eps"),
        ({"normalize_state_pattern": False, "normalize_state_pattern_affine": True}, "affine"),
        ({"normalize_hopfield_space_affine": True}, "normalize_hopfield_space=False"),
        ({"normalize_stored_pattern_eps": 0.0}, "normalize_stored_pattern_eps"),
        ({"association_activation": "no such"}, "activation 'no such'"),
        ({"association_activation": "float"}, "activation 'float'"),
        ({"pattern_projection_as_connected": True, "pattern_size": 3}, "connected patterns"),
        ({"pattern_projection_as_connected": True, "stored_pattern_size": 3}, "connected"),
        ({"concat_bias_pattern": True, "stored_pattern_as_static": True}, "concat_bias_pattern"),
        ({"stored_pattern_as_static": True, "hidden_size": 4}, "static stored_pattern of 4"),
        ({"disable_out_projection": True, "output_size": 3}, "output_size 3"),
        ({"scaling": -1.0}, "scaling = -1.0"),
        ({"scaling": float("nan")}, "scaling = nan"),
        ({"scaling": torch.tensor([torch.nan])}, "NaN"),
        ({"scaling": torch.tensor([-0.5])}, "must be above zero"),
        ({"scaling": torch.ones(2)}, r"scaling of shape \(2,\)"),
        ({"scaling": torch.ones(1, dtype=torch.int64)}, "int64"),
        ({"scaling": nn.Parameter(torch.tensor(1.0))}, "wants gradients"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_options_that_cannot_be(options, said):
    with pytest.raises(IsinglassError, match=said):
        Hopfield(8, **options)


def test_sizes_that_nobody_gave():
    with pytest.raises(ParameterError, match="no input_size"):
        Hopfield()
    with pytest.raises(ParameterError, match="normalize_state_pattern of unknown size"):
        Hopfield.static(normalize_state_pattern=True)
    with pytest.raises(ParameterError, match="quantity = 0"):
        HopfieldPooling(8, quantity=0)
    for kind in (HopfieldPooling, HopfieldLayer):
        with pytest.raises(ParameterError, match="patterns of its own of unknown"):
            kind.static(quantity=3, scaling=8.0)


def test_a_layer_made_without_memory_is_filled_by_its_state():
    like = Hopfield(8, num_heads=2, update_steps_max=(1, 4))
    layer = Hopfield(8, num_heads=2, update_steps_max=(1, 4), device="meta").to_empty(device="cpu")
    layer.load_state_dict(like.state_dict())
    assert not list(layer.buffers(recurse=False))[1:]  # β alone; no number outside the state
    torch.testing.assert_close(layer(torch.ones(2, 3, 8)), like(torch.ones(2, 3, 8)))


def test_scores_that_half_precision_cannot_hold():
    layer, rows = Hopfield.static(scaling=1.0).half(), 500 * double(5, 8, pinned=True).half()
    torch.testing.assert_close(layer.association(rows), torch.eye(5).half()[None])
    assert layer(rows).isfinite().all()


@each_layer
def test_a_batch_of_none(name):
    layer = made(name).double()
    expected = layer(double(2, 5, 8))[:0]
    torch.testing.assert_close(layer(double(0, 5, 8)), expected)
    if name != "encode":
        padding = torch.zeros(0, 6 if name == "look up" else 5, dtype=torch.bool)
        torch.testing.assert_close(layer(double(0, 5, 8), padding), expected)


def test_a_learned_beta_is_of_the_layer_s_dtype():
    beta = nn.Parameter(torch.ones(1))
    for kind in (Hopfield, HopfieldPooling, HopfieldLayer):
        with pytest.raises(ParameterError, match=r"float32 on cpu for a layer of torch\.float64"):
            kind(8, scaling=beta, dtype=torch.float64)
    with pytest.raises(ParameterError, match=r"on cpu for a layer of .* on meta"):
        Hopfield(8, scaling=beta, device="meta")
    assert Hopfield(8, scaling=beta).scaling is beta


def test_a_learned_beta_that_fell_below_zero_is_seen():
    layer = Hopfield(8, scaling=nn.Parameter(torch.ones(1)))
    layer.load_state_dict(layer.state_dict() | {"scaling": -torch.ones(1)})
    with pytest.raises(DomainError, match="scaling of -1"):
        layer(torch.ones(2, 3, 8))


def test_a_given_beta_does_not_change_the_layer_s_dtype():
    layer = HopfieldPooling(8, scaling=torch.tensor(2.0).double())
    assert {values.dtype for values in layer.state_dict().values()} == {torch.float32}
    assert layer(torch.ones(2, 3, 8)).dtype == torch.float32


def test_targets_that_are_none_cannot_be_fixed():
    with pytest.raises(ParameterError, match="lookup_targets_as_trainable=False with"):
        HopfieldLayer(8, lookup_targets_as_trainable=False)


@pytest.mark.parametrize(
    ("input_", "masks", "error", "said"),
    [
        (torch.ones(2, 3, 7), {}, ShapeError, r"stored pattern: expected \(\*batch, 8\)"),
        (torch.ones(8), {}, ShapeError, r"\(batch, rows, features\)"),
        (torch.full((2, 3, 8), torch.nan), {}, DomainError, "stored pattern are NaN"),
        (torch.ones(2, 3, 8).long(), {}, DomainError, "int64"),
        (torch.ones(2, 3, 8).double(), {}, DomainError, "float64"),
        ((torch.ones(2, 3, 8),) * 2, {}, ShapeError, "Give one tensor, or 3"),
        ((torch.ones(2, 3, 8), torch.ones(2, 3, 8), torch.ones(2, 4, 8)), {}, ShapeError, "rows"),
        ((torch.ones(2, 3, 8), torch.ones(3, 3, 8), torch.ones(2, 3, 8)), {}, ShapeError, "batch"),
        (torch.ones(2, 3, 8), {"padding": torch.zeros(2, 3)}, DomainError, "float32"),
        (torch.ones(2, 3, 8), {"padding": torch.zeros(3, 2).bool()}, ShapeError, r"\(2, 3\)"),
        (
            torch.ones(2, 3, 8),
            {"mask": torch.zeros(3, 3).byte()},
            DomainError,
            "Give a boolean mask",
        ),
        (torch.ones(2, 3, 8), {"mask": torch.zeros(3, 4)}, ShapeError, r"\(3, 4\)"),
        (torch.ones(2, 3, 8), {"mask": torch.zeros(2, 3, 3)}, ShapeError, r"batch · heads"),
    ],
)
def test_inputs_that_do_not_fit(input_, masks, error, said):
    layer = Hopfield(8, num_heads=2)
    with pytest.raises(error, match=said):
        layer.forward(input_, masks.get("padding"), masks.get("mask"))


def test_static_patterns_that_do_not_fit():
    bare = {"normalize_state_pattern": False, "state_pattern_as_static": True}
    layer = Hopfield(8, hidden_size=4, **bare)
    stored = torch.ones(2, 3, 8)
    assert layer((stored, torch.ones(2, 3, 4), stored)).shape == (2, 3, 8)
    with pytest.raises(ShapeError, match=r"state: expected \(\*batch, 4\)"):
        layer((stored, stored, stored))
    with pytest.raises(ShapeError, match="static stored patterns and states the same features"):
        Hopfield.static()((stored, torch.ones(2, 3, 4), stored))
    with pytest.raises(ShapeError, match="Give the states alone"):
        HopfieldLayer(8)((stored, stored))
    with pytest.raises(ShapeError, match="Give one tensor, or 2"):
        HopfieldPooling(8)((stored, stored, stored))


@pytest.mark.parametrize(
    "make",
    [
        lambda: HopfieldEncoderLayer(Hopfield(8, output_size=4)),
        lambda: HopfieldEncoderLayer(Hopfield.static()),
        lambda: HopfieldDecoderLayer(Hopfield(8), Hopfield(6)),
        lambda: HopfieldEncoderLayer(Hopfield(8), dropout=2.0),
        lambda: HopfieldEncoderLayer(Hopfield(8), dim_feedforward=0),
        lambda: HopfieldEncoderLayer(Hopfield(8), activation="none such"),
    ],
)
def test_blocks_that_cannot_be(make):
    with pytest.raises(ParameterError):
        make()
