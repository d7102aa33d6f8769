"""Policies whose action values are the negative free energy of a mixture of action patterns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BaseModel, BasePolicy
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    NatureCNN,
    create_mlp,
)
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.common.utils import polyak_update
from torch import Generator, Tensor, nn

from isinglass._shapes import Float
from isinglass.checks import check_count, check_positive
from isinglass.energies import PatternMixture
from isinglass.errors import DomainError
from isinglass.units import Spin

__all__ = [
    "FreeEnergyCnnPolicy",
    "FreeEnergyMultiInputPolicy",
    "FreeEnergyNetwork",
    "FreeEnergyPolicy",
    "check_real",
]


def check_real(operation: str, name: str, values: object) -> None:
    """Refuse NaN and infinity in an array or in a dictionary of arrays.

    Arrays of whole numbers are not looked at: they cannot hold either.

    Raises:
        DomainError: If a value is NaN or infinite.

    Examples:
        >>> check_real("predict", "the observation", [0.0, math.nan])
        Traceback (most recent call last):
            ...
        isinglass.errors.DomainError: predict: 1 of 2 values of the observation are NaN or ...
    """
    if isinstance(values, Mapping):
        for key, part in values.items():
            check_real(operation, f"{name}[{key!r}]", part)
        return
    array = np.asarray(values)
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    bad = ~np.isfinite(array)
    raise DomainError(
        operation,
        f"{bad.sum()} of {bad.size} values of {name} are NaN or infinite",
        "Mend the environment that gave them, or fill them (numpy.nan_to_num) before the agent "
        "sees them",
    )


class FreeEnergyNetwork(BaseModel):
    """From an observation to the mixture over actions: keys k_μ(s) and action fields θ_μ(s).

        φ(s)   = MLP(features(s))
        k_μ(s) = w_μ·φ(s) + b_μ − T log N          so that zero weights mean Q = 0
        θ_μ(s) = θ_μ                               a stored action pattern, or with
        θ_μ(s) = θ_μ + W_μ φ(s)                    ``state_fields``, one that the state bends

    Features x of a ``MultiBinary`` observation space become 2x − 1, so that bits are seen as
    spins, ±1. Inside a ``Dict`` space bits stay as they are, 0 and 1.

    Reference: Sallans & Hinton 2004, "Reinforcement learning with factored states and actions",
    JMLR 5:1063-1088 (Q = −F).

    Args:
        observation_space: Observation space.
        action_space: ``MultiBinary(d)``.
        features_extractor: Turns observations into features.
        features_dim: Number of features.
        memories: N, the number of action patterns in the mixture.
        state_fields: Whether the action fields depend on the state too.
        initial_scale: Standard deviation of θ_μi at the start, in units of the reward.
        net_arch: Widths of the hidden layers between the features and the head.
        activation_fn: Non-linearity between the layers.
        normalize_images: Whether to divide images by 255.

    Examples:
        >>> observations, actions = spaces.MultiBinary(3), spaces.MultiBinary(5)
        >>> extractor = FlattenExtractor(observations)
        >>> network = FreeEnergyNetwork(
        ...     observations, actions, extractor, features_dim=3, memories=4, state_fields=False,
        ...     initial_scale=0.5, net_arch=[16],
        ... )
        >>> mixture = network(torch.zeros(2, 3), temperature=1.0)
        >>> mixture.value().shape, mixture.sample().shape
        (torch.Size([2]), torch.Size([2, 5]))
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.MultiBinary,
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        memories: int,
        state_fields: bool,
        initial_scale: float,
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
        self.unit = Spin(action_space.shape[0])
        self.trunk = nn.Sequential(*create_mlp(features_dim, -1, net_arch, activation_fn))
        width = net_arch[-1] if net_arch else features_dim
        self.keys = nn.Linear(width, memories)
        self.fields = nn.Parameter(initial_scale * torch.randn(memories, self.unit.size))
        self.bend = None
        if state_fields:
            self.bend = nn.Linear(width, self.fields.numel(), bias=False)
            nn.init.zeros_(self.bend.weight)  # start from the stored patterns

    def forward(self, obs: PyTorchObs, temperature: float) -> PatternMixture:
        """The mixture over actions as spins, one distribution an observation."""
        features = self.extract_features(obs, self.extractor)
        if isinstance(self.observation_space, spaces.MultiBinary):
            features = 2 * features - 1
        features = self.trunk(features)
        # T log Σ_μ 1 is taken off, so that Q does not depend on the number of idle memories.
        keys = self.keys(features) - temperature * math.log(self.keys.out_features)
        fields = self.fields
        if self.bend is not None:
            fields = fields + self.bend(features).unflatten(-1, fields.shape)
        return PatternMixture(self.unit, keys, fields, temperature)


class FreeEnergyPolicy(BasePolicy):
    """Boltzmann policy π(a|s) = exp((Q(s,a) − V(s))/T) over binary actions, sampled exactly.

    Holds the network, its target copy, the temperature and the random stream that actions are
    drawn from. The stream is seeded, like the weights, from torch's global one; its state and
    the temperature are part of ``state_dict``.

    Reference: Sallans & Hinton 2004, "Reinforcement learning with factored states and actions",
    JMLR 5:1063-1088 (Q = −F); Haarnoja et al. 2017, arXiv:1702.08165 (π and V).

    Args:
        observation_space: Observation space.
        action_space: ``MultiBinary(d)``.
        lr_schedule: Learning rate as a function of the remaining progress, 1 to 0.
        memories: N, the number of action patterns in the mixture.
        state_fields: Whether the action fields depend on the state too: needed where the good
            actions are many more than the memories; costs N·d more outputs.
        temperature: T > 0, in units of the reward. The action fields start as N(0, T²/d), so
            that the values of random actions differ by about T.
        net_arch: Widths of the hidden layers, ``[128, 128]`` by default, none after a CNN.
        activation_fn: Non-linearity between the layers.
        features_extractor_class: Features extractor.
        features_extractor_kwargs: Its arguments.
        normalize_images: Whether to divide images by 255.
        optimizer_class: The optimizer, Adam by default.
        optimizer_kwargs: Its arguments but for the learning rate.

    Raises:
        ParameterError: If ``memories`` is not a whole number of at least one, or ``temperature``
            not above zero.

    Examples:
        >>> observations, actions = spaces.MultiBinary(3), spaces.MultiBinary(5)
        >>> policy = FreeEnergyPolicy(observations, actions, lambda _: 1e-3, memories=4)
        >>> state = torch.zeros(1, 3)
        >>> from isinglass import Bit
        >>> every_action = Bit(5).enumerate_states().float()
        >>> q = policy.action_values(state.expand(32, 3), every_action)
        >>> bool((policy.distribution(state).value() - q.logsumexp(0)).abs() < 1e-5)  # T = 1
        True
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.MultiBinary,
        lr_schedule: Schedule,
        memories: int = 32,
        state_fields: bool = False,
        temperature: float = 1.0,
        net_arch: list[int] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        features_extractor_class: type[BaseFeaturesExtractor] = FlattenExtractor,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        check_count("FreeEnergyPolicy", "memories", memories)
        if optimizer_kwargs is None and issubclass(optimizer_class, torch.optim.Adam):
            optimizer_kwargs = {"fused": True}  # one kernel for all weights
        super().__init__(
            observation_space,
            action_space,
            features_extractor_class,
            features_extractor_kwargs,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
            normalize_images=normalize_images,
        )
        if net_arch is None:
            net_arch = [] if features_extractor_class == NatureCNN else [128, 128]
        self.action_space: spaces.MultiBinary = action_space
        self.net_arch = net_arch
        self.activation_fn = activation_fn
        self.memories = memories
        self.state_fields = state_fields
        self.temperature = check_positive("FreeEnergyPolicy", "temperature", temperature)
        self.q_net = self._make_network()
        self.q_net_target = self._make_network()
        self.q_net_target.load_state_dict(self.q_net.state_dict())
        self.q_net_target.set_training_mode(False)
        self.optimizer = self.optimizer_class(  # pyright: ignore[reportCallIssue]
            self.q_net.parameters(),
            lr=lr_schedule(1),  # pyright: ignore[reportCallIssue]
            **self.optimizer_kwargs,
        )
        # Listed once: walking the modules would cost more than the update itself.
        self._followed = (list(self.q_net.parameters()), list(self.q_net_target.parameters()))
        # The modules that own buffers, not the buffers: those are replaced on the way to a device.
        self._copied = [
            (ours, target)
            for ours, target in zip(self.q_net.modules(), self.q_net_target.modules(), strict=True)
            if next(ours.buffers(recurse=False), None) is not None
        ]
        self._seed = int(torch.randint(2**63 - 1, ()))
        self._generator: Generator | None = None

    @property
    def generator(self) -> Generator:
        """The random stream of the actions, on the device of the weights."""
        if self._generator is None or self._generator.device != self.device:
            self._generator = Generator(self.device).manual_seed(self._seed)
        return self._generator

    def seed(self, seed: int) -> None:
        """Restart the random stream of the actions."""
        self._seed = seed
        self._generator = None

    def distribution(self, obs: PyTorchObs) -> PatternMixture:
        """The mixture over actions as spins a = 2x − 1, at the current temperature."""
        return self.q_net(obs, self.temperature)

    def action_values(
        self, obs: PyTorchObs, actions: Float[Tensor, "batch d"]
    ) -> Float[Tensor, "batch"]:
        """Q(s, a) of actions in {0, 1}."""
        return self.distribution(obs).score(2 * actions - 1)

    def target_values(self, obs: PyTorchObs) -> Float[Tensor, "batch"]:
        """V(s) = T log Σ_a exp(Q(s,a)/T) of the target network, summed over all 2^d actions."""
        return self.q_net_target(obs, self.temperature).value()

    def update_target(self, tau: float) -> None:
        """Move the target network the fraction ``tau`` of the way; copy running statistics."""
        polyak_update(*self._followed, tau)
        with torch.no_grad():
            for ours, target in self._copied:
                pairs = zip(ours.buffers(False), target.buffers(False), strict=True)
                for value, copy in pairs:
                    copy.copy_(value)  # whole numbers too: they have no fraction of the way

    def obs_to_tensor(
        self, observation: np.ndarray | dict[str, np.ndarray]
    ) -> tuple[PyTorchObs, bool]:
        """The observation as tensors, and whether it is a batch.

        Raises:
            DomainError: If a value is NaN or infinite.
        """
        check_real("FreeEnergyPolicy.predict", "the observation", observation)
        return super().obs_to_tensor(observation)

    def forward(self, obs: PyTorchObs, deterministic: bool = False) -> Tensor:
        """Actions in {0, 1}, one an observation."""
        return self._predict(obs, deterministic)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        mixture = self.distribution(observation)
        try:
            spins = mixture.mode() if deterministic else mixture.sample(self.generator)
        except RuntimeError as error:
            if bool(mixture.log_weights().isfinite().all()):
                raise
            raise DomainError(
                "FreeEnergyPolicy.predict",
                "memories of NaN or infinite weight",
                "The observation or the weights of the network are not finite: lower the "
                "learning rate, or load an earlier agent",
            ) from error
        return (spins > 0).to(torch.int8)

    def set_training_mode(self, mode: bool) -> None:
        """Put the network in training or evaluation mode; the target stays in evaluation mode."""
        if mode != self.q_net.training:
            self.q_net.set_training_mode(mode)
        self.training = mode

    def get_extra_state(self) -> dict[str, Any]:
        """Temperature and random stream, for ``state_dict``."""
        return {"temperature": self.temperature, "generator": self.generator.get_state()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore temperature and random stream."""
        self.temperature = float(state["temperature"])
        stream = state["generator"].cpu()
        # A stream of another kind of device cannot be carried on; the new one is as random.
        if stream.shape == self.generator.get_state().shape:
            self.generator.set_state(stream)

    def _make_network(self) -> FreeEnergyNetwork:
        arguments = self._update_features_extractor(
            {
                "observation_space": self.observation_space,
                "action_space": self.action_space,
                "memories": self.memories,
                "state_fields": self.state_fields,
                "initial_scale": self.temperature / math.sqrt(self.action_space.shape[0]),
                "net_arch": self.net_arch,
                "activation_fn": self.activation_fn,
                "normalize_images": self.normalize_images,
            }
        )
        return FreeEnergyNetwork(**arguments).to(self.device)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {
            "lr_schedule": self._dummy_schedule,  # not needed to load a policy alone
            "memories": self.memories,
            "state_fields": self.state_fields,
            "temperature": self.temperature,
            "net_arch": self.net_arch,
            "activation_fn": self.activation_fn,
            "features_extractor_class": self.features_extractor_class,
            "features_extractor_kwargs": self.features_extractor_kwargs,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
        }


class FreeEnergyCnnPolicy(FreeEnergyPolicy):
    """:class:`FreeEnergyPolicy` for images: the features are those of SB3's ``NatureCNN``.

    Reference: Mnih et al. 2015, "Human-level control through deep reinforcement learning",
    Nature 518:529-533 (the network); Sallans & Hinton 2004, JMLR 5:1063-1088 (Q = −F).

    Examples:
        >>> pictures, actions = spaces.Box(0, 255, (1, 36, 36), np.uint8), spaces.MultiBinary(5)
        >>> policy = FreeEnergyCnnPolicy(pictures, actions, lambda _: 1e-3, memories=4)
        >>> action, _ = policy.predict(np.zeros((1, 36, 36), np.uint8))
        >>> actions.contains(action)
        True
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("features_extractor_class", NatureCNN)
        super().__init__(*args, **kwargs)


class FreeEnergyMultiInputPolicy(FreeEnergyPolicy):
    """:class:`FreeEnergyPolicy` for dictionaries: SB3's ``CombinedExtractor``.

    Bits inside the dictionary are seen as 0 and 1, not as spins.

    Reference: Sallans & Hinton 2004, "Reinforcement learning with factored states and actions",
    JMLR 5:1063-1088 (Q = −F).

    Examples:
        >>> parts = {"bits": spaces.MultiBinary(3), "speed": spaces.Box(-1, 1, (2,))}
        >>> seen, actions = spaces.Dict(parts), spaces.MultiBinary(5)
        >>> policy = FreeEnergyMultiInputPolicy(seen, actions, lambda _: 1e-3, memories=4)
        >>> action, _ = policy.predict({"bits": np.ones(3), "speed": np.zeros(2)})
        >>> actions.contains(action)
        True
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("features_extractor_class", CombinedExtractor)
        super().__init__(*args, **kwargs)
