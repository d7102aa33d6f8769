"""Planning along paths that are drawn, foretold and chosen by their returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from isinglass._support.typing import Float
from isinglass.world.columns import REAL, WorldColumns
from isinglass.world.real_model import Prediction

__all__ = ["PathPlanner"]

ROUNDS = 3  # of drawing paths near the best of the last ones
KEPT = 8  # one path in so many is kept
SMOOTH = 0.7  # how alike the noise of neighbors in time is
LEAST = 0.05  # spread of real actions that is always left, beside half their range
TRIED = 0.05  # of choices, the chance that any is tried


@dataclass
class PathPlanner:
    r"""Chooses actions by the returns of paths drawn from a distribution that follows the best.

        R = Σ_t γ^t Π_{i<t} (1 − done_i) r_t,   along what :class:`RealModel` foretells

    The cross-entropy method: paths are drawn, the eighth with the highest R becomes the next
    distribution; real actions are Gaussian, alike in neighboring steps, choices are categorical.
    A path that leaves what was met is taken to end there, with the lowest reward from then on.

    References: Rubinstein 1999, Methodology and Computing in Applied Probability 1:127-190;
    Chua et al. 2018, arXiv:1805.12114.

    Attributes:
        columns: What states and actions are made of.
        low: The lowest real action, ``(numbers of an action,)``; of choices not looked at.
        high: The highest.
        horizon: Steps of a path.
        paths: Paths a round.
        discount: γ, 0 to 1.

    Examples:
        >>> from isinglass import Gaussian
        >>> columns = WorldColumns(Gaussian(1), Gaussian(1))
        >>> def predict(state, action):  # the reward is nearness to 3
        ...     zeros = torch.zeros(len(state), dtype=torch.float64)
        ...     return Prediction(state + action, -(state + action - 3).abs()[:, 0], zeros, zeros)
        >>> planner = PathPlanner(columns, torch.tensor([-1.0]), torch.tensor([1.0]), horizon=5)
        >>> action = planner.action(predict, torch.zeros(1), torch.Generator().manual_seed(0))
        >>> bool(action[0] > 0.7)
        True
    """

    columns: WorldColumns
    low: Float[Tensor, " l"]
    high: Float[Tensor, " l"]
    horizon: int = 30
    paths: int = 128
    discount: float = 0.99
    _next: Tensor | None = None  # the mean path from the next state on

    def reset(self) -> None:
        """Forgets the path that was under way, at the start of an episode."""
        self._next = None

    def action(
        self,
        predict: Callable[[Tensor, Tensor], Prediction],
        state: Float[Tensor, " k"],
        generator: Generator | None = None,
        lowest: float = 0.0,
        familiar: float = -torch.inf,
        doubt: float = 0.0,
    ) -> Float[Tensor, " l"]:
        """Returns the first action of the best path from a state.

        Args:
            predict: Foretells what follows states and actions.
            state: Numbered as :class:`WorldColumns` does.
            generator: Where the paths come from.
            lowest: What each step is worth where nothing was met.
            familiar: How near, as :attr:`Prediction.nearest` says it, what was met has to be.
            doubt: What a step costs at the edge of what was met, less the nearer it is: of paths
                with equal returns the one among what is known best is taken.
        """
        mean, spread = self._start()
        best, best_return = mean, -torch.inf
        for _ in range(ROUNDS):
            drawn = self._draw(mean, spread, generator)
            returns = self._returns(
                predict, state.to(mean), self._decode(drawn), lowest, familiar, doubt
            )
            kept = drawn[returns.topk(max(self.paths // KEPT, 2)).indices]
            mean, spread = kept.mean(0), kept.std(0) + LEAST
            if float(returns.max()) > best_return:
                best, best_return = drawn[returns.argmax()], float(returns.max())
        self._next = torch.cat([mean[1:], self._start_from_nothing()[-1:]])
        return self._decode(best[None, :1])[0, 0]

    def _sizes(self) -> list[int]:
        return [count or 1 for count in self.columns.choices("action")]

    def _start_from_nothing(self) -> Tensor:
        parts = [
            torch.zeros(1) if count == REAL else torch.full((count,), 1 / count)
            for count in self.columns.choices("action")
        ]
        return torch.cat(parts).double().repeat(self.horizon, 1)

    def _start(self) -> tuple[Tensor, Tensor]:
        mean = self._start_from_nothing() if self._next is None else self._next
        return mean, torch.ones_like(mean)

    def _draw(self, mean: Tensor, spread: Tensor, generator: Generator | None) -> Tensor:
        """Paths as numbers: real ones from −1 to 1, choices one-hot; the first is the mean."""
        shape = self.paths, self.horizon
        parts = []
        for place, count in zip(
            torch.tensor([0, *self._sizes()]).cumsum(0).tolist(),
            self.columns.choices("action"),
            strict=False,
        ):
            if count == REAL:
                noise = torch.randn(*shape, generator=generator, dtype=mean.dtype)
                for step in range(1, self.horizon):
                    fresh = (1 - SMOOTH**2) ** 0.5 * noise[:, step]
                    noise[:, step] = SMOOTH * noise[:, step - 1] + fresh
                path = (mean[:, place] + spread[:, place] * noise).clamp(-1, 1)
                path[0] = mean[:, place]
                parts.append(path.unsqueeze(-1))
            else:
                chances = (1 - TRIED) * mean[:, place : place + count] + TRIED / count
                drawn = torch.multinomial(
                    chances, self.paths, replacement=True, generator=generator
                )
                drawn[:, 0] = chances.argmax(-1)
                parts.append(one_hot(drawn.T, count).to(mean))
        return torch.cat(parts, -1)

    def _decode(self, drawn: Tensor) -> Tensor:
        """Paths as actions, numbered as the columns are."""
        numbers = []
        counts = self.columns.choices("action")
        for index, (part, count) in enumerate(
            zip(drawn.split(self._sizes(), -1), counts, strict=True)
        ):
            if count == REAL:
                half = (self.high[index] - self.low[index]) / 2
                numbers.append(part[..., 0] * half + (self.high[index] + self.low[index]) / 2)
            else:
                numbers.append(part.argmax(-1).to(drawn))
        return torch.stack(numbers, -1)

    def _returns(
        self,
        predict: Callable[[Tensor, Tensor], Prediction],
        state: Tensor,
        actions: Float[Tensor, "K H l"],
        lowest: float,
        familiar: float,
        doubt: float,
    ) -> Float[Tensor, " K"]:
        states = state.expand(len(actions), -1)
        total = states.new_zeros(len(actions))
        alive = torch.ones_like(total)
        for step in range(self.horizon):
            told = predict(states, actions[:, step])
            rest = sum(self.discount**t for t in range(step, self.horizon))
            lost = (told.nearest < familiar) & (alive > 0)
            worth = told.reward
            if doubt > 0:
                worth = worth - doubt * (told.nearest / familiar).clamp(0, 1)
            total = total + torch.where(lost, rest * lowest, alive * self.discount**step * worth)
            alive = torch.where(lost, 0.0, alive * (1 - told.done))
            states = told.next_state
        return total
