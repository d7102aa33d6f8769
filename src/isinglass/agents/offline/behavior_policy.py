"""Policies tilted by the density of what was logged: π(a|s) ∝ π_β(a|s) exp(Q(s, a)/T)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_kind
from isinglass.agents.actions.action_energies import ActionEnergy, MixtureEnergy
from isinglass.agents.actions.action_masks import MaskLayout
from isinglass.agents.defaults import default_energy
from isinglass.agents.input_policies import FreeEnergyCnnPolicy, FreeEnergyMultiInputPolicy
from isinglass.agents.network import FreeEnergyNetwork
from isinglass.agents.policy import FreeEnergyPolicy
from isinglass.distributions import (
    ConditionalRBM,
    Distribution,
    Enumerated,
    PatternMixture,
    has_few_states,
)
from isinglass.distributions.pattern_mixture import joined
from isinglass.errors import IntractableError

__all__ = [
    "BehaviorCnnPolicy",
    "BehaviorMultiInputPolicy",
    "BehaviorPolicy",
]


class BehaviorPolicy(FreeEnergyPolicy):
    r"""The policy of an agent that has learned from logged data: it keeps to what was done.

        π(a|s) = π_β(a|s) exp((Q(s,a) − V(s))/T),   V(s) = T log Σ_a π_β(a|s) exp(Q(s,a)/T)

    π_β, the behavior, is a second network whose head is a mixture, so that its density is exact;
    it is learned from the log by maximum likelihood. Two mixtures of N and M patterns make one of
    N·M, and so all of π is exact: value, draws, conditions. Greedy actions have the highest
    T log π_β + Q: of what nobody did, no value is believed.

    With ``uniform_share`` ε the behavior is (1 − ε) π_β + ε/|A|: at 1 the policy is that of
    :class:`FreeEnergyPolicy`. It is 1 until a log was learned, then 0, and grows with the share
    of steps that the agent has made itself, which uniform draws began. Real actions have no such
    mixture: of them the behavior alone counts, once it was learned.

    Reference: Peters, Mülling & Altun 2010, "Relative entropy policy search" (the tilted policy);
    Fujimoto, Meger & Precup 2019, arXiv:1812.02900 (actions of the log alone).

    Args:
        *args: As of :class:`FreeEnergyPolicy`.
        behavior: The energy of π_β, a mixture; None is one that fits the actions.
        **kwargs: As of :class:`FreeEnergyPolicy`.

    Raises:
        ParameterError: As :class:`FreeEnergyPolicy`.
        IntractableError: If a product of the two has no closed form.

    Examples:
        >>> sight, actions = spaces.MultiBinary(3), spaces.MultiBinary(5)
        >>> policy = BehaviorPolicy(sight, actions, lambda _: 1e-3, energy=MixtureEnergy(4))
        >>> policy.uniform_share.fill_(0.0)
        tensor(0.)
        >>> distribution = policy.distribution(torch.zeros(1, 3))
        >>> from isinglass import Bernoulli
        >>> states = policy.code.encode(Bernoulli(5).enumerate_states())
        >>> density = policy.behavior_distribution(torch.zeros(1, 3)).score_each(states)
        >>> q = policy.q_net(torch.zeros(1, 3), 1.0).score_each(states)
        >>> bool((distribution.value() - (density + q).logsumexp(-1)).abs() < 1e-5)
        True
    """

    uniform_share: Tensor

    def __init__(self, *args: Any, behavior: ActionEnergy | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if behavior is None:
            behavior = default_behavior(self.action_space, self.q_net)
        check_kind("behavior", behavior, MixtureEnergy, "MixtureEnergy()")
        self.behavior_energy = behavior
        self.behavior = self._make_network(behavior, 1.0)
        self.behavior.set_training_mode(False)
        self.register_buffer("uniform_share", torch.ones(()))
        self._tilts = True

    def behavior_distribution(self, obs: PyTorchObs) -> Distribution:
        """Returns π_β(a|s) at T = 1, less its log-partition: scores are log-densities."""
        found = self.behavior(obs, 1.0)
        share = float(self.uniform_share)
        if not isinstance(found, PatternMixture):
            return found
        keys = found.keys - found.value().unsqueeze(-1)
        if share == 0:
            return replace(found, keys=keys)
        level = found.unit.log_partition(torch.zeros_like(found.fields[..., :1, :]))
        uniform = replace(
            found,
            keys=(math.log(share) - level).expand(*keys.shape[:-1], 1),
            fields=torch.zeros_like(found.fields[..., :1, :]),
        )
        known = replace(found, keys=keys + math.log1p(-min(share, 1 - 1e-12)))
        return joined(known, uniform)

    def log_allowed(self, obs: PyTorchObs, masks: Tensor) -> Float[Tensor, " batch"]:
        """Returns log Σ π_β(a|s) over what is allowed: what the rest must make up for."""
        behavior = self.behavior_distribution(obs)
        if masks.shape[-1] == MaskLayout.of(self.action_space).joint_size:
            return Enumerated.of(behavior, masks).value() - behavior.value()
        return self.code.forbid(behavior, masks).value() - behavior.value()

    @contextmanager
    def untilted(self) -> Iterator[None]:
        """Lets distributions be those of Q alone, as of :class:`FreeEnergyPolicy`."""
        before, self._tilts = self._tilts, False
        try:
            yield
        finally:
            self._tilts = before

    def _acting(self, obs: PyTorchObs, masks: Tensor | None) -> Distribution:
        return self.distribution(obs, masks)  # a warmer one would leave what others have done

    def _unmasked(self, obs: PyTorchObs, temperature: float, target: bool) -> Distribution:
        values = super()._unmasked(obs, temperature, target)
        plain = self.code.continuous and bool(self.uniform_share == 1)
        if not self._tilts or plain:
            return values
        if has_few_states(values):
            values = Enumerated.of(values)
        found = values.tilted(self.behavior_distribution(obs))
        if found is None:
            raise IntractableError(
                f"a {type(values).__name__} of actions, tilted by a mixture",
                "Give energy=MixtureEnergy(), or ProductOfMixtures() or RBMEnergy() with "
                "behavior=MixtureEnergy(32)",
            )
        return found

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {"behavior": self.behavior_energy}


class BehaviorCnnPolicy(BehaviorPolicy, FreeEnergyCnnPolicy):
    """:class:`BehaviorPolicy` for images: the features are those of SB3's ``NatureCNN``.

    Arguments are those of :class:`BehaviorPolicy`.

    Reference: Fujimoto, Meger & Precup 2019, arXiv:1812.02900.

    Examples:
        >>> import numpy as np
        >>> pictures = spaces.Box(0, 255, (1, 36, 36), np.uint8)
        >>> policy = BehaviorCnnPolicy(pictures, spaces.Discrete(3), lambda _: 1e-3)
        >>> action, _ = policy.predict(np.zeros((1, 36, 36), np.uint8))
    """


class BehaviorMultiInputPolicy(BehaviorPolicy, FreeEnergyMultiInputPolicy):
    """:class:`BehaviorPolicy` for dictionaries: SB3's ``CombinedExtractor``.

    Arguments are those of :class:`BehaviorPolicy`.

    Reference: Fujimoto, Meger & Precup 2019, arXiv:1812.02900.

    Examples:
        >>> import numpy as np
        >>> seen = spaces.Dict({"speed": spaces.Box(-1, 1, (2,))})
        >>> policy = BehaviorMultiInputPolicy(seen, spaces.Discrete(3), lambda _: 1e-3)
        >>> action, _ = policy.predict({"speed": np.zeros(2)})
    """


def default_behavior(space: spaces.Space, values: FreeEnergyNetwork) -> ActionEnergy:
    """Returns the energy of the behavior: that of Q by default, or what its chains can take in.

    Those of a restricted Boltzmann machine take in patterns that all states share.
    """
    if hasattr(values.head, "kind") and values.head.kind is ConditionalRBM:
        return MixtureEnergy()
    return default_energy(space)
