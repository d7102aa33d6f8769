"""An energy of actions of your own: copy this file, change the score, give it to an agent.

It has three parts: a distribution of actions given their fields, a head that makes the fields from
features of a state, and the energy, a frozen dataclass of sizes. This one has independent units,

    Q(s, a) = b(s)·a + o(s)        V(s) = A_T(b(s)) + o(s)

Files touched inside the library: distributions/<name>.py, distributions/__init__.py,
agents/actions/action_energies.py (head and energy), agents/__init__.py and
tests/agents/small.py. Outside it, none but yours: `FreeEnergyQ(..., energy=FactorizedEnergy())`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn

from isinglass.agents import ActionEnergy
from isinglass.agents.actions.heads import Head
from isinglass.distributions.base import FieldDistribution
from isinglass.errors import ParameterError
from isinglass.units import Unit

__all__ = ["FactorizedDistribution", "FactorizedEnergy"]


@dataclass(frozen=True)
class FactorizedDistribution(FieldDistribution):
    """The distribution of independent units: p(v) = Π_i exp((b_i v_i − A_T(b_i))/T).

    Attributes:
        unit: The kind of the units v.
        bias: b, ``(*batch, d)``.
        offset: o, ``(*batch)``.
        temperature: T > 0.
        observed: Which units are clamped; None if none is.
        clamped: Their values, in place.
        forbidden: Which components of one-hot units are forbidden; None if none is.
    """

    unit: Unit
    bias: Tensor
    offset: Tensor
    temperature: float
    observed: Tensor | None = None
    clamped: Tensor | None = None
    forbidden: Tensor | None = None

    @property
    def exact_value(self) -> bool:
        """Always: the agent then neither anneals nor enumerates."""
        return True

    def score(self, state: Tensor) -> Tensor:
        """Returns S(v) = b·v + o, −∞ where a forbidden component is on."""
        return self._mask_scores((state * self.bias).sum(-1) + self.offset, state)

    def value(self, generator: Generator | None = None) -> Tensor:
        """Returns V = A_T(b) + o, over the units that are not clamped."""
        shares = self.unit.log_partition_per_component(
            self._mask_fields(self.bias), self.temperature
        )
        if self.observed is None or self.clamped is None:
            return shares.sum(-1) + self.offset
        free = torch.where(self.observed, 0.0, shares).sum(-1)
        return free + (self.clamped * self.bias).sum(-1) + self.offset

    def sample(self, generator: Generator | None = None) -> Tensor:
        """Draws v ~ p(v), every unit by itself."""
        fields = self._mask_fields(self.bias)
        return self._restore(self.unit.sample(fields, self.temperature, generator))

    def mode(self) -> Tensor:
        """Finds the best state, every unit by itself."""
        fields = self._mask_fields(self.bias)
        return self._restore(self.unit.argmax_state(fields, torch.zeros_like(fields)))

    def condition(self, state: Tensor, observed: Tensor) -> FactorizedDistribution:
        """Returns p(v_free | v_observed): some units clamped."""
        self.unit.check_mask(observed)
        observed = observed.expand(self.bias.shape)
        self.unit.check(state.expand(self.bias.shape), observed)
        clamped = torch.where(observed, state, 0.0)
        if self.observed is not None and self.clamped is not None:  # what was stays as it was
            clamped = torch.where(self.observed, self.clamped, clamped)
            observed = observed | self.observed
        given = replace(self, observed=observed, clamped=clamped)
        given._check_clamped(self.forbidden)
        return given

    def zeros_like_event(self) -> Tensor:
        """Returns zeros shaped like one state for each row."""
        return torch.zeros_like(self.bias)

    def _without(self, forbidden: Tensor) -> FactorizedDistribution:
        return replace(self, forbidden=self._join(forbidden))


class FactorizedHead(Head):
    """A module from features to fields b(s) and an offset o(s), on a learned scale."""

    def __init__(self, width: int, unit: Unit) -> None:
        super().__init__()
        self.unit, self.linear = unit, nn.Linear(width, unit.size + 1)

    def forward(self, features: Tensor, temperature: float) -> FactorizedDistribution:
        """Returns π(a|s) of actions as states of the unit."""
        fields = self.scale * self.linear(features)
        offset = fields[..., 0] + self.offset
        return FactorizedDistribution(self.unit, fields[..., 1:], offset, temperature)


@dataclass(frozen=True)
class FactorizedEnergy(ActionEnergy):
    """Independent units, the energy of a policy whose parts know nothing of each other."""

    def head(self, width: int, unit: Unit, init_scale: float) -> Head:
        """Builds the module from ``width`` features to a distribution over states of the unit."""
        if unit.support is not None:
            raise ParameterError(f"actions of {unit}", "Use MixtureEnergy() for real actions")
        return FactorizedHead(width, unit)
