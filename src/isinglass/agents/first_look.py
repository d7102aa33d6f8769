"""What an agent settles when learning starts: where values begin, and their energy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
from torch import Tensor

from isinglass.agents._warnings import warn_of_first_look
from isinglass.agents.actions.action_codec import ActionCode
from isinglass.agents.actions.action_energies import ActionEnergy
from isinglass.agents.backups import Backup, NoveltyBackup
from isinglass.agents.defaults import default_energy, default_rate
from isinglass.agents.energy_selection import (
    candidate_energies,
    choose_energy,
    compare_energies,
    untold_energies,
)
from isinglass.agents.masked_collection import MaskedCollection
from isinglass.agents.policy import FreeEnergyPolicy
from isinglass.agents.replay.replay_buffer import MaskedReplayBuffer
from isinglass.agents.replay.transitions import Transitions
from isinglass.agents.return_range import NOTHING_MET, ReturnRange
from isinglass.agents.tail_average import TailAverage
from isinglass.agents.temperature import spread_range
from isinglass.errors import DomainError, ParameterError

__all__ = ["FirstLook"]

FIRST_LOOK = 4_096  # transitions whose mean reward the values start at
LOOK_FOR_ENERGY = 2_000  # random steps before energies are compared where that was asked for
LATER_LOOKS = 1_000, 5_000  # transitions after which an energy that nobody named is compared
LONG = 4  # a training of four times as many steps is: a quarter of it are uniform actions
EARLY = 0.5  # the least part of a training that is left then
FIRST_GOALS = 10  # after which the bonus for what is new is half
NEW = 1 / 8  # of a training: the steps that what is new may take
MOST = 0.5  # of the steps: rewards tell nothing where so many are worth the same
MUCH = 0.5  # of the variance of rewards, and of the default's error: the most that may be left
LITTLE = 0.25  # the same by uniform actions, where the default is not yet at its best


class FirstLook(MaskedCollection):
    """An agent that looks at its first transitions before it takes the first gradient step."""

    energy: Any
    backup: Backup
    gamma: float
    initial_temperature: float | None
    final_temperature: float | None
    spread: float | None
    averaged: ClassVar[float] = 0.1  # the last part of a training, whose weights are averaged
    _returns: ReturnRange = NOTHING_MET  # that returns allow
    _rates_itself: bool = False  # the learning rate is the default
    _explores_itself: bool = False  # the backup is the default
    _seeks: bool = False  # what is new, as no reward other than 0 was met
    _chooses: bool = False  # among all energies, before the first gradient step
    _looks_left: Sequence[int] = ()  # for another energy, where nobody named one

    @property
    def _compares(self) -> bool:
        """Whether actions are uniform until the last look, where a training has time for it.

        Those of a policy that has learned by the default are near what that takes for the best, and
        tell little of what it cannot write down.
        """
        buffer = self.replay_buffer
        if not (self._looks_left and self._n_updates) or buffer is None:
            return False
        long = self._total_timesteps >= LONG * LATER_LOOKS[-1]
        whole = buffer.size() * self.n_envs >= self.num_timesteps - self.n_envs
        return long and whole  # not after steps were forgotten, as in an agent from a file

    @cached_property
    def _tail(self) -> TailAverage:
        return TailAverage(self.averaged)

    def policy_with(self, energy: ActionEnergy) -> FreeEnergyPolicy:
        """Returns a fresh policy with another energy, its values where those of this one are."""
        given = dict(self.policy_kwargs) | {"temperature": self.policy.temperature}
        schedule = self.lr_schedule
        kind: Any = self.policy_class
        seen, actions = self.observation_space, self.action_space
        policy = kind(seen, actions, schedule, **(given | {"energy": energy})).to(self.device)
        head = self.policy.q_net.head
        size = float(head.reward_size)
        for network in (policy.q_net, policy.q_net_target):
            network.head.start_at(float(head.offset.detach()) * size, size)
        for name, module in self.policy.named_children():
            if name not in ("q_net", "q_net_target"):  # such as the density of logged actions
                getattr(policy, name).load_state_dict(module.state_dict())
        policy.masks_told = self.policy.masks_told
        policy.acting_state = self.policy.acting_state
        return policy

    def _plan_looks(self) -> None:
        """Begins with the default energy where none was named, to be compared later."""
        asked = isinstance(self.energy, str) and self.energy == "auto"
        several = len(candidate_energies(self.action_space)) > 1
        self._chooses = several and (self._chooses or asked)
        self._looks_left = LATER_LOOKS if self.energy is None else self._looks_left
        if self._chooses:
            self.learning_starts = max(self.learning_starts, LOOK_FOR_ENERGY)
        if self.energy is None or asked:
            self.energy = default_energy(self.action_space)

    def _look(self) -> None:
        """Settles what can be settled by the transitions met until now."""
        if self._n_updates == 0:
            self._start_values()
        elif self._seeks and self._rewarded:
            self._begin_anew()
        else:
            self._look_again()

    def _start_values(self, usual_size: float | None = None) -> None:
        """Lets values start at the mean reward: reaching it step by step would take thousands."""
        networks = (self.policy.q_net, self.policy.q_net_target)
        if networks[0].head.offset.item() != 0:
            self._looks_left = ()  # weights of an earlier agent were put in, for its energy
            return
        found = self._sample_transitions(FIRST_LOOK)
        rewards = found.rewards
        warn_of_first_look(cast(Any, self), rewards)
        self._plan_exploring()
        if len(untold_energies(self.action_space)) == 1 or bool(self.discounts(found).any()):
            self._looks_left = ()
        size = 1.0
        if self.initial_temperature is None:
            size = usual_size or float(rewards.square().mean().sqrt()) or 1.0
            if not math.isfinite(size):
                raise DomainError(
                    f"rewards as large as {float(rewards.abs().max()):.3g}, whose squares "
                    f"{rewards.dtype} does not hold",
                    "Divide the rewards, as gymnasium.wrappers.TransformReward does",
                )
            self.policy.temperature *= size
        start = float(rewards.mean())
        for network in networks:
            network.head.start_at(start, size)
        # Values go from where they start to what rewards allow by themselves: the best of a few,
        # for ever, may be far below, and to jump there tears the network apart.
        self._returns = start, start
        if self._chooses:
            self._chooses = False
            self._adopt(choose_energy(self).policy)

    def _begin_anew(self) -> None:
        """Forgets the values of what was new, once a reward was met that the agent is to learn.

        They are in another unit, and under γ near 1 they would fade for thousands of steps, in
        which an agent stays away from a goal that ends what is new.
        """
        buffer, novelty = cast(MaskedReplayBuffer, self.replay_buffer), cast(Any, self.backup)
        self._seeks, self.backup, self.spread = False, novelty.base, None
        self.policy.q_net.head.start_at(0.0, 1.0)
        self._adopt(self.policy_with(self.policy.energy))
        vars(self).pop("_tail", None)  # the mean of weights that are gone
        self._on_step()  # T as before any spread was known
        worth = (buffer.rewards * buffer.valid)[: buffer.size()]  # a few, among many zeros
        few = buffer.take(np.flatnonzero(worth), self._vec_normalize_env).rewards
        self._start_values(float(few.square().mean().sqrt()) if len(few) else None)

    def _plan_exploring(self) -> None:
        """Sees to it that all actions are tried, and pays for what is new until goals are met.

        Where actions can be listed, and states are whole numbers or what is new is paid for. That
        is so where most first steps were worth the same and no episode has ended by as much; or
        where no reward other than 0 was met, if states are whole numbers: by what is new in cells
        of images the first goal comes sooner, and is lost. Nothing of it where a buffer or a
        temperature was named, or in logged data.
        """
        buffer = self.replay_buffer
        named = self.initial_temperature is not None or self.replay_buffer_class is not None
        if named or not self.num_timesteps or not isinstance(buffer, MaskedReplayBuffer):
            return
        if not ActionCode.of(self.action_space).has_few_actions:
            return
        ends, rewards = buffer.outcomes()
        values, counts = np.unique(rewards, return_counts=True)
        usual, same = float(values[counts.argmax()]), counts.max() > MOST * counts.sum()
        silent = bool(same and usual) and not (ends & (rewards >= usual)).any()
        mute = not self._chooses and not rewards.any()
        self._seeks = self._explores_itself and buffer.tells_apart and mute
        if self._seeks:
            self.backup = NoveltyBackup(1.0)
        if silent and self._explores_itself:
            ratio = abs(usual) / math.sqrt(np.square(rewards, dtype=np.float64).mean())
            budget = NEW * self._total_timesteps
            self.backup = NoveltyBackup(ratio, fading=FIRST_GOALS, budget=budget)
        self._tries_all = self.backup.explores or buffer.tells_apart
        if self._tries_all:
            buffer.count_visits(usual if silent else -math.inf)
        else:
            buffer.counts = None

    def _look_again(self) -> None:
        """Takes up another energy where nobody named one and actions of one step show that it fits.

        Where episodes go on, its values are estimates by annealing, many times as slow as the
        default's: that is left to those who ask for it.
        """
        buffer = self.replay_buffer
        if not self._looks_left or not isinstance(buffer, MaskedReplayBuffer):
            return
        when = self._looks_left[0]
        if when > LATER_LOOKS[0]:  # all steps of a long training until then are uniform
            when = max(when, self._total_timesteps // LONG)
        if buffer.size() * self.n_envs < when:
            return
        uniform = self._compares
        count, *self._looks_left = self._looks_left
        seen = self._sample_transitions(LATER_LOOKS[0])
        late = self._current_progress_remaining < EARLY
        if late or bool(self.discounts(seen).any()):
            self._looks_left = ()
            return
        energies = untold_energies(self.action_space)
        enough = len(energies) if count > LATER_LOOKS[0] else 2
        now = self.policy.temperature
        if uniform:
            self.policy.temperature = self._coldest()
        first, *others = compare_energies(self, energies[:enough])
        self.policy.temperature = now
        best = min(others, key=lambda fit: fit.share)
        most = LITTLE if uniform else MUCH
        if best.better_than(first) and best.share < most * min(1.0, first.share):
            self._looks_left = ()
            self._adopt(best.policy)

    def _coldest(self) -> float:
        """Returns the T in the end: at a high one hidden units are all but linear."""
        if self.final_temperature is not None:
            return self.final_temperature
        return spread_range(self.spread, self.action_space)[1]

    def _adopt(self, policy: FreeEnergyPolicy) -> None:
        policy.temperature = self.policy.temperature  # it may have been fitted at another
        self.policy, self.energy = policy, policy.energy
        if self._rates_itself:
            self.learning_rate = default_rate(self.action_space, policy.energy)
            self._setup_lr_schedule()
        self.q_net, self.q_net_target = policy.q_net, policy.q_net_target

    def discounts(self, batch: Transitions) -> Tensor:
        """Returns γ to the number of steps, 0 where the episode has terminated."""
        # n-step buffers say by how much each return is discounted
        gamma = self.gamma if batch.discounts is None else batch.discounts.flatten()
        return gamma * (1 - batch.dones.flatten())

    def _sample_transitions(self, batch_size: int) -> Any:
        if self.replay_buffer is None:
            raise ParameterError("no replay buffer", "Call learn() first")
        found = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
        if not isinstance(found, Transitions):
            found = Transitions(**found._asdict())  # of a buffer of the user's choice
        if found.next_masks is None:
            masks = self.policy.observed_masks(found.next_observations)
            found = found._replace(next_masks=masks)
        return found
