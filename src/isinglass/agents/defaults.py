"""What an agent does where nothing is said: its energy, its learning rate, how often it learns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.type_aliases import Schedule, TrainFreq, TrainFrequencyUnit

from isinglass.agents.actions.action_codec import ActionCode
from isinglass.agents.actions.action_energies import ActionEnergy, MixtureEnergy
from isinglass.agents.replay.episode_replay_buffer import usual_buffer
from isinglass.agents.replay.replay_buffer import MaskedReplayBuffer
from isinglass.agents.temperature import action_parts
from isinglass.distributions import FEW_STATES
from isinglass.distributions.hybrid_mixture import real_components

__all__ = ["SELDOM", "FallingRate", "default_energy", "default_rate", "rate_for", "update_pace"]

FEWEST_UPDATES = 6_000  # in a run, as long as there is no more than one for a step
SELDOM = 4  # steps of the environment for one gradient step, in long runs
TOGETHER = 4  # gradient steps at once, at least
MOVE = 0.05  # of a value in a gradient step, in rewards of usual size


def default_energy(space: spaces.Space) -> ActionEnergy:
    """Returns the energy of actions of this space: a mixture, whose distribution is exact.

    One choice has one memory with fields of the state, which is a value an action and a level, a
    dueling network. Bits and several choices have 32 memories that the state bends alike: what
    adds up over the parts is learned at once, and what does not is left to the memories. Where real
    parts are beside them, each memory has a place and a width of its own there.

    Examples:
        >>> default_energy(spaces.Discrete(3))
        MixtureEnergy(memories=1, state_fields=True)
        >>> default_energy(spaces.MultiBinary(3))
        MixtureEnergy(memories=32, state_fields='shared')
        >>> default_energy(spaces.Box(-1, 1, (2,)))
        MixtureEnergy(memories=32, state_fields=False)
        >>> default_energy(spaces.Tuple([spaces.Discrete(3), spaces.Box(-1, 1, (2,))]))
        MixtureEnergy(memories=32, state_fields='shared')
    """
    if ActionCode.of(space).continuous:
        return MixtureEnergy()
    if action_parts(space) == 1:
        return MixtureEnergy(memories=1, state_fields=True)
    return MixtureEnergy(state_fields="shared")


def default_buffer(agent: Any) -> tuple[type[MaskedReplayBuffer], dict[str, Any]]:
    """Returns the replay buffer of an agent that was given none, and its arguments.

    Examples:
        >>> from isinglass.agents import FreeEnergyQ
        >>> agent = FreeEnergyQ("MlpPolicy", "CartPole-v1", n_steps=3, device="cpu")
        >>> default_buffer(agent)[1]
        {'n_steps': 3, 'gamma': 0.99, 'sequence_length': 1, 'count_visits': False}
    """
    kind, own = usual_buffer(agent.observation_space, agent.policy_kwargs)
    return kind, own | {
        "n_steps": agent.n_steps,
        "gamma": agent.gamma,
        "sequence_length": agent.backup.sequence_length,
        "count_visits": agent.backup.explores,
    }


@dataclass(frozen=True)
class FallingRate:
    """A learning rate that falls in equal steps, as a function of the remaining progress.

    Attributes:
        first: The rate at the start.
        last: The rate in the end.

    Examples:
        >>> rate = FallingRate(2e-3, 1e-4)
        >>> rate(1.0), round(rate(0.5), 6), rate(0.0)
        (0.002, 0.00105, 0.0001)
    """

    first: float
    last: float

    def __call__(self, progress_remaining: float) -> float:
        """Returns the rate when this share of the training, 1 to 0, is left."""
        return self.last + progress_remaining * (self.first - self.last)


def default_rate(space: spaces.Space, energy: ActionEnergy | None = None) -> float | FallingRate:
    """Returns the learning rate for actions of this space: higher where they are too many to list.

    There many memories share what is learned from few steps each. A gradient step of Adam moves
    each of d fields by the rate, and a value by √d of it: the rate is 0.05/√d, at most 0.01. With
    memories it stays until the end, as the mean of the last weights does what a falling one would;
    couplings, which all add up in every value, want a fall to zero, and real parts beside bits a
    slower start.

    Args:
        space: Of the actions.
        energy: Their energy; a mixture if None.

    Examples:
        >>> default_rate(spaces.Discrete(4)), default_rate(spaces.MultiBinary(100))
        (FallingRate(first=0.002, last=0.0001), 0.005)
    """
    code = ActionCode.of(space)
    if code.discrete_count <= FEW_STATES:
        return FallingRate(2e-3, 1e-4)
    if real_components(code.unit).any():
        return FallingRate(5e-3, 1e-3)
    rate = min(1e-2, MOVE / math.sqrt(action_parts(space)))
    memories = not isinstance(energy, ActionEnergy) or isinstance(energy, MixtureEnergy)
    return rate if memories else FallingRate(rate, 0.0)


def rate_for(
    env: Any, rate: float | Schedule | None, energy: ActionEnergy | str | None = None
) -> float | Schedule:
    """Returns the rate that was given, or what fits the actions of the environment.

    Without an environment ``load`` brings the rate that was used.

    Examples:
        >>> import gymnasium as gym
        >>> rate_for(gym.make("CartPole-v1"), None), rate_for(None, None)
        (FallingRate(first=0.002, last=0.0001), 0.0)
    """
    if rate is not None:
        return rate
    if env is None:
        return 0.0
    return default_rate(env.action_space, None if isinstance(energy, str) else energy)


def update_pace(total_steps: int, environments: int) -> tuple[TrainFreq, int]:
    """Returns how often to update, in steps of all environments together, and how many times.

    A gradient step for 4 steps of an environment, and more in short runs: as many as make 6,000,
    at most one a step. Four at once or more, as their batches are drawn and their targets made in
    one go.

    Examples:
        >>> update_pace(100_000, 1)[0].frequency, update_pace(1_000, 1)[0].frequency
        (16, 4)
        >>> pace, gradient_steps = update_pace(100_000, 16)
        >>> pace.frequency, gradient_steps
        (1, 4)
    """
    per_step = min(max(FEWEST_UPDATES / max(total_steps, 1), 1 / SELDOM), 1.0)
    each = per_step * environments
    at_once = max(TOGETHER, round(each))
    frequency = max(1, int(at_once / each))
    return TrainFreq(frequency, TrainFrequencyUnit.STEP), at_once
