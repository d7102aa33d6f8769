"""By what the reward and the end of a transition are foretold, chosen for each action."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from isinglass._support.typing import Float, Int
from isinglass.world.columns import digits, number
from isinglass.world.moves import means, totals

__all__ = ["Key", "Steps", "better_keys", "foretell", "subsets"]

MOST_DIGITS = 6  # of which every subset is tried


@dataclass(frozen=True)
class Steps:
    """Transitions by number, stored or foretold ones.

    Attributes:
        state: s, ``(N,)``.
        action: a.
        after: s′.
        change: Which change of the table each makes.
    """

    state: Int[Tensor, " N"]
    action: Int[Tensor, " N"]
    after: Int[Tensor, " N"]
    change: Int[Tensor, " N"]

    def of(self, mine: Tensor) -> Steps:
        """Returns some of the transitions."""
        return Steps(self.state[mine], self.action[mine], self.after[mine], self.change[mine])


@dataclass(frozen=True)
class Key:
    """What transitions have in common that are taken to be worth the same.

    Attributes:
        after: The next state.
        action: The action.
        change: The change, with the action that made it.
        context: Digits of the state.

    Examples:
        >>> str(Key(after=True)), str(Key(change=True, context=(0, 1)))
        ('next_state', 'change in digits 0, 1')
    """

    after: bool = False
    action: bool = False
    change: bool = False
    context: tuple[int, ...] = ()

    def __str__(self) -> str:
        parts = [n for n, on in (("action", self.action), ("next_state", self.after)) if on]
        if self.change:
            parts.append("change")
        where = f" in digits {', '.join(map(str, self.context))}" if self.context else ""
        return ", ".join(parts) + where

    def numbers(self, steps: Steps, layout: tuple[int, ...], sizes: tuple[int, int, int]) -> Tensor:
        """Returns a number for each transition's key.

        Args:
            steps: The transitions.
            layout: The digits of a state.
            sizes: How many states, actions and changes there are.
        """
        states, actions, changes = sizes
        columns, counts = [torch.zeros_like(steps.state)], [1]
        if self.context:
            columns += digits(steps.state, layout)[:, list(self.context)].unbind(-1)
            counts += [layout[place] for place in self.context]
        for wanted, column, count in (
            (self.after, steps.after, states),
            (self.action, steps.action, actions),
            (self.change, steps.change, changes),
        ):
            if wanted:
                columns.append(column)
                counts.append(count)
        return number(torch.stack(columns, -1), tuple(counts))


def subsets(digit_count: int) -> list[tuple[int, ...]]:
    """Returns the sets of digits that are tried: all, or those of one or without one.

    Examples:
        >>> subsets(2)
        [(), (0,), (1,), (0, 1)]
    """
    few = digit_count <= MOST_DIGITS
    sizes = range(1, digit_count + 1) if few else (1, digit_count - 1, digit_count)
    return [(), *(s for size in sizes for s in combinations(range(digit_count), size))]


def better_keys(
    steps: Steps,
    counts: Float[Tensor, " N"],
    values: Float[Tensor, " N"],
    layout: tuple[int, ...],
    sizes: tuple[int, int, int],
) -> tuple[Key, ...]:
    """Chooses for each action the key that foretells values best, one left out.

    A simpler key is kept unless another is better by more than rounding.
    """
    keys = [Key(after=True), Key(change=True), Key(after=True, action=True)]
    keys += [Key(change=True, context=subset) for subset in subsets(len(layout))[1:]]
    mean = means(steps.action, counts, values)[1][steps.action]
    errors = []
    for key in keys:
        _, of = torch.unique(key.numbers(steps, layout, sizes), return_inverse=True)
        size = int(of.max()) + 1
        many, total = totals(of, counts, size)[of], totals(of, counts * values, size)[of]
        rest = torch.where(many > 1, (total - values) / (many - 1).clamp_min(1), mean)
        errors.append(totals(steps.action, counts * (rest - values).square(), sizes[1]))
    table = torch.stack(errors)
    best = table.amin(0)
    good = table <= best + 1e-9 * (1 + best)
    return tuple(keys[int(column.nonzero()[0, 0])] for column in good.unbind(1))


def foretell(
    keys: tuple[Key, ...],
    steps: Steps,
    asked: Steps,
    counts: Float[Tensor, " N"],
    values: Float[Tensor, " N"],
    layout: tuple[int, ...],
    sizes: tuple[int, int, int],
) -> Float[Tensor, " E"]:
    """Foretells values of transitions by their keys: where none is alike, by action and change."""
    mean = (counts * values).sum() / counts.sum()
    known, by_change = means(steps.change, counts, values)
    fallback = mean.repeat(sizes[2])
    fallback[: len(known)] = torch.where(known > 0, by_change, mean)
    told = fallback[asked.change]
    for key in set(keys):
        mine = torch.tensor([other == key for other in keys], device=asked.action.device)
        here = mine[asked.action].nonzero()[:, 0]
        there = slice(None) if not (key.action or key.change) else mine[steps.action]
        names, of = torch.unique(key.numbers(steps, layout, sizes)[there], return_inverse=True)
        if not len(names) or not len(here):
            continue
        wanted = key.numbers(asked.of(here), layout, sizes)
        place = torch.searchsorted(names, wanted).clamp(max=len(names) - 1)
        found = means(of, counts[there], values[there])[1][place]
        told[here] = torch.where(names[place] == wanted, found, told[here])
    return told
