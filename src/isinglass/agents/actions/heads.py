"""Heads of an agent's network: from the features of a state to a distribution of actions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, ClassVar

import torch
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn

from isinglass._support.registry import name_of
from isinglass._support.typing import Float
from isinglass.agents.actions._mixture_score import mixture_score, scores_in_one_pass
from isinglass.core.described import Labeled
from isinglass.distributions import (
    Annealing,
    ConditionalBoltzmannMachine,
    ConditionalDBM,
    ConditionalRBM,
    Distribution,
    PatternMixture,
    ScaledTruncatedMixture,
)
from isinglass.units import Bernoulli, Mixed, Unit

__all__ = [
    "ConditionalRBMHead",
    "DBMHead",
    "GaussianMixtureHead",
    "Head",
    "MixtureHead",
    "PairwiseHead",
]


class Head(Labeled, nn.Module, ABC):
    """A module from features of a state to a distribution of actions, Q on a learned scale.

    Scale and offset are counted in a reward of usual size, so that a step of the optimizer is the
    same whatever the unit of the rewards.

    The metadata of a state dict, whose tensors stay floats alone, hold what actions depend on
    besides: a load restores how they are annealed, and refuses other units or another energy.
    """

    reward_size: Tensor
    adopts: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        "annealing": lambda said: Annealing(**said)
    }

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.offset = nn.Parameter(torch.zeros(()))
        self.register_buffer("reward_size", torch.ones(()))

    def description(self) -> dict[str, object]:
        """Returns the kinds of its units and how it is annealed; a head with more adds it."""
        units = {name: getattr(self, name, None) for name in ("unit", "hidden")}
        said: dict[str, object] = {
            name: unit.config() for name, unit in units.items() if isinstance(unit, Unit)
        }
        if isinstance(annealing := getattr(self, "annealing", None), Annealing):
            said["annealing"] = asdict(annealing)
        return said

    @property
    def scale(self) -> Tensor:
        """Scale of values, in units of the reward for one of energy: exp(log_scale) rewards."""
        return self.reward_size * self.log_scale.exp()

    @property
    def shift(self) -> Tensor:
        """What is added to all values, in units of the reward."""
        return self.reward_size * self.offset

    @torch.no_grad()
    def start_at(self, mean: float, size: float) -> None:
        """Lets values start at the mean of rewards of this size, by which they are counted."""
        self.reward_size.fill_(size)
        self.offset.fill_(mean / size)

    @abstractmethod
    def forward(self, features: Tensor, temperature: float) -> Distribution:
        """Returns the distribution π(a|s) of actions as states of the unit, one for each row."""

    def score(
        self,
        features: Float[Tensor, "batch f"],
        temperature: float,
        state: Float[Tensor, "*states d"],
    ) -> Float[Tensor, "..."]:
        """Returns Q(s, a) of actions, differentiable once; a head may know a shorter way."""
        return self(features, temperature).score(state)

    def narrow(self, obs: PyTorchObs, state: Tensor) -> tuple[PyTorchObs, Tensor]:
        """Returns what Q of these actions alone is to be computed from; all of it by default."""
        return obs, state


class MixtureHead(Head):
    """A mixture of keys k_μ(s) = w_μ·φ(s) + b_μ and fields θ_μ, which the state may bend.

    It may bend each for itself, or all of them alike.
    """

    def __init__(
        self, width: int, unit: Unit, init_scale: float, memories: int, state_fields: bool | str
    ) -> None:
        super().__init__()
        self.unit = self.choices = unit
        self.keys = nn.Linear(width, memories)
        # One memory needs nothing to tell it from others: its values start flat, so that before a
        # reward is met none of its actions is taken everywhere.
        size = init_scale if memories > 1 else 0.0
        self.fields = nn.Parameter(_random_fields(memories, unit, size))
        self.bend = None
        if state_fields:
            bent = unit.size if state_fields == "shared" else self.fields.numel()
            self.bend = nn.Linear(width, bent, bias=False)
            nn.init.zeros_(self.bend.weight)  # start from the stored patterns

    def forward(self, features: Float[Tensor, "batch f"], temperature: float) -> Distribution:
        """Returns the mixture, less T log N: Q does not depend on the number of idle memories."""
        return self.patterns(features, temperature)

    def patterns(self, features: Float[Tensor, "batch f"], temperature: float) -> PatternMixture:
        """Returns the mixture over bits and choices."""
        idle = temperature * math.log(self.keys.out_features)
        fields = self.fields
        if self.bend is not None:
            fields = fields + self.bend(features).unflatten(-1, (-1, self.choices.size))
        scale = self.scale
        keys = torch.addcmul(self.shift - idle, scale, self.keys(features))
        return PatternMixture(self.choices, keys, scale * fields, temperature)

    def score(
        self,
        features: Float[Tensor, "batch f"],
        temperature: float,
        state: Float[Tensor, "*states d"],
    ) -> Float[Tensor, "..."]:
        """Returns Q(s, a), in one pass where the state bends no pattern for itself."""
        shared = self.bend is None or self.bend.out_features == self.unit.size
        plain = shared and not self.unit.has_base_measure_energy
        if not plain or not scores_in_one_pass(features, self.fields, state):
            return super().score(features, temperature, state)
        weight, bias = self.keys.weight, self.keys.bias
        values = mixture_score(
            features, weight, bias, self.fields, self.scale, self.shift, state, temperature
        )
        if self.bend is None:
            return values
        return torch.addcmul(values, self.scale, (self.bend(features) * state).sum(-1))


class GaussianMixtureHead(Head):
    """A Gaussian mixture in the box: heights k_μ(s), centers c_μ(s) and slopes γ(s).

    Heights are over a level that all Gaussians share: what is good in a state whatever is done is
    learned once, and does not blur which of them is higher.
    """

    def __init__(self, width: int, unit: Unit, memories: int) -> None:
        super().__init__()
        self.unit = unit
        self.level = nn.Linear(width, 1)
        self.heights = nn.Linear(width, memories)
        self.centers = nn.Linear(width, memories * unit.size)
        self.steepness = nn.Linear(width, unit.size)

    def forward(
        self, features: Float[Tensor, "batch f"], temperature: float
    ) -> ScaledTruncatedMixture:
        """Returns it by x = γa: θ_μ = γc_μ, and ½|γc_μ|² off the keys, so that k_μ is a height."""
        idle = temperature * math.log(self.heights.out_features)
        heights = self.scale * (self.level(features) + self.heights(features)) + self.shift - idle
        slopes = nn.functional.softplus(self.steepness(features)) * self.scale.sqrt() + 1e-3
        centers = torch.tanh(self.centers(features)).unflatten(-1, (-1, self.unit.size))
        fields = slopes.unsqueeze(-2) * centers
        keys = heights - fields.square().sum(-1) / 2
        distribution = PatternMixture(self.unit, keys, fields, temperature)
        return ScaledTruncatedMixture(distribution, slopes, bound=1.0)


class ConditionalRBMHead(Head):
    """A conditional RBM: fields b(s), c(s) and offset o(s) from the state, weights W of its own."""

    def __init__(
        self,
        width: int,
        unit: Unit,
        hidden: Unit,
        init_scale: float,
        annealing: Annealing,
        kind: type[ConditionalRBM] = ConditionalRBM,
    ) -> None:
        super().__init__()
        self.unit, self.hidden, self.annealing, self.kind = unit, hidden, annealing, kind
        self.hidden_bias = nn.Linear(width, hidden.size)
        self.bias = _zero_linear(width, unit.size + 1)
        self.weight = nn.Parameter(_random_fields(hidden.size, unit, init_scale))

    def description(self) -> dict[str, object]:
        """Returns the units, the annealing, and which energy Q is of: free or expected."""
        return super().description() | {"kind": name_of(self.kind)}

    def forward(self, features: Float[Tensor, "batch f"], temperature: float) -> ConditionalRBM:
        """Returns the machine whose fields the state gives."""
        fields = self.scale * self.bias(features)
        return self.kind(
            self.unit,
            fields[..., 1:],
            self.hidden,
            self.scale * self.hidden_bias(features),
            self.scale * self.weight,
            temperature=temperature,
            offset=fields[..., 0] + self.shift,
            annealing=self.annealing,
        )


class PairwiseHead(Head):
    """A conditional Boltzmann machine: fields b(s) and offset o(s) from the state, couplings J."""

    apart: Tensor

    def __init__(self, width: int, unit: Unit, annealing: Annealing) -> None:
        super().__init__()
        self.unit, self.annealing = unit, annealing
        self.bias = _zero_linear(width, unit.size + 1)
        self.weight = nn.Parameter(torch.zeros(unit.size, unit.size))
        variable_ids = unit.variable_ids()
        self.register_buffer("apart", variable_ids[:, None] != variable_ids, persistent=False)

    def forward(
        self, features: Float[Tensor, "batch f"], temperature: float
    ) -> ConditionalBoltzmannMachine:
        """Returns the machine whose fields the state gives."""
        fields = self.scale * self.bias(features)
        coupling = self.scale * (self.weight + self.weight.mT) * self.apart
        return ConditionalBoltzmannMachine(
            self.unit,
            fields[..., 1:],
            coupling,
            temperature=temperature,
            offset=fields[..., 0] + self.shift,
            annealing=self.annealing,
            checked=True,  # symmetric by the sum above
        )


class DBMHead(ConditionalRBMHead):
    """A conditional DBM: the RBM of :class:`ConditionalRBMHead` over action and upper layer."""

    def __init__(
        self,
        width: int,
        unit: Unit,
        hidden: int,
        top: int,
        init_scale: float,
        annealing: Annealing,
    ) -> None:
        joint = Mixed([unit, Bernoulli(top)])
        super().__init__(width, joint, Bernoulli(hidden), init_scale, annealing)
        self.actions = unit

    def forward(self, features: Float[Tensor, "batch f"], temperature: float) -> ConditionalDBM:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns the machine whose fields the state gives."""
        return ConditionalDBM(self.actions, super().forward(features, temperature))


def _zero_linear(width: int, outputs: int) -> nn.Linear:
    linear = nn.Linear(width, outputs)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _random_fields(rows: int, unit: Unit, init_scale: float) -> Tensor:
    """Draws fields of N(0, σ²/d), σ = init_scale: values of random actions differ by about σ."""
    return init_scale / math.sqrt(unit.size) * torch.randn(rows, unit.size)
