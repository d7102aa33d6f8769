"""From observations to the law of actions: the network of an agent."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    FlattenExtractor,
    create_mlp,
)
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn

from isinglass._support.typing import Float
from isinglass.agents.action_codec import ActionCode
from isinglass.agents.heads import ActionEnergy
from isinglass.distributions.enumerated import ActionDistribution
from isinglass.errors import DomainError, ParameterError

__all__ = ["CenteredExtractor", "FreeEnergyNetwork", "check_real"]


def check_real(name: str, values: object) -> None:
    """Refuse NaN and infinity in an array or in a dictionary of arrays.

    Arrays of whole numbers are not looked at: they cannot hold either.

    Raises:
        DomainError: If a value is NaN or infinite.

    Examples:
        >>> check_real("predict", "the observation", [0.0, float("nan")])
        Traceback (most recent call last):
            ...
        isinglass.errors.DomainError: predict: 1 of 2 values of the observation are NaN or ...
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


class CenteredExtractor(FlattenExtractor):
    """A bounded ``Box`` seen from −1 at its lower bounds to 1 at its upper ones, flat.

    Centred features learn faster where the network has no hidden layers. Not with
    ``VecNormalize``, which centres by itself.

    Raises:
        ParameterError: If the space is no bounded ``Box``.

    Examples:
        >>> CenteredExtractor(spaces.Box(0, 1, (2,)))(torch.tensor([[0.0, 0.75]]))
        tensor([[-1.0000,  0.5000]])
    """

    middle: Tensor
    reach: Tensor

    def __init__(self, observation_space: spaces.Box) -> None:
        if not isinstance(observation_space, spaces.Box) or not observation_space.is_bounded():
            raise ParameterError(f"observations of {observation_space}", "Use FlattenExtractor")
        super().__init__(observation_space)
        low, high = (
            torch.as_tensor(b.reshape(-1), dtype=torch.float32)
            for b in (observation_space.low, observation_space.high)
        )
        self.register_buffer("middle", (low + high) / 2, persistent=False)
        reach = torch.where(high > low, (high - low) / 2, 1.0)  # what never varies is seen as 0
        self.register_buffer("reach", reach, persistent=False)

    def forward(self, observations: Tensor) -> Tensor:
        """(x − middle) / half the range."""
        return (super().forward(observations) - self.middle) / self.reach


class FreeEnergyNetwork(BaseModel):
    """From an observation to the law of actions: features, layers, and the head of an energy.

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
        init_scale: By how much the values of random actions differ at the start, in units of reward.
        net_arch: Widths of the hidden layers between the features and the head.
        activation_fn: Non-linearity between the layers.
        normalize_images: Whether to divide images by 255.

    Examples:
        >>> observations, actions = spaces.MultiBinary(3), spaces.MultiBinary(5)
        >>> from isinglass.agents import MixtureEnergy
        >>> from stable_baselines3.common.torch_layers import FlattenExtractor
        >>> extractor = FlattenExtractor(observations)
        >>> network = FreeEnergyNetwork(
        ...     observations, actions, extractor, features_dim=3, energy=MixtureEnergy(4), init_scale=0.5,
        ...     net_arch=[16],
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

    def forward(self, obs: PyTorchObs, temperature: float) -> ActionDistribution:
        """The law of actions as states of units, one an observation."""
        return self.head(self._seen(obs), temperature)

    def score(
        self, obs: PyTorchObs, temperature: float, state: Float[Tensor, "batch d"]
    ) -> Float[Tensor, " batch"]:
        """Q(s, a) of one action, a state of units, an observation; differentiable once."""
        return self.head.score(self._seen(obs), temperature, state)

    def _seen(self, obs: PyTorchObs) -> Tensor:
        features = self.extract_features(obs, self.extractor)
        if isinstance(self.observation_space, spaces.MultiBinary):
            features = 2 * features - 1
        return self.trunk(features)
