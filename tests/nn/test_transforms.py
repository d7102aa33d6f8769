"""Layers under what torch does to modules: traces, shapes without values, derivatives, vmap."""

import copy

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

import isinglass as ig
from isinglass.errors import DomainError, ParameterError
from isinglass.nn import (
    EnergyTransformerBlock,
    Hopfield,
    HopfieldDecoderLayer,
    HopfieldEncoderLayer,
    HopfieldLayer,
    HopfieldPooling,
    StochasticAttention,
)
from isinglass.nn.attention.fused import fused_attention
from tests.cases import double
from tests.test_package import clean

SIZE = 8
LEARNED = {"concat_bias_pattern": True, "add_zero_association": True}
LAYERS = {
    "associate": lambda: Hopfield(SIZE, num_heads=2, update_steps_max=3, **LEARNED),
    "learned beta": lambda: Hopfield(SIZE, scaling=nn.Parameter(torch.ones(1))),
    "static": lambda: Hopfield.static(scaling=2.0, update_steps_max=4),
    "pool": lambda: HopfieldPooling(SIZE, num_heads=2, quantity=3),
    "look up": lambda: HopfieldLayer(SIZE, num_heads=2, quantity=6),
    "encode": lambda: HopfieldEncoderLayer(Hopfield(SIZE, num_heads=2), 16, 0.0),
    "descend": lambda: EnergyTransformerBlock(SIZE, 2, memories=6, steps=1),
    "descend, causal": lambda: EnergyTransformerBlock(SIZE, 2, memories=6, steps=1, causal=True),
    "retrieve": lambda: ig.ModernHopfield(torch.eye(SIZE), beta=2.0).attend(steps=2),
    "subset": lambda: ig.SubsetHopfield(torch.eye(SIZE), beta=2.0).attend(steps=2),
}
each_layer = pytest.mark.parametrize("name", LAYERS)
each_draws = pytest.mark.parametrize("draws", [None, 1, 20])


class Itself(nn.Module):
    """Self-attention of one argument."""

    def __init__(self, draws: int | None, *, need_weights: bool = True) -> None:
        super().__init__()
        self.attention = StochasticAttention(SIZE, 2, draws=draws, batch_first=True)
        self.need_weights = need_weights

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.attention(rows, rows, rows, need_weights=self.need_weights)[0]


@pytest.mark.slow
def test_graphs_do_not_fix_the_batch():
    """Two graphs for all sizes of a batch, as nn.MultiheadAttention has, and one exported."""
    script = """
import torch, isinglass as ig
from torch._dynamo.testing import CompileCounter
from isinglass.nn import (
    EnergyTransformerBlock, Hopfield, HopfieldDecoderLayer, HopfieldLayer, HopfieldPooling,
    StochasticAttention,
)
torch.manual_seed(0)
block = Hopfield(8, num_heads=2)
learned = {"concat_bias_pattern": True, "add_zero_association": True, "num_heads": 2}
layers = [
    (Hopfield(8, update_steps_max=3, **learned), 1),
    (HopfieldPooling(8, quantity=2), 1),
    (HopfieldLayer(8, quantity=6), 1),
    (HopfieldDecoderLayer(block, block, 16, 0.0), 2),
    (StochasticAttention(8, 2, batch_first=True), 3),
    (StochasticAttention(8, 2, batch_first=True, draws=20), 3),
    (EnergyTransformerBlock(8, 2, memories=6, steps=1), 1),
    (EnergyTransformerBlock(8, 2, memories=6, steps=1, causal=True), 1),
]
first = lambda found: found[0] if isinstance(found, tuple) else found
for layer, inputs in layers:
    torch._dynamo.reset()
    graphs = CompileCounter()
    compiled = torch.compile(layer, backend=graphs, fullgraph=True)
    for size in (2, 3, 10):
        rows = [torch.randn(size, 5, 8) for _ in range(inputs)]
        found = first(compiled(*rows))
        if getattr(layer, "draws", None) is None:
            torch.testing.assert_close(found, first(layer(*rows)))
    print(graphs.frame_count, end=" ")
    if inputs == 1 and not isinstance(layer, HopfieldPooling):
        continue
    dynamic = ({0: torch.export.Dim.DYNAMIC},) * inputs
    exported = torch.export.export(layer.eval(), tuple(rows), dynamic_shapes=dynamic).module()
    assert first(exported(*(r[:4] for r in rows))).shape[0] == 4
"""
    assert clean(script) == " ".join(["2"] * 8)


@each_layer
def test_shapes_without_values(name):
    layer, rows = LAYERS[name](), torch.ones(3, 5, SIZE)
    expected = layer(rows).shape
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert layer(torch.ones(3, 5, SIZE)).shape == expected
    if name != "encode":  # which copies a layer: torch copies the mode with a FakeTensor
        with FakeTensorMode():
            assert LAYERS[name]()(torch.ones(3, 5, SIZE)).shape == expected
    assert layer.to("meta")(rows.to("meta")).shape == expected
    with torch.device("meta"):
        assert LAYERS[name]()(torch.ones(3, 5, SIZE)).shape == expected


@each_draws
def test_shapes_of_draws_without_values(draws):
    layer, rows = Itself(draws), torch.ones(3, 5, SIZE)
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert layer(torch.ones(3, 5, SIZE)).shape == rows.shape
    assert layer.to("meta")(rows.to("meta")).shape == rows.shape


def test_until_rest_has_a_shape():
    layer = Hopfield(SIZE, update_steps_max=None).to("meta")
    assert layer(torch.ones(2, 5, SIZE, device="meta")).shape == (2, 5, SIZE)


def second(call, inputs, directions):
    """A derivative of the slopes of a call."""
    slopes = torch.autograd.grad(call(*inputs).square().sum(), inputs, create_graph=True)
    total = sum((s * d).sum() for s, d in zip(slopes, directions, strict=True))
    return torch.autograd.grad(total, inputs, allow_unused=True)


@pytest.mark.parametrize("mask", [None, "flags", "numbers"])
def test_fused_attention_has_all_derivatives(mask):
    """Those of the formula, twice; also where one tensor is query, key and value."""
    q, k, v = (double(2, 3, n, 4, seed=n).requires_grad_() for n in (5, 6, 6))
    seen = {None: None, "flags": double(5, 6) > -1, "numbers": double(5, 6)}[mask]
    bias = 0.0 if seen is None else seen if mask == "numbers" else seen.double().log()

    def formula(q, k, v):
        return torch.softmax(0.7 * q @ k.mT + bias, -1) @ v

    def ours(q, k, v):
        return fused_attention(q, k, v, seen, scale=0.7)

    directions = [double(*table.shape, seed=9) for table in (q, k, v)]
    torch.testing.assert_close(ours(q, k, v), formula(q, k, v))
    for found, expected in zip(
        second(ours, (q, k, v), directions), second(formula, (q, k, v), directions), strict=True
    ):
        torch.testing.assert_close(found, expected)
    if mask is None:
        for one, other in zip(
            second(lambda x: ours(x, x, x), (k,), directions[1:2]),
            second(lambda x: formula(x, x, x), (k,), directions[1:2]),
            strict=True,
        ):
            torch.testing.assert_close(one, other)


def test_the_gradient_of_a_mask_of_numbers():
    q, k, v = (double(2, 3, n, 4, seed=n).requires_grad_() for n in (5, 6, 6))
    bias = double(5, 6).requires_grad_()
    calls = (
        lambda q, k, v, bias: torch.softmax(q @ k.mT + bias, -1) @ v,
        lambda q, k, v, bias: fused_attention(q, k, v, bias),
    )
    directions = [double(*table.shape, seed=9) for table in (q, k, v, bias)]
    expected, found = (second(call, (q, k, v, bias), directions) for call in calls)
    torch.testing.assert_close(found, expected)


@each_layer
def test_second_derivatives(name):
    layer, rows = LAYERS[name]().double(), double(2, 3, SIZE).requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda x: layer(x).square().sum(), rows, atol=1e-4, fast_mode=True
    )


@pytest.mark.parametrize("need_weights", [True, False])
def test_second_derivatives_of_attention(need_weights):
    layer = Itself(None, need_weights=need_weights).double()
    rows = double(2, 3, SIZE).requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda x: layer(x).square().sum(), rows, atol=1e-4, fast_mode=True
    )


@each_layer
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own rules of forward mode
def test_forward_mode(name):
    layer, rows, way = LAYERS[name]().double(), double(2, 3, SIZE), double(2, 3, SIZE, seed=1)
    with forward_ad.dual_level():
        found = forward_ad.unpack_dual(layer(forward_ad.make_dual(rows, way))).tangent
    near = 1e-6
    expected = (layer(rows + near * way) - layer(rows - near * way)) / (2 * near)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@each_draws
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_activations_draw_the_same_again(draws, reentrant):
    layer, rows = Itself(draws), torch.randn(3, 5, SIZE, requires_grad=True)
    slopes = []
    for call in (layer, lambda x: checkpoint(layer, x, use_reentrant=reentrant)):
        torch.manual_seed(1)
        rows.grad = None
        call(rows).square().sum().backward()
        slopes.append(rows.grad)
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_activations_refuse_a_generator(reentrant, generator):
    """Their second pass would draw otherwise than the first, and give wrong gradients."""
    layer, rows = Itself(2), torch.randn(3, 5, SIZE, requires_grad=True)
    layer.attention.generator = generator
    found = checkpoint(layer, rows, use_reentrant=reentrant)
    with pytest.raises(ParameterError, match="activation checkpointing"):
        found.sum().backward()
    layer.attention.draws = None  # nothing is drawn
    checkpoint(layer, rows, use_reentrant=reentrant).sum().backward()


@each_layer
def test_a_trace_of_one_shape(name):
    """torch.jit.trace and make_fx run the layer once, whose values must decide nothing."""
    from torch.fx.experimental.proxy_tensor import make_fx

    layer, rows, other = (
        LAYERS[name]().double().eval(),
        double(2, 3, SIZE),
        double(2, 3, SIZE, seed=1),
    )
    traced = make_fx(layer)(rows)
    torch.testing.assert_close(traced(other), layer(other))


POISON = {"nan": torch.nan, "inf": torch.inf}


@pytest.mark.parametrize("value", POISON.values(), ids=POISON)
@pytest.mark.parametrize("name", ["associate", "pool", "encode", "descend"])
def test_padding_may_be_anything(name, value):
    """The real rows get what they get beside finite padding, and finite gradients."""
    layer = LAYERS[name]()
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[1, 3:] = True
    mask = {
        "encode": {"src_key_padding_mask": padding},
        "descend": {"padding": padding},
    }.get(name, {"stored_pattern_padding_mask": padding})
    clean_rows = torch.randn(2, 5, SIZE)
    rows = clean_rows.masked_fill(padding[..., None], value).requires_grad_()
    real = torch.ones(2, dtype=torch.bool) if name == "pool" else ~padding
    found, expected = layer(rows, **mask)[real], layer(clean_rows, **mask)[real]
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters() if p.grad is not None)
    with pytest.raises(DomainError, match="NaN or infinite"):
        layer(rows)


def test_the_decoder_s_padding_may_be_anything():
    block = Hopfield(SIZE, num_heads=2)
    layer = HopfieldDecoderLayer(block, block, 16, 0.0)
    rows, memory = torch.randn(2, 5, SIZE), torch.randn(2, 4, SIZE)
    padding, hidden = torch.zeros(2, 5, dtype=torch.bool), torch.zeros(2, 4, dtype=torch.bool)
    padding[0, 4], hidden[1, 1:] = True, True
    masks = {"tgt_key_padding_mask": padding, "memory_key_padding_mask": hidden}
    expected = layer(rows, memory, **masks)
    rows, memory = copy.deepcopy((rows, memory))
    rows[padding], memory[hidden] = torch.nan, torch.nan
    torch.testing.assert_close(layer(rows, memory, **masks)[~padding], expected[~padding])


@pytest.mark.parametrize("draws", [None, 1])
def test_padding_of_attention_may_be_anything(draws):
    layer = StochasticAttention(SIZE, 2, draws=draws, batch_first=True)
    rows, keys = torch.randn(2, 5, SIZE), torch.randn(2, 4, SIZE)
    padding, hidden = torch.zeros(2, 5, dtype=torch.bool), torch.zeros(2, 4, dtype=torch.bool)
    padding[0, 4], hidden[1, 1:] = True, True

    def found(rows, keys):
        torch.manual_seed(0)
        among = layer(rows, rows, rows, key_padding_mask=padding)[0][~padding]
        return torch.cat([among.flatten(), layer(rows[:, :4], keys, keys, hidden)[0].flatten()])

    expected = found(rows, keys)
    keys = keys.masked_fill(hidden[..., None], torch.nan)
    torch.testing.assert_close(found(rows, keys), expected)
    rows = rows.masked_fill(padding[..., None], torch.nan)
    torch.manual_seed(0)
    again = layer(rows, rows, rows, key_padding_mask=padding)[0][~padding].flatten()
    torch.testing.assert_close(again, expected[: again.numel()])


def test_a_pattern_that_some_states_may_see_has_to_be_finite():
    layer, rows = Hopfield(SIZE), torch.randn(2, 3, SIZE)
    stored = rows.clone()
    stored[0, 2] = torch.nan
    mask = torch.zeros(3, 3, dtype=torch.bool)
    mask[:, 2] = True
    assert layer((stored, rows, stored), association_mask=mask).isfinite().all()
    mask[0, 2] = False
    with pytest.raises(DomainError, match="stored pattern"):
        layer((stored, rows, stored), association_mask=mask)


@pytest.mark.parametrize("name", ["associate", "pool", "descend", "retrieve"])
def test_no_rows(name):
    """A set of none, and none of sets."""
    layer = LAYERS[name]()
    assert layer(torch.ones(0, 5, SIZE)).shape[0] == 0
    found = layer(torch.ones(2, 0, SIZE))
    assert found.isfinite().all()
    if name == "pool":  # which sees its bias pattern alone; without one, nothing
        bare = HopfieldPooling(SIZE, quantity=3)
        torch.testing.assert_close(bare(torch.ones(2, 0, SIZE)), bare.project_out.bias.repeat(2, 3))


@each_draws
def test_no_keys_and_no_queries(draws):
    """As nn.MultiheadAttention: the output bias where there is no key."""
    ours = StochasticAttention(SIZE, 2, draws=draws, batch_first=True)
    nn.init.normal_(ours.out_proj.bias)
    peer = nn.MultiheadAttention(SIZE, 2, batch_first=True)
    peer.load_state_dict(ours.state_dict())
    some, none = torch.ones(2, 3, SIZE), torch.ones(2, 0, SIZE)
    for query, key in ((some, none), (none, some), (none, none), (some[:0], some[:0])):
        found, shares = ours(query, key, key)
        expected, weights = peer(query, key, key)
        assert shares.shape == weights.shape
        torch.testing.assert_close(found, expected)
