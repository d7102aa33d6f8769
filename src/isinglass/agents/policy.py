"""Policies whose action values are the negative free energy of actions under an energy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    FlattenExtractor,
    NatureCNN,
)
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.common.utils import get_device
from torch import Generator, Tensor, nn

from isinglass._support.functions import check_takes
from isinglass._support.typing import Float
from isinglass._support.validation import check_flag, check_kind, check_positive
from isinglass.agents._faults import diagnosed_divergence
from isinglass.agents.actions.action_codec import ActionCode
from isinglass.agents.actions.action_energies import ActionEnergy, MixtureEnergy
from isinglass.agents.actions.action_masks import MASK_KEY, MaskLayout, find_mask
from isinglass.agents.actions.action_structure import ActionStructure, first_action, origin_of
from isinglass.agents.actions.constraints import choose_accepted
from isinglass.agents.extractors.episodic_memory import recall_past
from isinglass.agents.network import (
    FreeEnergyNetwork,
    check_activation,
    check_seen,
    check_widths,
)
from isinglass.distributions import Distribution, Enumerated, has_few_states
from isinglass.errors import IsinglassError, ParameterError, ShapeError

#: From actions to which of them may be taken.
Constraint: TypeAlias = Callable[[Any], np.ndarray]

__all__ = ["FreeEnergyPolicy"]


class FreeEnergyPolicy(BasePolicy):
    """The Boltzmann policy π(a|s) = exp((Q(s,a) − V(s))/T) over actions too many to enumerate.

    Holds the network, its target copy, the temperature and the random stream that actions are
    drawn from. The stream is seeded, like the weights, from torch's global one. ``state_dict`` has
    weights and temperature, floats alone, so that parameters can be averaged; the stream is saved
    with the agent.

    Reference: Sallans & Hinton 2004, "Reinforcement learning with factored states and actions",
    JMLR 5:1063-1088 (Q = −F); Haarnoja et al. 2017, arXiv:1702.08165 (π and V).

    Args:
        observation_space: Observation space.
        action_space: Action space: ``MultiBinary``, ``MultiDiscrete``, ``Discrete``, ``Box``, or
            ``Dict`` or ``Tuple`` of these.
        lr_schedule: Learning rate as a function of the remaining progress, 1 to 0.
        energy: The energy of the actions, :class:`MixtureEnergy` by default.
        temperature: T > 0, in units of the reward. The values of random actions differ by about
            as much at the start.
        net_arch: Widths of the hidden layers, ``[128, 128]`` by default, none after a CNN.
        activation_fn: Non-linearity between the layers.
        features_extractor_class: Features extractor.
        features_extractor_kwargs: Its arguments.
        normalize_images: Whether to divide images by 255.
        optimizer_class: The optimizer, Adam by default.
        optimizer_kwargs: Its arguments but for the learning rate.

    Raises:
        ParameterError: If ``temperature`` is not above zero, ``net_arch`` is no list of widths,
            the action space is not supported, the energy has no distribution over it, or an
            argument is of another kind.

    Examples:
        >>> sight, actions = spaces.MultiBinary(3), spaces.MultiBinary(5)
        >>> policy = FreeEnergyPolicy(sight, actions, lambda _: 1e-3, energy=MixtureEnergy(4))
        >>> state = torch.zeros(1, 3)
        >>> from isinglass import Bernoulli
        >>> every_action = Bernoulli(5).enumerate_states().float()
        >>> q = policy.action_values(state.expand(32, 3), every_action)
        >>> bool((policy.distribution(state).value() - q.logsumexp(0)).abs() < 1e-5)  # T = 1
        True
    """

    #: While an agent explores: the least T in a state, as a share of the spread of its values.
    warmth: float | None = None

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        energy: ActionEnergy | None = None,
        temperature: float = 1.0,
        net_arch: list[int] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        features_extractor_class: type[BaseFeaturesExtractor] = FlattenExtractor,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        check_kind("observation_space", observation_space, spaces.Space, "a space of Gymnasium")
        check_flag("normalize_images", normalize_images)
        if optimizer_kwargs is None and issubclass(optimizer_class, torch.optim.Adam):
            optimizer_kwargs = {"fused": True}  # one kernel for all weights
        action_space = origin_of(action_space)
        super().__init__(
            observation_space,
            action_space,
            features_extractor_class,
            features_extractor_kwargs,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
            normalize_images=normalize_images,
            squash_output=True,  # boxes are seen from −1 to 1, and predict scales them back
        )
        if net_arch is None:
            net_arch = [] if features_extractor_class == NatureCNN else [128, 128]
        self.code, self.structure = ActionCode.of(action_space), ActionStructure.of(action_space)
        self.energy = MixtureEnergy() if energy is None else energy
        check_kind("energy", self.energy, ActionEnergy, "MixtureEnergy() or another ActionEnergy")
        self.net_arch = check_widths(net_arch)
        self.activation_fn = check_activation(activation_fn)
        self.temperature = check_positive("temperature", temperature)
        self.q_net = self._make_network(self.energy, self.temperature)
        self.q_net_target = self._make_network(self.energy, self.temperature)
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
        pairs = zip(self.q_net.modules(), self.q_net_target.modules(), strict=True)
        self._copied = [pair for pair in pairs if any(True for _ in pair[0].buffers(False))]
        self.masks_told = False
        self._seed = int(torch.randint(2**63 - 1, ()))
        self._generator: Generator | None = None

    @property
    def generator(self) -> Generator:
        """The random stream of the actions, on the device of the weights."""
        device = self.weights[0].device  # SB3's ``device`` looks through all modules
        if self._generator is None or self._generator.device != device:
            self._generator = Generator(device).manual_seed(self._seed)
        return self._generator

    def seed(self, seed: int) -> None:
        """Restarts the random stream of the actions."""
        self._seed = seed
        self._generator = None

    def distribution(
        self,
        obs: PyTorchObs,
        masks: Tensor | None = None,
        *,
        target: bool = False,
        temperature: float | None = None,
    ) -> Distribution:
        """Returns π(a|s), over actions as states of units.

        Args:
            obs: Observations.
            masks: Which actions are allowed, bools: flat or joint as :class:`MaskLayout` has it;
                by default what the observations say, see :meth:`observed_masks`.
            target: Whether the target network says.
            temperature: T, by default the current one.
        """
        temperature = self.temperature if temperature is None else temperature
        masks = self.observed_masks(obs) if masks is None else masks
        distribution = self._unmasked(obs, temperature, target)
        layout = MaskLayout.of(self.action_space)
        closed = distribution.exact_value and len(layout.parts) == 1  # a flat mask is a joint one
        if masks is not None and masks.shape[-1] == layout.joint_size and not closed:
            return Enumerated.of(distribution, masks)
        if not distribution.exact_value and has_few_states(distribution):
            distribution = Enumerated.of(distribution)
        return distribution if masks is None else self.code.forbid(distribution, masks)

    def _unmasked(self, obs: PyTorchObs, temperature: float, target: bool) -> Distribution:
        return (self.q_net_target if target else self.q_net)(obs, temperature)

    def _acting(self, obs: PyTorchObs, masks: Tensor | None) -> Distribution:
        """Returns π(a|s); while an agent explores, at a T of its own where values differ more."""
        found = self.distribution(obs, masks)
        if self.warmth is None or not has_few_states(found):
            return found
        return Enumerated.of(found).warmed(self.warmth)

    def observed_masks(self, obs: PyTorchObs) -> Tensor | None:
        """Returns the masks in a dictionary of observations, all allowed where nothing is."""
        if not isinstance(obs, Mapping) or (told := find_mask(obs)) is None:
            return None
        masks = MaskLayout.of(self.action_space).observed(told.cpu().numpy())
        return torch.as_tensor(masks, device=told.device)

    @property
    def weights(self) -> list[nn.Parameter]:
        """The weights that the optimizer moves, listed once."""
        return self._followed[0]

    def log_action_count(self, masks: Tensor | None = None) -> Tensor | float:
        """Returns log of the number of allowed actions; of the volume 2^d for a box of −1 to 1."""
        volume = self.code.real_size * math.log(2)
        layout = MaskLayout.of(self.action_space)
        if masks is None:
            return volume + sum(math.log(n) for n in layout.parts)
        if masks.shape[-1] == layout.joint_size:
            return masks.sum(-1).log()
        return volume + sum(part.sum(-1).log() for part in masks.split(list(layout.parts), -1))

    def action_values(self, obs: PyTorchObs, actions: Tensor) -> Float[Tensor, "batch"]:
        """Returns Q(s, a) of actions as a replay buffer holds them, differentiable once."""
        return self.q_net.score(obs, self.temperature, self.code.encode(actions))

    @torch.no_grad()
    def log_probability(
        self, obs: PyTorchObs, actions: Tensor, masks: Tensor | None = None
    ) -> Float[Tensor, "batch"]:
        """Returns log π(a|s) of actions as a replay buffer holds them: a density where real."""
        device = self.weights[0].device
        masks = None if masks is None else masks.to(device)
        found = self._acting(obs, masks)
        scores = found.score(self.code.encode(actions.to(device).reshape(len(actions), -1)))
        return (scores - found.value(self.generator)) / self.temperature

    def clip_gradients(self, largest: float) -> None:
        """Scales all gradients down if their norm, taken together, is above ``largest``.

        As torch's ``clip_grad_norm_``, which first sorts them by device and type: twice as long.
        """
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        if not gradients:
            return
        norms = torch._foreach_norm(gradients)  # pyright: ignore[reportPrivateImportUsage]
        norm = torch.linalg.vector_norm(torch.stack([*norms]))
        torch._foreach_mul_(gradients, (largest / (norm + 1e-6)).clamp_(max=1.0))  # pyright: ignore[reportPrivateImportUsage]

    def update_target(self, tau: float) -> None:
        """Moves the target network the fraction ``tau`` of the way; copies running statistics."""
        online, targets = self._followed
        with torch.no_grad():
            torch._foreach_lerp_([*targets], [*online], tau)  # all weights in one call  # pyright: ignore[reportPrivateImportUsage]
            for module, target in self._copied:
                pairs = zip(module.buffers(False), target.buffers(False), strict=True)
                for value, copy in pairs:
                    copy.copy_(value)  # whole numbers too: they have no fraction of the way

    def obs_to_tensor(
        self, observation: np.ndarray | dict[str, np.ndarray]
    ) -> tuple[PyTorchObs, bool]:
        """Returns the observation as tensors, and whether it is a batch.

        Raises:
            DomainError: If a value is NaN or infinite.
            ShapeError: If it is none of the observation space.
        """
        space = self.observation_space
        try:
            check_seen("the observation", observation, space)
            if isinstance(space, spaces.Dict):
                itemgetter(*space)(observation)  # SB3 would not miss a key that is not there
            return super().obs_to_tensor(observation)
        except IsinglassError:
            raise
        except (AssertionError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ShapeError(
                f"an observation that does not fit ({error})",
                f"Give one of {space}, or a batch of them",
            ) from error

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: Any = None,
        fixed: Any = None,
        constraint: Constraint | None = None,
    ) -> tuple[Any, tuple[np.ndarray, ...] | None]:
        """Returns actions under restrictions that need no learning; else as in Stable-Baselines3.

        With :class:`MixtureEnergy` a draw is an exact one from π given the restrictions.

        Args:
            observation: One observation, or a batch; an entry ``"action_mask"`` of a dictionary is
                taken for the masks, as :class:`~isinglass.agents.ObservedMasks` gives it.
            state: With :class:`EpisodicMemory` what the last call gave back, for as many
                environments; None where nothing was observed. Else given back.
            episode_start: Which observations are the first of an episode, with a memory.
            deterministic: The greedy action instead of a draw.
            action_masks: What is allowed, for one observation or each: flat or joint bools, see
                :class:`~isinglass.agents.MaskLayout`. Needed where the agent has learned with
                masks that are not part of the observation.
            fixed: Values of some parts of the action, NaN where free, shaped like an action, for
                one observation or each; of nested ones keys may be left out, or all parts be one
                row of numbers.
            constraint: From actions ``(n, *shape)`` to n bools: which may be taken; nested ones
                have such an array at each leaf. Exact where
                there are at most 256 actions, or a joint mask. Else draws are repeated until all
                may be taken, and a greedy action is the best of those draws.

        Raises:
            DivergenceError: If the values of actions are NaN or infinite.
            ParameterError: If the constraint cannot be called, or there are no masks where the
                environment has told some.
            DomainError: If an observation is not finite, a fixed value is not in the action space
                or forbidden, a mask forbids every value of a part, or no draw meets the constraint.
            ShapeError: If an observation, a mask, ``fixed`` or the state does not fit, or the
                constraint does not give one bool an action.
        """
        if constraint is not None:
            remedy = "Give a function from actions to bools, one an action"
            check_takes("constraint", constraint, "actions", remedy=remedy, classes=False)
        check_flag("deterministic", deterministic)
        self.set_training_mode(False)
        observation, action_masks = self._take_masks(observation, action_masks)
        obs, batched = self.obs_to_tensor(observation)
        obs, state = recall_past(self.q_net.extractor, obs, state, episode_start)
        with torch.no_grad():
            masks = self._masks(action_masks, obs)
            distribution = self._acting(obs, masks)
            if constraint is not None and has_few_states(distribution):
                distribution = Enumerated.of(distribution)
            if fixed is not None:
                values = self._read_fixed(fixed, distribution.zeros_like_event())
                states, observed = self.code.fixed_units(values)
                self._check_allowed(values, masks)
                distribution = distribution.condition(states, observed)
            actions = self._choose_actions(distribution, deterministic, constraint)
        return (actions if batched else first_action(actions)), state

    def _take_masks(
        self, observation: np.ndarray | dict[str, np.ndarray], masks: Any
    ) -> tuple[Any, Any]:
        """Returns an observation of the space, and the masks that were given, with it or in it.

        Raises:
            ParameterError: If there is none, though the environment has told masks.
        """
        space = self.observation_space
        if isinstance(observation, Mapping) and (told := find_mask(observation)) is not None:
            masks = told if masks is None else masks
            if not isinstance(space, spaces.Dict):  # as ObservedMasks gives it
                observation = observation.get("observation", observation)
            elif MASK_KEY not in space.spaces:
                observation = {key: observation[key] for key in space if key in observation}
        if masks is None and self.masks_told:
            raise ParameterError(
                "no action_masks, in an environment that forbids actions",
                "Give predict action_masks=info['action_mask']; evaluate in "
                "isinglass.agents.ObservedMasks(env), which tells them with the observation",
            )
        return observation, masks

    def _masks(self, masks: Any, obs: PyTorchObs) -> Tensor | None:
        if masks is None:
            return None
        rows = len(next(iter(obs.values())) if isinstance(obs, dict) else obs)
        found = MaskLayout.of(self.action_space).rows(masks, rows)
        return torch.as_tensor(found, device=self.device)

    def _read_fixed(self, fixed: Any, zeros: Tensor) -> Tensor:
        return torch.tensor(self.structure.read_fixed(fixed, len(zeros)), device=self.device)

    def _check_allowed(self, values: Tensor, masks: Tensor | None) -> None:
        """Refuses what is fixed and forbidden; the distribution has done so for joint masks."""
        layout, structure = MaskLayout.of(self.action_space), self.structure
        if masks is not None and masks.shape[-1] != layout.joint_size:
            listed = torch.as_tensor(structure.listed, device=values.device)
            layout.check_allowed(values[:, listed], masks, structure.starts)

    def _choose_actions(
        self, distribution: Distribution, deterministic: bool, constraint: Constraint | None
    ) -> Any:
        """Chooses actions, in the form that the environment takes."""
        if constraint is None:
            return self._decode(self._choose_states(distribution, deterministic))
        with diagnosed_divergence():
            states = choose_accepted(
                distribution,
                lambda drawn: self._accepts(drawn, constraint),
                deterministic,
                self.generator,
            )
        return self._decode(states)

    def _choose_states(self, distribution: Distribution, deterministic: bool) -> Tensor:
        with diagnosed_divergence():
            return distribution.mode() if deterministic else distribution.sample(self.generator)

    def _accepts(self, states: Tensor, constraint: Constraint) -> Tensor:
        actions = self.structure.batch(self._rows(states))
        accepted = np.asarray(constraint(actions), dtype=bool)
        if accepted.shape != states.shape[:1]:
            raise ShapeError(
                f"a constraint that gives {accepted.shape} for {len(states)} actions",
                "Let it give one bool an action",
            )
        return torch.as_tensor(accepted, device=states.device)

    def _decode(self, states: Tensor) -> Any:
        return self.structure.restore(self._rows(states))

    def _rows(self, states: Tensor) -> np.ndarray:
        return self.code.decode(states).cpu().numpy()

    def forward(self, obs: PyTorchObs, deterministic: bool = False) -> Tensor:
        """Returns actions, one an observation."""
        return self._predict(obs, deterministic)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        return self.code.decode(self._choose_states(self.distribution(observation), deterministic))

    def set_training_mode(self, mode: bool) -> None:
        """Puts the network in training or evaluation mode; the target stays in evaluation mode."""
        if mode != self.q_net.training:
            self.q_net.set_training_mode(mode)
        self.training = mode

    def get_extra_state(self) -> Tensor:
        """Returns the temperature, for ``state_dict``."""
        return torch.tensor(self.temperature, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Restores the temperature, from ``state_dict``."""
        self.temperature = float(state)

    def save(self, path: Any) -> None:
        """Writes the policy alone to a file, its random stream too."""
        parts = {"state_dict": self.state_dict(), "data": self._get_constructor_parameters()}
        torch.save({**parts, "acting_state": self.acting_state}, path)

    @classmethod
    def load(cls, path: Any, device: torch.device | str = "auto") -> FreeEnergyPolicy:
        """Reads a policy from a file that :meth:`save` has written; load only what you trust."""
        # As Stable-Baselines3 keeps a policy: its spaces and classes are pickled.
        saved = torch.load(path, get_device(device), weights_only=False)
        policy = cls(**saved["data"])
        policy.load_state_dict(saved["state_dict"])
        policy.acting_state = saved["acting_state"]
        return policy.to(get_device(device))

    @property
    def acting_state(self) -> dict[str, Any]:
        """What acting depends on besides weights and temperature, for JSON; may be set."""
        stream = self.generator.get_state().cpu().numpy().tobytes().hex()
        return {"masks_told": self.masks_told, "stream": stream}

    @acting_state.setter
    def acting_state(self, state: dict[str, Any]) -> None:
        self.masks_told = state["masks_told"]
        stream = torch.frombuffer(bytearray.fromhex(state["stream"]), dtype=torch.uint8)
        # A stream of another kind of device cannot be carried on; the new one is as random.
        if stream.shape == self.generator.get_state().shape:
            self.generator.set_state(stream)

    def _make_network(self, energy: ActionEnergy, init_scale: float) -> FreeEnergyNetwork:
        arguments = self._update_features_extractor(
            {
                "observation_space": self.observation_space,
                "action_space": self.action_space,
                "energy": energy,
                "init_scale": init_scale,
                "net_arch": self.net_arch,
                "activation_fn": self.activation_fn,
                "normalize_images": self.normalize_images,
            }
        )
        return FreeEnergyNetwork(**arguments).to(self.device)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {
            "lr_schedule": self._dummy_schedule,  # not needed to load a policy alone
            "energy": self.energy,
            "temperature": self.temperature,
            "net_arch": self.net_arch,
            "activation_fn": self.activation_fn,
            "features_extractor_class": self.features_extractor_class,
            "features_extractor_kwargs": self.features_extractor_kwargs,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
        }
