"""Rules that store patterns of spins in couplings: W from patterns, all at once or one by one."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from isinglass._support.registry import Configurable
from isinglass._support.typing import Float
from isinglass._support.validation import check_at_least_zero, check_count
from isinglass.errors import DomainError

__all__ = [
    "ConvergenceWarning",
    "Dreaming",
    "Hebb",
    "Perceptron",
    "PseudoInverse",
    "Rule",
    "Storkey",
]

#: Patterns between two passes of Storkey's rule over all couplings.
BLOCK = 128
#: Time of sleep after which rounding errors of patterns that hang together would show.
LONG = 1e8

Patterns = Float[Tensor, "_ d"]
Weight = Float[Tensor, "d d"]


class ConvergenceWarning(UserWarning):
    """A rule that learns by epochs ran out of them; what is left to do is in the message."""


@dataclass(frozen=True)
class Rule(Configurable, ABC):
    """A way to store patterns of spins in couplings W, symmetric and with a zero diagonal.

    Only :meth:`couplings` is required. All rules of isinglass keep Hebb's scale: for patterns that
    are orthogonal to each other, each gives Σ_μ x_μ x_μᵀ or close to it.

    Examples:
        >>> class Clipped(Rule):
        ...     "The signs of Hebb's couplings (Sompolinsky 1986)."
        ...     def couplings(self, patterns):
        ...         return Hebb().couplings(patterns).sign()
        >>> import isinglass as ig
        >>> ig.ClassicalHopfield(torch.tensor([[1.0, 1.0, -1.0]]), Clipped()).weight
        tensor([[ 0.,  1., -1.],
                [ 1.,  0., -1.],
                [-1., -1.,  0.]])
    """

    @abstractmethod
    def couplings(self, patterns: Patterns) -> Weight:
        """Computes W that stores these patterns, in order, and nothing else."""

    def store(self, weight: Weight, patterns: Patterns, new: Patterns) -> Weight:
        """Computes W once ``new`` is stored on top of ``patterns``."""
        return self.couplings(torch.cat([patterns, new]))

    def unlearn(self, weight: Weight, gone: Patterns, kept: Patterns) -> Weight:
        """Computes W once ``gone`` has been taken out and ``kept`` is left."""
        return self.couplings(kept)

    def shift(self, weight: Weight, patterns: Patterns) -> float:
        """Computes a small s for which W + s·1 has no negative eigenvalue, as cheaply as it can.

        Unless the rule knows better, s grows by a quarter until W + s·1 has a Cholesky factor.
        """
        units = torch.arange(len(weight), device=weight.device)
        matrix = weight.to(torch.promote_types(weight.dtype, torch.float32), copy=True)
        shift = float(matrix.norm()) / len(weight) ** 0.5 / 4  # eigenvalues' root mean square / 4
        while 0 < shift < math.inf:
            matrix[units, units] = shift
            if not bool(torch.linalg.cholesky_ex(matrix).info):
                break
            shift *= 1.25
        return shift


@dataclass(frozen=True)
class Hebb(Rule):
    """Units that agree are joined: W_ij = Σ_μ x_μi x_μj.

    Holds 0.138 d random patterns. Storing and unlearning are exact inverses, in any order.

    Reference: Hebb 1949; Hopfield 1982, doi:10.1073/pnas.79.8.2554.

    Raises:
        DomainError: If there are more patterns than the dtype can count: 256 of bfloat16, 2048 of
            float16.

    Examples:
        >>> Hebb().couplings(torch.tensor([[1.0, -1.0], [1.0, -1.0]]))
        tensor([[ 0., -2.],
                [-2.,  0.]])
    """

    def couplings(self, patterns: Patterns) -> Weight:
        """Computes Σ_μ x_μ x_μᵀ without its diagonal."""
        _check_counts(len(patterns), patterns.dtype)
        return (patterns.mT @ patterns).fill_diagonal_(0.0)

    def store(self, weight: Weight, patterns: Patterns, new: Patterns) -> Weight:
        """Computes W + Σ x xᵀ over the new patterns."""
        _check_counts(len(patterns) + len(new), weight.dtype)
        return torch.addmm(weight, new.mT, new).fill_diagonal_(0.0)

    def unlearn(self, weight: Weight, gone: Patterns, kept: Patterns) -> Weight:
        """Computes W − Σ x xᵀ over the patterns taken out."""
        return torch.addmm(weight, gone.mT, gone, alpha=-1.0).fill_diagonal_(0.0)

    def shift(self, weight: Weight, patterns: Patterns) -> float:
        """Returns N, the diagonal that was left out; as :class:`Rule` if W is of other patterns."""
        made = _close(weight, self.couplings(patterns))
        return float(len(patterns)) if made else super().shift(weight, patterns)


def _check_counts(count: int, dtype: torch.dtype) -> None:
    """Refuse more patterns than whole numbers of this dtype can count."""
    if count > 2 / torch.finfo(dtype).eps:
        raise DomainError(
            f"{count} patterns of {dtype}, which counts to {2 / torch.finfo(dtype).eps:.0f}",
            "Convert them first: patterns.float()",
        )


def _close(weight: Tensor, other: Tensor) -> bool:
    """Whether two couplings differ by rounding at most."""
    near = torch.finfo(weight.dtype).eps ** 0.5
    return torch.allclose(weight, other, rtol=near, atol=near)


@dataclass(frozen=True)
class Storkey(Rule):
    """Hebb's rule less what the net already says: local, incremental, and roomier than Hebb's.

        ΔW_ij = x_i x_j − (x_i h_ji + h_ij x_j)/d,   h_ij = Σ_{k≠i,j} W_ik x_k

    one pattern after another, W = d · w in the paper's scale. The order matters a little.

    With u = Wx the off-diagonal part of a step is W ← (1 + 2/d) W + x xᵀ − (x uᵀ + u xᵀ)/d. A
    block of patterns needs W only for W x, one product for the whole block, and inside it every
    u follows from those before; W is read and written once a block instead of once a pattern.

    Reference: Storkey 1997, doi:10.1007/BFb0020196.

    Examples:
        >>> patterns = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, -1.0]])
        >>> Storkey().couplings(patterns)
        tensor([[0., 2., 2., 0.],
                [2., 0., 2., 0.],
                [2., 2., 0., 0.],
                [0., 0., 0., 0.]])
    """

    def couplings(self, patterns: Patterns) -> Weight:
        """Stores the patterns in order, from W = 0."""
        size = patterns.shape[-1]
        return self.store(patterns.new_zeros(size, size), patterns[:0], patterns)

    def store(self, weight: Weight, patterns: Patterns, new: Patterns) -> Weight:
        """Stores the new patterns on top of W, in order."""
        for block in new.split(BLOCK):
            weight = self._store_block(weight, block)
        return weight

    def _store_block(self, weight: Tensor, new: Tensor) -> Tensor:
        """W after a block of patterns, j = 1 … k, with g = 1 + 2/d and off the diagonal.

        W = gᵏ W₀ + Σ_j g^(k−j) (x_j x_jᵀ − (x_j u_jᵀ + u_j x_jᵀ)/d)
        """
        count, size = new.shape
        growth = 1 + 2 / size
        ages = torch.arange(count, device=new.device)
        powers = growth ** ages.to(new.dtype)
        seen, overlaps = new @ weight, new @ new.mT
        felt = torch.empty_like(new)  # u_j
        diagonal = new.new_zeros(size)  # of the sum, were it not left out
        for k, x in enumerate(new):  # each pattern is compared with what those before it left
            before, age = slice(0, k), powers[:k].flip(0)
            along_x = age * (overlaps[before, k] - felt[before] @ x / size)
            along_u = -age * overlaps[before, k] / size
            u = powers[k] * seen[k] + along_x @ new[before] + along_u @ felt[before] - diagonal * x
            felt[k] = u
            diagonal = growth * diagonal + 1 - 2 * x * u / size
        half = powers.flip(0)[:, None] * (new / 2 - felt / size)
        update = new.mT @ half
        stored = (update + update.mT).fill_diagonal_(0.0)
        return stored.add_(weight, alpha=growth**count)


@dataclass(frozen=True)
class PseudoInverse(Rule):
    """The projection on the span of the patterns: W = d · X⁺X, which holds any N < d of them.

    Patterns that are linearly independent are all exact fixed points, however correlated; for
    correlated ones this is the rule to take. It is not local: storing one more pattern moves
    all couplings. For orthogonal patterns it is Hebb's.

    Reference: Personnaz, Guyon & Dreyfus 1985, doi:10.1051/jphyslet:01985004608035900; Kanter &
    Sompolinsky 1987, doi:10.1103/PhysRevA.35.380 (the zero diagonal).

    Examples:
        >>> PseudoInverse().couplings(torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, -1.0]]))
        tensor([[0.0000, 1.5000, 0.0000],
                [1.5000, 0.0000, 0.0000],
                [0.0000, 0.0000, 0.0000]])
    """

    def couplings(self, patterns: Patterns) -> Weight:
        """Computes d · Xᵀ(XXᵀ)⁺X without its diagonal, in float64."""
        half = _orthonormal(patterns.double())
        # A unit that the span determines by itself alone, P_ii = 1, is joined to no other.
        alone = half.square().sum(0) > 1 - 1e-9
        half = (patterns.shape[-1] ** 0.5 * half.masked_fill(alone, 0.0)).to(patterns.dtype)
        return (half.mT @ half).fill_diagonal_(0.0)

    def shift(self, weight: Weight, patterns: Patterns) -> float:
        """Computes the largest diagonal element left out, d · P_ii, from the field of a pattern.

        As :class:`Rule` where W is not of these patterns.
        """
        if len(patterns) == 0 or not _close(weight, self.couplings(patterns)):
            return super().shift(weight, patterns)
        margin = patterns[0] * (patterns[0] @ weight)  # d · (1 − P_ii)
        return float((patterns.shape[-1] - margin).max())


@dataclass(frozen=True)
class Dreaming(Rule):
    """Hebb's rule after a sleep of length t, which leads from it to the pseudo-inverse.

        W = (1 + t) Xᵀ (1 + tC)⁻¹ X,   C = XXᵀ/d

    At t = 0 it is Hebb's; as t → ∞ what patterns have in common is unlearned, what each has by
    itself consolidated, and W tends to d times the projection on their span. With its diagonal
    J = W/d solves (1 + t) dJ/dt = J − J²: the second term is unlearning, in closed form, so that
    no state is drawn.

    Reference: Fachechi, Agliari & Barra 2019, doi:10.1016/j.neunet.2019.01.006, arXiv:1810.12217.

    Args:
        time: t, how long the net sleeps; 0 is not at all.

    Raises:
        ParameterError: If ``time`` is negative or not finite.

    Examples:
        >>> patterns = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, -1.0]])
        >>> Dreaming(time=0.0).couplings(patterns)
        tensor([[0., 2., 0.],
                [2., 0., 0.],
                [0., 0., 0.]])
        >>> Dreaming(time=3.0).couplings(patterns)
        tensor([[0.0000, 1.6000, 0.0000],
                [1.6000, 0.0000, 0.0000],
                [0.0000, 0.0000, 0.0000]])
    """

    time: float = 10.0

    def __post_init__(self) -> None:
        check_at_least_zero("time", self.time)

    def couplings(self, patterns: Patterns) -> Weight:
        """Computes (1 + t) Xᵀ(1 + tC)⁻¹X without its diagonal, in float64."""
        half = self._half(patterns).to(patterns.dtype)
        return (half.mT @ half).fill_diagonal_(0.0)

    def shift(self, weight: Weight, patterns: Patterns) -> float:
        """Computes the largest diagonal element left out; as :class:`Rule` if W is of others."""
        half = self._half(patterns).to(patterns.dtype)
        if not _close(weight, (half.mT @ half).fill_diagonal_(0.0)):
            return super().shift(weight, patterns)
        return float(half.square().sum(0).max())

    def _half(self, patterns: Tensor) -> Tensor:
        """H with W = HᵀH but for the diagonal, by the smaller of XXᵀ and XᵀX.

        After long sleep eigenvalues that are rounding errors would count like patterns.
        """
        exact, (count, size) = patterns.double(), patterns.shape
        if count <= size and self.time <= LONG:
            gram = exact @ exact.mT * (self.time / size)
            gram.diagonal().add_(1.0)  # no eigenvalue below 1, so that it has a Cholesky factor
            factor = torch.linalg.cholesky(gram)
            half = (1 + self.time) ** 0.5 * exact
            return torch.linalg.solve_triangular(factor, half, upper=False)
        wide = count > size  # W has the eigenvectors of XᵀX, or those of XXᵀ through X
        values, vectors = torch.linalg.eigh(exact.mT @ exact if wide else exact @ exact.mT)
        rest = max(count, size) * torch.finfo(values.dtype).eps * values[-1]
        counted = values > rest
        held = counted * ((1 + self.time) / (1 + self.time * values.clamp_min(0.0) / size))
        if wide:
            return (held * values.clamp_min(0.0)).sqrt()[:, None] * vectors.mT
        return held.sqrt()[:, None] * (vectors.mT @ exact)


def _orthonormal(patterns: Tensor) -> Tensor:
    """Rows that are orthonormal and span what the patterns span."""
    if len(patterns) > patterns.shape[-1]:  # XᵀX is smaller than the Gram matrix
        values, vectors = torch.linalg.eigh(patterns.mT @ patterns)
        return vectors[:, values > 1e-10 * values[-1]].mT
    gram = patterns @ patterns.mT
    factor, failed = torch.linalg.cholesky_ex(gram)
    # A pivot is the squared distance of a pattern from the span of those before it.
    nearest = factor.diagonal().square().min() if len(gram) else gram.new_ones(())
    if not bool(failed) and bool(nearest > 1e-10 * len(gram) * patterns.shape[-1]):
        return torch.linalg.solve_triangular(factor, patterns, upper=False)
    values, vectors = torch.linalg.eigh(gram)
    kept = values > 1e-10 * values[-1]
    return vectors[:, kept].mT @ patterns / values[kept, None].sqrt()


@dataclass(frozen=True)
class Perceptron(Rule):
    """Gardner's rule: strengthen what is not yet held firmly enough, until all is.

        ε_μi = 1 where x_μi (W x_μ)_i ≤ κ |W_i|,   ΔW_ij = ½ Σ_μ (ε_μi + ε_μj) x_μi x_μj

    for all patterns at once, epoch by epoch; the first epoch from W = 0 is Hebb's rule. Couplings
    are kept symmetric, so that recall descends an energy. Where couplings exist that hold all
    patterns with more than the margin κ, it finds such in finitely many epochs; without the
    symmetry κ = 0 would allow N = 2d. Storing more goes on from the present W; unlearning starts
    anew with those kept.

    Reference: Gardner 1988, doi:10.1088/0305-4470/21/1/030; Krauth & Mézard 1987,
    doi:10.1088/0305-4470/20/11/013; Diederich & Opper 1987, doi:10.1103/PhysRevLett.58.949.

    Args:
        margin: κ, the stability asked of every unit of every pattern, in units of |W_i|.
        max_epochs: Most passes over all patterns; a :class:`ConvergenceWarning` says what is
            missing if they were too few.

    Raises:
        ParameterError: If ``margin`` is negative or ``max_epochs`` is no whole number above zero.

    Examples:
        >>> import isinglass as ig
        >>> patterns = torch.randn(50, 100, generator=torch.Generator().manual_seed(0)).sign()
        >>> memory = ig.ClassicalHopfield(patterns, Perceptron(margin=0.2))
        >>> bool((memory.stability() > 0.2).all())  # Hebb's rule holds about 14 of them
        True
    """

    margin: float = 0.0
    max_epochs: int = 1000

    def __post_init__(self) -> None:
        check_at_least_zero("margin", self.margin)
        check_count("max_epochs", self.max_epochs)

    def couplings(self, patterns: Patterns) -> Weight:
        """Trains W from 0 until every pattern is stable."""
        size = patterns.shape[-1]
        return self._train(patterns.new_zeros(size, size), patterns)

    def store(self, weight: Weight, patterns: Patterns, new: Patterns) -> Weight:
        """Trains the present W on old and new patterns."""
        return self._train(weight, torch.cat([patterns, new]))

    def _train(self, weight: Tensor, patterns: Tensor) -> Tensor:
        for _ in range(self.max_epochs):
            weak = self._weak(weight, patterns)
            rows = weak.any(-1)
            if not bool(rows.any()):
                return weight
            lacking = patterns[rows] * weak[rows]
            update = lacking.mT @ patterns[rows] / 2
            weight = (weight + update + update.mT).fill_diagonal_(0.0)
        if missing := int(self._weak(weight, patterns).sum()):
            warnings.warn(
                f"Perceptron: after {self.max_epochs} epochs {missing} of {patterns.numel()} "
                f"units are held with a stability of {self.margin:g} or less. Store fewer "
                "patterns, lower the margin, or raise max_epochs",
                ConvergenceWarning,
                stacklevel=2,
            )
        return weight

    def _weak(self, weight: Tensor, patterns: Tensor) -> Tensor:
        return patterns * (patterns @ weight) <= self.margin * weight.norm(dim=-1)
