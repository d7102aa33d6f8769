"""What each query of each head does: energies, β, how many keys it blends, and how far apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from isinglass._support.typing import Float, Int
from isinglass._support.validation import check_above_zero, check_count, check_fraction
from isinglass.analysis.heads.attention_heads import FAR, AttentionHeads, Scratch
from isinglass.analysis.heads.held_mass import count_held

__all__ = ["HeadStatistics", "Settled", "head_statistics", "settle"]

TENTH = 1.2816  # standard deviations below the mean of a Gaussian, beyond which lies a tenth


class HeadStatistics(NamedTuple):
    """What was found of each query, ``(b, H, R)``: batch, heads, rows.

    Attributes:
        energy: E(q) = ½|q|² − β⁻¹ log Σ_μ exp(s_μ(q)).
        energy_after: E after the step ξ ← Kᵀ softmax(s(q)); NaN where it was not asked for.
        effective_beta: Standard deviation of the scores over the keys that are seen. The weights
            are softmax(β_eff z) of scores z with spread 1.
        k90: The least number of patterns that hold 90 % of the mass.
        keys: How many patterns a query sees: keys that are not hidden, and the null pattern.
        entropy: −Σ p log p, nats.
        separation: Score of the winner less the second's; NaN where one pattern is seen.
        first: Mass on the first key.
        null: Mass on the null pattern; 0 where there is none.
    """

    energy: Float[Tensor, "b H R"]
    energy_after: Float[Tensor, "b H R"]
    effective_beta: Float[Tensor, "b H R"]
    k90: Int[Tensor, "b H R"]
    keys: Int[Tensor, "b H R"]
    entropy: Float[Tensor, "b H R"]
    separation: Float[Tensor, "b H R"]
    first: Float[Tensor, "b H R"]
    null: Float[Tensor, "b H R"]


class Settled(NamedTuple):
    """Where the iterated step comes to rest, ``(b, H, R)``.

    Attributes:
        energies: E before, and after each step, ``(b, H, R, steps + 1)``; the last one stays once
            a state is at rest.
        steps: Steps until it rests; as many as were taken where it does not.
        rests: Whether it does.
        k90: Patterns that hold 90 % of the mass there.
    """

    energies: Float[Tensor, "b H R T"]
    steps: Int[Tensor, "b H R"]
    rests: Tensor
    k90: Int[Tensor, "b H R"]


def head_statistics(
    heads: AttentionHeads,
    rows: Int[Tensor, " R"],
    *,
    mass: float = 0.9,
    first: Int[Tensor, " b"] | None = None,
    step: bool = True,
) -> HeadStatistics:
    """Computes the statistics of some queries of all heads, a block of queries at a time.

    Extra memory is that of a block, whatever the number of queries and keys.

    Args:
        heads: The heads.
        rows: Which queries, ascending.
        mass: Share of the mass that counts as all of it, above 0 and below 1.
        first: Which key is the first of each sequence, where padding goes before it.
        step: Whether to take the step, which doubles the time: else ``energy_after`` is NaN.

    Raises:
        ParameterError: If ``mass`` is no such share.

    Examples:
        >>> q, k = torch.randn(1, 2, 6, 8), torch.randn(1, 2, 6, 8)
        >>> found = head_statistics(AttentionHeads(q, k, k, mask="causal"), torch.arange(6))
        >>> found.keys[0, 0], bool((found.energy_after <= found.energy + 1e-5).all())
        (tensor([1, 2, 3, 4, 5, 6]), True)
    """
    check_fraction("mass", check_above_zero("mass", mass))
    if first is None:
        first = torch.zeros(len(heads.key), dtype=torch.long, device=heads.key.device)
    asked = _Asked(mass, step, Scratch())
    return HeadStatistics(
        *_by_parts(heads, rows, lambda h, at, some: _block(h, some, first[at], asked))
    )


class _Asked(NamedTuple):
    """What is the same for all blocks."""

    mass: float
    step: bool
    scratch: Scratch


def _by_parts(
    heads: AttentionHeads,
    rows: Tensor,
    call: Callable[[AttentionHeads, slice, Tensor], tuple[Tensor, ...]],
) -> list[Tensor]:
    """Calls for some heads and rows at a time and joins what comes back, ``(b, G, r, R)`` each."""
    found: dict[int, list[tuple[Tensor, ...]]] = {}
    for at, part in heads.parts(len(rows)):
        blocks = [call(part, at, some) for some in part.blocks(rows)]
        whole = tuple(torch.cat(several, 3) for several in zip(*blocks, strict=True))
        found.setdefault(at.start, []).append(whole)
    lines = [
        tuple(torch.cat(several, 1) for several in zip(*groups, strict=True))
        for groups in found.values()
    ]
    return [torch.cat(several).flatten(1, 2) for several in zip(*lines, strict=True)]


class _Weights(NamedTuple):
    """Weights 2^(s − top) of some queries, largest 1, and what they came from."""

    weights: Tensor
    distances: Tensor  # top − s, log 2
    total: Tensor
    top: Tensor  # the largest score, log 2
    width: int  # how many of the columns are keys

    def log_partition(self) -> Tensor:
        """log Σ exp(s), nats."""
        return math.log(2) * self.top + self.total.log()


@torch.no_grad()
def _block(heads: AttentionHeads, rows: Tensor, first: Tensor, asked: _Asked) -> tuple[Tensor, ...]:
    """The statistics of one block, ``(b, G, r, R)`` each."""
    states, scratch = heads.states(rows), asked.scratch
    block = heads.score(states, rows, scratch)
    scores, count = block.scores, block.keys()
    block.clear()
    center = scores.sum(-1) / count.clamp(min=1)
    scores.sub_(center[..., None])
    block.clear()
    spread = torch.linalg.vector_norm(scores, dim=-1) / count.clamp(min=1).sqrt()
    block.hide()
    found = _weigh(heads, scores, center, scratch)
    w, y, rest = found.weights, found.distances, scratch.like("rest", found.weights)
    disorder = torch.mul(w, y, out=rest).sum(-1)
    entropy = found.total.log() + math.log(2) * disorder / found.total
    seen = (count + (heads.null is not None)).expand_as(center)
    tied = y.shape[-1] - torch.sign(y, out=rest).sum(-1) > 1  # two patterns share the largest score
    gap = y.add_(rest.sub_(1).mul_(-FAR)).amin(-1)  # the winner is put far away
    gap = torch.where(seen > 1, math.log(2) * gap.masked_fill(tied, 0.0), torch.nan)
    guess = center + math.log(2) * spread.square() - TENTH * spread - found.top
    k90 = count_held(
        w.flatten(0, -2), found.total.flatten(), asked.mass, guess.flatten(), rest.flatten(0, -2)
    )
    at = first.clamp(max=found.width - 1)[:, None, None, None, None].expand(*center.shape, 1)
    on_first = w.gather(-1, at)[..., 0] / found.total
    on_null = w[..., -1] / found.total if heads.null is not None else torch.zeros_like(on_first)
    after = torch.full_like(center, torch.nan)
    if asked.step:
        moved = _step(heads, found)
        after = _energy(heads, moved, _weigh_states(heads, moved, rows, scratch))
    return (
        _energy(heads, states, found), after, math.log(2) * spread,
        k90.view(center.shape), seen.long(), entropy, gap, on_first, on_null,
    )  # fmt: skip


def _weigh(heads: AttentionHeads, scores: Tensor, center: Tensor, scratch: Scratch) -> _Weights:
    """Turns scores less their center, the hidden far below, into weights; scores are used up."""
    width, null = scores.shape[-1], heads.null_scores()
    if null is not None:
        scores = torch.cat([scores, (null - center)[..., None]], -1)
    top = scores.amax(-1)
    distances = scores.neg_().add_(top[..., None])
    weights = torch.neg(distances, out=scratch.like("weights", distances)).exp2_()
    return _Weights(weights, distances, weights.sum(-1), top + center, width)


def _weigh_states(
    heads: AttentionHeads, states: Tensor, rows: Tensor, scratch: Scratch
) -> _Weights:
    block = heads.score(states, rows, scratch)
    block.hide()
    return _weigh(heads, block.scores, torch.zeros_like(block.scores[..., 0]), scratch)


def _step(heads: AttentionHeads, found: _Weights) -> Tensor:
    """Kᵀp: what the patterns seen average to."""
    keys = heads.key[:, :, : found.width]
    moved = found.weights[..., : found.width].flatten(2, 3) @ keys
    return moved.unflatten(2, found.total.shape[2:]) / found.total[..., None]


def _energy(heads: AttentionHeads, states: Tensor, found: _Weights) -> Tensor:
    return states.square().sum(-1) / 2 - found.log_partition() / heads.scale


def settle(
    heads: AttentionHeads,
    rows: Int[Tensor, " R"],
    *,
    steps: int = 32,
    tolerance: float = 1e-3,
    mass: float = 0.9,
) -> Settled:
    """Iterates the step ξ ← Kᵀ softmax(s(ξ)) from some queries until it rests.

    A field and a mask stay those of the query. Where scores are not squashed the energy never
    rises.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217.

    Args:
        heads: The heads.
        rows: Which queries, ascending.
        steps: The most steps.
        tolerance: A state rests when it moves by less than this share of its length.
        mass: Share of the mass that counts as all of it.

    Raises:
        ParameterError: If a number is out of range.

    Examples:
        >>> k = 8 * torch.eye(4)[None, None]
        >>> found = settle(AttentionHeads(k + 0.1, k, k, beta=1.0), torch.arange(4))
        >>> found.rests.all(), found.k90[0, 0]
        (tensor(True), tensor([1, 1, 1, 1]))
    """
    check_count("steps", steps)
    check_above_zero("tolerance", tolerance)
    check_fraction("mass", check_above_zero("mass", mass))
    energies, *rest = _by_parts(
        heads, rows, lambda h, _, some: _settle_block(h, some, steps, tolerance, mass)
    )
    return Settled(energies, *rest)


@torch.no_grad()
def _settle_block(
    heads: AttentionHeads, rows: Tensor, steps: int, tolerance: float, mass: float
) -> tuple[Tensor, ...]:
    states, scratch = heads.states(rows), Scratch()
    found = _weigh_states(heads, states, rows, scratch)
    energies = [_energy(heads, states, found)]
    rests = torch.zeros_like(energies[0], dtype=torch.bool)
    taken = torch.zeros_like(rests, dtype=torch.long)
    for _ in range(steps):
        moved = _step(heads, found)
        change = (moved - states).norm(dim=-1)
        states = torch.where(rests[..., None], states, moved)
        taken += ~rests
        rests = rests | (change <= tolerance * moved.norm(dim=-1).clamp(min=1e-12))
        found = _weigh_states(heads, states, rows, scratch)
        energies.append(_energy(heads, states, found))
        if bool(rests.all()):
            energies += [energies[-1]] * (steps + 1 - len(energies))
            break
    flat = found.weights.flatten(0, -2), found.total.flatten()
    k90 = count_held(*flat, mass, torch.full_like(flat[1], -3.0)).view(rests.shape)
    return torch.stack(energies, -1), taken, rests, k90
