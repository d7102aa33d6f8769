"""Sparse and structured retrieval: a few patterns with weight, the rest with none."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch._C._functorch import (  # pyright: ignore[reportMissingModuleSource]
    is_functorch_wrapped_tensor,
)

from isinglass._support.optional import require_extra
from isinglass._support.precision import at_least_single
from isinglass._support.typing import Float
from isinglass._support.validation import check_count, check_positive
from isinglass.energies.hopfield._entmax import entmax15, sparsemax
from isinglass.energies.hopfield.continuous import ContinuousHopfield
from isinglass.errors import ParameterError

__all__ = ["SparseHopfield", "SubsetHopfield"]

#: The weights of each α that no bisection is needed for.
CLOSED: dict[float, Callable[[Tensor], Tensor]] = {
    1.0: partial(torch.softmax, dim=-1),
    1.5: entmax15,
    2.0: sparsemax,
}


class SparseHopfield(ContinuousHopfield):
    r"""The continuous network with sparse attention: E(ξ) = ½|ξ|² − β⁻¹Ψ_α(βXξ).

    Ψ_α is the convex conjugate of Tsallis' negentropy, its gradient α-entmax:

        Ω_α(p) = (Σ_μ p_μ^α − 1)/(α(α − 1)),   entmax_α(z) = [(α − 1)z − τ]₊^(1/(α−1))

    α = 1 is softmax, 1.5 entmax, 2 sparsemax. For α > 1 far patterns get no weight at all, and a
    pattern whose score leads by (β(α − 1))⁻¹ is retrieved exactly, in one step.

    Reference: Hu et al. 2023, arXiv:2309.12673 (α = 2); Santos et al. 2024, arXiv:2402.13725;
    Martins & Astudillo 2016, arXiv:1602.02068 (sparsemax); Peters, Niculae & Martins 2019,
    arXiv:1905.05702 (entmax). α = 1.5 and 2 have closed forms, which can be mapped and compiled;
    any other α > 1 is bisected, by the package ``entmax`` of the extra ``sparse``.

    Args:
        patterns: ``(N, d)``, one pattern a row; an ``nn.Parameter`` is learned.
        beta: β > 0, in inverse units of x·x.
        alpha: α ≥ 1; larger is sparser.
        learn_beta: Whether β is learned too.
        constants: Whether E includes the constants that make 0 ≤ E ≤ 2M² for |ξ| ≤ M, the norm
            of the longest pattern.
        copy: Whether a plain tensor is copied; False keeps it itself.

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not finite.
        ParameterError: If ``beta`` is not one number above zero, ``alpha`` is below 1, or the
            weights of an α that is bisected are asked for under ``torch.func`` or ``torch.vmap``.
        MissingExtraError: If α is to be bisected and the package ``entmax`` is not installed.

    Examples:
        >>> memory = SparseHopfield(torch.eye(3), beta=4.0, alpha=2.0)
        >>> cue = torch.tensor([0.6, 0.3, 0.1])
        >>> memory.association(cue), bool(memory.retrieves_exactly(cue))
        (tensor([1., 0., 0.]), True)
    """

    numbers: ClassVar[tuple[str, ...]] = ("beta", "alpha")

    #: Bisection in a graph of its own where gradients are compiled, as torch cannot trace them.
    _bisect_apart: ClassVar[Any] = None

    def __init__(
        self,
        patterns: Tensor,
        beta: float = 1.0,
        alpha: float = 1.5,
        *,
        learn_beta: bool = False,
        constants: bool = False,
        copy: bool = True,
    ) -> None:
        super().__init__(patterns, beta, learn_beta=learn_beta, constants=constants, copy=copy)
        self.alpha = alpha

    @property
    def alpha(self) -> float:
        """α ≥ 1; may be set anew."""
        return self._alpha

    @alpha.setter
    def alpha(self, alpha: float) -> None:
        if check_positive("alpha", alpha) < 1:
            raise ParameterError(f"alpha = {alpha}", "Give alpha of 1 or more")
        if alpha not in CLOSED:
            with require_extra("sparse"):
                import entmax  # noqa: F401 - missed here rather than at the first recall
            # Made here and not with the module: it loads torch's compiler.
            apart = torch.compiler.disable(
                _bisect,
                reason="SparseHopfield: gradients of an alpha that is bisected are not compiled. "
                "Give alpha = 1.5 or 2, or leave fullgraph out",
            )
            SparseHopfield._bisect_apart = staticmethod(apart)
        self._alpha = float(alpha)

    @property
    def margin(self) -> float:
        """Margin 1/(α − 1), in units of β⁻¹, from which one pattern takes all weight."""
        return 1 / (self.alpha - 1) if self.alpha > 1 else math.inf

    def weigh(self, scores: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch N"]:
        """Computes p = entmax_α(βs), the association weights."""
        # For α > 2 weights have no bound on their slope at zero: there an eps of the scores is
        # the (α − 1)-th root of it in a weight, and by normalization in all of them.
        logits = self.beta * (scores.double() if self.alpha > 2 else at_least_single(scores))
        if self.alpha in CLOSED:
            return CLOSED[self.alpha](logits).to(scores.dtype)
        if not torch.compiler.is_compiling() and is_functorch_wrapped_tensor(logits):
            raise ParameterError(
                f"alpha = {self.alpha} under torch.func or vmap",
                "Give a batch of states, which every method takes; for gradients torch.autograd or "
                "memory.grad; or alpha = 1.5 or 2, which can be mapped",
            )
        if logits.requires_grad and torch.is_grad_enabled():
            return self._bisect_apart(logits, self.alpha).to(scores.dtype)
        return _bisect(logits, self.alpha).to(scores.dtype)

    def negentropy(self, weights: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch"]:
        """Computes Ω_α(p) = (Σ p^α − 1)/(α(α − 1)), Tsallis'; Σ p log p at α = 1."""
        if self.alpha == 1:
            return torch.special.xlogy(weights, weights).sum(-1)
        return ((weights**self.alpha).sum(-1) - 1) / (self.alpha * (self.alpha - 1))

    def config(self) -> dict[str, Any]:
        """Returns the shape of the patterns, β and α."""
        return super().config() | {"alpha": self.alpha}


class SubsetHopfield(ContinuousHopfield):
    r"""The continuous network that retrieves k patterns together, as their mean.

    The weights p are spread over subsets of k patterns: none gets more than 1/k,

        E(ξ) = ½|ξ|² − max_p [p·Xξ − β⁻¹Ω(p)],   Σ_μ p_μ = 1,  0 ≤ p_μ ≤ 1/k
        Ω(p) = ½(k|p|² − 1)

    so kp is the point of {0 ≤ y ≤ 1, Σy = k} nearest to βXξ. Where the k-th best score leads the
    next by 1/β, one step gives exactly the mean of the best k. k = 1 is sparsemax.

    Reference: Santos et al. 2024, arXiv:2402.13725 (k-subsets; there the state is the
    sum of the k patterns, here their mean); Niculae et al. 2018, arXiv:1802.04223 (SparseMAP).

    Args:
        patterns: ``(N, d)``, one pattern a row; an ``nn.Parameter`` is learned.
        beta: β > 0, in inverse units of x·x.
        subset: k, from 1 to N.
        learn_beta: Whether β is learned too.
        constants: Whether E includes the constants that make 0 ≤ E ≤ 2M² for |ξ| ≤ M, the norm
            of the longest pattern.
        copy: Whether a plain tensor is copied; False keeps it itself.

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not finite.
        ParameterError: If ``beta`` is not one number above zero, or ``subset`` is not a whole
            number from 1 to N.

    Examples:
        >>> memory = SubsetHopfield(torch.eye(4), beta=10.0, subset=2)
        >>> memory.recall(torch.tensor([0.5, 0.4, 0.1, 0.0])).state
        tensor([0.5000, 0.5000, 0.0000, 0.0000])
    """

    numbers: ClassVar[tuple[str, ...]] = ("beta", "subset")

    def __init__(
        self,
        patterns: Tensor,
        beta: float = 1.0,
        subset: int = 2,
        *,
        learn_beta: bool = False,
        constants: bool = False,
        copy: bool = True,
    ) -> None:
        super().__init__(patterns, beta, learn_beta=learn_beta, constants=constants, copy=copy)
        self.subset = subset

    @property
    def margin(self) -> float:
        """1, as of sparsemax."""
        return 1.0

    @property
    def subset(self) -> int:
        """k, how many patterns are retrieved together; may be set anew."""
        return self._subset

    @subset.setter
    def subset(self, subset: int) -> None:
        if check_count("subset", subset) > len(self.patterns):
            raise ParameterError(
                f"subset = {subset} of {len(self.patterns)} patterns",
                "Ask for no more patterns together than there are",
            )
        self._subset = int(subset)

    def weigh(self, scores: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch N"]:
        """Computes the point of {0 ≤ y ≤ 1, Σy = k} nearest to βs, over k."""
        chosen = _onto_subsets(self.beta * at_least_single(scores), self.subset)
        return (chosen / self.subset).to(scores.dtype)

    def negentropy(self, weights: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch"]:
        """Computes Ω(p) = ½(k|p|² − 1), zero where k patterns share all weight."""
        return (self.subset * weights.square().sum(-1) - 1) / 2

    def config(self) -> dict[str, Any]:
        """Returns the shape of the patterns, β and k."""
        return super().config() | {"subset": self.subset}


def _bisect(logits: Tensor, alpha: float) -> Tensor:
    import entmax

    return entmax.entmax_bisect(logits, alpha, dim=-1)


def _onto_subsets(scores: Tensor, count: int) -> Tensor:
    """argmin |y − s|² over 0 ≤ y ≤ 1, Σy = ``count``: y = clip(s − τ, 0, 1) at the right τ.

    τ is below the ``count``-th largest score, by at most one: only scores so near matter.
    """
    # Measured from that score, so that no digit is lost to a level common to all; at ±1 a component
    # is decided, and clamped there it adds nothing to the sums of a long row.
    near = (scores - scores.detach().topk(count, -1).values[..., -1:]).clamp(-1, 1)
    free, capped = _active(near.detach(), count)
    # Given which components are free, τ is a mean: exact to rounding, unlike a sum along bends,
    # and autograd finds the right Jacobian, as which are free changes nowhere but at bends.
    spare = count - capped.sum(-1, keepdim=True)
    threshold = ((near * free).sum(-1, keepdim=True) - spare) / free.sum(-1, keepdim=True).clamp(1)
    return torch.where(free, (near - threshold).clamp(0, 1), capped)


def _active(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Which components of the projection are free, between zero and one, and which are one.

    Σ clip(s − τ, 0, 1) grows as τ falls, bent where a component leaves zero (τ = s_i) or reaches
    one (τ = s_i − 1). All bends are sorted; τ lies between the two where the count is passed.
    """
    bends, order = torch.cat([scores, scores - 1], -1).sort(-1, descending=True)
    slope = torch.where(order < scores.shape[-1], 1, -1).cumsum(-1)[..., :-1]
    total = (slope * (bends[..., :-1] - bends[..., 1:])).cumsum(-1)
    # A count met but for rounding is met: there every component is zero or one.
    met = total <= count * (1 + 8 * torch.finfo(total.dtype).eps)
    passing = met.sum(-1, keepdim=True).clamp_max(total.shape[-1] - 1)
    above, below = bends.gather(-1, passing), bends.gather(-1, passing + 1)
    capped = scores - 1 >= above
    return (scores > below) & ~capped, capped
