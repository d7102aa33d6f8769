"""Dense associative memories of spins."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from isinglass._shapes import Float, Int
from isinglass.checks import check_count, check_features
from isinglass.dynamics import Kernel, SingleSite
from isinglass.energies.memory import Memory
from isinglass.errors import IntractableError
from isinglass.units import Spin

__all__ = ["DenseMemory"]


class DenseMemory(Memory):
    r"""Dense associative memory of spins: E(v) = −Σ_μ F(x_μ·v), F(z) = zⁿ or max(z, 0)ⁿ.

    Each spin takes the sign with the lower energy, all others held:

        v_i ← sign(E(v_i = −1) − E(v_i = +1)),   field_i = ½ (E(v_i = −1) − E(v_i = +1))

    With x_μi = ±1 all fields come from two numbers a memory, a = F(o) − F(o−2) and
    b = F(o+2) − F(o) at the overlap o = x_μ·v, at the cost of a matrix product. Degree 2 is the
    classical net; about d^(n−1) random patterns can be stored.

    Reference: Krotov & Hopfield 2016, arXiv:1606.01164.

    Args:
        patterns: ``(N, d)`` of ±1, one pattern a row; spins cannot be learned by gradient.
        degree: n, the power, at least 2.
        rectified: Whether F is zero below zero.

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not −1 or +1.
        ParameterError: If ``degree`` is not a whole number of at least 2.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> patterns = torch.randn(100, 50, generator=generator).sign()  # twice as many as units
        >>> cue = torch.cat([-patterns[:1, :8], patterns[:1, 8:]], -1)  # eight spins flipped
        >>> bool((DenseMemory(patterns, degree=4).recall(cue).state == patterns[0]).all())
        True
    """

    default_kernel: ClassVar[type[Kernel]] = SingleSite

    def __init__(self, patterns: Tensor, degree: int = 3, *, rectified: bool = True) -> None:
        super().__init__(patterns, Spin)
        self.degree = check_count(type(self).__name__, "degree", degree, least=2)
        self.rectified = rectified

    def _interaction(self, overlap: Tensor) -> Tensor:
        return (overlap.clamp_min(0) if self.rectified else overlap) ** self.degree

    def forward(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """E(v) = −Σ_μ F(x_μ·v)."""
        check_features("DenseMemory", state, self.unit.size)
        return -self._interaction(state @ self.patterns.mT).sum(-1)

    def local_field(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """½ (E(v_i = −1) − E(v_i = +1)) for every spin."""
        overlap = state @ self.patterns.mT
        here = self._interaction(overlap)
        below, above = here - self._interaction(overlap - 2), self._interaction(overlap + 2) - here
        # Where x_μi = v_i the difference is `below`, elsewhere `above`, each with the sign x_μi.
        agree = (below - above).sum(-1, keepdim=True)
        return ((below + above) @ self.patterns + agree * state) / 4

    def moved_field(
        self,
        field: Float[Tensor, "batch d"],
        state: Float[Tensor, "batch d"],
        site: Int[Tensor, " batch"],
        change: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch d"]:
        """The fields anew: every overlap has changed, and with it every field."""
        return self.local_field(state)

    def cccp_update(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """v ← sign(Σ_μ x_μ F′(x_μ·v)), which cannot raise E where F is convex.

        Raises:
            IntractableError: If the degree is odd and F is not rectified, hence not convex.
        """
        if self.degree % 2 and not self.rectified:
            raise IntractableError(
                "DenseMemory.cccp_update",
                f"z^{self.degree} is not convex",
                "Use rectified=True, an even degree, or SingleSite",
            )
        overlap = state @ self.patterns.mT
        slope = (overlap.clamp_min(0) if self.rectified else overlap) ** (self.degree - 1)
        return self.unit.settle(self.degree * slope @ self.patterns, state)

    def config(self) -> dict[str, Any]:
        """The shape of the patterns, degree and rectification."""
        return super().config() | {"degree": self.degree, "rectified": self.rectified}
