"""Associative memories: energies whose minima are the stored patterns."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Generator, Tensor, nn

from isinglass._shapes import Float, Int
from isinglass.checks import check_count, check_features, check_like, check_patterns, check_positive
from isinglass.dynamics import CCCP, Kernel, Recall, SingleSite, recall
from isinglass.energy import Energy
from isinglass.errors import IntractableError
from isinglass.units import AveragedOneHot, Gaussian, Spin, Unit

__all__ = ["ClassicalHopfield", "DenseMemory", "Memory", "ModernHopfield"]


class Memory(Energy):
    """An energy with stored patterns, one a row, that completes a cue by descending.

    Args:
        patterns: ``(N, d)``, one pattern a row. An ``nn.Parameter`` is learned with the rest of
            a network; of a plain tensor a copy is kept as a buffer.
        kind: The kind of the units that states are made of.

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not finite, or not a state of the units.

    Examples:
        >>> class Nearest(Memory):
        ...     "E(v) = ½ min_μ |v − x_μ|², the nearest pattern's bowl."
        ...     def forward(self, state):
        ...         return torch.cdist(state, self.patterns).square().amin(-1) / 2
        ...     def cccp_update(self, state):
        ...         return self.patterns[torch.cdist(state, self.patterns).argmin(-1)]
        >>> Nearest(torch.eye(2)).recall(torch.tensor([[0.6, 0.5]])).state
        tensor([[1., 0.]])
    """

    patterns: Tensor
    default_kernel: ClassVar[type[Kernel]] = CCCP

    def __init__(self, patterns: Tensor, kind: type[Unit] = Gaussian) -> None:
        super().__init__()
        check_patterns(type(self).__name__, patterns)
        self.unit = kind(patterns.shape[-1])
        self.unit.check(type(self).__name__, patterns)
        if isinstance(patterns, nn.Parameter):
            self.patterns = patterns
        else:
            self.register_buffer("patterns", patterns.detach().clone())

    def recall(
        self,
        cues: Float[Tensor, "*batch d"],
        *,
        kernel: Kernel | None = None,
        max_steps: int | None = None,
        tolerance: float | None = None,
        trace: bool = False,
    ) -> Recall:
        """Descend from each cue; see :func:`isinglass.dynamics.recall`, whose arguments these are.

        Args:
            cues: ``(*batch, d)``, or a single ``(d,)``.
            kernel: How to descend; None is the memory's own rule.
            max_steps: Most steps a row may take; None asks the kernel.
            tolerance: Largest change in one step that counts as rest; None follows the dtype.
            trace: Whether to record the energy after every step.

        Raises:
            ShapeError: If a cue has the wrong number of features, or there is none.
            DomainError: If a cue is not finite or not a state of the memory's units.
        """
        if kernel is None:
            kernel = self.default_kernel()
        return recall(self, cues, kernel, max_steps=max_steps, tolerance=tolerance, trace=trace)

    def check_state(self, operation: str, state: Float[Tensor, "*batch d"]) -> None:
        """Refuse what is not a vector of d states of the units.

        Raises:
            ShapeError: If the number of features is wrong.
            DomainError: If a value is not finite or not a state of the units, or the dtype or
                device is not the patterns'.
        """
        self.unit.check(operation, state)
        check_like(operation, state, self.patterns)

    def extra_repr(self) -> str:
        """Patterns, and whatever else the configuration holds."""
        rest = {name: value for name, value in self.config().items() if name != "patterns"}
        count, size = self.patterns.shape
        return f"{count} patterns of {size}" + "".join(f", {n}={v}" for n, v in rest.items())

    def config(self) -> dict[str, Any]:
        """The shape of the patterns."""
        return {"patterns": list(self.patterns.shape)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Memory:
        """A memory of the same shape."""
        settings: dict[str, Any] = config | {"patterns": torch.ones(config["patterns"])}
        return cls(**settings)


class ClassicalHopfield(Memory):
    """The classical network of spins: E(v) = −½ vᵀWv with Hebb's W = Σ_μ x_μ x_μᵀ, W_ii = 0.

    On spins −½ Σ_μ (x_μ·v)² differs from it by the constant Nd/2, which the diagonal would add.
    It recalls by flipping one unit at a time (:class:`~isinglass.dynamics.SingleSite`), by
    parallel steps (:class:`~isinglass.dynamics.Synchronous`, which may fall into 2-cycles), or
    by concave–convex steps with the diagonal kept, which never raise E.

    Reference: Hopfield 1982, doi:10.1073/pnas.79.8.2554.

    Args:
        patterns: ``(N, d)`` of ±1, one pattern a row; spins cannot be learned by gradient.

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not −1 or +1.

    Examples:
        >>> patterns = torch.tensor([[1.0, 1, 1, 1, -1, -1], [1.0, -1, 1, -1, 1, -1]])
        >>> memory = ClassicalHopfield(patterns)
        >>> cue = torch.tensor([1.0, 1, 1, -1, -1, -1])  # the first pattern, one unit wrong
        >>> memory.recall(cue).state
        tensor([ 1.,  1.,  1.,  1., -1., -1.])
    """

    weight: Tensor
    default_kernel: ClassVar[type[Kernel]] = SingleSite

    def __init__(self, patterns: Tensor) -> None:
        super().__init__(patterns, Spin)
        self.register_buffer("weight", torch.empty(0), persistent=False)
        _hebbian(self)
        self.register_load_state_dict_post_hook(_hebbian)

    def forward(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """E(v) = −½ vᵀWv."""
        check_features("ClassicalHopfield", state, self.unit.size)
        return -(state * self.local_field(state)).sum(-1) / 2

    def grad(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """∂E/∂v = −Wv."""
        return -self.local_field(state)

    def local_field(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Wv, the field on every spin."""
        return state @ self.weight

    def moved_field(
        self,
        field: Float[Tensor, "batch d"],
        state: Float[Tensor, "batch d"],
        site: Int[Tensor, " batch"],
        change: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch d"]:
        """Wv after spin ``site`` of each row changed by ``change``: a row of W is added."""
        return field + change.unsqueeze(-1) * self.weight[site]

    def cccp_update(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """v ← sign(Σ_μ x_μ (x_μ·v)): the diagonal kept, so that W is positive and E cannot rise."""
        return self.unit.settle(self.local_field(state) + len(self.patterns) * state, state)


def _hebbian(memory: nn.Module, *_: object) -> None:
    """W = Σ_μ x_μ x_μᵀ with a zero diagonal: units that agree are joined (Hebb 1949)."""
    patterns = cast("ClassicalHopfield", memory).patterns.detach()
    memory.weight = (patterns.mT @ patterns).fill_diagonal_(0.0)


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


class ModernHopfield(Memory):
    """The modern continuous network: E(ξ) = ½|ξ|² − β⁻¹ log Σ_μ exp(β x_μ·ξ).

    One step, ξ ← Xᵀ softmax(βXξ), is one head of a Transformer's attention. It is the one-group
    Hopfield–Boltzmann machine with Gaussian visible units, its hidden softmax summed out, so at
    T = 1/(mβ) it can also be sampled exactly, m look-ups at a time.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217.

    Args:
        patterns: ``(N, d)``, one pattern a row; an ``nn.Parameter`` is learned.
        beta: β > 0, inverse temperature of the softmax, in inverse units of x·x. Larger recalls
            single patterns, smaller blends of them.

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not finite.
        ParameterError: If ``beta`` is not above zero.

    Examples:
        >>> memory = ModernHopfield(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), beta=8.0)
        >>> found = memory.recall(torch.tensor([[0.8, 0.3]]))
        >>> found.state.round(decimals=3), bool(found.converged)
        (tensor([[1., 0.]]), True)
    """

    def __init__(self, patterns: Tensor, beta: float = 1.0) -> None:
        super().__init__(patterns)
        self.beta = beta

    @property
    def beta(self) -> float:
        """β; may be set anew."""
        return self._beta

    @beta.setter
    def beta(self, beta: float) -> None:
        self._beta = check_positive(type(self).__name__, "beta", beta)

    @property
    def hidden(self) -> AveragedOneHot:
        """The softmax over patterns, as an area of units."""
        return AveragedOneHot(beta=self.beta, size=len(self.patterns))

    def forward(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """E(ξ) = ½|ξ|² − lse_β(Xξ)."""
        check_features("ModernHopfield", state, self.unit.size)
        return self.unit.base_energy(state) - self.hidden.log_partition(state @ self.patterns.mT)

    def grad(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """∂E/∂ξ = ξ − Xᵀ softmax(βXξ)."""
        return state - self.cccp_update(state)

    def cccp_update(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """ξ ← Xᵀ softmax(βXξ)."""
        return self.sweep(state, 0.0)

    def sweep(
        self,
        state: Float[Tensor, "*batch d"],
        temperature: float,
        generator: Generator | None = None,
    ) -> Float[Tensor, "*batch d"]:
        """Look up m = 1/(βT) patterns by attention weight, then copy their average with noise.

        Raises:
            ParameterError: If T is not 1/(mβ) for a whole m.
        """
        lookup = self.hidden.sample(state @ self.patterns.mT, temperature, generator)
        return self.unit.sample(lookup @ self.patterns, temperature, generator)

    def config(self) -> dict[str, Any]:
        """The shape of the patterns, and β."""
        return super().config() | {"beta": self.beta}
