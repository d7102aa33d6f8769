"""Annealing: many chains walked along a path, each with the weight of its walk."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from isinglass._support.functions import check_takes
from isinglass._support.typing import Float
from isinglass._support.validation import check_count
from isinglass.core.path import AnnealingPath
from isinglass.errors import DomainError

__all__ = ["Annealed", "Schedule", "anneal", "even_schedule"]

PILOT_LEVELS = 100


class Annealed(NamedTuple):
    """Where walks ended, and with what weight.

    Attributes:
        state: The last states, ``(chains, size)``.
        log_weights: Σ_k log w_{k+1}(s_k) − log w_k(s_k) of each walk, ``(chains,)``, in float64.

    Examples:
        >>> import math, isinglass as ig
        >>> path = ig.RBM(ig.Bernoulli(6), ig.Bernoulli(4)).path()
        >>> walked = anneal(path, path.draw_base(10), path.levels(20))
        >>> log_ratio = walked.log_weights.logsumexp(0) - math.log(10)  # estimates log Z₁/Z₀
        >>> walked.state.shape, walked.log_weights.shape
        (torch.Size([10, 10]), torch.Size([10]))
    """

    state: Tensor
    log_weights: Tensor


@torch.no_grad()
def anneal(
    path: AnnealingPath,
    state: Float[Tensor, "chains size"],
    levels: Float[Tensor, " levels"],
    generator: Generator | None = None,
    on_level: Callable[[int], None] | None = None,
) -> Annealed:
    r"""Walks chains along a path, from the first level to the last.

    From exact draws at λ = 0 up to λ = 1, the mean of the weights is Z₁/Z₀; from draws of the
    model at λ = 1 down to 0, it is Z₀/Z₁.

    Reference: Neal 2001, doi:10.1023/A:1008923215028.

    Args:
        path: What to walk along.
        state: Draws from the distribution at the first level.
        levels: λ of every stop.
        generator: Source of randomness; None is torch's global one.
        on_level: Called with the number of each stop, e.g. to show progress.

    Raises:
        DomainError: If a weight is NaN or infinite.
        ParameterError: If ``on_level`` is no function of a number.

    Examples:
        >>> import isinglass as ig
        >>> path = ig.RBM(ig.Bernoulli(6), ig.Bernoulli(4)).path()
        >>> generator = torch.Generator().manual_seed(0)
        >>> start = path.draw_base(10, generator)
        >>> anneal(path, start, path.levels(20), generator).log_weights.shape
        torch.Size([10])
    """
    if on_level is not None:
        check_takes("on_level", on_level, "the number of a stop")
    log_weights = torch.zeros(len(state), dtype=torch.float64, device=state.device)
    here = levels[:1].to(state.device).expand(len(state))
    for stop in range(1, len(levels)):
        there = levels[stop : stop + 1].to(state.device).expand(len(state))
        state, ratio = path.advance(state, here, there, generator)
        log_weights += ratio
        here = there
        if on_level is not None:
            on_level(stop)
    broken = ~torch.isfinite(log_weights)
    if bool(broken.any()):
        raise DomainError(
            f"{int(broken.sum())} of {len(broken)} weights are NaN or infinite",
            "Look for NaN in the parameters, or real units whose couplings let them run away",
        )
    return Annealed(state, log_weights)


class Schedule(NamedTuple):
    """Levels at equal distances of the path's own length.

    Attributes:
        levels: λ of every stop, from 0 to 1, in float64.
        length: ℒ; with K steps the variance of log weights is about ℒ²/K.

    Examples:
        >>> import isinglass as ig
        >>> path = ig.RBM(ig.Bernoulli(6), ig.Bernoulli(4), scale=1.0).path()
        >>> schedule = even_schedule(path, 5)
        >>> float(schedule.levels[0]), float(schedule.levels[-1]), schedule.length > 0
        (0.0, 1.0, True)
    """

    levels: Tensor
    length: float


@torch.no_grad()
def even_schedule(
    path: AnnealingPath,
    count: int | None = None,
    *,
    chains: int = 100,
    generator: Generator | None = None,
) -> Schedule:
    r"""Spaces levels by how much the weights of a pilot fluctuate.

        ℒ = ∫ √ζ dλ,   ζ(λ) = τ Var_λ(∂ log w/∂λ),   τ = (1 + ρ)/(1 − ρ)

    with ρ the correlation between one move and the next. Slow steps where ζ is large, fast ones
    where it is small, make the variance of the weights least for their number.

    Reference: Sivak & Crooks 2012, doi:10.1103/PhysRevLett.108.190602; Gelman & Meng 1998,
    doi:10.1214/ss/1028905934.

    Args:
        path: What to walk along.
        count: How many levels; None is 40 ℒ², from 100 to 20,000, for log weights whose variance
            is a small part of one.
        chains: How many walk the pilot.
        generator: Source of randomness; None is torch's global one.

    Raises:
        ParameterError: If ``count`` or ``chains`` is below two.

    Examples:
        >>> import isinglass as ig
        >>> path = ig.RBM(ig.Bernoulli(6), ig.Bernoulli(4), scale=1.0).path()
        >>> even_schedule(path, 5, generator=torch.Generator().manual_seed(0)).levels.shape
        torch.Size([5])
    """
    check_count("chains", chains, least=2)
    if count is not None:
        check_count("count", count, least=2)
    levels = path.levels(PILOT_LEVELS)
    speed = _friction(path, levels, chains, generator).sqrt()
    # Neighbors are as good as equal: their mean is less noisy than either.
    padded = torch.nn.functional.pad(speed[None, None], (2, 2), mode="replicate")
    speed = torch.nn.functional.avg_pool1d(padded, 5, stride=1)[0, 0]
    steps = (speed[1:] + speed[:-1]) / 2 * levels.diff()
    steps += 1e-3 * steps.mean() + 1e-12  # no two levels apart are at distance zero
    length = torch.cat([steps.new_zeros(1), steps.cumsum(0)])
    total = float(length[-1])
    if count is None:
        count = int(min(max(40 * total**2, 100), 20_000))
    at = torch.linspace(0, total, count, dtype=torch.float64)
    return Schedule(interpolate(at, length, levels), total)


def interpolate(
    at: Float[Tensor, " n"], xs: Float[Tensor, " knots"], ys: Float[Tensor, " knots"]
) -> Float[Tensor, " n"]:
    """Interpolates between rising knots, at each point; the ends are those of the knots."""
    right = torch.searchsorted(xs, at.contiguous()).clamp(1, len(xs) - 1)
    part = ((at - xs[right - 1]) / (xs[right] - xs[right - 1])).clamp(0, 1)
    return torch.lerp(ys[right - 1], ys[right], part)


def _friction(
    path: AnnealingPath, levels: Tensor, chains: int, generator: Generator | None
) -> Tensor:
    """ζ at each level, from chains that walk up and make two moves at every stop."""
    state = path.draw_base(chains, generator)
    found = []
    for stop in range(len(levels)):
        here, below, above = (
            levels[i : i + 1].to(state.device).expand(chains)
            for i in (stop, max(stop - 1, 0), min(stop + 1, len(levels) - 1))
        )
        pulls = []
        for _ in range(2):
            state = path.transition(state, here, generator)
            pulls.append(path.log_ratio(state, below, above).double() / (above - below))
        now, then = (pull - pull.mean() for pull in pulls)
        variance = (now.square().mean() + then.square().mean()) / 2
        correlation = ((now * then).mean() / variance.clamp_min(1e-30)).clamp(0, 0.99)
        found.append(variance * (1 + correlation) / (1 - correlation))
    return torch.stack(found).cpu()
