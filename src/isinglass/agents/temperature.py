"""Temperatures of agents: annealed in units of the reward, or of the spread of the values."""

from __future__ import annotations

import math

import torch
from gymnasium import spaces
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_positive
from isinglass.agents.actions.action_structure import ActionStructure
from isinglass.agents.policy import FreeEnergyPolicy
from isinglass.agents.replay.transitions import Transitions, take_rows
from isinglass.distributions import Distribution, Enumerated, has_few_states
from isinglass.distributions.enumerated import deviations
from isinglass.errors import ParameterError

__all__ = ["action_parts", "reward_range", "spread_range", "value_spread"]

STATES_LOOKED_AT = 32
ACTIONS_LOOKED_AT = 16  # in each of them, where there are too many to list
HOT = 1e6  # in temperatures of the policy: what is drawn there is uniform

#: T at the start in units of the spread of the values, σ, and in the end in units of σ/√d: values
#: of d parts that add up differ by √d as much as those of one, of which the policy is to be sure.
SPREADS = (1.0, 0.1)
#: The same in units of the reward, where one of them is given.
REWARDS = (1.0, 0.05)


def reward_range(
    temperature: float | str, initial: float | None, final: float | None
) -> tuple[float | None, float | None]:
    """Returns T at the start and in the end in units of the reward; None, None for ``"auto"``.

    Raises:
        ParameterError: If a number is given together with a range, or a text that is not "auto".

    Examples:
        >>> reward_range("auto", None, None), reward_range(0.5, None, None)
        ((None, None), (0.5, 0.5))
        >>> reward_range("auto", None, 0.2)
        (1.0, 0.2)
    """
    ranged = initial is not None or final is not None
    if isinstance(temperature, str):
        if temperature != "auto":
            raise ParameterError(f"temperature = {temperature!r}", "Give 'auto' or a number")
        if not ranged:
            return None, None
        first, last = REWARDS
        return (first if initial is None else initial, last if final is None else final)
    if ranged:
        raise ParameterError(
            f"temperature = {temperature} with initial_temperature = {initial}, "
            f"final_temperature = {final}",
            "Give temperature for a constant T, or the other two for one that falls",
        )
    constant = check_positive("temperature", temperature)
    return constant, constant


def spread_range(spread: float | None, space: spaces.Space) -> tuple[float, float]:
    """Returns T at the start and in the end where T follows the spread of the values, 1 unknown.

    Examples:
        >>> spread_range(2.0, spaces.MultiBinary(4))
        (2.0, 0.1)
    """
    unit, (first, last) = spread or 1.0, SPREADS
    return unit * first, unit * last / math.sqrt(action_parts(space))


def action_parts(space: spaces.Space) -> int:
    """Counts the parts d of an action that are chosen apart: bits, choices or axes.

    Examples:
        >>> action_parts(spaces.MultiDiscrete([2, 5])), action_parts(spaces.Box(-1, 1, (3,)))
        (2, 3)
    """
    return ActionStructure.of(space).size


@torch.no_grad()
def value_spread(policy: FreeEnergyPolicy, batch: Transitions, discounts: Tensor) -> float:
    r"""Returns σ, by how much the values of actions differ in a state.

        σ = E_s[σ(s)],   σ(s)² = Var_a Q_target(s, a),   a uniform over what is allowed in s

    The mean of deviations, not of their squares: a few states in which one action is a disaster
    would make T so high that in all others actions are drawn blindly. s are next states of the
    batch from which an episode goes on; where none does, as in tasks of one step, they are the
    states acted in.

    Args:
        policy: Its target network is asked.
        batch: Transitions; the first 32 that go on are looked at.
        discounts: γ to the number of steps, 0 where the episode has terminated, ``(batch,)``.

    Examples:
        >>> from isinglass.agents import MixtureEnergy
        >>> state = spaces.MultiBinary(3)
        >>> policy = FreeEnergyPolicy(
        ...     state, spaces.Discrete(4), lambda _: 1e-3, energy=MixtureEnergy(1)
        ... )
        >>> batch = Transitions(*[torch.zeros(2, 3)] * 4, rewards=torch.ones(2, 1))
        >>> values = torch.nn.init.normal_(policy.q_net_target.head.fields)  # one an action
        >>> found = value_spread(policy, batch, torch.zeros(2))
        >>> bool(abs(found - values.std(correction=0)) < 1e-6)
        True
    """
    on = discounts.nonzero().flatten()[:STATES_LOOKED_AT]
    if len(on):
        states, masks = batch.next_observations, batch.next_masks
    else:
        states, masks = batch.observations, None
        on = torch.arange(min(STATES_LOOKED_AT, len(discounts)), device=discounts.device)
    states, masks = take_rows(states, on), None if masks is None else masks[on]
    found = policy.distribution(states, masks, target=True)
    values = _listed(found)
    if values is None:
        draws = _uniform_draws(policy, states, masks, found)
        values = torch.stack([found.score(draw) for draw in draws], -1)
    return float(deviations(values)[1].sqrt().mean())


def _listed(found: Distribution) -> Float[Tensor, "states actions"] | None:
    """Returns Q of every action, −∞ where forbidden; None where there are too many to list."""
    if isinstance(found, Enumerated):
        return found.scores
    return Enumerated.of(found).scores if has_few_states(found) else None


def _uniform_draws(
    policy: FreeEnergyPolicy, states: PyTorchObs, masks: Tensor | None, found: Distribution
) -> list[Tensor]:
    """Draws actions uniformly among those allowed: at a temperature far above all values."""
    stream = policy.generator
    if masks is None:
        like = found.zeros_like_event()
        shape = ACTIONS_LOOKED_AT, *like.shape
        return list(policy.code.uniform_states(like.new_zeros(shape), stream))
    high = HOT * policy.temperature
    hot = policy.distribution(states, masks, target=True, temperature=high)
    return [hot.sample(stream) for _ in range(ACTIONS_LOOKED_AT)]
