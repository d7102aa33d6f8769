"""The network of an agent: from observations to the distribution of actions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn

from isinglass._support.typing import Float
from isinglass.agents.action_codec import ActionCode
from isinglass.agents.action_energies import ActionEnergy
from isinglass.distributions import Distribution
from isinglass.errors import DomainError

__all__ = ["FreeEnergyNetwork", "check_real"]


def check_real(name: str, values: object) -> None:
    """Refuses NaN and infinity in an array or in a dictionary of arrays.

    Arrays of whole numbers are not looked at: they cannot hold either.

    Raises:
        DomainError: If a value is NaN or infinite.

    Examples:
        >>> check_real("the observation", [0.0, float("nan")])
        Traceback (most recent call last):
            ...
        isinglass.errors.DomainError: check_real: 1 of 2 values of the observation are NaN or ...
    """
    if isinstance(values, Mapping):
        for key, part in values.items():
            check_real(f"{name}[{key!r}]", part)
        return
    array = np.asarray(values)
    if array.dtype.kind != "f":
        return
    with np.errstate(over="ignore"):  # the network sees 32 bits
        finite = np.isfinite(array.astype(np.float32, copy=False))
    if finite.all():
        return
    raise DomainError(
        f"{(~finite).sum()} of {finite.size} values of {name} are NaN or infinite in 32 bits",
        "Mend the environment that gave them, or fill them (numpy.nan_to_num) before the agent "
        "sees them",
    )


class FreeEnergyNetwork(BaseModel):
    """A network from observations to π(a|s): features, layers, and the head of an energy.

    Features x of a ``MultiBinary`` observation space become 2x − 1, so that bits are seen as
    spins, ±1. Inside a ``Dict`` space bits stay as they are, 0 and 1.

    Reference: Sallans & Hinton 2004, "Reinforcement learning with factored states and actions",
    JMLR 5:1063-1088 (Q = −F).

    Args:
        observation_space: Observation space.
        action_space: Action space.
        features_extractor: Turns observations into features.
        features_dim: Number of features.
        energy: The energy of the actions.
        init_scale: By how much values of random actions differ at the start, in units of reward.
        net_arch: Widths of the hidden layers between the features and the head.
        activation_fn: Non-linearity between the layers.
        normalize_images: Whether to divide images by 255.

    Examples:
        >>> observations, actions = spaces.MultiBinary(3), spaces.MultiBinary(5)
        >>> from isinglass.agents import MixtureEnergy
        >>> from stable_baselines3.common.torch_layers import FlattenExtractor
        >>> extractor = FlattenExtractor(observations)
        >>> network = FreeEnergyNetwork(
        ...     observations, actions, extractor, features_dim=3, energy=MixtureEnergy(4),
        ...     init_scale=0.5, net_arch=[16],
        ... )
        >>> mixture = network(torch.zeros(2, 3), temperature=1.0)
        >>> mixture.value().shape, mixture.sample().shape
        (torch.Size([2]), torch.Size([2, 5]))
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        energy: ActionEnergy,
        init_scale: float,
        net_arch: list[int],
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            features_extractor=features_extractor,
            normalize_images=normalize_images,
        )
        self.extractor = features_extractor
        self.trunk = nn.Sequential(*create_mlp(features_dim, -1, net_arch, activation_fn))
        width = net_arch[-1] if net_arch else features_dim
        self.head = energy.head(width, ActionCode.of(action_space).unit, init_scale)

    def forward(self, obs: PyTorchObs, temperature: float) -> Distribution:
        """Returns the distribution π(a|s) of actions as states of units, one an observation."""
        return self.head(self._features(obs), temperature)

    def score(
        self, obs: PyTorchObs, temperature: float, state: Float[Tensor, "batch d"]
    ) -> Float[Tensor, " batch"]:
        """Returns Q(s, a) of one action, a state of units, an observation; differentiable once."""
        obs, state = self.head.narrow(obs, state)
        return self.head.score(self._features(obs), temperature, state)

    def _features(self, obs: PyTorchObs) -> Tensor:
        features = self.extract_features(_from_zero(obs, self.observation_space), self.extractor)
        if isinstance(self.observation_space, spaces.MultiBinary):
            features = 2 * features - 1
        return self.trunk(features)


def _from_zero(obs: PyTorchObs, space: spaces.Space) -> PyTorchObs:
    """Returns observations whose choices count from 0, as SB3 needs them to make them one-hot."""
    if isinstance(obs, dict) and isinstance(space, spaces.Dict):
        return {key: _from_zero(part, space[key]) for key, part in obs.items()}  # pyright: ignore[reportReturnType]
    if not isinstance(space, spaces.Discrete | spaces.MultiDiscrete) or not np.any(space.start):
        return obs
    return obs - torch.as_tensor(space.start, device=obs.device)  # pyright: ignore[reportOperatorIssue, reportAttributeAccessIssue]
