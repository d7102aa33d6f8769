"""The heads of one attention call, their scores looked at a block of queries at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from isinglass._support.precision import at_least_single
from isinglass._support.typing import Float, Int
from isinglass._support.validation import check_positive, check_tensor
from isinglass.errors import DomainError, ShapeError

__all__ = ["FAR", "AttentionHeads", "ScoreBlock", "Scratch"]

#: Stands for −∞ in scores: finite, so that a weight of zero times it is zero.
FAR = 1e30
#: Scores at a time: few enough to stay in the cache of a processor.
BLOCK = {"cpu": 2**19}
#: More keys than that have more scores at a time: products with few queries are slow.
WIDE = 4096


class Scratch:
    """Memory that is used again from block to block: to fetch fresh pages takes as long as a pass.

    Examples:
        >>> Scratch().like("scores", torch.zeros(2, 3)).shape
        torch.Size([2, 3])
    """

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def like(self, name: str, values: Tensor) -> Tensor:
        """Returns a tensor as large as another one; what it held is lost."""
        return self.shaped(name, values, values.shape)

    def shaped(self, name: str, values: Tensor, shape: Sequence[int]) -> Tensor:
        """Returns a tensor of a shape, of the kind of another one; what it held is lost."""
        size, kept = math.prod(shape), self._kept.get(name)
        if kept is None or kept.numel() < size or kept.dtype != values.dtype:
            kept = self._kept[name] = values.new_empty(size)
        return kept[:size].view(shape)


class ScoreBlock(NamedTuple):
    """Scores of some queries, in units of log 2, with what of the keys each may see.

    Attributes:
        scores: β K q/log 2 with all that alters it, ``(b, G, r, R, W)``; the hidden ones are any.
        seen: 1 where a query may look, else 0, over the columns from ``tail`` on, which broadcasts;
            None where every query sees every column.
        tail: The columns before are seen by all.
    """

    scores: Tensor
    seen: Tensor | None
    tail: int

    def keys(self) -> Tensor:
        """Returns how many keys each query sees, to broadcast with ``scores[..., 0]``."""
        if self.seen is None:
            return self.scores.new_tensor(float(self.scores.shape[-1]))
        return self.tail + self.seen.sum(-1)

    def clear(self) -> None:
        """Sets the hidden scores to zero, in place."""
        if self.seen is not None:
            self.scores[..., self.tail :].mul_(self.seen)

    def hide(self) -> None:
        """Sets the hidden scores to what stands for −∞, in place."""
        if self.seen is not None:
            self.clear()
            self.scores[..., self.tail :].add_((self.seen - 1) * FAR)


@dataclass(frozen=True)
class AttentionHeads:
    r"""Heads that look keys up: s_μ = c·tanh(β k_μ·q/c) + b_μ, over the keys that a query may see.

    Each head is a modern Hopfield net on its keys, E(ξ) = ½|ξ|² − β⁻¹ log Σ_μ exp(s_μ(ξ)), with
    the values as a linear read-out. b is a field of a pattern, as a position bias is; c squashes
    the scores; a null pattern is a key and a value of zeros with a score of its own, a sink.
    H heads may share G keys, H = rG. The matrix of all scores is never formed.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217.

    Args:
        query: ``(b, H, L, d)``.
        key: ``(b, G, S, d)``.
        value: ``(b, G, S, e)``.
        beta: β > 0, what products of queries and keys are scaled by; None is 1/√d.
        mask: ``"causal"``: query i sees keys up to i; or a tensor that broadcasts to
            ``(b, H, L, S)``: booleans, True where a query may look, or numbers added to the
            scores, −∞ or near the least number of their dtype where it may not. None hides nothing.
        bias: b, numbers that broadcast to ``(b, H, L, S)``.
        null: Scores of the null patterns, ``(H,)``; None is no such pattern.
        softcap: c > 0; None is ∞, no squash.

    Raises:
        ShapeError: If the tensors do not fit together.
        DomainError: If they are not of floating numbers.
        ParameterError: If ``beta`` or ``softcap`` is not above zero.

    Examples:
        >>> q, k = torch.randn(1, 4, 6, 8), torch.randn(1, 2, 6, 8)  # two heads share keys
        >>> heads = AttentionHeads(q, k, k, mask="causal")
        >>> heads.weights(torch.tensor([2])).shape
        torch.Size([1, 4, 1, 6])
    """

    query: Float[Tensor, "b H L d"]
    key: Float[Tensor, "b G S d"]
    value: Float[Tensor, "b G S e"]
    beta: float | None = None
    mask: Tensor | Literal["causal"] | None = None
    bias: Tensor | None = None
    null: Float[Tensor, " H"] | None = None
    softcap: float | None = None

    def __post_init__(self) -> None:
        for name in ("query", "key", "value"):
            rows = getattr(self, name)
            check_tensor(name, rows)
            if rows.ndim != 4 or 0 in rows.shape:
                raise ShapeError(
                    f"a {name} of shape {tuple(rows.shape)}", "Give (batch, heads, rows, features)"
                )
            if not rows.is_floating_point():
                raise DomainError(f"a {name} of dtype {rows.dtype}", "Give floating numbers")
            rows = rows if name == "value" else rows.detach()  # fixed weights may be learned
            object.__setattr__(self, name, at_least_single(rows))
        q, k, v = self.query, self.key, self.value
        if q.shape[-1] != k.shape[-1] or k.shape[:3] != v.shape[:3] or q.shape[1] % k.shape[1]:
            raise ShapeError(
                f"query {tuple(q.shape)}, key {tuple(k.shape)}, value {tuple(v.shape)}",
                "Queries and keys need the same features, keys and values the same rows, heads a "
                "whole number of times those of the keys",
            )
        if len(q) != len(k):  # queries that were learned have a batch of one
            object.__setattr__(self, "query", q.expand(len(k), -1, -1, -1))
        check_positive("beta", self.scale)
        if self.softcap is not None:
            check_positive("softcap", self.softcap)
        if self.null is not None and self.null.numel() != q.shape[1]:
            raise ShapeError(
                f"{self.null.numel()} null patterns for {q.shape[1]} heads", "Give one each"
            )

    @property
    def scale(self) -> float:
        """β, 1/√d unless it was given."""
        return self.query.shape[-1] ** -0.5 if self.beta is None else self.beta

    @property
    def groups(self) -> tuple[int, int]:
        """G and r: how many keys there are, and how many heads share each."""
        return self.key.shape[1], self.query.shape[1] // self.key.shape[1]

    def states(self, rows: Int[Tensor, " R"]) -> Float[Tensor, "b G r R d"]:
        """Returns the queries of some rows, by groups of heads that share keys."""
        return self.query[:, :, rows].unflatten(1, self.groups)

    def parts(self, rows: int) -> Iterator[tuple[slice, AttentionHeads]]:
        """Yields sequences and groups of heads that share keys, so many that scores are few.

        Args:
            rows: How many queries of each will be asked for.
        """
        (groups, shared), most = self.groups, self._most()
        each = max(1, rows * self.key.shape[2] * shared)
        if each * groups <= most:
            step = most // (each * groups)
            for start in range(0, len(self.key), step):
                some = slice(start, start + step)
                yield some, self._part(some, slice(None))
            return
        step = max(1, most // each)
        for sequence in range(len(self.key)):
            some = slice(sequence, sequence + 1)
            for start in range(0, groups, step):
                yield some, self._part(some, slice(start, start + step))

    def _most(self) -> int:
        return BLOCK.get(self.key.device.type, 2**24) * max(1, self.key.shape[2] // WIDE)

    def _part(self, some: slice, groups: slice) -> AttentionHeads:
        shared = self.groups[1]
        first, last, _ = groups.indices(self.groups[0])
        heads = slice(first * shared, last * shared)
        scores = {}
        for name in ("mask", "bias"):
            numbers = getattr(self, name)
            if isinstance(numbers, Tensor):
                numbers = numbers.reshape((1,) * (4 - numbers.ndim) + numbers.shape)
                numbers = numbers[some] if len(numbers) > 1 else numbers
                numbers = numbers[:, heads] if numbers.shape[1] > 1 else numbers
            scores[name] = numbers
        return replace(
            self,
            query=self.query[some, heads],
            key=self.key[some, groups],
            value=self.value[some, groups],
            null=None if self.null is None else self.null[heads],
            **scores,
        )

    def blocks(self, rows: Int[Tensor, " R"]) -> Iterator[Int[Tensor, " part"]]:
        """Yields the rows a few at a time, so that their scores are few."""
        each = self.query.shape[0] * self.query.shape[1] * self.key.shape[2]
        yield from rows.split(max(1, self._most() // each))

    def score(
        self,
        states: Float[Tensor, "b G r R d"],
        rows: Int[Tensor, " R"],
        scratch: Scratch | None = None,
    ) -> ScoreBlock:
        """Computes the scores that states at some rows give the keys, the null pattern left out.

        Args:
            states: Queries, or what a step made of them.
            rows: Which rows of the queries they are, ascending: these say what is seen.
            scratch: Where the scores may go.
        """
        key = self.key
        if isinstance(self.mask, str):
            key = key[:, :, : int(rows[-1]) + 1]
        flat = (states * (self.scale * math.log2(math.e))).flatten(2, 3)
        shape = (*flat.shape[:3], key.shape[2])
        into = (scratch or Scratch()).shaped("scores", flat, shape)
        scores = torch.matmul(flat, key.mT, out=into).unflatten(2, states.shape[2:4])
        if self.softcap is not None:
            cap = self.softcap * math.log2(math.e)
            scores = scores.div_(cap).tanh_().mul_(cap)
        seen, tail, added = self._seen(rows, key.shape[2])
        if added is not None:
            scores = scores.add_(added)
        return ScoreBlock(scores, seen, tail)

    def _seen(self, rows: Tensor, width: int) -> tuple[Tensor | None, int, Tensor | None]:
        """Returns what is seen, the first column of which it is said, and what is added."""
        dtype, device = self.query.dtype, self.query.device
        allowed, tail, added = None, 0, None
        if isinstance(self.mask, str):
            tail = min(int(rows[0]) + 1, width)
            allowed = torch.arange(tail, width, device=device) <= rows[:, None]
        for numbers in (None if isinstance(self.mask, str) else self.mask, self.bias):
            if numbers is None:
                continue
            part = self._of_rows(numbers, rows, width)
            if part.dtype != torch.bool:
                finite = part > torch.finfo(part.dtype).min / 2
                more = part.where(finite, 0.0).to(dtype) * math.log2(math.e)
                added, part = more if added is None else added + more, finite
            if tail and allowed is not None:  # a bias that may hide, under a causal mask
                whole = torch.arange(width, device=device) <= rows[:, None]
                allowed, tail = whole, 0
            allowed = part if allowed is None else allowed & part
        if allowed is None or allowed.shape[-1] == 0:
            return None, 0, added
        return allowed.to(dtype), tail, added

    def _of_rows(self, numbers: Tensor, rows: Tensor, width: int) -> Tensor:
        """Returns rows of what broadcasts to all scores, by groups of heads."""
        numbers = numbers.reshape((1,) * (4 - numbers.ndim) + numbers.shape)
        if numbers.shape[2] > 1:
            numbers = numbers[:, :, rows]
        if numbers.shape[3] > 1:
            numbers = numbers[..., :width]
        heads = self.groups if numbers.shape[1] > 1 else (1, 1)
        return numbers.unflatten(1, heads).expand(*(-1,) * 4, width)

    def seen(self, rows: Int[Tensor, " R"]) -> Float[Tensor, "#b #G #r #R S"]:
        """Returns 1 where a query may look and 0 elsewhere, in a shape that broadcasts."""
        width = self.key.shape[2]
        if isinstance(self.mask, str) or self.mask is None:
            whole = replace(self, mask=None)._seen(rows, width)[0]
            causal = torch.arange(width, device=rows.device) <= rows[:, None]
            seen = causal if self.mask is not None else torch.ones_like(causal)
            seen = seen.to(self.query)[None, None, None]
            return seen if whole is None else seen * whole
        seen, _, _ = self._seen(rows, width)
        return self.query.new_ones(1, 1, 1, len(rows), width) if seen is None else seen

    def null_scores(self) -> Tensor | None:
        """Returns the scores of the null patterns in units of log 2, ``(G, r, 1)``."""
        if self.null is None:
            return None
        return self.null.to(self.query).reshape(*self.groups, 1) * math.log2(math.e)

    def weights(self, rows: Int[Tensor, " R"]) -> Float[Tensor, "b H R S"]:
        """Computes the attention of some rows, softmax(s), a null pattern's share left out."""
        block = self.score(self.states(rows), rows)
        block.hide()
        scores, null = block.scores, self.null_scores()
        if null is not None:
            scores = torch.cat([scores, null[..., None].expand(*scores.shape[:-1], 1)], -1)
        p = torch.softmax(scores * math.log(2), -1)[..., : block.scores.shape[-1]]
        p = torch.nn.functional.pad(p, (0, self.key.shape[2] - p.shape[-1]))
        return (p * (block.keys() > 0)[..., None]).flatten(1, 2)
