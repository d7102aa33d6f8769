"""What follows real states and actions: read from stored transitions by local lines."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from isinglass._support.typing import Float
from isinglass.world.columns import REAL, WorldColumns
from isinglass.world.local_linear import LocalLinear

__all__ = ["Prediction", "RealModel"]

QUANTILE, FAR = 0.01, 4.0
MOST = 4_096  # stored transitions that are read from, the latest


@dataclass(frozen=True)
class Prediction:
    """What is foretold of pairs of state and action.

    Attributes:
        next_state: s′, numbered as :class:`WorldColumns` does; of choices the likeliest.
        reward: Mean r.
        done: The chance that the episode ends, 0 to 1.
        nearest: −½ |D(x − x_μ)|² of the nearest stored pair: far below zero, this was never met.

    Examples:
        >>> Prediction(torch.zeros(1, 2), torch.ones(1), torch.zeros(1), torch.zeros(1)).reward
        tensor([1.])
    """

    next_state: Float[Tensor, "B k"]
    reward: Float[Tensor, " B"]
    done: Float[Tensor, " B"]
    nearest: Float[Tensor, " B"]


@dataclass(frozen=True)
class RealModel:
    """Reads changes, rewards and ends from stored transitions, each by widths of its own.

    Attributes:
        columns: What states and actions are made of.
        change: Reads s′ − s of real numbers, and the choices of s′.
        reward: Reads r.
        done: Reads whether the episode ends.
        familiar: −½ |D(x − x_μ)|² below which a pair is far from all that was met: four times that
            of stored pairs from their neighbors, but for one in a hundred.

    Examples:
        >>> from isinglass import Gaussian
        >>> columns = WorldColumns(Gaussian(1), Gaussian(1))
        >>> state, action = torch.rand(2, 200, 1, dtype=torch.float64)
        >>> rows = torch.cat([state, action, state, state + 0.1 * action, 0 * state], 1)
        >>> model = RealModel.fitted(columns, rows)
        >>> found = model.predict(torch.tensor([[0.5]]), torch.tensor([[1.0]]))
        >>> found.next_state.round(decimals=2), found.reward.round(decimals=2)
        (tensor([[0.6000]], dtype=torch.float64), tensor([0.5000], dtype=torch.float64))
    """

    columns: WorldColumns
    change: LocalLinear
    reward: LocalLinear
    done: LocalLinear
    familiar: float = -torch.inf

    @classmethod
    def fitted(
        cls, columns: WorldColumns, rows: Float[Tensor, "N w"], start: RealModel | None = None
    ) -> RealModel:
        """Fits the widths to stored transitions, going on from an earlier model if there is one."""
        rows = rows[-MOST:]
        state, action, reward, after, done = (
            rows[:, columns.place(name)]
            for name in ("state", "action", "reward", "next_state", "done")
        )
        points = torch.cat(
            [_features(columns, "state", state), _features(columns, "action", action)], 1
        )
        change = _changes(columns, state, after)
        parts = []
        for values, earlier in (
            (change, start and start.change),
            (reward, start and start.reward),
            (done, start and start.done),
        ):
            if bool((values == values[:1]).all()):  # nothing to learn: any width reads it
                parts.append(LocalLinear(points, values, torch.ones_like(points[0]), 1.0))
            else:
                parts.append(LocalLinear.fitted(points, values, earlier))
        apart = parts[0].apart()
        return cls(columns, *parts, familiar=FAR * float(apart.quantile(QUANTILE)))

    def predict(self, state: Float[Tensor, "B k"], action: Float[Tensor, "B l"]) -> Prediction:
        """Foretells what follows each pair of state and action.

        Args:
            state: Numbered as :class:`WorldColumns` does.
            action: Likewise.
        """
        state, action = state.to(self.change.points), action.to(self.change.points)
        points = torch.cat(
            [_features(self.columns, "state", state), _features(self.columns, "action", action)], 1
        )
        change, nearest = self.change(points)
        reward, done = (_read(part, points) for part in (self.reward, self.done))
        return Prediction(self._after(state, change), reward, done.clamp(0, 1), nearest)

    def _after(self, state: Tensor, change: Tensor) -> Tensor:
        numbers, place = [], 0
        for column, count in zip(state.unbind(1), self.columns.choices("state"), strict=True):
            width = 1 if count == REAL else count
            part = change[:, place : place + width]
            numbers.append(column + part[:, 0] if count == REAL else part.argmax(1).to(column))
            place += width
        return torch.stack(numbers, 1)


def _read(read: LocalLinear, points: Tensor) -> Tensor:
    """One value of each point, without a look at what is stored if that is the same everywhere."""
    if bool((read.values == read.values[:1]).all()):
        return read.values[:1, 0].expand(len(points))
    return read(points)[0][:, 0]


def _features(columns: WorldColumns, name: str, values: Tensor) -> Tensor:
    """Real numbers as they are, choices one-hot but for the last, which the others imply."""
    parts = []
    for column, count in zip(values.unbind(1), columns.choices(name), strict=True):
        if count == REAL:
            parts.append(column.unsqueeze(1))
        else:
            parts.append(one_hot(column.long(), count)[:, :-1].to(column))
    return torch.cat(parts, 1)


def _changes(columns: WorldColumns, state: Tensor, after: Tensor) -> Tensor:
    parts = []
    for old, new, count in zip(
        state.unbind(1), after.unbind(1), columns.choices("state"), strict=True
    ):
        parts.append(
            (new - old).unsqueeze(1) if count == REAL else one_hot(new.long(), count).to(new)
        )
    return torch.cat(parts, 1)
