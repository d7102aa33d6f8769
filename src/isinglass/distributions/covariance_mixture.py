"""A mixture of memories with covariances, of numbers and names with gaps: all sums closed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float, Int
from isinglass.distributions.mixed_rows import Gap, MixedRows, gaps_of
from isinglass.errors import ParameterError, ShapeError

__all__ = ["CovarianceMixture", "Expectation"]

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Expectation:
    r"""What each memory says of each row: how likely it is, and what its gaps hold.

    Attributes:
        log_joint: log π_k p(x_o | k), ``(n, K)``.
        numbers: ẑ_nk, the known numbers and the means of the others given memory k and the known,
            ``(K, n, d)``.
        covariances: For each group of gaps C_k = Σ_uu − Σ_uo Σ_oo⁻¹ Σ_ou by pattern,
            ``(K or 1, p, u, u)``; of diagonal covariances one entry, their variances.
    """

    log_joint: Float[Tensor, "n K"]
    numbers: Float[Tensor, "K n d"]
    covariances: list[tuple[Gap, Tensor]]

    @property
    def log_prob(self) -> Float[Tensor, " n"]:
        """log p(x_o) of each row."""
        return self.log_joint.logsumexp(1)

    @property
    def responsibilities(self) -> Float[Tensor, "n K"]:
        """p(k | x_o) of each row."""
        return self.log_joint.softmax(1)

    def variances(self) -> Float[Tensor, "K n d"]:
        """Returns the variance of each number given memory and known numbers; 0 where known."""
        found = torch.zeros_like(self.numbers)
        for gap, covariance in self.covariances:
            diagonal = covariance.diagonal(dim1=-2, dim2=-1)[:, gap.pattern]
            found[:, gap.rows.unsqueeze(-1), gap.unknown] = diagonal.expand(
                len(found), *diagonal.shape[1:]
            )
        return found


@dataclass(frozen=True)
class CovarianceMixture:
    r"""Mixture of memories k with means μ_k and covariances Σ_k, and names that are independent.

        p(z, c) = Σ_k π_k N(z; μ_k, Σ_k) Π_j P_kj(c_j)

    Any marginal and any conditional is another such mixture, in closed form:

        ẑ_u = μ_u + Σ_uo Σ_oo⁻¹ (z_o − μ_o) = μ_u − Λ_uu⁻¹ Λ_uo (z_o − μ_o),   Λ = Σ⁻¹

    Rows are handled together, by pattern of unknown numbers; the systems solved are as large as
    the number of unknown cells.

    Reference: Ghahramani & Jordan 1994, "Supervised learning from incomplete data via an EM
    approach", NeurIPS 6.

    Args:
        log_weights: log π, ``(K,)``.
        means: μ, ``(K, d)``.
        covariances: Σ; ``(K, d, d)``, or ``(1, d, d)`` for one that all share; ``(K, d)`` or
            ``(1, d)`` where they are diagonal.
        log_names: log P_k(c) of the one-hot components, ``(K, m)``.
        widths: The number of categories of each column of names; they sum to m.

    Raises:
        ShapeError: If the shapes do not fit together.
        ParameterError: If a covariance is not positive definite.

    Examples:
        >>> line = torch.tensor([[[1.0, 0.8], [0.8, 1.0]]]).double()
        >>> mixture = CovarianceMixture(torch.zeros(1).double(), torch.zeros(1, 2).double(), line)
        >>> rows = MixedRows.of(torch.tensor([[1.0, torch.nan]]).double())
        >>> found = mixture.expect(rows)
        >>> found.numbers, found.variances()
        (tensor([[[1.0000, 0.8000]]], dtype=torch.float64),
         tensor([[[0.0000, 0.3600]]], dtype=torch.float64))
        >>> bool((found.log_prob + 0.5 + 0.5 * torch.tensor(6.283185).log()).abs() < 1e-6)
        True
    """

    log_weights: Float[Tensor, " K"]
    means: Float[Tensor, "K d"]
    covariances: Tensor
    log_names: Tensor | None = None
    widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Checks shapes, and factors the covariances."""
        memories, size = self.means.shape
        names = self.names
        shape = tuple(self.covariances.shape)
        if shape[0] not in {1, memories} or shape[1:] not in {(size,), (size, size)}:
            raise ShapeError(
                f"covariances of shape {shape} for {memories} memories of {size} numbers",
                f"Give ({memories}, {size}, {size}) or ({memories}, {size}), or 1 for {memories}",
            )
        if names.shape != (memories, sum(self.widths)):
            raise ShapeError(
                f"names of shape {tuple(names.shape)} for widths {self.widths}",
                f"Give log-probabilities of shape ({memories}, {sum(self.widths)})",
            )
        if self.diagonal:
            bad, factor = bool((self.covariances <= 0).any()), self.covariances.sqrt()
        else:
            factor, info = torch.linalg.cholesky_ex(self.covariances)
            bad = bool((info > 0).any())
        if bad or not bool(factor.isfinite().all()):
            raise ParameterError(
                "a covariance that is not positive definite", "Add a little to its diagonal"
            )
        object.__setattr__(self, "_factor", factor)
        object.__setattr__(
            self, "_precision",
            1 / self.covariances if self.diagonal else torch.cholesky_inverse(factor),
        )  # fmt: skip

    @property
    def memories(self) -> int:
        """The number of memories K."""
        return len(self.means)

    @property
    def names(self) -> Float[Tensor, "K m"]:
        """log P_k(c), of no columns where there are no names."""
        found = self.log_names
        return self.means.new_zeros(self.memories, 0) if found is None else found

    @property
    def diagonal(self) -> bool:
        """Whether numbers are independent given the memory."""
        return self.covariances.ndim == 2

    @property
    def factor(self) -> Tensor:
        """L with Σ = L Lᵀ; deviations where the covariances are diagonal."""
        return vars(self)["_factor"]

    @property
    def precision(self) -> Tensor:
        """Λ = Σ⁻¹, in the shape of the covariances."""
        return vars(self)["_precision"]

    def log_prob(self, rows: MixedRows) -> Float[Tensor, " n"]:
        """Computes log p of what is known of each row; 0 where nothing is."""
        return self.log_joint(rows).logsumexp(1)

    def log_joint(self, rows: MixedRows) -> Float[Tensor, "n K"]:
        """Computes log π_k p(z_o, c | k) of each row under each memory."""
        if self.diagonal:
            return self._prior(rows) + self._independent(rows)
        return self.expect(rows).log_joint

    def expect(self, rows: MixedRows, gaps: list[Gap] | None = None) -> Expectation:
        """Computes what each memory says of each row.

        Args:
            rows: The rows.
            gaps: Their groups by pattern, if they are known already.
        """
        gaps = gaps_of(rows.known) if gaps is None else gaps
        if self.diagonal:
            numbers = torch.where(rows.known, rows.numbers, self.means.unsqueeze(1))
            found = [
                (gap, self.covariances[:, gap.cells].diag_embed()) for gap in gaps
            ]  # fmt: skip
            return Expectation(self._prior(rows) + self._independent(rows), numbers, found)
        away = torch.where(rows.known, rows.numbers - self.means.unsqueeze(1), 0.0)
        force = away @ self.precision
        squares = (away * force).sum(-1)
        log_det = 2 * self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_det = log_det.unsqueeze(-1).expand_as(squares).clone()
        found = []
        for gap in gaps:
            rows_of, unknown = gap.rows.unsqueeze(-1), gap.unknown
            block = self.precision[:, gap.cells.unsqueeze(-1), gap.cells.unsqueeze(-2)]
            lower = torch.linalg.cholesky(block)
            covariance = torch.cholesky_inverse(lower)
            pull = force[:, rows_of, unknown]
            shift = -(covariance[:, gap.pattern] @ pull.unsqueeze(-1)).squeeze(-1)
            squares[:, gap.rows] += (shift * pull).sum(-1)
            halves = lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            log_det[:, gap.rows] += 2 * halves[:, gap.pattern]
            away[:, rows_of, unknown] = shift
            found.append((gap, covariance))
        log_normal = -(squares + log_det + rows.known.sum(1) * LOG_2PI) / 2
        return Expectation(
            self._prior(rows) + log_normal.T, away + self.means.unsqueeze(1), found
        )  # fmt: skip

    def sample(
        self, count: int, *, generator: Generator
    ) -> tuple[Float[Tensor, "count d"], Float[Tensor, "count m"], Int[Tensor, " count"]]:
        """Draws rows: their numbers, their names one-hot, and the memory of each."""
        memory = torch.multinomial(
            self.log_weights.softmax(0), count, replacement=True, generator=generator
        )
        nothing = self.means.new_zeros(count, self.means.shape[1])
        rows = MixedRows(nothing, nothing.bool(), self.means.new_zeros(count, sum(self.widths)))
        return *self.draw(rows, memory, generator=generator), memory

    def draw(
        self, rows: MixedRows, memory: Int[Tensor, " n"], *, generator: Generator
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n m"]]:
        """Draws what is unknown of each row, given what is known and the memory of each.

        Args:
            rows: The rows.
            memory: The memory of each.
            generator: Source of randomness.
        """
        means = self.means[memory]
        white = torch.randn(
            rows.numbers.shape, generator=generator, dtype=means.dtype, device=means.device
        )
        own = memory if len(self.covariances) > 1 else torch.zeros_like(memory)
        if self.diagonal:
            drawn = means + self.factor[own] * white
        else:
            drawn = means.clone()
            away = torch.where(rows.known, rows.numbers - means, 0.0)
            for gap in gaps_of(rows.known):
                unknown, which = gap.unknown, own[gap.rows]
                block = self.precision[
                    which[:, None, None], unknown.unsqueeze(-1), unknown.unsqueeze(-2)
                ]
                beside = self.precision[which.unsqueeze(-1), unknown]
                pull = (beside @ away[gap.rows].unsqueeze(-1)).squeeze(-1)
                lower = torch.linalg.cholesky(block)
                # Λ_uu = L Lᵀ: L⁻ᵀ ε has the covariance Λ_uu⁻¹.
                noise = white[gap.rows.unsqueeze(-1), unknown].unsqueeze(-1)
                shift = torch.cholesky_solve(
                    -pull.unsqueeze(-1), lower
                ) + torch.linalg.solve_triangular(lower.mT, noise, upper=True)
                drawn[gap.rows.unsqueeze(-1), unknown] += shift.squeeze(-1)
        return torch.where(rows.known, rows.numbers, drawn), self._draw_names(
            rows.names, memory, generator
        )

    def _draw_names(self, names: Tensor, memory: Tensor, generator: Generator) -> Tensor:
        """Draws the names that are unknown, one column of names at a time."""
        if not self.widths:
            return names
        found = []
        log_names = self.names
        for seen, log_share in zip(
            names.split(self.widths, 1), log_names.split(self.widths, 1), strict=True
        ):
            share = log_share.softmax(1)[memory]
            pick = torch.multinomial(share, 1, generator=generator)
            drawn = torch.zeros_like(share).scatter_(1, pick, 1.0)
            found.append(torch.where(seen.any(1, keepdim=True), seen, drawn))
        return torch.cat(found, 1)

    def _prior(self, rows: MixedRows) -> Tensor:
        """Returns log π_k + log P_k of the names that are known, ``(n, K)``."""
        return self.log_weights + rows.names @ self.names.T

    def _independent(self, rows: MixedRows) -> Tensor:
        """Returns log N of the known numbers where covariances are diagonal, ``(n, K)``."""
        known = rows.known.to(self.means.dtype)
        precision = self.precision.expand_as(self.means)
        squares = rows.numbers.square() @ precision.T
        squares -= 2 * rows.numbers @ (precision * self.means).T
        constant = precision * self.means.square() - precision.log() + LOG_2PI
        return -(squares + known @ constant.T) / 2
