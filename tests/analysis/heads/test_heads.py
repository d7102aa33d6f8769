"""Statistics of heads, by blocks, beside what the whole matrix of scores gives."""

import numpy as np
import pytest
import torch

from isinglass.analysis.heads import (
    AttentionHeads,
    HeadClass,
    attention_heads,
    certify_keys,
    classify_heads,
    fit_fixed_weights,
    fixed_features,
    head_statistics,
    settle,
)
from isinglass.analysis.heads.held_mass import count_held
from isinglass.analysis.metastability import metastable_size
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from tests.seeds import seeded

LENGTH = 40
ROWS = torch.arange(1, LENGTH, 3)
KINDS = ["plain", "causal", "mask", "numbers", "bias", "null", "softcap", "bias under causal"]


def heads_of(kind: str) -> AttentionHeads:
    """Two sequences, four heads that share the keys of two, in float64."""
    generator = seeded(3)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    q, k, v = 3 * normal(2, 4, LENGTH, 8), normal(2, 2, LENGTH, 8), normal(2, 2, LENGTH, 5)
    seen = (normal(2, 1, LENGTH, LENGTH) > 0) | torch.eye(LENGTH, dtype=torch.bool)
    altered = {
        "plain": {}, "causal": {"mask": "causal"}, "mask": {"mask": seen},
        "numbers": {"mask": normal(1, 4, LENGTH, LENGTH).masked_fill(~seen, -torch.inf)},
        "bias": {"bias": normal(1, 4, LENGTH, LENGTH), "mask": seen},
        "bias under causal": {"bias": normal(1, 4, LENGTH, LENGTH), "mask": "causal"},
        "null": {"mask": "causal", "null": normal(4)},
        "softcap": {"mask": "causal", "softcap": 2.0},
    }  # fmt: skip
    return AttentionHeads(q, k, v, **altered[kind])


def whole_scores(heads: AttentionHeads, queries: torch.Tensor) -> torch.Tensor:
    """All scores, −∞ where nothing is seen, the null pattern last if there is one."""
    shared = heads.groups[1]
    s = heads.scale * queries @ heads.key.repeat_interleave(shared, 1).mT
    if heads.softcap is not None:
        s = heads.softcap * torch.tanh(s / heads.softcap)
    if heads.bias is not None:
        s = s + heads.bias
    if isinstance(heads.mask, str):
        s = s.masked_fill(torch.ones(LENGTH, LENGTH).triu(1).bool(), -torch.inf)
    elif heads.mask is not None and heads.mask.dtype == torch.bool:
        s = s.masked_fill(~heads.mask, -torch.inf)
    elif heads.mask is not None:
        s = s + heads.mask
    if heads.null is not None:
        s = torch.cat([s, heads.null[None, :, None, None].expand(*s.shape[:3], 1)], -1)
    return s


@pytest.fixture(params=KINDS)
def heads(request):
    return heads_of(request.param)


@pytest.fixture(params=[2**20, 300], ids=["one block", "many blocks"])
def block(request, monkeypatch):
    monkeypatch.setitem(attention_heads.BLOCK, "cpu", request.param)


@pytest.mark.usefixtures("block")
def test_statistics_are_those_of_the_whole_matrix(heads):
    found = head_statistics(heads, ROWS)
    s = whole_scores(heads, heads.query)[:, :, ROWS]
    p = torch.softmax(s, -1)
    of_keys = s[..., :LENGTH]
    seen = of_keys > -torch.inf
    near = {"rtol": 1e-9, "atol": 1e-9}
    energy = heads.query[:, :, ROWS].square().sum(-1) / 2 - s.logsumexp(-1) / heads.scale
    torch.testing.assert_close(found.energy, energy, **near)
    assert torch.equal(found.k90, metastable_size(p))
    assert torch.equal(found.keys, (s > -torch.inf).sum(-1))
    torch.testing.assert_close(found.entropy, -torch.special.xlogy(p, p).sum(-1), **near)
    torch.testing.assert_close(found.first, p[..., 0], **near)
    null = p[..., LENGTH] if heads.null is not None else torch.zeros_like(found.null)
    torch.testing.assert_close(found.null, null, **near)
    mean = of_keys.where(seen, 0.0).sum(-1, keepdim=True) / seen.sum(-1, keepdim=True)
    variance = (of_keys - mean).where(seen, 0.0).square().sum(-1) / seen.sum(-1)
    torch.testing.assert_close(found.effective_beta, variance.sqrt(), **near)
    best = s.topk(2, -1).values
    gap = torch.where(found.keys > 1, best[..., 0] - best[..., 1], torch.nan)
    torch.testing.assert_close(found.separation, gap, **near, equal_nan=True)
    torch.testing.assert_close(heads.weights(ROWS), p[..., :LENGTH], **near)


@pytest.mark.usefixtures("block")
def test_a_step_goes_down_and_its_iteration_comes_to_rest(heads):
    found, path = head_statistics(heads, ROWS), settle(heads, ROWS, steps=200)
    torch.testing.assert_close(path.energies[..., 0], found.energy)
    torch.testing.assert_close(path.energies[..., 1], found.energy_after)
    # By hand: one step on the keys, its energy with the same field and mask.
    key = heads.key.repeat_interleave(heads.groups[1], 1)
    p = torch.softmax(whole_scores(heads, heads.query), -1)[..., :LENGTH]
    moved = p @ key
    after = moved.square().sum(-1) / 2 - whole_scores(heads, moved).logsumexp(-1) / heads.scale
    torch.testing.assert_close(found.energy_after, after[:, :, ROWS])
    if heads.softcap is None:
        assert (path.energies.diff(dim=-1) <= 1e-9).all()
        assert path.rests.all()


def test_tied_winners_are_not_apart():
    k = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])[None, None]
    q = torch.tensor([[[[5.0, 0.0], [0.0, 5.0]]]])
    found = head_statistics(AttentionHeads(q, k, k, beta=1.0), torch.arange(2))
    torch.testing.assert_close(found.separation[0, 0], torch.tensor([0.0, 5.0]))


@pytest.mark.parametrize("scale", [0.0, 0.3, 2.0, 30.0])
@pytest.mark.parametrize("mass", [0.5, 0.9, 0.99])
def test_mass_is_counted_as_by_sorting(scale, mass):
    scores = scale * torch.randn(64, 500, generator=seeded(5))
    scores[:8] = scores[:8].round()  # ties
    weights = torch.exp(scores - scores.amax(-1, keepdim=True))
    for guess in (-1.0, -20.0, 0.0):
        found = count_held(weights, weights.sum(-1), mass, torch.full((64,), guess))
        assert torch.equal(found, metastable_size(weights, mass))


def test_half_precision_is_looked_at_in_single():
    q, k = torch.randn(2, 1, 2, 9, 4, generator=seeded(1)).half()
    found = head_statistics(AttentionHeads(q, k, k), torch.arange(9))
    wide = head_statistics(AttentionHeads(q.float(), k.float(), k.float()), torch.arange(9))
    assert found.energy.dtype == torch.float32
    torch.testing.assert_close(found.energy, wide.energy)


def test_classes_are_those_of_the_paper():
    keys = torch.full((5, 3), 128)
    k90 = torch.tensor([[65], [64], [16], [4], [4]]).expand(5, 3)
    sink = torch.tensor([[0.1], [0.1], [0.1], [0.1], [0.9]]).expand(5, 3)
    kinds = [HeadClass(kind).name for kind in classify_heads(k90, keys, sink).tolist()]
    assert kinds == ["GLOBAL_AVERAGE", "LARGE_METASTABLE", "SMALL_METASTABLE", "SINGLE_PATTERN",
                     "SINK"]  # fmt: skip
    # One of few is a single pattern; queries that see fewer than eight do not speak for a head.
    assert classify_heads(torch.tensor([1, 1]), torch.tensor([9, 9])) == HeadClass.SINGLE_PATTERN
    mixed = torch.tensor([3, 3, 3, 100]), torch.tensor([3, 3, 3, 100])
    assert classify_heads(torch.tensor([3, 3, 3, 1]), mixed[1]) == HeadClass.SINGLE_PATTERN


def test_fixed_weights_are_least_squares_in_the_metric_of_what_follows():
    generator = seeded(7)
    heads = heads_of("mask")
    rows = torch.arange(LENGTH)
    output = torch.randn(2, 4, LENGTH, 5, generator=generator, dtype=torch.float64)
    metric = torch.randn(4, 7, 5, generator=generator, dtype=torch.float64)
    valid = torch.rand(2, LENGTH, generator=generator) > 0.2
    features = fixed_features(heads, rows, first=torch.tensor([0, 2]))
    fit = fit_fixed_weights(output, features, metric=metric, valid=valid)
    for head in range(4):
        w = metric[head]
        tables = [part[:, head][valid] @ w.mT for part in (output, *features.values())]
        target, *columns = [(part - part.mean(0)).flatten() for part in tables]
        x = torch.stack(columns, -1)
        solved = torch.linalg.lstsq(x, target[:, None]).solution[:, 0]
        error = (target - x @ solved).square().sum()
        torch.testing.assert_close(fit.weights[head], solved)
        torch.testing.assert_close(fit.error[head], error)
        torch.testing.assert_close(fit.explained[head], 1 - error / target.square().sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_what_is_constant_but_for_rounding_has_no_weight(dtype: torch.dtype, size: float):
    generator = seeded(8)
    shape = (2, 3, LENGTH, 4)
    mean, output = (torch.randn(shape, generator=generator, dtype=dtype) for _ in range(2))
    first = torch.randn(1, 3, 1, 4, generator=generator, dtype=dtype).expand(shape)
    eps = torch.finfo(dtype).eps
    jitter = torch.randint(-1, 2, shape[:2], generator=generator)[..., None, None] * eps
    nearly = size * (first * (1 + jitter))
    alone = fit_fixed_weights(output, {"mean": mean})
    fit = fit_fixed_weights(output, {"mean": mean, "first": nearly})
    assert torch.equal(fit.weights[:, 1], torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(fit.weights[:, :1], alone.weights)
    torch.testing.assert_close(fit.error, alone.error)


@pytest.mark.parametrize("kind", ["plain", "causal", "mask", "bias under causal"])
def test_features_are_what_a_query_may_put_weight_on(kind):
    heads = heads_of(kind)
    found = fixed_features(heads, ROWS)
    value = heads.value.repeat_interleave(2, 1)
    seen = (whole_scores(heads, heads.query) > -torch.inf).double()
    means = (seen @ value / seen.sum(-1, keepdim=True))[:, :, ROWS]
    torch.testing.assert_close(found["mean"], means)
    torch.testing.assert_close(found["self"], value[:, :, ROWS])
    torch.testing.assert_close(found["previous"], value[:, :, ROWS - 1])
    torch.testing.assert_close(found["first"], value[:, :, :1].expand_as(means))


@pytest.mark.usefixtures("unannotated")
def test_bad_input():
    q = torch.randn(1, 4, 6, 8)
    for wrong in (q[0], q[:, :3], torch.randn(1, 2, 6, 9)):
        with pytest.raises(ShapeError):
            AttentionHeads(q, wrong, wrong)
    with pytest.raises(DomainError, match="dtype"):
        AttentionHeads(q.long(), q, q)
    for name in ("beta", "softcap"):
        with pytest.raises(ParameterError, match=name):
            AttentionHeads(q, q, q, **{name: 0.0})
    with pytest.raises(ShapeError, match="null"):
        AttentionHeads(q, q, q, null=torch.zeros(3))
    heads = AttentionHeads(q, q, q)
    with pytest.raises(ParameterError, match="mass"):
        head_statistics(heads, torch.arange(6), mass=0.0)
    with pytest.raises(ParameterError, match="steps"):
        settle(heads, torch.arange(6), steps=0)
    with pytest.raises(ShapeError, match="no query"):
        fit_fixed_weights(q, {"self": q}, valid=torch.zeros(1, 6) > 0)


@pytest.mark.parametrize("kind", ["plain", "causal"])
@pytest.mark.parametrize("block", [1, 3, 64])
def test_certified_keys_are_those_of_a_loop(kind, block):
    """Blocks read one by one, beside the whole matrix of weights."""
    heads, epsilon = heads_of(kind), 0.02
    found = certify_keys(heads, ROWS, dropped=epsilon, block=block)
    scores = whole_scores(heads, heads.query)
    for head in range(4):
        for at, row in enumerate(ROWS.tolist()):
            key, q = heads.key[1, head // 2], heads.query[1, head, row]
            p = torch.softmax(scores[1, head, row], -1)
            ranked = p.sort(descending=True).values.cumsum(-1)
            assert found.needed[1, head, at] == int((ranked < 1 - epsilon).sum()) + 1
            width = int(ROWS[-1]) + 1 if kind == "causal" else LENGTH
            sees, blocks = row + 1 if kind == "causal" else LENGTH, []
            for start in range(0, sees, block):
                some = key[start : min(start + block, width)]
                low, high, center = some.amin(0), some.amax(0), some.mean(0)
                if len(some) < block:  # filled with the last
                    filled = torch.cat([some, some[-1:].expand(block - len(some), -1)])
                    center = filled.mean(0)
                radius = (some - center).norm(dim=-1).max()
                ball = q @ center + q.norm() * radius
                box = torch.maximum(q * low, q * high).sum()
                slack = 1e-5 * q.norm() * (center.norm() + radius)
                seen = slice(start, min(start + block, sees))
                bound = heads.scale * (torch.minimum(ball, box) + slack)
                assert (scores[1, head, row, seen] <= bound).all()
                blocks.append((float(bound), seen))
            blocks.sort(key=lambda one: -one[0])
            read = z = 0.0
            for turn, (_, seen) in enumerate(blocks):
                z += float(scores[1, head, row, seen].exp().sum())
                read += seen.stop - seen.start
                left = sum((s.stop - s.start) * np.exp(u) for u, s in blocks[turn + 1 :])
                if left / (z + left) <= epsilon:
                    break
            assert found.read[1, head, at] == read
            whole = float(scores[1, head, row].exp().sum())
            assert abs(float(found.dropped[1, head, at]) - (1 - z / whole)) < 1e-6
            assert abs(float(found.bound[1, head, at]) - left / (z + left)) < 1e-6
    assert (found.dropped <= found.bound + 1e-6).all()
    assert (found.bound <= epsilon).all()


def test_certificates_are_refused_where_scores_are_more_than_products():
    for kind in ("mask", "bias", "null", "softcap"):
        with pytest.raises(IntractableError, match="more in them"):
            certify_keys(heads_of(kind), ROWS)
    with pytest.raises(ParameterError, match="dropped"):
        certify_keys(heads_of("causal"), ROWS, dropped=0)


def test_the_constant_and_weights_are_those_of_lstsq():
    generator = seeded(9)
    output, *features = torch.randn(5, 2, 3, 40, 4, generator=generator, dtype=torch.float64)
    metric = torch.randn(3, 6, 4, generator=generator, dtype=torch.float64)
    named = dict(zip("abcd", features, strict=True))
    fit = fit_fixed_weights(output, named, metric=metric)
    for head in range(3):
        columns = torch.stack([f[:, head] for f in features], -1).flatten(0, 1)
        design = torch.cat([columns, torch.eye(4).expand(80, 4, 4).double()], -1)
        design = (metric[head] @ design).flatten(0, 1).numpy()
        target = (output[:, head].flatten(0, 1) @ metric[head].mT).flatten().numpy()
        best, squares, _, _ = np.linalg.lstsq(design, target, rcond=None)
        np.testing.assert_allclose(fit.weights[head].numpy(), best[:4], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(fit.constant[head].numpy(), best[4:], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(float(fit.error[head]), squares[0], rtol=1e-8)
