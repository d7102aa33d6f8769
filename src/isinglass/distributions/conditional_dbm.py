"""A conditional RBM with a second hidden layer: a conditional deep Boltzmann machine."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass.distributions.annealed_conditional import select_chain
from isinglass.distributions.base import Distribution
from isinglass.distributions.conditional_rbm import ConditionalRBM
from isinglass.units import Mixed, Unit

__all__ = ["ConditionalDBM"]


@dataclass(frozen=True)
class ConditionalDBM(Distribution):
    r"""A deep Boltzmann machine of units v under h¹ and h²: S(v) bounds −F(v) from below.

        E(v, h¹, h²) = U(v) − b·v − c¹·h¹ − c²·h² − h¹ᵀ(Wv + Jh²)
        S(v)         = b·v − U(v) + c²·m + A_T(c¹ + Wv + Jm) − [I·m − A_T(I)] − const,
                       m = ⟨h²⟩ by mean-field inference, I = c² + Jᵀ⟨h¹⟩

    v and h² do not touch: given h¹ both are drawn at once, so that the chains of
    :class:`ConditionalRBM` over (v, h²) serve, and V is that of −F itself. Without weights S = 0.

    Reference: Crawford, Levit, Ghadermarzy, Oberoi & Ronagh 2018, "Reinforcement learning using
    quantum Boltzmann machines", arXiv:1612.05695 (deep Boltzmann machines for Q); Salakhutdinov &
    Hinton 2009, "Deep Boltzmann machines", AISTATS (mean field).

    Attributes:
        unit: The kind of the units v.
        joint: The machine over (v, h²), its unit :class:`~isinglass.Mixed`, its hidden layer h¹.
        steps: Steps of mean-field inference.

    Examples:
        >>> import isinglass as ig
        >>> both = ig.Mixed([ig.Spin(3), ig.Bernoulli(2)])  # v and h²
        >>> joint = ig.ConditionalRBM(
        ...     both, torch.zeros(5), ig.Bernoulli(4), torch.zeros(4), torch.zeros(4, 5))
        >>> distribution = ConditionalDBM(ig.Spin(3), joint)
        >>> distribution.score(torch.ones(3)), distribution.mode().shape
        (tensor(0.), torch.Size([3]))
    """

    unit: Unit
    joint: ConditionalRBM
    steps: int = 10

    @property
    def temperature(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The temperature T of the joint machine."""
        return self.joint.temperature

    @property
    def top(self) -> Unit:
        """The kind of the hidden units h² of the upper layer."""
        return Mixed(list(self.joint.unit.parts[len(self.unit.parts) :]))

    def score(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """Returns the bound S(v), its gradient taken at means that are held fixed."""
        joint, temperature, top = self.joint, self.temperature, self.top
        size = self.unit.size
        bottom_bias, top_bias = joint.bias[..., :size], joint.bias[..., size:]
        weight, coupling = joint.weight[:, :size], joint.weight[:, size:]
        below = joint.hidden_bias + state @ weight.mT
        with torch.no_grad():
            field = top_bias.expand(*below.shape[:-1], top.size)
            for _ in range(self.steps):
                mean = top.mean(field, temperature)
                field = (
                    top_bias + joint.hidden.mean(below + mean @ coupling.mT, temperature) @ coupling
                )
            mean = top.mean(field, temperature)
            dual = (field * mean).sum(-1) - top.log_partition(field, temperature)
            dual = dual + top.log_partition(torch.zeros_like(field), temperature)
        own = (state * bottom_bias).sum(-1) - self.unit.base_measure_energy(state, temperature)
        total = (
            own
            + joint.offset
            + (mean * top_bias).sum(-1)
            + joint._relative_log_partition(below + mean @ coupling.mT)
            - dual
        )
        return joint._mask_scores(total, torch.nn.functional.pad(state, (0, top.size)))

    def value(self, generator: Generator | None = None) -> Float[Tensor, "*batch"]:
        """Estimates V of the units that are not clamped, by the chains of −F."""
        none = torch.zeros(
            self.top.size, dtype=self.joint.bias.dtype, device=self.joint.bias.device
        )
        return self.joint.value(generator) - self.top.log_partition(none, self.temperature)

    def sample(self, generator: Generator | None = None) -> Float[Tensor, "*batch d"]:
        """Draws one state v for each row, from −F itself."""
        return self.joint.sample(generator)[..., : self.unit.size]

    def mode(self) -> Float[Tensor, "*batch d"]:
        """Finds the state of highest S among the chains' ends, the same at every call."""
        states = self.joint.peaks()[..., : self.unit.size]
        return select_chain(states, self.score(states).argmax(0))

    def condition(
        self, state: Float[Tensor, "*batch d"], observed: Bool[Tensor, "*mask"]
    ) -> ConditionalDBM:
        """Returns the distribution p(v_free | v_observed) of the units that are not observed.

        Raises:
            IsinglassError: As :meth:`ConditionalRBM.condition`.
        """
        return replace(self, joint=self.joint.condition(self._pad(state), self._pad(observed)))

    def agrees(self, states: Float[Tensor, "M d"]) -> Bool[Tensor, "*batch M"] | None:
        """Tells which states have every clamped unit at its value; None where none is clamped."""
        return self.joint.agrees(self._pad(states))

    def zeros_like_event(self) -> Float[Tensor, "*batch d"]:
        """Returns zeros with the shape, type and device of one state v for each row."""
        return self.joint.zeros_like_event()[..., : self.unit.size]

    def _without(self, forbidden: Bool[Tensor, "*batch d"]) -> ConditionalDBM:
        return replace(self, joint=self.joint._without(self._pad(forbidden)))

    def _pad(self, values: Tensor) -> Tensor:
        """Appends zeros, or False, for h²."""
        return torch.nn.functional.pad(values, (0, self.top.size))
