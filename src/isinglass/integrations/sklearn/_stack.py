"""The stack of mixtures behind an estimator of tables, in the states of its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass.data.columns import Binary, CategoricalColumn, Columns, Numeric
from isinglass.data.value_range import ValueRange
from isinglass.distributions.covariance_mixture import CovarianceMixture
from isinglass.distributions.mixed_rows import MixedRows
from isinglass.distributions.mixture_stack import MixtureStack, StackMember, transformed
from isinglass.distributions.yeo_johnson import YeoJohnson
from isinglass.integrations.sklearn._numbers import Bounds
from isinglass.learning.covariance_em import (
    CovariancePrior,
    CovarianceStatistics,
    covariance_e_step,
    covariance_m_step,
)
from isinglass.learning.screen import Screen
from isinglass.learning.stacking import (
    NAMES_STACK,
    STACK,
    Recipe,
    StackReport,
    StackSettings,
    fit_screened_stack,
    refit_stack,
)

__all__ = ["MOST_NUMBERS", "StackConditional", "TableStack", "recipes_of"]

#: With more numeric columns than this "auto" is "spherical".
MOST_NUMBERS = 300
#: Numbers of memories that are stacked where the kind of covariance is told, but not they.
COUNTS = {"full": (1, 2, 3, 5, 8, 12), "tied": (1, 5, 12, 20), "diag": (1, 3, 5, 8, 12, 20)}
#: How often a draw is drawn again where a number is out of range.
REDRAWS = 10


def recipes_of(covariance: str, memories: int | str, numbers: int) -> tuple[Recipe, ...]:
    """Returns the members of the stack that parameters ask for.

    Args:
        covariance: "auto", "diag", "tied" or "full".
        memories: A number, or "auto".
        numbers: How many columns are numeric.
    """
    if covariance == "auto":
        return STACK if numbers else NAMES_STACK
    if isinstance(memories, str):
        return tuple(Recipe(covariance, count) for count in COUNTS[covariance])
    return (Recipe(covariance, int(memories), transformed=False),)


@dataclass(frozen=True)
class TableStack:
    """A stack of mixtures over the states of a table's columns.

    Args:
        columns: The columns.
        stack: The mixtures.
        recipes: What each is.
        range: What the numbers may be.
        bounds: Where numbers are too far out to say anything of the others.
        screen: What flags cells that the rest of the row contradicts; None if nothing is gained.
    """

    columns: Columns
    stack: MixtureStack
    recipes: tuple[Recipe, ...]
    range: ValueRange
    bounds: Bounds
    screen: Screen | None = None

    @classmethod
    def fit(
        cls,
        columns: Columns,
        bounds: Bounds,
        states: Tensor,
        observed: Tensor,
        recipes: tuple[Recipe, ...],
        *,
        before: TableStack | None = None,
        **given: Any,
    ) -> tuple[TableStack, StackReport]:
        """Fits a stack to states, or goes on with one; what else is given goes to the fit."""
        layout = Layout(columns)
        rows = layout.rows(states, observed)
        if before is None:
            stack, screen, report = fit_screened_stack(rows, layout.widths, recipes, **given)
        else:
            screen = before.screen
            stack, report = refit_stack(before.stack, before.recipes, before.trusted(rows), **given)
        found = ValueRange.of(rows.numbers, rows.known)
        return cls(columns, stack, report.recipes, found, bounds, screen), report

    @cached_property
    def layout(self) -> Layout:
        """Where numbers, bits and names stand in states."""
        return Layout(self.columns)

    @property
    def memories(self) -> int:
        """The number of memories of all mixtures."""
        return self.stack.memories

    def rows(self, states: Tensor, observed: Tensor) -> MixedRows:
        """Returns states as rows of numbers and names."""
        return self.layout.rows(states, observed)

    def trusted(self, rows: MixedRows) -> MixedRows:
        """Hides numbers too far out to say anything of the others, and those flagged."""
        count = rows.numbers.shape[1]
        low, high = self.bounds.low[:count], self.bounds.high[:count]
        rows = rows.hidden((rows.numbers >= low) & (rows.numbers <= high))
        return rows if self.screen is None else rows.hidden(~self.screen.flags(rows))

    def log_prob(self, states: Tensor, observed: Tensor) -> Float[Tensor, " n"]:
        """Computes log p of what is known of each row, in states."""
        return self.stack.log_prob(self.rows(states, observed))

    def responsibilities(self, states: Tensor, observed: Tensor) -> Float[Tensor, "n N"]:
        """Computes p(memory | what is known) of each row."""
        return self.stack.log_joint(self.rows(states, observed)).softmax(1)

    def conditional(self, states: Tensor, observed: Tensor) -> StackConditional:
        """Returns the distribution of what is unknown of each row."""
        return StackConditional(self, self.rows(states, observed))

    def sample(self, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draws fresh rows in range: states, and the memory of each."""
        numbers, names, memory = self.stack.sample(count, generator=generator)
        for _ in range(REDRAWS):
            again = self.range.outside(numbers).any(1).nonzero().squeeze(1)
            if not len(again):
                break
            numbers[again], names[again], memory[again] = self.stack.sample(
                len(again), generator=generator
            )
        return self.layout.states(self.range.snap(numbers), names), memory

    def toward(
        self,
        states: Tensor,
        observed: Tensor,
        before: list[CovarianceStatistics] | None,
        rate: float,
        settings: StackSettings,
        count: int,
    ) -> tuple[TableStack, list[CovarianceStatistics]]:
        """Takes a step of stepwise EM of every mixture.

        Args:
            states: A batch.
            observed: What is known of it.
            before: Expected statistics a row so far; None before the first batch.
            rate: How far they move toward the batch's.
            settings: How members are fitted.
            count: Rows seen so far.
        """
        rows = self.trusted(self.rows(states, observed))
        members, after = [], []
        for place, (member, recipe) in enumerate(
            zip(self.stack.members, self.recipes, strict=True)
        ):
            inside = transformed(member.transform, rows)
            found = covariance_e_step(member.mixture, inside)[0].times(1 / max(1, len(rows)))
            if before is not None:
                found = before[place].toward(found, rate)
            prior = CovariancePrior.of(
                inside, self.layout.widths, floor=settings.floor, counts=settings.counts
            )
            mixture = covariance_m_step(found.times(count), recipe.kind, prior, self.layout.widths)
            members.append(StackMember(member.transform, mixture))
            after.append(found)
        return replace(self, stack=MixtureStack(self.stack.log_weights, tuple(members))), after

    def statistics(self, states: Tensor, observed: Tensor) -> list[CovarianceStatistics]:
        """Computes the expected statistics a row of every mixture."""
        rows = self.trusted(self.rows(states, observed))
        return [
            covariance_e_step(member.mixture, transformed(member.transform, rows))[0].times(
                1 / max(1, len(rows))
            )
            for member in self.stack.members
        ]

    def parameters(self) -> int:
        """Counts what is free."""
        widths = self.layout.widths
        total = len(self.recipes) - 1
        for member in self.stack.members:
            mixture = member.mixture
            size = mixture.means.shape[1]
            own = size if mixture.diagonal else size * (size + 1) // 2
            names = mixture.memories * sum(width - 1 for width in widths)
            total += mixture.memories * (1 + size) - 1 + len(mixture.covariances) * own + names
            total += int((member.transform.power != 1).sum())
        return total

    def tensors(self) -> dict[str, Tensor]:
        """Returns all tensors by name, for a file."""
        found = {"log_weights": self.stack.log_weights}
        found |= {f"range.{name}": value for name, value in vars(self.range).items()}
        parts = {str(n): member for n, member in enumerate(self.stack.members)}
        if self.screen is not None:
            parts["screen"] = StackMember(self.screen.transform, self.screen.mixture)
        for name, member in parts.items():
            mixture = member.mixture
            found |= {f"{name}.{of}": value for of, value in vars(member.transform).items()}
            found |= {
                f"{name}.shares": mixture.log_weights, f"{name}.means": mixture.means,
                f"{name}.covariances": mixture.covariances, f"{name}.names": mixture.names,
            }  # fmt: skip
        return {name: value.clone() for name, value in found.items()}  # members share some

    @classmethod
    def from_tensors(
        cls,
        columns: Columns,
        bounds: Bounds,
        recipes: tuple[Recipe, ...],
        tensors: Mapping[str, Tensor],
    ) -> TableStack:
        """Restores the stack of :meth:`tensors`."""
        widths = Layout(columns).widths

        def member(name: str, widths: tuple[int, ...]) -> StackMember:
            of = {key: tensors[f"{name}.{key}"] for key in ("power", "center", "spread")}
            shares, means, covariances, names = (
                tensors[f"{name}.{key}"] for key in ("shares", "means", "covariances", "names")
            )
            mixture = CovarianceMixture(shares, means, covariances, names, widths)
            return StackMember(YeoJohnson(**of), mixture)

        members = tuple(member(str(n), widths) for n in range(len(recipes)))
        screen = None
        if "screen.means" in tensors:
            found = member("screen", ())
            screen = Screen(found.transform, found.mixture)
        seen = ValueRange(*(tensors[f"range.{name}"] for name in ("low", "high", "values")))
        stack = MixtureStack(tensors["log_weights"], members)
        return cls(columns, stack, recipes, seen, bounds, screen)


@dataclass(frozen=True)
class StackConditional:
    """The distribution of the unknown cells of rows, in states of the columns.

    Args:
        table: The stack.
        rows: The rows, of which something may be unknown.
    """

    table: TableStack
    rows: MixedRows

    def mean(self) -> Float[Tensor, "n size"]:
        """Computes the mean of each unknown number, and probabilities of unknown names."""
        return self._whole(self.table.stack.means(self._trusted), self.table.range.clip)

    def mode(self) -> Float[Tensor, "n size"]:
        """Finds the middle of the likeliest memory of each row."""
        return self._whole(self.table.stack.middles(self._trusted), self.table.range.snap)

    def sample(self, generator: Generator) -> Float[Tensor, "n size"]:
        """Draws what is unknown of each row, in range."""
        stack, rows = self.table.stack, self._trusted
        numbers, names = stack.draw(rows, generator=generator)
        for _ in range(REDRAWS):
            out = self.table.range.outside(numbers) & ~rows.known
            again = out.any(1).nonzero().squeeze(1)
            if not len(again):
                break
            numbers[again], names[again] = stack.draw(rows.take(again), generator=generator)
        return self._whole((numbers, names), self.table.range.snap)

    @cached_property
    def _trusted(self) -> MixedRows:
        return self.table.trusted(self.rows)

    def _whole(
        self, filled: tuple[Tensor, Tensor], inside: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "n size"]:
        """Puts back what is known, as states."""
        numbers = torch.where(self.rows.known, self.rows.numbers, inside(filled[0]))
        return self.table.layout.states(numbers, filled[1])


class Layout:
    """Where numbers, bits and names of columns stand in states, and as names one-hot.

    Args:
        columns: The columns; numbers come first, then bits, then names.
    """

    def __init__(self, columns: Columns) -> None:
        kinds = [columns.columns[number] for number in columns.order]
        self.numbers = sum(isinstance(column, Numeric) for column in kinds)
        self.bits = sum(isinstance(column, Binary) for column in kinds)
        wide = [column.width for column in kinds if isinstance(column, CategoricalColumn)]
        self.widths = (2,) * self.bits + tuple(wide)

    def rows(self, states: Float[Tensor, "n size"], observed: Bool[Tensor, "n size"]) -> MixedRows:
        """Returns states as numbers, and names one-hot, a bit being a name of two."""
        first, last = self.numbers, self.numbers + self.bits
        seen, bits = observed[:, first:last].to(states.dtype), states[:, first:last]
        pairs = torch.stack([seen * (1 - bits), seen * bits], 2).flatten(1)
        names = torch.cat([pairs, states[:, last:] * observed[:, last:]], 1)
        numbers, known = states[:, :first], observed[:, :first]
        return MixedRows(torch.where(known, numbers, 0.0), known, names)

    def states(
        self, numbers: Float[Tensor, "n d"], names: Float[Tensor, "n m"]
    ) -> Float[Tensor, "n size"]:
        """Returns numbers and names as states, the inverse of :meth:`rows`."""
        pairs = 2 * self.bits
        return torch.cat([numbers, names[:, 1:pairs:2], names[:, pairs:]], 1)
