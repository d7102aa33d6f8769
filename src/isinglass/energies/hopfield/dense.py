"""Dense associative memories of spins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from isinglass._support.typing import Float, Int
from isinglass._support.validation import check_features, is_hollow
from isinglass.core.capabilities import ConcaveConvex
from isinglass.dynamics import Kernel, SingleSite
from isinglass.energies.hopfield.base import Memory
from isinglass.energies.hopfield.interactions import Interaction, interaction_of
from isinglass.errors import IntractableError, ParameterError
from isinglass.units import Spin

__all__ = ["DenseMemory"]


class DenseMemory(ConcaveConvex, Memory):
    r"""Dense associative memory of spins: E(v) = −Σ_μ F(x_μ·v), F(z) = zⁿ, max(z, 0)ⁿ or exp(z).

    Each spin takes the sign with the lower energy, all others held:

        v_i ← sign(E(v_i = −1) − E(v_i = +1)),   field_i = ½ (E(v_i = −1) − E(v_i = +1))

    With x_μi = ±1 all fields come from two numbers a memory, a = F(o) − F(o−2) and
    b = F(o+2) − F(o) at the overlap o = x_μ·v, at the cost of a matrix product. Degree 2 is the
    classical net; about d^(n−1) random patterns can be stored, with ``interaction="exp"`` about
    2^(d/2). The exponential's energy is in log form, E(v) = −log Σ_μ exp(x_μ·v), which cannot
    overflow: the same dynamics at T = 0, a heat bath of its own at T > 0.

    Reference: Krotov & Hopfield 2016, arXiv:1606.01164; Demircigil et al. 2017, arXiv:1702.01929.

    Args:
        patterns: ``(N, d)`` of ±1, one pattern a row; spins cannot be learned by gradient.
        degree: n, the power, at least 2; 3 unless given.
        rectified: Whether the power is zero below zero; it is unless told otherwise.
        interaction: F: ``"power"``, ``"exp"``, or an
            :class:`~isinglass.energies.hopfield.interactions.Interaction` of your own.

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not −1 or +1.
        ParameterError: If ``degree`` is not a whole number of at least 2, ``interaction`` is none,
            or ``degree`` or ``rectified`` is given to another interaction than ``"power"``.

    Examples:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> patterns = torch.randn(100, 50, generator=generator).sign()  # twice as many as units
        >>> cue = torch.cat([-patterns[:1, :8], patterns[:1, 8:]], -1)  # eight spins flipped
        >>> bool((DenseMemory(patterns, degree=4).recall(cue).state == patterns[0]).all())
        True
        >>> DenseMemory(patterns, interaction="exp")
        DenseMemory(100 patterns of 50, Exponential(beta=1.0))
    """

    default_kernel: ClassVar[type[Kernel]] = SingleSite
    adopts: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"interaction": Interaction.from_config}

    def __init__(
        self,
        patterns: Tensor,
        degree: int | None = None,
        *,
        rectified: bool | None = None,
        interaction: Interaction | str = "power",
    ) -> None:
        super().__init__(patterns, Spin)
        self.interaction = interaction_of(interaction, degree, rectified)
        self._check_range()

    def _check_range(self) -> None:
        """Refuse an interaction whose worth of a pattern itself is beyond the dtype."""
        overlap = self.patterns[:1] @ self.patterns.mT
        worth = self.interaction(overlap)
        if worth.shape != overlap.shape:
            raise ParameterError(
                f"{self.interaction} makes {tuple(worth.shape)} of {tuple(overlap.shape)}",
                "Let it work element by element",
            )
        if is_hollow(self.patterns):
            return
        if not bool(self.local_field(self.patterns[:1]).isfinite().all()):
            raise ParameterError(
                f"{self.interaction} of an overlap of {self.unit.size} is not within "
                f"{self.patterns.dtype}",
                "Give interaction=Power(degree, scale=d), or patterns of a wider dtype",
            )

    def forward(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Computes E(v) = −Σ_μ F(x_μ·v); for the exponential −β⁻¹ log Σ_μ exp(β x_μ·v)."""
        check_features(state, self.unit.size)
        return self.interaction.energy(state @ self.patterns.mT)

    def grad(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Computes ∂E/∂v = −Σ_μ x_μ F′(x_μ·v)."""
        return -self.interaction.slope(state @ self.patterns.mT) @ self.patterns

    def local_field(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Computes ½ (E(v_i = −1) − E(v_i = +1)) for every spin."""
        return self.interaction.field(state @ self.patterns.mT, state, self.patterns)

    def moved_field(
        self,
        field: Float[Tensor, "batch d"],
        state: Float[Tensor, "batch d"],
        site: Int[Tensor, " batch"],
        change: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch d"]:
        """Computes the fields anew: every overlap has changed, and with it every field."""
        return self.local_field(state)

    def cccp_update(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Takes one step v ← sign(Σ_μ x_μ F′(x_μ·v)), which cannot raise E where F is convex.

        Raises:
            IntractableError: If F is not convex, such as an odd power that is not rectified.
        """
        if not self.interaction.convex:
            raise IntractableError(
                f"{self.interaction} is not convex",
                "Use rectified=True, an even degree, or SingleSite",
            )
        return self.unit.argmax_state(-self.grad(state), state)

    def extra_repr(self) -> str:
        """Shows size, number of patterns and interaction."""
        count, size = self.patterns.shape
        return f"{count} patterns of {size}, {self.interaction}"

    def config(self) -> dict[str, Any]:
        """Returns the shape of the patterns, and the interaction."""
        return super().config() | {"interaction": self.interaction.config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DenseMemory:
        """Returns a memory of the same shape."""
        patterns = torch.ones(config["patterns"], dtype=torch.float64)  # what fits the file fits it
        return cls(patterns, interaction=Interaction.from_config(config["interaction"]))
