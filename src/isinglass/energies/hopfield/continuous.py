"""Hopfield networks of real vectors: what softmax, sparse and structured retrieval share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from isinglass._support.precision import wide_enough
from isinglass._support.typing import Bool, Float
from isinglass._support.validation import (
    ROWS,
    check_features,
    check_flag,
    check_operand,
    check_positive,
    check_values,
    known_cells,
)
from isinglass.core.capabilities import ConcaveConvex
from isinglass.core.numbers import Numbered
from isinglass.dynamics import Kernel, Recall, recall
from isinglass.energies.hopfield._completion import HeldCCCP
from isinglass.energies.hopfield.base import Memory
from isinglass.energies.hopfield.resemblance import Resemblance, resemblance
from isinglass.errors import ParameterError
from isinglass.retrieval.scores import everywhere, keys_center, overlaps, partial_scores

__all__ = ["ContinuousHopfield"]


class ContinuousHopfield(Numbered, ConcaveConvex, Memory):
    r"""A memory of real vectors, recalled by attention: one convex Ω decides how it attends.

        E(ξ) = ½|ξ|² − Φ(Xξ),   Φ(s) = max_p p·s − β⁻¹Ω(p)      p over the simplex, or a part of it
        ξ ← Xᵀp,   p = ∇Φ(Xξ)                                 the association weights

    Φ is convex, so a step never raises E. A subclass gives :meth:`weigh`, the arg-max p, and
    :meth:`negentropy`, Ω; with Ω(p) = Σ p log p they are softmax and log-sum-exp.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217; Santos et al. 2024, arXiv:2402.13725
    (Hopfield–Fenchel–Young energies).

    Args:
        patterns: ``(N, d)``, one pattern a row; an ``nn.Parameter`` is learned.
        beta: β > 0, in inverse units of x·x. Larger recalls single patterns, smaller blends.
        learn_beta: Whether β is learned too; it is kept as ``log_beta``, so that it stays above
            zero.
        constants: Whether E includes :attr:`offset`, which makes 0 ≤ E ≤ 2M² for |ξ| ≤ M, the
            norm of the longest pattern. Neither recall nor sampling depends on it.
        copy: Whether a plain tensor is copied; False keeps it itself, which may lie in a file
            (:func:`isinglass.io.map_patterns`).

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not finite.
        ParameterError: If ``beta`` is not one number above zero.

    Examples:
        >>> class Nearest(ContinuousHopfield):
        ...     "Ω = 0: all weight on the best pattern, whatever β."
        ...     def weigh(self, scores):
        ...         return torch.nn.functional.one_hot(scores.argmax(-1), scores.shape[-1]).float()
        ...     def negentropy(self, weights):
        ...         return torch.zeros_like(weights[..., 0])
        >>> Nearest(torch.eye(2)).recall(torch.tensor([[0.6, 0.5]])).state
        tensor([[1., 0.]])
    """

    numbers: ClassVar[tuple[str, ...]] = ("beta",)
    adopts: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"constants": bool}
    log_beta: nn.Parameter | None

    def __init__(
        self,
        patterns: Tensor,
        beta: float = 1.0,
        *,
        learn_beta: bool = False,
        constants: bool = False,
        copy: bool = True,
    ) -> None:
        super().__init__(patterns, copy=check_flag("copy", copy))
        self.constants = check_flag("constants", constants)
        learn_beta = check_flag("learn_beta", learn_beta)
        log_beta = torch.zeros((), dtype=patterns.dtype, device=patterns.device)
        self.register_parameter("log_beta", nn.Parameter(log_beta) if learn_beta else None)
        self._set_beta(beta)  # past nn.Module, which would keep a Parameter as it is

    @property
    def beta(self) -> float | Tensor:
        """β, a tensor of no dimension where it is learned; may be set anew to a number."""
        return self._beta if self.log_beta is None else self.log_beta.exp()

    @beta.setter
    def beta(self, beta: float) -> None:
        self._set_beta(beta)

    def _set_beta(self, beta: float) -> None:
        if isinstance(beta, Tensor) and beta.requires_grad:
            raise ParameterError(
                "a beta that requires a gradient", "Give its value, and learn_beta=True"
            )
        number = check_positive("beta", beta)
        if self.log_beta is None:
            self._beta = number
        else:
            nn.init.constant_(self.log_beta, math.log(number))

    @property
    def offset(self) -> Float[Tensor, ""]:
        """½M² − β⁻¹Ω(1/N), M the norm of the longest pattern: with it, 0 ≤ E ≤ 2M²."""
        count = len(self.patterns)
        wide = torch.promote_types(self.patterns.dtype, torch.float32)
        uniform = torch.full((count,), 1 / count, dtype=wide, device=self.patterns.device)
        blocks = self.patterns.split(ROWS)  # a copy of all would be as large as the memory
        largest = torch.stack([b.to(wide).square().sum(-1).amax() for b in blocks]).amax()
        offset = largest / 2 - self.negentropy(uniform) / self.beta
        return offset.to(wide_enough(self.patterns[:1]).dtype)

    @property
    def margin(self) -> float:
        """By how much β times a score must lead for :meth:`retrieves_exactly`: never, if ∞.

        Reference: Blondel, Martins & Niculae 2020, arXiv:1901.02324 (the margin of a loss).
        """
        return math.inf

    @property
    def subset(self) -> int:
        """How many patterns are retrieved together."""
        return 1

    @abstractmethod
    def weigh(self, scores: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch N"]:
        """Computes p = argmax_p p·s − β⁻¹Ω(p), the association weights of these scores s = Xξ."""

    @abstractmethod
    def negentropy(self, weights: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch"]:
        """Computes Ω(p), the convex regularizer of the weights."""

    def potential(self, scores: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch"]:
        """Computes Φ(s) = max_p p·s − β⁻¹Ω(p), whose gradient is :meth:`weigh`."""
        weights = self.weigh(scores)
        return (weights * scores).sum(-1) - self.negentropy(weights) / self.beta

    def association(
        self, state: Float[Tensor, "*batch d"], known: Bool[Tensor, "*mask d"] | None = None
    ) -> Float[Tensor, "*batch N"]:
        """Computes how much of each pattern the next state is made of; sums to 1.

        Args:
            state: ``(*batch, d)``.
            known: If given, True where a cell of the state is known, broadcast over the batch:
                patterns are then weighed by their distance in those cells.

        Examples:
            >>> import isinglass as ig
            >>> memory = ig.ModernHopfield(torch.eye(3), beta=8.0)
            >>> memory.association(torch.tensor([1.0, 0.0, 0.0])).round(decimals=3)
            tensor([0.9990, 0.0000, 0.0000])
        """
        if known is not None:
            state = known_cells(state, known)
        self._check_operand(state)
        return self._weights(state, known)

    def _weights(self, state: Tensor, known: Tensor | None) -> Tensor:
        if known is None:
            scores = overlaps(state, self.patterns)
        else:
            scores = partial_scores(state, known, self.patterns)
        weights = self.weigh(scores)
        return weights.to(state.dtype) if state.dtype == torch.float16 else weights

    def complete(
        self, cues: Float[Tensor, "*batch d"], known: Bool[Tensor, "*mask d"]
    ) -> Float[Tensor, "*batch d"]:
        """Fills the unknown cells of cues by the patterns nearest in the known ones.

            ξ_unknown = Σ_μ p_μ x_μ,   p = p(s),   s_μ = −½ Σ_known (x_μi − ξ_i)²

        With softmax weights it is the mean of the unknown cells given the known ones, in the
        mixture of Gaussians N(x_μ, 1/β) of equal weights: unknown cells are integrated out, and
        patterns compete by what the cue shows of them, whatever their length. Known cells stay.

        Args:
            cues: ``(*batch, d)``; unknown cells may be anything, NaN included.
            known: True where a cell is given, at least one a cue; broadcast over the batch.

        Raises:
            ShapeError: If a cue or the mask has the wrong number of features.
            DomainError: If a known cell is not finite, or the mask is not of booleans.
            ParameterError: If no cell of a cue is known.

        Examples:
            >>> import isinglass as ig
            >>> memory = ig.ModernHopfield(torch.tensor([[1.0, 2.0], [3.0, -1.0]]), beta=20.0)
            >>> memory.complete(torch.tensor([2.9, torch.nan]), torch.tensor([True, False]))
            tensor([ 2.9000, -1.0000])
        """
        cells = known_cells(cues, known)
        return torch.where(known, cues, self.read(cells, self.patterns, known))

    def average(
        self,
        state: Float[Tensor, "*batch d"],
        values: Float[Tensor, "N e"],
        known: Bool[Tensor, "*mask d"] | None = None,
    ) -> Float[Tensor, "*batch e"]:
        """Computes Σ_μ p_μ value_μ as :meth:`read` does, unchecked: for the steps of a recall."""
        return self._weights(state, known) @ values

    def choose_kernel(self, cues: Float[Tensor, "*batch d"]) -> Kernel:
        """Chooses the kernel by which these cues are recalled unless another is named."""
        return self.default_kernel()

    def recall(
        self,
        cues: Float[Tensor, "*batch d"],
        *,
        known: Bool[Tensor, "*mask d"] | None = None,
        kernel: Kernel | None = None,
        max_steps: int | None = None,
        tolerance: float | None = None,
        trace: bool = False,
    ) -> Recall:
        """Descends from each cue, or completes it from the cells that are known.

        Args:
            cues: ``(*batch, d)``, or a single ``(d,)``.
            known: If given, True where a cell is known, broadcast over the batch: the others,
                which may be anything, are filled by :meth:`complete`, then descend from there by
                −Φ_μ(−½|x_μ − ξ|²), the energy that is reported; known ones stay as they are.
            kernel: How to descend; None is the memory's own rule.
            max_steps: Most steps a row may take; None asks the kernel.
            tolerance: Largest change in one step that counts as rest; None follows the dtype.
            trace: Whether to record the energy after every step.

        Raises:
            ShapeError: If a cue or mask has the wrong number of features, or there is no cue.
            DomainError: If a cue is not finite where it is known.
            ParameterError: If no cell of a cue is known, or ``known`` comes with a kernel.

        Examples:
            >>> import isinglass as ig
            >>> memory = ig.ModernHopfield(torch.tensor([[1.0, 2.0], [3.0, -1.0]]), beta=20.0)
            >>> cue = torch.tensor([2.9, torch.nan])
            >>> memory.recall(cue, known=~cue.isnan()).state
            tensor([ 2.9000, -1.0000])
        """
        if known is None:
            kernel = self.choose_kernel(cues) if kernel is None else kernel
            return super().recall(
                cues, kernel=kernel, max_steps=max_steps, tolerance=tolerance, trace=trace
            )
        if kernel is not None:
            raise ParameterError(
                f"known together with kernel = {kernel!r}",
                "Leave the kernel out: known cells are held by one of the memory's own",
            )
        with torch.no_grad():
            start = self.complete(cues, known)
        held = known.expand(cues.shape).reshape(-1, cues.shape[-1])
        return recall(
            self, start, HeldCCCP(held), max_steps=max_steps, tolerance=tolerance, trace=trace
        )

    def resemblance(
        self,
        cues: Float[Tensor, "*batch d"],
        known: Bool[Tensor, "*mask d"] | None = None,
        *,
        held_out: Float[Tensor, "M d"] | None = None,
    ) -> Resemblance:
        """Says how much each cue resembles what is stored, as it is shown; see :func:`resemblance`.

        Examples:
            >>> import isinglass as ig
            >>> generator = torch.Generator().manual_seed(0)
            >>> memory = ig.ModernHopfield(torch.randn(100, 20, generator=generator), beta=5.0)
            >>> cues = torch.stack([memory.patterns[7] + 0.1, torch.full((20,), 9.0)])
            >>> said = memory.resemblance(cues)
            >>> int(said.nearest[0]), said.unfamiliar()
            (7, tensor([False,  True]))
        """
        return resemblance(self.patterns, float(self.beta), cues, known, held_out=held_out)

    def forward(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Computes E(ξ) = ½|ξ|² − Φ(Xξ), plus :attr:`offset` where ``constants`` are wanted."""
        self._check_operand(state)
        return self.energy_from(state, self.potential(overlaps(state, self.patterns)))

    def energy_of_distance(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Computes −Φ_μ(−½|x_μ − ξ|²): E, but that patterns do not gain by their length."""
        scores = partial_scores(state, everywhere(state), self.patterns)
        length = wide_enough(state - keys_center(self.patterns)).square().sum(-1)
        return length / 2 - self.potential(scores)

    def energy_from(
        self, state: Float[Tensor, "*batch d"], potential: Float[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch"]:
        """Computes E(ξ) from Φ(Xξ), which a streamed look-up has found."""
        energy = self.unit.base_measure_energy(wide_enough(state)) - potential
        return energy + self.offset if self.constants else energy

    def grad(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Computes ∂E/∂ξ = ξ − Xᵀp."""
        return state - self.cccp_update(state)

    def cccp_update(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Takes one concave–convex step, ξ ← Xᵀp."""
        self._check_operand(state)
        return self.average(state, self.patterns)

    def read(
        self,
        state: Float[Tensor, "*batch d"],
        values: Float[Tensor, "N e"],
        known: Bool[Tensor, "*mask d"] | None = None,
    ) -> Float[Tensor, "*batch e"]:
        """Computes Σ_μ p_μ value_μ: what goes with the patterns that this state recalls.

        Args:
            state: ``(*batch, d)``.
            values: One value a pattern, ``(N, e)``.
            known: If given, True where a cell of the state is known, as in :meth:`association`.

        Raises:
            ShapeError: If there is not one value a pattern, or a state has the wrong size.
            DomainError: If dtype or device of the values is not the patterns'.
        """
        check_values(values, self.patterns)
        if known is not None:
            state = known_cells(state, known)
        self._check_operand(state)
        return self.average(state, values, known)

    def attend(
        self, query: nn.Module | None = None, *, values: Tensor | None = None, steps: int = 1
    ) -> nn.Module:
        """Returns a :class:`RetrievalLayer` that asks this memory and shares its patterns.

        Examples:
            >>> import isinglass as ig
            >>> memory = ig.ModernHopfield(torch.eye(3), beta=8.0)
            >>> network = nn.Sequential(memory.attend(nn.Linear(5, 3)), nn.ReLU())
            >>> network(torch.zeros(2, 5)).shape
            torch.Size([2, 3])
        """
        from isinglass.energies.hopfield.retrieval_layer import (
            RetrievalLayer,  # which needs this class
        )

        return RetrievalLayer(self, query, values=values, steps=steps)

    def retrieves_exactly(self, state: Float[Tensor, "*batch d"]) -> Bool[Tensor, "*batch"]:
        """Tells whether one step gives the nearest pattern itself, nothing of the others.

        So it is where the best score leads the next by at least :attr:`margin`/β; of a subset of
        k, the k-th the next.

        Reference: Santos et al. 2024, arXiv:2402.13725.
        """
        self._check_operand(state)
        scores = overlaps(state, self.patterns)
        if scores.shape[-1] == self.subset:
            return torch.ones_like(scores[..., 0], dtype=torch.bool)
        top = scores.topk(self.subset + 1, -1).values
        return self.beta * (top[..., -2] - top[..., -1]) >= self.margin

    def _check_operand(self, state: Tensor) -> None:
        patterns = self.patterns
        if (
            isinstance(state, Tensor)
            and state.ndim > 0
            and state.shape[-1] == patterns.shape[-1]
            and state.dtype == patterns.dtype
            and state.device == patterns.device
        ):
            return  # what every step of recall passes: the checks below only name what is wrong
        check_features(state, self.unit.size)
        check_operand(state, self.patterns)

    def config(self) -> dict[str, Any]:
        """Returns the shape of the patterns, β, and what is not as by default."""
        switches = {"learn_beta": self.log_beta is not None, "constants": self.constants}
        chosen = {name: True for name, on in switches.items() if on}
        beta = self.beta.item() if isinstance(self.beta, Tensor) else self.beta
        return super().config() | {"beta": beta} | chosen

    def description(self) -> dict[str, Any]:
        """Returns whether E includes the constants, and what a subclass adds to config."""
        hollow = self.log_beta is not None and self.log_beta.is_meta
        rest = {} if hollow else super().description()
        rest.pop("learn_beta", None)  # the state shows it
        return rest | {"constants": self.constants}
