"""Soft value iteration over what is stored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import (
    check_at_least_zero,
    check_choice,
    check_count,
    check_fraction,
    check_generator,
    check_kind,
)
from isinglass._support.wording import shown
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.world.columns import LARGEST, WorldColumns
from isinglass.world.transition_model import TransitionModel

__all__ = ["Plan", "Reward", "plan"]

#: Of arriving in each state, or of each pair of state and action.
Reward: TypeAlias = Float[Tensor, "S *A"]

ALIKE = 1e-9  # how much values of equals differ by rounding, beside those of their state
PRECISION = 1e-11  # of values, beside the largest reward summed without end
UNMET = ("refuse", "optimistic", "share")


@dataclass(frozen=True)
class Plan:
    """What a plan found: the values of every state and action, and how to act by them.

    Attributes:
        columns: What states and actions are made of.
        q: Q(s, a), ``(S, A)``, −∞ of what is refused.
        value: V(s), ``(S,)``.
        temperature: T.
        steps: How many steps of value iteration were taken.

    Examples:
        >>> from isinglass import Categorical
        >>> columns = WorldColumns(Categorical(1), Categorical(2))
        >>> q = torch.tensor([[0.0, 1.0]])
        >>> Plan(columns, q, q.amax(-1), temperature=0.0, steps=1).action([0])
        tensor([1])
    """

    columns: WorldColumns
    q: Float[Tensor, "S A"]
    value: Float[Tensor, " S"]
    temperature: float
    steps: int

    def action(self, state: object) -> Tensor:
        """Returns the best action of each state, the first of those equal but for rounding.

        Args:
            state: States as :class:`WorldColumns` numbers them, one a row.

        Raises:
            DomainError: If every action of a state is refused, as it was never met.
        """
        return self._decode(first_best(self._rows(state)))

    def probs(self, state: object) -> Float[Tensor, "B A"]:
        """Computes π(a | s) = exp((Q(s, a) − V(s))/T); at T = 0 the best actions share it.

        Raises:
            DomainError: If every action of a state is refused.
        """
        q = self._rows(state)
        if self.temperature > 0:
            return torch.softmax(q / self.temperature, -1)
        best = (q == q.amax(-1, keepdim=True)).to(q)
        return best / best.sum(-1, keepdim=True)

    def sample(self, state: object, generator: Generator | None = None) -> Tensor:
        """Draws an action of each state from π.

        Raises:
            DomainError: If every action of a state is refused.
        """
        check_generator(generator)
        return self._decode(torch.multinomial(self.probs(state), 1, generator=generator)[:, 0])

    def _rows(self, state: object) -> Tensor:
        index = self.columns.index("state", self.columns.encode("state", state))
        q = self.q[index.to(self.q.device)]
        refused = q.amax(-1) == -torch.inf
        if bool(refused.any()):
            raise DomainError(
                f"state {int(index[refused.cpu()][0])}, of which no action was ever met",
                "Store what happens there, or plan with unmet='optimistic' or 'share'",
            )
        return q

    def _decode(self, index: Int[Tensor, " B"]) -> Tensor:
        return self.columns.decode("action", self.columns.values("action", index))


def first_best(q: Float[Tensor, "B A"]) -> Int[Tensor, " B"]:
    """Returns the first of the best actions of each row, those equal but for rounding among them.

    Examples:
        >>> first_best(torch.tensor([[0.0, 1.0, 1.0 + 1e-14]], dtype=torch.float64))
        tensor([1])
    """
    return best_alike(q).double().argmax(-1)


def best_alike(q: Float[Tensor, "B A"]) -> Bool[Tensor, "B A"]:
    """Tells which actions of each row are the best, those equal but for rounding among them.

    Examples:
        >>> best_alike(torch.tensor([[0.0, 1.0, 1.0 + 1e-14]], dtype=torch.float64))
        tensor([[False,  True,  True]])
    """
    top = q.amax(-1, keepdim=True)
    size = torch.where(q.isfinite(), q.abs(), 0.0).amax(-1, keepdim=True)
    return q >= top - ALIKE * size


def plan(
    model: TransitionModel,
    reward: Reward | None,
    goal: object,
    *,
    horizon: int | None,
    discount: float,
    temperature: float,
    unmet: str | None,
    allowed: Bool[Tensor, "S A"] | None = None,
    start: Plan | None = None,
) -> Plan:
    """Plans in a model, as :meth:`WorldEnergy.plan` does.

    Raises:
        DomainError: If nothing leads to the goal, or a reward is not finite.
        ParameterError: If an argument is out of its range, or contradicts another.
        ShapeError: If the reward fits neither states nor pairs, or ``allowed`` not the pairs.
    """
    check_fraction("discount", discount)
    check_at_least_zero("temperature", temperature)
    if start is not None:
        check_kind("start", start, Plan, "a plan of this world")
    if horizon is not None:
        check_count("horizon", horizon)
    elif discount == 1:
        raise ParameterError("discount = 1 without a horizon", "Give a horizon, or less")
    shared = bool((model.known & (model.visits == 0)).any())
    unmet = ("share" if shared else "refuse") if unmet is None else unmet
    check_choice("unmet", unmet, UNMET)
    rewards, ends, final = _rewards(model, reward, goal)
    # What repeats itself for ever, or till the episode ends by chance.
    far = _lasting(discount * (1 - ends), horizon)
    mean = _sum_over(model, model.probability * rewards * (1 + model.stuck * (far - 1)))
    onward = discount * model.probability * (1 - ends) * (1 - model.stuck)
    long = float(_lasting(torch.tensor(float(discount)), horizon))
    high, low = float(rewards.max()), float(rewards.min())
    # The best there can be: the highest reward for ever, an end at once where all cost something,
    # and more than that where all rewards so far are equal.
    high = max(high + (1.0 if high == low else 0.0), 0.0)
    met = model.visits > 0 if unmet != "share" else model.known
    fixed = torch.zeros_like(mean).masked_fill(
        ~met, high * long if unmet == "optimistic" else -math.inf
    )
    free = met
    over = final.repeat_interleave(model.columns.actions)
    for mask, worth in ((_forbidden(model, allowed), -math.inf), (over, 0.0)):
        fixed, free = fixed.masked_fill(mask, worth), free & ~mask
    lowest = torch.full((model.columns.states,), min(low, 0.0) * long).to(mean)
    value = _first_values(lowest, horizon, start)
    close = PRECISION * (max(abs(high), abs(low)) * long or 1.0) * (1 - discount)
    steps = 0
    while True:
        q = torch.where(free, mean + _sum_over(model, onward * value[model.after]), fixed)
        q = q.reshape(-1, model.columns.actions)
        new = _soft_max(q, temperature)
        new = torch.where(new == -torch.inf, lowest, torch.where(final, 0.0, new))
        steps += 1
        moved, value = float((new - value).abs().max()), new
        if not math.isfinite(moved):
            raise DomainError(
                f"values beyond what floats hold, of rewards from {low:.3g} to {high:.3g} at T = "
                f"{temperature:.3g}",
                "Scale the rewards, or take another temperature",
            )
        if steps == horizon or moved == 0 or (horizon is None and moved * discount <= close):
            return Plan(model.columns, q, value, temperature, steps)


def _first_values(lowest: Tensor, horizon: int | None, start: Plan | None) -> Tensor:
    """Values before the first step: zero past a horizon, else of a plan that fits, or lowest."""
    if horizon is not None:
        return torch.zeros_like(lowest)
    if start is None or start.value.shape != lowest.shape:
        return lowest
    return start.value


def _forbidden(model: TransitionModel, allowed: Bool[Tensor, "S A"] | None) -> Bool[Tensor, " P"]:
    if allowed is None:
        return torch.zeros_like(model.visits, dtype=torch.bool)
    shape = model.columns.states, model.columns.actions
    if tuple(allowed.shape) != shape or allowed.dtype != torch.bool:
        raise ShapeError(
            f"allowed of shape {tuple(allowed.shape)} and {allowed.dtype}",
            f"Give a bool for each pair of state and action, {shape}",
        )
    return ~allowed.reshape(-1).to(model.pair.device)


def _lasting(rate: Float[Tensor, "*E"], horizon: int | None) -> Float[Tensor, "*E"]:
    """What a reward of 1 at every step adds up to, if each is followed by another at a rate."""
    if horizon is None:
        return 1 / (1 - rate)
    return torch.where(
        rate == 1, float(horizon), (1 - rate**horizon) / (1 - rate).clamp_min(1e-300)
    )


def _soft_max(q: Float[Tensor, "S A"], temperature: float) -> Float[Tensor, " S"]:
    if temperature == 0:
        return q.amax(-1)
    return temperature * torch.logsumexp(q / temperature, -1)


def _sum_over(model: TransitionModel, values: Float[Tensor, " E"]) -> Float[Tensor, " P"]:
    """Sums values of entries over those of each pair."""
    return model.visits.new_zeros(len(model.visits)).index_add(0, model.pair, values)


def _rewards(
    model: TransitionModel, reward: Reward | None, goal: object
) -> tuple[Tensor, Tensor, Tensor]:
    """Reward and end of each entry of the model, and the states where everything has ended."""
    final = model.final
    if reward is not None and goal is not None:
        raise ParameterError("both a reward and a goal", "Give one of them")
    if goal is not None:
        index = model.columns.index("state", model.columns.encode("state", goal))
        arrives = torch.isin(model.after, index.to(model.after.device))
        if not bool(arrives.any()):
            raise DomainError(
                f"the goal {index.tolist()}, where nothing leads that was met or is foretold",
                "Give a goal that was met, or store transitions that lead there",
            )
        final[index.to(final.device)] = True
        return arrives.to(model.reward), torch.where(arrives, 1.0, model.done), final
    if reward is None:
        return model.reward, model.done, final
    try:
        given = torch.as_tensor(reward).to(model.reward)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DomainError(
            f"the reward {shown(reward)}, which is no array of numbers",
            "Give one of each state, or of each pair of state and action",
        ) from error
    if not bool((given.abs() <= LARGEST).all()):
        raise DomainError(f"rewards that are NaN or infinite, or beyond {LARGEST:.0e}", "Give less")
    states, actions = model.columns.states, model.columns.actions
    if given.shape == (states,):
        return given[model.after], model.done, final
    if given.shape == (states, actions):
        return given.reshape(-1)[model.pair], model.done, final
    raise ShapeError(
        f"rewards of shape {tuple(given.shape)}",
        f"Give one of each of {states} states, or of each pair, ({states}, {actions})",
    )
