"""The network of an agent: from observations to the distribution of actions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn

from isinglass._support.typing import Float
from isinglass._support.validation import check_count
from isinglass.agents.actions.action_codec import ActionCode
from isinglass.agents.actions.action_energies import ActionEnergy
from isinglass.agents.extractors.episodic_memory import EpisodicMemory
from isinglass.distributions import Distribution
from isinglass.errors import DomainError, ParameterError, ShapeError

__all__ = [
    "FreeEnergyNetwork",
    "check_activation",
    "check_fits",
    "check_real",
    "check_seen",
    "check_widths",
]


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


def check_seen(name: str, seen: Any, space: spaces.Space) -> None:
    """Refuses observations with NaN, infinity, or choices that their space does not have.

    Raises:
        DomainError: If there are any.

    Examples:
        >>> check_seen("the observation", np.array([2, 7]), spaces.Discrete(5))
        Traceback (most recent call last):
            ...
        isinglass.errors.DomainError: check_seen: the observation has 7, in Discrete(5)...
    """
    if isinstance(seen, Mapping) and isinstance(space, spaces.Dict):
        for key in seen.keys() & space.keys():
            check_seen(f"{name}[{key!r}]", seen[key], space[key])
        return
    check_real(name, seen)
    if not isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return
    counts = space.n if isinstance(space, spaces.Discrete) else space.nvec
    values, shape = np.asarray(seen), space.shape or ()
    if values.dtype.kind not in "biuf" or values.shape[values.ndim - len(shape) :] != shape:
        return  # what has another shape or kind is refused where it is read
    others = (values < space.start) | (values >= space.start + counts) | (values % 1 != 0)
    if others.any():
        raise DomainError(
            f"{name} has {values[others][0]}, in {space}",
            "Let the environment give what its observation space says",
        )


def check_fits(name: str, seen: Any, space: spaces.Space) -> None:
    """Refuses an observation that has another number of numbers than its space, or other entries.

    Raises:
        ShapeError: If it has.
    """
    if isinstance(space, spaces.Dict) and isinstance(seen, Mapping) and space.keys() <= seen.keys():
        for key, part in space.items():
            check_fits(f"{name}[{key!r}]", seen[key], part)
        return
    found = np.asarray(seen)
    if found.dtype.kind not in "biuf" or found.size != math.prod(space.shape or ()):
        raise ShapeError(
            f"{name} of type {type(seen).__name__} and shape {found.shape}, in {space}",
            "Let the environment give what its observation space says",
        )


def check_widths(net_arch: object) -> list[int]:
    """Returns the widths of layers.

    Raises:
        ParameterError: If they are no list of whole numbers of at least one.
    """
    if not isinstance(net_arch, list | tuple):
        raise ParameterError(
            f"net_arch = {net_arch!r}",
            "Give a list of widths, such as [64, 64]",
        )
    return [check_count("a width of net_arch", width) for width in net_arch]


def check_activation(activation_fn: Any) -> Any:
    """Returns what makes the non-linearity between layers: a class, or a function like one.

    Raises:
        ParameterError: If calling it gives no module.
    """
    try:
        if isinstance(activation_fn(), nn.Module):
            return activation_fn
    except TypeError:
        pass
    raise ParameterError(
        f"activation_fn = {activation_fn!r}", "Give a class of modules, such as torch.nn.ReLU"
    )


class WideAndDeep(nn.Sequential):
    """Hidden layers whose input goes on beside their output: φ(x) = (layers(x), x).

    What is linear in x is then learned as such, by the head alone.

    Reference: Cheng et al. 2016, "Wide & deep learning for recommender systems",
    arXiv:1606.07792.

    Examples:
        >>> WideAndDeep(nn.Linear(3, 5), nn.ReLU())(torch.zeros(2, 3)).shape
        torch.Size([2, 8])
    """

    def forward(self, input: Float[Tensor, "*batch f"]) -> Float[Tensor, "*batch g"]:  # noqa: A002
        """Returns what the layers make of features, and the features themselves."""
        return torch.cat([super().forward(input), input], -1)


class FreeEnergyNetwork(BaseModel):
    """A network from observations to π(a|s): features, layers, and the head of an energy.

    With an energy whose fields are linear in what is observed
    (:attr:`~isinglass.agents.ActionEnergy.linear`) features go to the head beside what the layers
    make of them.

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
        both = bool(net_arch) and energy.linear
        kind = WideAndDeep if both else nn.Sequential
        self.trunk = kind(*create_mlp(features_dim, -1, net_arch, activation_fn))
        width = net_arch[-1] + both * features_dim if net_arch else features_dim
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
        if isinstance(self.extractor, EpisodicMemory):
            return self.trunk(self.extractor.look_back(obs, self._see))
        features = self.extract_features(_from_zero(obs, self.observation_space), self.extractor)
        if isinstance(self.observation_space, spaces.MultiBinary):
            features = 2 * features - 1
        return self.trunk(features)

    def _see(self, obs: PyTorchObs) -> Any:
        """Returns what the features extractor gets of observations; bits as spins."""
        space = self.observation_space
        seen: Any = preprocess_obs(_from_zero(obs, space), space, self.normalize_images)  # pyright: ignore[reportArgumentType]
        return 2 * seen - 1 if isinstance(space, spaces.MultiBinary) else seen


def _from_zero(obs: PyTorchObs, space: spaces.Space) -> PyTorchObs:
    """Returns observations whose choices count from 0, as SB3 needs them to make them one-hot."""
    if isinstance(obs, dict) and isinstance(space, spaces.Dict):
        return {key: _from_zero(part, space[key]) for key, part in obs.items()}  # pyright: ignore[reportReturnType]
    if not isinstance(space, spaces.Discrete | spaces.MultiDiscrete) or not np.any(space.start):
        return obs
    return obs - torch.as_tensor(space.start, device=obs.device)  # pyright: ignore[reportOperatorIssue, reportAttributeAccessIssue]
