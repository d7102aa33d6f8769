"""Properties of an annealing path: its ends, its weights, its transitions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass.core.energy import Energy
from isinglass.core.path import AnnealingPath
from isinglass.testing.property import (
    PropertyViolation,
    require_chi_square,
    require_close,
    require_likely,
)

__all__ = ["check_path"]

#: Draws of every χ² test: a probability of 0.1 is then known to 4 % of itself.
DRAWS = 5_000
#: Rows moved together. A path may choose the order of a sweep by one coin a batch: with a hundred
#: coins their imbalance, 10 %, is below the noise of the counts of a pair of states.
BLOCK = 50
#: Relative error allowed of sums in float64, a million roundings.
ROUNDING = 1e-9


@torch.no_grad()
def check_path(
    path: AnnealingPath,
    energy: Energy,
    states: Float[Tensor, "states size"],
    temperature: float,
    generator: Generator,
    *,
    lambdas: Sequence[float] = (0.0, 0.4, 1.0),
    weighed: Sequence[int] | None = None,
) -> None:
    """Holds a path to all its properties, on every state of an energy that can be enumerated.

    * ``log_weight`` at λ = 1 is −E/T, summed over what the weights sum out, but for a constant;
    * ``base_log_partition`` is log Σ w₀, and ``draw_base`` draws from p₀;
    * ``log_ratio`` is the difference of two log weights, of rows at different λ;
    * ``transition`` leaves p_λ unchanged, and is in detailed balance if declared ``reversible``;
    * ``advance`` is ``transition`` and ``log_ratio`` at once, from the same random numbers;
    * ``prepare`` leaves p₁ unchanged.

    Args:
        path: The path to hold to account.
        energy: What stands at λ = 1.
        states: Every state, one a row, in float64.
        temperature: T > 0, that of the path.
        generator: Source of randomness.
        lambdas: Where transitions are tried.
        weighed: The components that the weights look at, where others are summed out of them;
            None is all.

    Raises:
        PropertyViolation: If a property does not hold; those of draws are tested at 5 σ.

    Examples:
        >>> import isinglass as ig
        >>> machine = ig.BoltzmannMachine(ig.Spin(3), scale=0.5).double()
        >>> states = ig.Spin(3).enumerate_states()
        >>> check_path(machine.path(0.8), machine, states, 0.8, torch.Generator().manual_seed(0))
    """
    columns = list(range(states.shape[-1])) if weighed is None else list(weighed)
    log_p = -energy.energy_at(states, temperature).double() / temperature
    trial = _Trial(path, states, columns)
    trial.check_ends(log_p)
    trial.check_ratio()
    trial.require("draw_base draws from p₀", path.draw_base(DRAWS, generator), 0.0)
    for lambda_ in lambdas:
        trial.check_transition(lambda_, generator)
    trial.check_advance(generator)
    chosen = torch.multinomial(log_p.softmax(0), DRAWS, replacement=True, generator=generator)
    trial.require("prepare leaves p₁ unchanged", path.prepare(states[chosen], generator), 1.0)


@dataclass(frozen=True)
class _Trial:
    """A path, and all states by what its weights tell apart: cells of states of equal weight."""

    path: AnnealingPath
    states: Tensor
    columns: list[int]

    @property
    def name(self) -> str:
        return type(self.path).__name__

    @property
    def cells(self) -> Tensor:
        """The cell of every state, ``(states,)``."""
        return self.states[:, self.columns].unique(dim=0, return_inverse=True)[1]

    @property
    def first(self) -> Tensor:
        """The number of a state of every cell."""
        cells = self.cells
        return torch.stack(
            [(cells == cell).nonzero()[0, 0] for cell in range(int(cells.max()) + 1)]
        )

    def log_weights(self, lambda_: float) -> Tensor:
        """log w_λ of every cell, the same whatever the units that are summed out."""
        weights = self.path.log_weight(self.states, _full(self.states, lambda_)).double()
        found = weights[self.first]
        name = f"log_weight of {self.name} looks at no unit that is summed out"
        require_close(name, weights, found[self.cells], ROUNDING)
        return found

    def check_ends(self, log_p: Tensor) -> None:
        cells, first = self.cells, self.log_weights(1.0)
        wanted = torch.stack([log_p[cells == cell].logsumexp(0) for cell in range(len(first))])
        require_close(
            f"log_weight of {self.name} at λ = 1 is −E/T but for a constant",
            first - first.mean(),
            wanted - wanted.mean(),
            ROUNDING * max(1.0, float(wanted.abs().max())),
        )
        require_close(
            f"base_log_partition of {self.name} is log Σ w₀",
            self.path.base_log_partition.double().cpu(),
            self.log_weights(0.0).logsumexp(0),
            ROUNDING,
        )

    def check_ratio(self) -> None:
        start = torch.linspace(0, 1, len(self.states), dtype=torch.float64)
        end = (start + 0.37) % 1
        require_close(
            f"log_ratio of {self.name} is the difference of log weights",
            self.path.log_ratio(self.states, start, end).double(),
            (
                self.path.log_weight(self.states, end) - self.path.log_weight(self.states, start)
            ).double(),
            ROUNDING,
        )

    def check_transition(self, lambda_: float, generator: Generator) -> None:
        """p_λ stays p_λ; where the path says so, a → b is seen as often as b → a."""
        probability = self.log_weights(lambda_).softmax(0)
        before = torch.multinomial(probability, DRAWS, replacement=True, generator=generator)
        moved = [
            self.path.transition(rows, _full(rows, lambda_), generator)
            for rows in self.states[self.first[before]].split(BLOCK)
        ]
        name = f"transition leaves p_λ unchanged at λ = {lambda_:g}"
        after = self.require(name, torch.cat(moved), lambda_)
        if self.path.reversible:
            self._require_balance(before * len(probability) + after, len(probability), lambda_)

    def check_advance(self, generator: Generator) -> None:
        # Many rows, far apart: the same uniform number has to tell one λ from another somewhere.
        states = self.states.repeat(math.ceil(1000 / len(self.states)), 1)
        start = torch.linspace(0, 1, len(states), dtype=torch.float64)
        end = (start + 0.37) % 1
        seed = int(torch.randint(2**31, (), generator=generator))
        once, again = (Generator().manual_seed(seed) for _ in range(2))
        moved, ratio = self.path.advance(states, start, end, once)
        expected = self.path.transition(states, end, again)
        name = f"advance of {self.name} moves as transition does"
        require_close(name, moved.double(), expected.double(), ROUNDING)
        expected = self.path.log_ratio(states, start, end)
        name = f"advance of {self.name} gives log_ratio"
        require_close(name, ratio.double(), expected.double(), ROUNDING)

    def require(self, name: str, drawn: Tensor, lambda_: float) -> Tensor:
        """Requires that draws follow p_λ; the cells that they fell into."""
        seen, drawn = self.states[self.first][:, self.columns], drawn[:, self.columns].double()
        cell = torch.cdist(drawn, seen.double()).argmin(-1)
        if not torch.allclose(seen[cell].double(), drawn, atol=ROUNDING):
            raise PropertyViolation(f"{self.name}: {name}: left the enumerated states")
        counts = torch.bincount(cell, minlength=len(seen)).double()
        require_chi_square(f"{self.name}: {name}", counts, self.log_weights(lambda_).softmax(0))
        return cell

    def _require_balance(self, pairs: Tensor, size: int, lambda_: float) -> None:
        """Σ (n_ab − n_ba)²/(n_ab + n_ba), over pairs seen more than ten times, is their χ²."""
        flows = torch.bincount(pairs, minlength=size**2).double().reshape(size, size)
        seen = torch.triu(flows + flows.mT, 1) > 10
        surplus = float(((flows - flows.mT).square() / (flows + flows.mT))[seen].sum())
        require_likely(
            f"{self.name}: transition is not reversible at λ = {lambda_:g}",
            surplus,
            int(seen.sum()),
        )


def _full(states: Tensor, lambda_: float) -> Tensor:
    return torch.full((len(states),), lambda_, dtype=torch.float64, device=states.device)
