"""How much an overlap with a pattern is worth to a dense memory."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from isinglass._support.registry import Configurable
from isinglass._support.typing import Float
from isinglass._support.validation import check_count, check_flag, check_positive
from isinglass._support.wording import shown
from isinglass.errors import ParameterError

__all__ = ["Exponential", "Interaction", "Power", "interaction_of"]


@dataclass(frozen=True)
class Interaction(Configurable, ABC):
    """F, what an overlap o_μ = x_μ·v is worth: E(v) = −Σ_μ F(o_μ).

    Only ``__call__`` is required; parameters are fields of a frozen dataclass. ``convex`` declares
    F convex, so that concave–convex steps never raise E.

    Reference: Krotov & Hopfield 2016, arXiv:1606.01164.

    Examples:
        >>> import isinglass as ig
        >>> class Cosh(Interaction):
        ...     "A pattern and its negative are worth the same."
        ...     convex = True
        ...     def __call__(self, overlap):
        ...         return overlap.cosh()
        >>> memory = ig.DenseMemory(torch.tensor([[1.0, 1, -1, -1, -1]]), interaction=Cosh())
        >>> memory.recall(torch.tensor([-1.0, 1, 1, 1, 1])).state
        tensor([-1., -1.,  1.,  1.,  1.])
    """

    convex: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, overlap: Tensor) -> Tensor:
        """F, element by element."""

    def energy(self, overlap: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch"]:
        """Computes E = −Σ_μ F(o_μ)."""
        return -self(overlap).sum(-1)

    def slope(self, overlap: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch N"]:
        """Computes −∂E/∂o_μ = F′(o_μ), how strongly each pattern pulls, by autograd."""
        return torch.func.grad(lambda o: -self.energy(o).sum())(overlap)

    def field(
        self,
        overlap: Float[Tensor, "*batch N"],
        state: Float[Tensor, "*batch d"],
        patterns: Float[Tensor, "N d"],
    ) -> Float[Tensor, "*batch d"]:
        """Computes ½ (E(v_i = −1) − E(v_i = +1)) for every spin, in one matrix product."""
        here = self(overlap)
        below, above = here - self(overlap - 2), self(overlap + 2) - here
        # Where x_μi = v_i the difference is `below`, elsewhere `above`, each with the sign x_μi:
        # ½(below + above) x_μi + ½(below − above) v_i. So one product does for all spins, and no
        # tensor of batch × N × d is formed.
        agree = (below - above).sum(-1, keepdim=True)
        return ((below + above) @ patterns + agree * state) / 4


@dataclass(frozen=True)
class Power(Interaction):
    """F(o) = (o/s)ⁿ, or max(o/s, 0)ⁿ: about d^(n−1) random patterns can be stored.

    Reference: Krotov & Hopfield 2016, arXiv:1606.01164.

    Args:
        degree: n, a whole number of at least 2.
        rectified: Whether F is zero below zero.
        scale: s, the overlap that is worth 1, in units of o. It only divides E by sⁿ, which keeps
            high degrees within the range of floats.

    Raises:
        ParameterError: If ``degree`` is not a whole number of at least 2, ``scale`` not above zero.

    Examples:
        >>> Power(3)(torch.tensor([-2.0, 2.0])), Power(3).slope(torch.tensor([-2.0, 2.0]))
        (tensor([0., 8.]), tensor([ 0., 12.]))
    """

    degree: int = 3
    rectified: bool = True
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_count("degree", self.degree, least=2)
        check_flag("rectified", self.rectified)
        object.__setattr__(self, "scale", check_positive("scale", self.scale))

    def __call__(self, overlap: Tensor) -> Tensor:
        """F(o) = (o/s)ⁿ or max(o/s, 0)ⁿ."""
        return self._base(overlap) ** self.degree

    def slope(self, overlap: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch N"]:
        """Computes F′(o) = n/s (o/s)ⁿ⁻¹, a rectified polynomial of degree n − 1."""
        return self.degree / self.scale * self._base(overlap) ** (self.degree - 1)

    @property
    def convex(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Rectified, or of even degree."""
        return self.rectified or self.degree % 2 == 0

    def _base(self, overlap: Tensor) -> Tensor:
        # Divided before the power is taken: 1000¹³ is beyond float32, (1000/1000)¹³ is not.
        scaled = overlap if self.scale == 1 else overlap / self.scale
        return scaled.clamp_min(0) if self.rectified else scaled


@dataclass(frozen=True)
class Exponential(Interaction):
    """F(o) = exp(βo), its energy in log form: E(v) = −β⁻¹ log Σ_μ exp(β x_μ·v).

    The sum itself overflows for βd > 88 in float32. Its logarithm orders states the same, so the
    dynamics at T = 0 are the same; at T > 0 the heat bath is that of the log form, which at
    T = 1/β is a mixture of the patterns. About 2^(d/2) random patterns can be stored.

    Reference: Demircigil et al. 2017, arXiv:1702.01929.

    Args:
        beta: β > 0, inverse temperature of the softmax over patterns, in inverse units of o.

    Raises:
        ParameterError: If ``beta`` is not above zero.

    Examples:
        >>> overlap = torch.tensor([1000.0, 998.0])
        >>> Exponential().energy(overlap), Exponential().slope(overlap)
        (tensor(-1000.1270), tensor([0.8808, 0.1192]))
    """

    convex: ClassVar[bool] = True
    beta: float = 1.0

    def __post_init__(self) -> None:
        check_positive("beta", self.beta)

    def __call__(self, overlap: Tensor) -> Tensor:
        """Computes F(o) = exp(βo), for each overlap."""
        return (self.beta * overlap).exp()

    def energy(self, overlap: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch"]:
        """Computes E = −β⁻¹ log Σ_μ exp(β o_μ)."""
        return -torch.logsumexp(self.beta * overlap, -1) / self.beta

    def slope(self, overlap: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch N"]:
        """Computes −∂E/∂o_μ = softmax_μ(βo), how strongly each pattern pulls."""
        return torch.softmax(self.beta * overlap, -1)

    def field(
        self,
        overlap: Float[Tensor, "*batch N"],
        state: Float[Tensor, "*batch d"],
        patterns: Float[Tensor, "N d"],
    ) -> Float[Tensor, "*batch d"]:
        """Computes ½ (E(v_i = −1) − E(v_i = +1)): (log Σ over v_i = +1 − log Σ over v_i = −1)/2β.

        Turning spin i multiplies the share of the patterns that agree with it by e^(−2β), of the
        others by e^(2β). Both shares are summed by themselves: one less the other would drown
        the small one, which decides where β is large. There it can be that of patterns 2 or 4
        below the best overlap, too small for a float: those are summed in units of their own.
        """
        gap = overlap - overlap.amax(-1, keepdim=True)
        total = torch.logsumexp(self.beta * gap, -1, keepdim=True)
        up, down = patterns.clamp_min(0), (-patterns).clamp_min(0)

        def shares(below: int) -> tuple[Tensor, Tensor]:
            """Log shares of those that agree and that differ, at least so far below the best."""
            # Those nearer are set to 0 before exp, which they would overflow. `up` and `down` are
            # two products, not one with ±1: the difference is what would drown.
            weight = (self.beta * (gap + below)).masked_fill(gap > -below, -torch.inf).exp()
            plus, minus = (weight @ up).log() - total, (weight @ down).log() - total
            here = state > 0
            return torch.where(here, plus, minus), torch.where(here, minus, plus)

        agree, differ = shares(0)
        if 8 * self.beta > -math.log(torch.finfo(overlap.dtype).tiny):  # e^(−4β) is in danger
            for below in (2, 4):  # lower ones cannot matter: the best turned is −2 or more
                differ = torch.maximum(differ, shares(below)[1] - self.beta * below)
        flipped = torch.logaddexp(agree - 2 * self.beta, differ + 2 * self.beta)
        return -state * flipped / (2 * self.beta)


def interaction_of(
    interaction: Interaction | str,
    degree: int | None = None,
    rectified: bool | None = None,
) -> Interaction:
    """Builds the interaction that a caller asked for, by name or as an object.

    Raises:
        ParameterError: If it is no interaction, or ``degree`` or ``rectified`` is given to another
            than ``"power"``.

    Examples:
        >>> interaction_of("power", degree=4), interaction_of("exp")
        (Power(degree=4, rectified=True, scale=1.0), Exponential(beta=1.0))
    """
    if isinstance(interaction, str) and interaction == "power":
        return Power(3 if degree is None else degree, True if rectified is None else rectified)
    if degree is not None or rectified is not None:
        raise ParameterError(
            f"degree = {degree}, rectified = {rectified} with interaction = {interaction!r}",
            "They belong to interaction='power': leave them out, or give Power(degree, rectified)",
        )
    if isinstance(interaction, str) and interaction == "exp":
        return Exponential()
    if not isinstance(interaction, Interaction):
        raise ParameterError(
            f"interaction = {shown(interaction)}",
            "Give 'power', 'exp', or an Interaction object such as Power(4) or Exponential()",
        )
    return interaction
