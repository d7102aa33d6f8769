"""EM for memories with covariances of their own, over rows with gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_at_least_zero, check_choice, check_count
from isinglass.distributions.covariance_mixture import CovarianceMixture, Expectation
from isinglass.distributions.mixed_rows import Gap, MixedRows, gaps_of
from isinglass.learning.em import EMReport
from isinglass.learning.sufficient_statistics import NO_MASS

__all__ = [
    "COVARIANCES",
    "CovariancePrior",
    "CovarianceStatistics",
    "covariance_e_step",
    "covariance_em",
    "covariance_m_step",
    "covariance_start",
]

#: One spread a column for all memories; spreads of their own; one covariance for all; of their own.
COVARIANCES = ("spherical", "diag", "tied", "full")
#: Most numbers of rows × memories × columns held at once.
BLOCK = 1 << 21
#: Steps of k-means before EM.
LLOYD = 10


@dataclass(frozen=True)
class CovariancePrior:
    r"""What memories are drawn to: the middle of the data, and the pooled covariance within them.

        μ_k = (Σ r ẑ + κ m)/(n_k + κ)
        Σ_k = (S_k + ν W)/(n_k + ν) + f diag(v),     W = (1 − δ) Σ_k S_k/N + δ diag

    Attributes:
        mean: m, ``(d,)``.
        variance: v, ``(d,)``.
        names: Base rates of the categories, ``(m,)``.
        pull: κ, imagined rows at m.
        rows: ν, imagined rows of covariance W; None is d + 2, and 3 for diagonal covariances.
        diagonal: δ.
        floor: f, the least variance as a share of the column's.
        counts: Imagined rows for the weights, and for the categories of each memory.
        within: W, if it is not to be pooled from the data.

    Examples:
        >>> rows = MixedRows.of(torch.tensor([[1.0, 0.0], [3.0, torch.nan]]))
        >>> prior = CovariancePrior.of(rows)
        >>> prior.mean, prior.variance
        (tensor([2., 0.]), tensor([1., 1.]))
    """

    mean: Float[Tensor, " d"]
    variance: Float[Tensor, " d"]
    names: Float[Tensor, " m"]
    pull: float = 0.1
    rows: float | None = None
    diagonal: float = 0.02
    floor: float = 1e-3
    counts: float = 1.0
    within: Tensor | None = None

    @classmethod
    def of(
        cls,
        rows: MixedRows,
        widths: tuple[int, ...] = (),
        *,
        floor: float = 1e-3,
        counts: float = 1.0,
    ) -> CovariancePrior:
        """Takes mean and variance of what is known of each column; 1 where all are equal.

        Args:
            rows: The data.
            widths: The number of categories of each column of names.
            floor: f.
            counts: Imagined rows; κ is a tenth of it.
        """
        count = rows.known.sum(0).clamp_min(1)
        mean = rows.numbers.sum(0) / count
        square = torch.where(rows.known, rows.numbers - mean, 0.0).square().sum(0) / count
        rates = _shares(rows.names.sum(0, keepdim=True) + 1e-3, widths)[0]
        variance = torch.where(square > 0, square, 1.0)
        return cls(mean, variance, rates, pull=0.1 * counts, floor=floor, counts=counts)


@dataclass(frozen=True)
class CovarianceStatistics:
    r"""Expected sufficient statistics of a table under a mixture.

    Attributes:
        mass: n_k = Σ r, ``(K,)``.
        seen: The rows that first and second are of, ``(K, d)``: n_k, or those that know the number
            where covariances are diagonal.
        first: Σ r ẑ, ``(K, d)``.
        second: Σ r (ẑ ẑᵀ + C), ``(K, d, d)``; of diagonal covariances Σ r z², ``(K, d)``.
        names: Σ r of each category, ``(K, m)``.

    Examples:
        >>> one = torch.ones(1, 1)
        >>> found = CovarianceStatistics(one[0], one, 2 * one, 4 * one, one[:, :0])
        >>> found.toward(found.times(3.0), 0.5).mass
        tensor([2.])
    """

    mass: Float[Tensor, " K"]
    seen: Float[Tensor, "K d"]
    first: Float[Tensor, "K d"]
    second: Tensor
    names: Float[Tensor, "K m"]

    def times(self, factor: float) -> CovarianceStatistics:
        """Multiplies all by a number."""
        return CovarianceStatistics(*(factor * value for value in vars(self).values()))

    def plus(self, other: CovarianceStatistics) -> CovarianceStatistics:
        """Adds those of other rows."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return CovarianceStatistics(*(mine + theirs for mine, theirs in pairs))

    def toward(self, other: CovarianceStatistics, rate: float) -> CovarianceStatistics:
        """Moves toward those of a new batch, for stepwise EM."""
        return self.times(1 - rate).plus(other.times(rate))


def covariance_e_step(
    mixture: CovarianceMixture, rows: MixedRows, gaps: list[Gap] | None = None
) -> tuple[CovarianceStatistics, Float[Tensor, " n"]]:
    """Computes expected statistics of rows, and log p of each.

    Args:
        mixture: The mixture.
        rows: The rows.
        gaps: Their groups by pattern, if they are known already.
    """
    if mixture.diagonal:
        log_joint = mixture.log_joint(rows)
        return _diagonal_statistics(log_joint.softmax(1), rows), log_joint.logsumexp(1)
    found = mixture.expect(rows, gaps)
    weights = found.responsibilities
    return _statistics(weights, rows, found.numbers, found.covariances), found.log_prob


def _diagonal_statistics(weights: Tensor, rows: MixedRows) -> CovarianceStatistics:
    return CovarianceStatistics(
        weights.sum(0), weights.T @ rows.known.to(weights.dtype), weights.T @ rows.numbers,
        weights.T @ rows.numbers.square(), weights.T @ rows.names,
    )  # fmt: skip


def _statistics(
    weights: Tensor, rows: MixedRows, numbers: Tensor, covariances: list[tuple[Gap, Tensor]]
) -> CovarianceStatistics:
    """Sums over rows of ``(K, n, d)`` completed numbers, and of the covariances of their gaps."""
    memories, _, size = numbers.shape
    mass, weighted = weights.sum(0), weights.T.unsqueeze(-1) * numbers
    second = weighted.mT @ numbers
    flat = second.view(memories, -1)
    for gap, covariance in covariances:
        share = weights.new_zeros(memories, len(gap.cells))
        share.index_add_(1, gap.pattern, weights[gap.rows].T)
        places = gap.cells.unsqueeze(-1) * size + gap.cells.unsqueeze(-2)
        spread = (share[..., None, None] * covariance).flatten(1)
        flat.index_add_(1, places.flatten(), spread)
    return CovarianceStatistics(
        mass, mass.unsqueeze(-1).expand(-1, size), weighted.sum(1), second, weights.T @ rows.names
    )


def covariance_m_step(
    found: CovarianceStatistics, kind: str, prior: CovariancePrior, widths: tuple[int, ...] = ()
) -> CovarianceMixture:
    """Computes the mixture of expected statistics.

    Args:
        found: The statistics.
        kind: "spherical", "diag", "tied" or "full".
        prior: What memories are drawn to.
        widths: The number of categories of each column of names.
    """
    mass = found.mass
    share = (mass + prior.counts + NO_MASS) / (mass + prior.counts + NO_MASS).sum()
    seen = found.seen + prior.pull
    empty = seen < NO_MASS
    means = (found.first + prior.pull * prior.mean) / seen.clamp_min(NO_MASS)
    means = torch.where(empty, prior.mean, means)
    counts = found.names + prior.counts * prior.names
    log_names = _shares(counts.clamp_min(1e-12), widths).log()
    scatter = _scatter(found, means, prior)
    floor = prior.floor * prior.variance
    if kind in {"spherical", "diag"}:
        total = found.seen.sum(0).clamp_min(NO_MASS)
        within = scatter.sum(0) / total if prior.within is None else prior.within
        if kind == "spherical":
            covariances = within.unsqueeze(0) + floor
        else:
            imagined = 3.0 if prior.rows is None else prior.rows
            weight = (found.seen + imagined).clamp_min(NO_MASS)
            covariances = (scatter + imagined * within) / weight + floor
    else:
        within = _within(scatter, mass, prior)
        if kind == "tied":
            covariances = within.unsqueeze(0) + floor.diag()
        else:
            imagined = len(prior.mean) + 2.0 if prior.rows is None else prior.rows
            weight = (mass + imagined).clamp_min(NO_MASS)[:, None, None]
            covariances = (scatter + imagined * within) / weight + floor.diag()
    return CovarianceMixture(share.log(), means, covariances, log_names, widths)


def _scatter(found: CovarianceStatistics, means: Tensor, prior: CovariancePrior) -> Tensor:
    """Returns S_k = Σ r [(ẑ − μ)(ẑ − μ)ᵀ + C] + κ (μ − m)(μ − m)ᵀ."""
    drawn = means - prior.mean
    if found.second.ndim == 2:
        spread = found.second - 2 * means * found.first + found.seen * means.square()
        return spread.clamp_min(0.0) + prior.pull * drawn.square()
    cross = means.unsqueeze(-1) * found.first.unsqueeze(-2)
    spread = found.second - cross - cross.mT
    spread += found.mass[:, None, None] * means.unsqueeze(-1) * means.unsqueeze(-2)
    return spread + prior.pull * drawn.unsqueeze(-1) * drawn.unsqueeze(-2)


def _within(scatter: Tensor, mass: Tensor, prior: CovariancePrior) -> Tensor:
    """Returns W, the pooled covariance within memories, drawn a little to its diagonal."""
    if prior.within is not None:
        return prior.within
    within = scatter.sum(0) / mass.sum().clamp_min(NO_MASS)
    diagonal = within.diagonal().diag()
    return (1 - prior.diagonal) * within + prior.diagonal * diagonal


def _shares(counts: Tensor, widths: tuple[int, ...]) -> Tensor:
    """Divides counts of categories by their sum in each column of names."""
    parts = [part / part.sum(1, keepdim=True) for part in counts.split(widths, 1)]
    return torch.cat(parts, 1) if widths else counts


def covariance_em(
    mixture: CovarianceMixture,
    rows: MixedRows,
    kind: str,
    prior: CovariancePrior,
    *,
    steps: int = 100,
    tolerance: float = 1e-4,
    on_step: Callable[[int, float], object] | None = None,
) -> tuple[CovarianceMixture, EMReport]:
    """Fits a mixture by EM to the known cells of rows.

    E: r_nk ∝ π_k N(z_o; μ_k,o, Σ_k,oo) Π P_kj(c_j); M: :class:`CovariancePrior`.

    Reference: Dempster, Laird & Rubin 1977, doi:10.1111/j.2517-6161.1977.tb01600.x; Ghahramani &
    Jordan 1994, NeurIPS 6.

    Args:
        mixture: Where to start.
        rows: The data.
        kind: "spherical", "diag", "tied" or "full".
        prior: What memories are drawn to.
        steps: Most steps.
        tolerance: Change of the mean log-likelihood below which it has converged, in nats a row.
        on_step: Called after each step with its number and the mean log-likelihood before it.

    Returns:
        The mixture, and how the fit went.

    Raises:
        ParameterError: If an argument is out of range.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> line = torch.randn(200, 1, generator=generator).double() * torch.ones(2).double()
        >>> rows = MixedRows.of(line + 0.1 * torch.randn(200, 2, generator=generator).double())
        >>> prior = CovariancePrior.of(rows)
        >>> start = covariance_start(rows, 1, "full", prior, generator=generator)
        >>> mixture, report = covariance_em(start, rows, "full", prior)
        >>> bool(mixture.covariances[0, 0, 1] > 0.8), report.converged
        (True, True)
    """
    check_choice("kind", kind, COVARIANCES)
    check_count("steps", steps)
    check_at_least_zero("tolerance", tolerance)
    size = max(64, BLOCK // max(1, mixture.memories * max(1, rows.numbers.shape[1])))
    blocks = [
        (block, None if mixture.diagonal else gaps_of(block.known)) for block in rows.blocks(size)
    ]
    curve: list[float] = []
    converged = False
    for step in range(steps + 1):
        found, total = None, 0.0
        for block, gaps in blocks:
            part, log_prob = covariance_e_step(mixture, block, gaps)
            found = part if found is None else found.plus(part)
            total += float(log_prob.sum())
        curve.append(total / len(rows))
        # W is pooled anew in each step, so that the likelihood may fall a little, and rise again.
        converged = step > 0 and abs(curve[-1] - curve[-2]) < tolerance
        if converged or step == steps or found is None:
            break
        mixture = covariance_m_step(found, kind, prior, mixture.widths)
        if on_step is not None:
            on_step(step, curve[-1])
    return mixture, EMReport(curve, converged, torch.ones_like(mixture.means[0]))


def covariance_start(
    rows: MixedRows,
    memories: int,
    kind: str,
    prior: CovariancePrior,
    widths: tuple[int, ...] = (),
    *,
    filled: Expectation | None = None,
    generator: Generator,
) -> CovarianceMixture:
    """Finds where EM starts: k-means++ and Lloyd's steps on filled rows, of columns of spread 1.

    Reference: Arthur & Vassilvitskii 2007, SODA.

    Args:
        rows: The data.
        memories: K.
        kind: "spherical", "diag", "tied" or "full".
        prior: What memories are drawn to.
        widths: The number of categories of each column of names.
        filled: What one memory says of the gaps; filled with means of columns if None.
        generator: Source of randomness.
    """
    numbers = torch.where(rows.known, rows.numbers, prior.mean)
    if filled is not None:
        numbers = filled.numbers[0]
    points = torch.cat([(numbers - prior.mean) / prior.variance.sqrt(), rows.names], 1)
    weights = torch.nn.functional.one_hot(_clusters(points, memories, generator), memories)
    weights = weights.to(numbers.dtype)
    if kind in {"spherical", "diag"}:
        found = _diagonal_statistics(weights, rows)
    else:
        gaps = [] if filled is None else filled.covariances
        found = _statistics(weights, rows, numbers.expand(memories, -1, -1), gaps)
    return covariance_m_step(found, kind, prior, widths)


def _clusters(points: Tensor, count: int, generator: Generator) -> Tensor:
    """Returns the cluster of each point after k-means++ and Lloyd's steps."""
    centers = points[torch.randint(len(points), (1,), generator=generator)]
    nearest = (points - centers).square().sum(1)
    for _ in range(count - 1):
        # Where all points are centers already, any will do.
        pick = torch.multinomial(nearest.clamp_min(1e-30), 1, generator=generator)
        centers = torch.cat([centers, points[pick]])
        nearest = torch.minimum(nearest, (points - points[pick]).square().sum(1))
    for _ in range(LLOYD):
        cluster = torch.cdist(points, centers).argmin(1)
        sums = torch.zeros_like(centers).index_add_(0, cluster, points)
        sizes = cluster.bincount(minlength=count).unsqueeze(1)
        centers = torch.where(sizes > 0, sums / sizes.clamp_min(1), centers)
    return torch.cdist(points, centers).argmin(1)
