"""Multi-head attention by look-up: torch's own at m → ∞, and exactly multinomial at finite m."""

import copy
import warnings

import pytest
import torch
from torch import nn

from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.nn import StochasticAttention, replace_attention
from tests.cases import double
from tests.seeds import seeded, shifted

OPTIONS = {
    "plain": {},
    "without bias": {"bias": False},
    "tokens first": {"batch_first": False},
    "own features of keys and values": {"kdim": 6, "vdim": 3},
    "added keys": {"add_bias_kv": True, "add_zero_attn": True},
}
TO = {"rtol": 0, "atol": 1e-12}


def pair(draws=None, *, gradient="softmax", **options) -> tuple[nn.Module, StochasticAttention]:
    """Torch's attention and ours of the same parameters, in float64."""
    torch.manual_seed(shifted(1))
    options = {"batch_first": True, "dtype": torch.float64} | options
    theirs = nn.MultiheadAttention(8, 2, **options)
    own = StochasticAttention(8, 2, draws=draws, gradient=gradient, **options)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.7)
    own.load_state_dict(theirs.state_dict())
    return theirs, own


def tokens(layer: nn.MultiheadAttention, batch: int = 3) -> tuple[torch.Tensor, ...]:
    inputs = (
        double(batch, 4, 8),
        double(batch, 5, layer.kdim, seed=1),
        double(batch, 5, layer.vdim, seed=2),
    )
    return inputs if layer.batch_first else tuple(rows.transpose(0, 1) for rows in inputs)


def masks(kind: str) -> dict[str, torch.Tensor]:
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[0, 3:] = True
    pairs = torch.ones(4, 5, dtype=torch.bool).triu(2)
    numbers = double(6, 4, 5, seed=7)
    return {
        "none": {},
        "padding": {"key_padding_mask": padding},
        "pairs": {"attn_mask": pairs},
        "both": {"key_padding_mask": padding, "attn_mask": pairs},
        "a head each": {"attn_mask": numbers},
        "numbers": {"attn_mask": numbers, "key_padding_mask": double(3, 5, seed=8)},
        "numbers and booleans": {
            "attn_mask": pairs.expand(6, 4, 5), "key_padding_mask": numbers[:3, 0],
        },
    }[kind]  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("need_weights", [True, False])
def test_infinitely_many_draws_are_torch_s_attention(name, need_weights):
    theirs, own = pair(**OPTIONS[name])
    for kind in ("none", "padding", "pairs", "both", "a head each", "numbers"):
        inputs = [rows.requires_grad_() for rows in tokens(theirs)]
        options = masks(kind) | {"need_weights": need_weights, "average_attn_weights": False}
        expected, weights = theirs(*inputs, **options)
        found, shares = own(*inputs, **options)
        torch.testing.assert_close(found, expected, **TO)
        torch.testing.assert_close(shares, weights, **TO)
        aim = double(*expected.shape, seed=3)
        slopes = [
            torch.autograd.grad((out * aim).sum(), [*inputs, *layer.parameters()])
            for out, layer in ((expected, theirs), (found, own))
        ]
        torch.testing.assert_close(slopes[1], slopes[0], **TO)


def test_unbatched_averaged_and_of_mixed_masks():
    theirs, own = pair()
    q, k, v = tokens(theirs)
    expected = theirs(q[0], k[0], v[0], key_padding_mask=masks("padding")["key_padding_mask"][0])
    found = own(q[0], k[0], v[0], key_padding_mask=masks("padding")["key_padding_mask"][0])
    torch.testing.assert_close(found, expected, **TO)
    mixed = masks("numbers and booleans")
    pairs = mixed["attn_mask"].double().masked_fill(mixed["attn_mask"], -torch.inf)
    expected = theirs(q, k, v, attn_mask=pairs, key_padding_mask=mixed["key_padding_mask"])
    torch.testing.assert_close(own(q, k, v, **mixed), expected, **TO)


def test_self_attention_and_the_causal_mask():
    theirs, own = pair()
    x = double(3, 5, 8)
    causal = torch.ones(5, 5, dtype=torch.bool).triu(1)
    expected = theirs(x, x, x, attn_mask=causal, is_causal=True)
    torch.testing.assert_close(own(x, x, x, attn_mask=causal, is_causal=True), expected, **TO)
    torch.testing.assert_close(own(x, x, x, is_causal=True), expected, **TO)


@pytest.mark.parametrize("draws", [1, 3, 40])
@pytest.mark.parametrize("learning", [True, False])
def test_mean_and_variance_are_those_of_m_draws(draws, learning, generator):
    """With W_O the identity: mean pᵀV, variance (pᵀV² − (pᵀV)²)/m for every component."""
    _, own = pair(draws)
    with torch.no_grad():
        own.out_proj.weight.copy_(torch.eye(8))
        own.out_proj.bias.zero_()
    q, k, v = (rows / 3 for rows in tokens(own, batch=1))  # no key so rare that it upsets bounds
    number = 20_000
    with torch.set_grad_enabled(learning):
        many = own(
            *(rows.expand(number, -1, -1) for rows in (q, k, v)),
            need_weights=False, generator=generator,
        )[0].detach()  # fmt: skip
    with torch.no_grad():
        own.draws = None
        exact, p = own(q, k, v, average_attn_weights=False)
        values = own._project(q, k, v)[2].unflatten(-1, (2, 4)).transpose(1, 2)
        variance = (p @ values**2 - (p @ values) ** 2).transpose(1, 2).flatten(-2) / draws
    assert ((many.mean(0) - exact[0]).abs() <= 5 * (variance[0] / number).sqrt()).all()
    squares = (many - exact).square()
    assert ((squares.mean(0) - variance[0]).abs() <= 5 * squares.std(0) / number**0.5).all()


def test_both_ways_of_averaging_are_one(generator):
    """Few draws without gradients are gathered, else counted: the same draws, the same average."""
    _, own = pair(2)
    inputs = tokens(own)
    counted = own(*inputs, need_weights=True, generator=generator.manual_seed(shifted(3)))[0]
    with torch.no_grad():
        gathered = own(*inputs, need_weights=False, generator=generator.manual_seed(shifted(3)))[0]
    torch.testing.assert_close(gathered, counted, **TO)


def test_generators(generator):
    _, own = pair(2)
    inputs = tokens(own)
    one = own(*inputs, generator=generator.manual_seed(shifted(1)))[0]
    assert torch.equal(one, own(*inputs, generator=generator.manual_seed(shifted(1)))[0])
    assert not torch.equal(one, own(*inputs, generator=generator)[0])
    own.generator = generator.manual_seed(shifted(1))
    assert torch.equal(one, own(*inputs)[0])
    other = copy.deepcopy(own)
    assert other.generator is generator  # else copies would draw alike
    assert torch.equal(other(*inputs, generator=seeded(1))[0], one)


def test_mean_of_the_gradients_is_softmax_attention_s(generator):
    """With a loss linear in the output: to every parameter and input, within 5 standard errors."""
    exact, own = pair(2)
    inputs = [rows.requires_grad_() for rows in tokens(exact, batch=1)]
    aim = double(1, 4, 8, seed=3)
    learned = [*inputs, *exact.parameters()]
    expected = torch.autograd.grad((exact(*inputs)[0] * aim).sum(), learned)

    names = [name for name, _ in own.named_parameters()]
    values = tuple(parameter.detach() for parameter in own.parameters())

    def loss(q, k, v, *parameters):
        state = dict(zip(names, parameters, strict=True))
        call = {"generator": generator, "need_weights": False}
        return (torch.func.functional_call(own, state, (q, k, v), call)[0] * aim).sum()

    number = 4000
    fixed = [rows.detach() for rows in inputs] + list(values)
    slope = torch.func.grad(loss, argnums=tuple(range(len(fixed))))
    many = torch.vmap(lambda _: slope(*fixed), randomness="different")(torch.arange(number))
    for found, wanted in zip(many, expected, strict=True):
        error = 5 * found.std(0) / number**0.5 + 1e-12
        assert ((found.mean(0) - wanted).abs() <= error).all()


def test_gradient_to_values_alone(generator):
    _, own = pair(2, gradient="values")
    q, k, v = (rows.requires_grad_() for rows in tokens(own))
    own(q, k, v, generator=generator)[0].sum().backward()
    assert q.grad is None or not q.grad.any()
    assert k.grad is None or not k.grad.any()
    assert v.grad is not None
    assert v.grad.any()


@pytest.mark.parametrize("draws", [None, 2, 50])
@pytest.mark.parametrize("need_weights", [True, False])
def test_a_query_that_may_see_nothing_gets_the_output_s_bias(draws, need_weights, generator):
    _, own = pair(draws)
    q, k, v = (rows.requires_grad_() for rows in tokens(own))
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[1] = True
    for mask in (padding, torch.zeros(3, 5).double().masked_fill(padding, -torch.inf)):
        output, shares = own(
            q, k, v, key_padding_mask=mask, need_weights=need_weights, generator=generator
        )
        torch.testing.assert_close(output[1], own.out_proj.bias.expand(4, 8))
        assert shares is None or not shares[1].any()
        output.sum().backward()
        for rows in (q, k, v, own.in_proj_weight):
            assert rows.grad is not None
            assert rows.grad.isfinite().all()
            rows.grad = None


def test_masked_keys_are_never_drawn(generator):
    _, own = pair(64)
    inputs = tokens(own)
    options = masks("both") | {"generator": generator}
    shares = own(*inputs, **options)[1]
    hidden = options["attn_mask"] | options["key_padding_mask"].unsqueeze(1)
    assert (shares[hidden] == 0).all()
    assert (shares[~hidden] > 0).double().mean() > 0.8
    torch.testing.assert_close(shares.sum(-1), torch.ones(3, 4).double())


def test_dropped_shares_keep_the_mean(generator):
    _, own = pair(3, dropout=0.25)
    many = [rows.expand(4000, -1, -1) for rows in tokens(own, batch=1)]
    shares = own(*many, generator=generator)[1].detach()
    weights = own.eval()
    weights.draws = None
    expected = weights(*(rows[:1] for rows in many))[1].detach()
    assert ((shares.mean(0) - expected).abs() <= 5 * shares.std(0) / 4000**0.5).all()
    assert ((shares == 0).double().mean() > 0.25).all()


@pytest.mark.parametrize("draws", [None, 3])
def test_where_every_share_is_dropped_the_output_is_its_bias(draws):
    theirs, own = pair(draws, dropout=1.0)
    rows = tokens(own)
    found, shares = own.train()(*rows)
    torch.testing.assert_close(found, theirs.train()(*rows)[0])
    assert (shares == 0).all()


def encoder(**options) -> nn.TransformerEncoder:
    torch.manual_seed(shifted(2))
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, dtype=torch.float64)
    return nn.TransformerEncoder(layer, 2, **options)


@torch.no_grad()
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_draws_inside_torch_s_transformer(training, padded, generator):
    """Its layers have a fused path in evaluation, which must not bypass the draws."""
    model = encoder().train(training)
    x = double(3, 5, 8)
    padding = masks("padding")["key_padding_mask"] if padded else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's word on its nested tensors
        expected = model(x, src_key_padding_mask=padding)
    parameters = [id(parameter) for parameter in model.parameters()]
    kept = torch.ones(3, 5, dtype=torch.bool) if padding is None else ~padding

    assert replace_attention(model, None) is model
    assert [id(parameter) for parameter in model.parameters()] == parameters
    same = model(x, src_key_padding_mask=padding)
    torch.testing.assert_close(same[kept], expected[kept], **TO)
    errors = []
    for draws in (1, 16, 4096):
        replace_attention(model, draws, generator=generator)
        drawn = model(x, src_key_padding_mask=padding)
        errors.append(float((drawn - expected)[kept].square().mean().sqrt()))
    assert errors[0] > 2 * errors[1] > 4 * errors[2] > 0


@torch.no_grad()
def test_layers_made_from_one_draw_independently(generator):
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True).eval()
    replace_attention(layer, 1, generator=generator)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    one, two = (block.self_attn for block in model.layers)
    assert one.generator is two.generator is generator
    x = torch.randn(3, 5, 8)
    assert not torch.equal(one(x, x, x)[1], two(x, x, x)[1])


def test_replacing_keeps_what_is_shared_and_leaves_others_alone():
    class Own(nn.MultiheadAttention):
        pass

    shared = nn.MultiheadAttention(4, 2).eval()
    model = nn.ModuleList([shared, shared, Own(4, 2)])
    replace_attention(model, 3)
    assert model[0] is model[1]
    assert not model[0].training
    assert type(model[2]) is Own
    alone = replace_attention(nn.MultiheadAttention(4, 2), 3)
    assert isinstance(alone, StochasticAttention)
    with pytest.raises(ParameterError, match=r"no torch\.nn\.MultiheadAttention in a Linear"):
        replace_attention(nn.Linear(2, 2))


@pytest.mark.parametrize("draws", [None, 2])
def test_half_precision_and_autocast(draws):
    own = StochasticAttention(8, 2, draws=draws, batch_first=True)
    x = torch.randn(3, 5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert own(x, x, x)[0].dtype == torch.bfloat16
    half = copy.deepcopy(own).bfloat16()
    rows = x.bfloat16()
    output, shares = half(rows, rows, rows)
    assert output.isfinite().all()
    torch.testing.assert_close(shares.sum(-1).float(), torch.ones(3, 5), rtol=0, atol=0.02)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda():
    theirs, own = pair(3)
    x = double(3, 5, 8)
    generator = seeded(0, "cuda")
    gpu = copy.deepcopy(own).cuda()
    shares = gpu(x.cuda(), x.cuda(), x.cuda(), generator=generator)[1]
    torch.testing.assert_close(shares.sum(-1), torch.ones(3, 5).double().cuda())
    gpu.draws = None
    torch.testing.assert_close(gpu(x.cuda(), x.cuda(), x.cuda())[0].cpu(), theirs(x, x, x)[0])


def test_bad_settings():
    for draws in (0, -1, True):
        with pytest.raises(ParameterError, match="draws"):
            StochasticAttention(8, 2, draws=draws)
    layer = StochasticAttention(8, 2)
    with pytest.raises(ParameterError, match="draws"):
        layer.draws = 0
    with pytest.raises(ParameterError, match="num_heads divides"):
        StochasticAttention(8, 3)
    with pytest.raises(ParameterError, match="dropout"):
        StochasticAttention(8, 2, dropout=1.5)
    with pytest.raises(ParameterError, match="kdim"):
        StochasticAttention(8, 2, kdim=0)


def test_bad_input():
    layer = StochasticAttention(8, 2, draws=2, batch_first=True)
    x = torch.zeros(3, 5, 8)
    bad = x.clone()
    bad[1, 2, 3] = torch.nan
    with pytest.raises(DomainError, match=r"1 of 120 values.*\(1, 2, 3\)"):
        layer(x, bad, x)
    with pytest.raises(DomainError, match="float64"):
        layer(x.double(), x.double(), x.double())
    for wrong in ((x[..., :7], x, x), (x, x[:2], x[:2]), (x, x, x[:, :4]), (x[0], x, x)):
        with pytest.raises(ShapeError):
            layer(*wrong)
    for options in (
        {"attn_mask": torch.ones(5, 4) > 0},
        {"attn_mask": torch.ones(3, 5, 5) > 0},
        {"key_padding_mask": torch.ones(5) > 0},
    ):
        with pytest.raises(ShapeError, match=r"_mask of shape .* Give it the shape \("):
            layer(x, x, x, **options)
    for name, shape in (("attn_mask", (5, 5)), ("key_padding_mask", (3, 5))):
        with pytest.raises(DomainError, match=rf"{name} of dtype torch\.int64"):
            layer(x, x, x, **{name: torch.ones(shape).long()})
    with pytest.raises(DomainError, match="a nested query"):
        layer(*[torch.nested.nested_tensor([x[0], x[1]], layout=torch.jagged)] * 3)
