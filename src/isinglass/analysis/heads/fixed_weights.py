"""How much of a head's output weights that do not look at the query explain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from isinglass._support.typing import Bool, Float, Int
from isinglass.analysis.heads.attention_heads import AttentionHeads
from isinglass.errors import ShapeError

__all__ = ["FixedFit", "fit_fixed_weights", "fixed_features"]


class FixedFit(NamedTuple):
    """The best fixed weights of each head.

    Attributes:
        explained: 1 − Σ|o − ô|²/Σ|o − ō|², the share of the output's variance, ``(H,)``; NaN where
            the output does not vary.
        error: Σ|o − ô|², ``(H,)``.
        weights: a, b, … of the features, in their order, ``(H, F)``.
        constant: c, ``(H, e)``.
    """

    explained: Float[Tensor, " H"]
    error: Float[Tensor, " H"]
    weights: Float[Tensor, "H F"]
    constant: Float[Tensor, "H e"]


def fixed_features(
    heads: AttentionHeads,
    rows: Int[Tensor, " R"],
    *,
    first: Int[Tensor, " b"] | None = None,
    offset: int | None = 0,
) -> dict[str, Tensor]:
    """Computes what fixed weights may be put on: the mean value seen, the first, own and previous.

    Args:
        heads: The heads.
        rows: Which queries, ascending.
        first: Which key is the first of each sequence; None is 0.
        offset: Which key is that of the first query itself; None where queries are no keys, as in
            attention to another sequence.

    Returns:
        ``mean`` and ``first``, and ``self`` and ``previous`` if queries are keys, ``(b, H, R, e)``.

    Examples:
        >>> q, v = torch.randn(1, 2, 5, 8), torch.randn(1, 2, 5, 3)
        >>> heads = AttentionHeads(q, q, v, mask="causal")
        >>> found = fixed_features(heads, torch.arange(5))
        >>> list(found), torch.allclose(found["mean"][0, :, 1], v[0, :, :2].mean(1))
        (['mean', 'first', 'self', 'previous'], True)
    """
    value, (groups, shared) = heads.value, heads.groups
    count = value.shape[2]
    if first is None:
        first = torch.zeros(len(value), dtype=torch.long, device=value.device)
    at_first = first[:, None, None, None].expand(-1, groups, 1, value.shape[-1])
    found = {"first": value.gather(2, at_first).expand(-1, -1, len(rows), -1)}
    if offset is not None:
        own = (rows + offset).clamp(max=count - 1)
        before = torch.maximum((own - 1).clamp(min=0)[None], first[:, None])
        at = before[:, None, :, None].expand(-1, groups, -1, value.shape[-1])
        found |= {"self": value[:, :, own], "previous": value.gather(2, at)}
    rest = {name: part.repeat_interleave(shared, 1) for name, part in found.items()}
    return {"mean": _mean_seen(heads, rows), **rest}


def _mean_seen(heads: AttentionHeads, rows: Tensor) -> Tensor:
    """The mean of the values that each query sees, ``(b, H, R, e)``."""
    value, shared = heads.value, heads.groups[1]
    if isinstance(heads.mask, str):
        own = rows.clamp(max=value.shape[2] - 1)
        return (value.cumsum(2)[:, :, own] / (own + 1)[:, None]).repeat_interleave(shared, 1)
    if heads.mask is None:
        means = value.mean(2, keepdim=True).expand(-1, -1, len(rows), -1)
        return means.repeat_interleave(shared, 1)
    parts = []
    for some in rows.split(max(1, 2**20 // (len(value) * value.shape[2]))):
        seen = heads.seen(some)  # (b or 1, G or 1, r or 1, R, S)
        means = seen @ value[:, :, None] / seen.sum(-1, keepdim=True).clamp(min=1)
        parts.append(means.expand(-1, -1, shared, len(some), -1).flatten(1, 2))
    return torch.cat(parts, 2)


def fit_fixed_weights(
    output: Float[Tensor, "b H R e"],
    features: Mapping[str, Float[Tensor, "b H R e"]],
    *,
    metric: Float[Tensor, "H D e"] | None = None,
    valid: Bool[Tensor, "b R"] | None = None,
) -> FixedFit:
    r"""Fits o ≈ c + a·mean + b·v_first + d·v_self + e·v_previous, the same for all queries.

    Least squares of |W(o − ô)|² over a vector c and a number for each feature, W being what the
    head's output is multiplied with before it joins the residual stream. A feature that is the
    same for all queries, but for rounding, as the first value of texts with one first token, is
    part of c: its weight is 0.

    Args:
        output: What the heads gave, o.
        features: What fixed weights are put on.
        metric: W of each head; None is the identity.
        valid: Which queries count; None is all.

    Raises:
        ShapeError: If no query counts.

    Examples:
        >>> v = torch.randn(1, 2, 30, 4, dtype=torch.float64)
        >>> fit = fit_fixed_weights(0.5 * v + 1, {"self": v})
        >>> fit.explained.round(decimals=3), fit.weights.flatten().round(decimals=3)
        (tensor([1., 1.], dtype=torch.float64), tensor([0.5000, 0.5000], dtype=torch.float64))
    """
    tables = torch.stack([output, *features.values()]).double()  # (F + 1, b, H, R, e)
    tables = tables.permute(2, 0, 1, 3, 4).flatten(2, 3)  # (H, F + 1, b R, e)
    if valid is not None:
        tables = tables[:, :, valid.flatten()]
    if tables.shape[2] == 0:
        raise ShapeError("no query that counts", "Give one at least")
    means = tables.mean(2, keepdim=True)
    tables = tables - means
    if metric is not None:
        w = metric.detach().double()
        inner = (w.mT @ w)[:, None]
        scaled, far = tables @ inner, means @ inner
    else:
        scaled, far = tables, means
    products = scaled.flatten(2) @ tables.flatten(2).mT  # (H, F + 1, F + 1)
    whole, cross, square = products[:, 0, 0], products[:, 1:, 0], products[:, 1:, 1:]
    spread = square.diagonal(dim1=1, dim2=2)
    size = tables.shape[2] * (far * means).sum((2, 3))[:, 1:] + spread
    flat = spread <= (8 * torch.finfo(output.dtype).eps) ** 2 * size
    scale = spread.sqrt().masked_fill(flat, torch.inf)  # so that rank has a meaning
    inverse = torch.linalg.pinv(
        square / (scale[:, :, None] * scale[:, None]), rtol=1e-9, hermitian=True
    )
    weights = (inverse @ (cross / scale)[..., None])[..., 0] / scale
    error = (whole - (cross * weights).sum(-1)).clamp(min=0)
    varies = whole > 1e-20 * output.double().square().sum().clamp(min=1e-300)
    explained = torch.where(varies, 1 - error / whole, torch.nan)
    constant = means[:, 0, 0] - (weights[..., None] * means[:, 1:, 0]).sum(1)
    return FixedFit(explained, error, weights, constant)
