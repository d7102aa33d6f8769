"""Stored transitions by number, and the changes of digits that actions make."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isinglass._support.typing import Bool, Float, Int
from isinglass.world.columns import NAMES, WorldColumns, digits, number

__all__ = ["Changes", "Moves", "Reach", "means", "totals"]


@dataclass(frozen=True)
class Moves:
    """Stored transitions by number: what was done where, and where it led.

    Attributes:
        state: s, ``(N,)``.
        action: a.
        after: s′.
        reward: r.
        done: Whether it was the last, 0 or 1.
        counts: How often each was met.
        states: How many states there are.
        actions: How many actions.
    """

    state: Int[Tensor, " N"]
    action: Int[Tensor, " N"]
    after: Int[Tensor, " N"]
    reward: Float[Tensor, " N"]
    done: Float[Tensor, " N"]
    counts: Float[Tensor, " N"]
    states: int
    actions: int

    @classmethod
    def of(
        cls, columns: WorldColumns, rows: Float[Tensor, "N w"], counts: Float[Tensor, " N"]
    ) -> Moves:
        """Returns stored transitions by number."""
        state, action, reward, after, done = (rows[:, columns.place(name)] for name in NAMES)
        return cls(
            columns.index("state", state), columns.index("action", action),
            columns.index("next_state", after), reward[:, 0], done[:, 0], counts,
            columns.states, columns.actions,
        )  # fmt: skip

    @property
    def pair(self) -> Int[Tensor, " N"]:
        """s·A + a of each."""
        return self.state * self.actions + self.action

    def met(self) -> Float[Tensor, " S"]:
        """Counts how often every state was met, left or arrived at."""
        met = self.counts.new_zeros(self.states)
        return met.index_add_(0, self.state, self.counts).index_add_(0, self.after, self.counts)


@dataclass(frozen=True)
class Reach:
    """Where every change of its action leads in each of some pairs (s, a).

    Attributes:
        pair: Which of the pairs, ascending.
        change: Which change.
        after: Where it leads, where it fits; elsewhere s itself.
        fits: Whether it leads to a state at all.
    """

    pair: Int[Tensor, " E"]
    change: Int[Tensor, " E"]
    after: Int[Tensor, " E"]
    fits: Bool[Tensor, " E"]


@dataclass(frozen=True)
class Changes:
    """Changes Δ = s′ − s of digits that actions were seen to make; none is always among them.

    Attributes:
        action: a of each change, ascending.
        delta: Δ of each, digit by digit, ``(D, k)``.
        count: c(a, Δ).
        of: Which change each stored transition is.
        still: Which change of each action is none, ``(A,)``.
        layout: As which digits a state is read.
    """

    action: Int[Tensor, " D"]
    delta: Int[Tensor, "D k"]
    count: Float[Tensor, " D"]
    of: Int[Tensor, " N"]
    still: Int[Tensor, " A"]
    layout: tuple[int, ...]

    @classmethod
    def seen(cls, moves: Moves, layout: tuple[int, ...]) -> Changes:
        """Returns the changes of stored transitions, those of each action together."""
        delta = digits(moves.after, layout) - digits(moves.state, layout)
        keys = torch.cat([moves.action.unsqueeze(-1), delta], -1)
        everyone = torch.arange(moves.actions, device=keys.device).unsqueeze(-1)
        none = torch.cat([everyone, everyone.new_zeros(len(everyone), len(layout))], -1)
        unique, of = torch.unique(torch.cat([keys, none]), dim=0, return_inverse=True)
        of, still = of[: len(keys)], of[len(keys) :]
        count = moves.counts.new_zeros(len(unique)).index_add(0, of, moves.counts)
        return cls(unique[:, 0].contiguous(), unique[:, 1:], count, of, still, layout)

    def reach(self, state: Int[Tensor, " P"], action: Int[Tensor, " P"]) -> Reach:
        """Returns where every change of its action leads, from each pair."""
        first = torch.searchsorted(self.action, action)
        last = torch.searchsorted(self.action, action, right=True)
        many = last - first
        pair = torch.arange(len(state), device=state.device).repeat_interleave(many)
        start = (first - (many.cumsum(0) - many)).repeat_interleave(many)
        change = torch.arange(len(pair), device=state.device) + start
        after = digits(state, self.layout)[pair] + self.delta[change]
        limits = torch.tensor(self.layout, device=after.device)
        fits = ((after >= 0) & (after < limits)).all(-1)
        after = torch.where(fits, number(after, self.layout), state[pair])
        return Reach(pair, change, after, fits)


def totals(key: Int[Tensor, " N"], values: Float[Tensor, " N"], size: int) -> Float[Tensor, " K"]:
    """Sums values by key.

    Examples:
        >>> totals(torch.tensor([0, 0, 2]), torch.ones(3), 3)
        tensor([2., 0., 1.])
    """
    return values.new_zeros(size).index_add(0, key, values)


def means(
    key: Int[Tensor, " N"], counts: Float[Tensor, " N"], *values: Float[Tensor, " N"]
) -> tuple[Tensor, ...]:
    """Returns the count of each key, and the mean of each kind of values there.

    Examples:
        >>> count, mean = means(torch.tensor([0, 0]), torch.ones(2), torch.tensor([1.0, 2.0]))
        >>> count, mean
        (tensor([2.]), tensor([1.5000]))
    """
    size = int(key.max()) + 1
    count = totals(key, counts, size)
    return count, *(totals(key, counts * value, size) / count for value in values)
