"""How the estimator of tables learns: one machine, or a stack of mixtures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor

from isinglass.data.columns import Columns, Numeric
from isinglass.energies import HopfieldBoltzmann, PatternMixture
from isinglass.errors import ParameterError
from isinglass.integrations.sklearn._memory_count import choose_count, held_out_scores
from isinglass.integrations.sklearn._numbers import Bounds
from isinglass.integrations.sklearn._shared import generator_of, learning_bar
from isinglass.integrations.sklearn._stack import (
    MOST_NUMBERS,
    StackConditional,
    TableStack,
    recipes_of,
)
from isinglass.learning.em import EMReport, e_step, expectation_maximization, m_step
from isinglass.learning.initialization import seed_cluster_means
from isinglass.learning.stacking import StackSettings
from isinglass.learning.sufficient_statistics import PseudoCounts, SufficientStatistics

__all__ = ["LearningMixin"]

#: Least variance of a number given the memory of a stack, as a share of the column's.
FLOOR = 1e-3
#: Stands for a stack among numbers of memories.
AS_FITTED = 0


class LearningMixin:
    """An estimator that fits a machine or a stack to the states of a table."""

    n_memories: Any
    covariance: str
    max_iter: int
    tol: float
    pseudo_count: float
    least_spread: float
    n_init: int
    verbose: bool
    random_state: Any
    machine_: HopfieldBoltzmann
    stack_: TableStack | None
    columns_: Columns
    scale_: Tensor
    n_memories_: int
    n_samples_seen_: int
    _bounds: Bounds
    _pseudo: PseudoCounts
    _statistics: Any

    def _stacked(self) -> bool:
        """Returns whether mixtures are to be stacked, rather than one machine fitted."""
        if self.covariance != "auto":
            return self.covariance != "spherical"
        return self.n_memories == "auto" and self._numbers() <= MOST_NUMBERS

    def _numbers(self) -> int:
        return sum(isinstance(column, Numeric) for column in self.columns_.columns)

    def _settings(self) -> StackSettings:
        return StackSettings(
            int(self.max_iter), float(self.tol), max(FLOOR, float(self.least_spread) ** 2),
            float(self.pseudo_count), int(self.n_init),
        )  # fmt: skip

    def _fit(self, data: Tensor, observed: Tensor, again: bool) -> EMReport:
        """Fits a machine or a stack, from where it was if so told."""
        if self._stacked():
            return self._fit_stack(data, observed, again)
        again = again and self.stack_ is None
        self.stack_ = None
        with learning_bar(self.verbose, self.max_iter) as show:
            if again:
                return self._learn(self.machine_, data, observed, self.scale_, show)
            generator = generator_of(self.random_state)
            self.n_memories_ = self._count(data, observed, generator, show)
            self.machine_, report = self._best(self.n_memories_, data, observed, generator, show)
        return report

    def _fit_stack(self, data: Tensor, observed: Tensor, again: bool) -> EMReport:
        self._check_count(len(data))
        before = self.stack_ if again else None
        recipes = recipes_of(self.covariance, self.n_memories, self._numbers())
        with learning_bar(self.verbose, 2 * len(recipes)) as show:
            self.stack_, report = TableStack.fit(
                self.columns_, self._bounds, data, observed, recipes, before=before,
                generator=generator_of(self.random_state), settings=self._settings(), show=show,
            )  # fmt: skip
        vars(self).pop("machine_", None)
        self.n_memories_ = self.stack_.memories
        self.stack_scores_ = {str(recipe): score for recipe, score in report.held_out.items()}
        return EMReport(report.curve, report.converged, torch.ones_like(data[0]))

    def _expect(self, data: Tensor, observed: Tensor) -> Any:
        """Computes expected statistics, of the machine or of the mixtures."""
        if self.stack_ is not None:
            return self.stack_.statistics(data, observed)
        responsibilities, _ = e_step(self.machine_, data, observed, self.scale_)
        return SufficientStatistics.of(responsibilities, data, observed)

    def _step(self, data: Tensor, observed: Tensor, rate: float) -> None:
        """Takes a step of stepwise EM on a batch."""
        if self.stack_ is not None:
            self.stack_, self._statistics = self.stack_.toward(
                data, observed, self._statistics, rate, self._settings(), self.n_samples_seen_
            )
            return
        batch = self._expect(data, observed)
        before = self._statistics
        self._statistics = batch if before is None else before.toward(batch, rate)
        share = self.pseudo_count / self.n_samples_seen_
        self.scale_ = m_step(
            self.machine_, self._statistics, self.scale_, self.columns_.numeric,
            pseudo_count=replace(self._pseudo, share=share), least_scale=self._least(),
        )  # fmt: skip

    def _conditional(self, states: Tensor, observed: Tensor) -> PatternMixture | StackConditional:
        if self.stack_ is not None:
            return self.stack_.conditional(states, observed)
        return self.machine_.conditional(states, observed)

    def _least(self) -> Tensor:
        """Returns the least scale of each component."""
        return self._bounds.resolution.clamp_min(float(self.least_spread))

    def _check_count(self, rows: int) -> None:
        """Refuses more memories than rows.

        Raises:
            ParameterError: If they are.
        """
        if self.n_memories != "auto" and int(self.n_memories) > rows:
            raise ParameterError(
                f"n_memories = {int(self.n_memories)} for n_samples = {rows}",
                "Ask for fewer memories, or give more rows",
            )

    def _count(
        self,
        data: Tensor,
        observed: Tensor,
        generator: Generator,
        show: Callable[[str], None],
    ) -> int:
        """Returns the number of memories N, as given or chosen on rows held out."""
        if self.n_memories != "auto":
            self._check_count(len(data))
            return int(self.n_memories)
        score = self._held_out(data, observed, generator)
        count, self.validation_scores_ = choose_count(len(data), score, generator, show)
        if count == 1 and len(self.columns_.columns) > 1:
            warnings.warn(
                "n_memories='auto' found no number better than 1, under which columns are "
                "independent: nothing is learned of one from another. Give more rows or fewer "
                "columns, or say n_memories=2 or more",
                UserWarning, stacklevel=4,
            )  # fmt: skip
        return count

    def _held_out(
        self, data: Tensor, observed: Tensor, generator: Generator
    ) -> Callable[[int, Tensor, Tensor], Tensor]:
        """Returns what scores some rows under N memories fitted to others, in the data's units."""
        stack = self.stack_

        def score(count: int, train: Tensor, test: Tensor) -> Tensor:
            seen = observed[test] & ~self.columns_.new(data[test], data[train])
            if stack is not None and count == AS_FITTED:
                found, _ = TableStack.fit(
                    self.columns_, self._bounds, data[train], observed[train], stack.recipes,
                    generator=generator, settings=self._settings(),
                )  # fmt: skip
                log_prob = found.log_prob(data[test], seen)
            else:
                machine, report = self._best(count, data[train], observed[train], generator)
                _, log_prob = e_step(machine, data[test], seen, report.scale)
            return log_prob - self._volume(seen)

        return score

    def held_out_scores(self, X: Any, counts: Iterable[int]) -> dict[int, float]:  # noqa: N803
        """Returns the mean log p of rows held out under some numbers of memories, as "auto" does.

        Columns are those of the fit, whose machine stays. Each fifth of the rows is held out in
        turn, until there are enough; the least likely twentieth has no say.

        Args:
            X: An array, a data frame, or a dictionary of columns, ``(n, columns)``.
            counts: Numbers of memories; those that other rows are too few for are left out.
        """
        model: Any = self
        data, observed = model._rows(X)
        observed = observed & ~self._bounds.outside(data, observed)
        data, generator = torch.where(observed, data, 0.0), generator_of(self.random_state)
        score = self._held_out(data, observed, generator)
        return held_out_scores(len(data), score, generator, counts)

    def held_out_score(self, X: Any) -> float | None:  # noqa: N803
        """Returns the mean log p of rows held out under what was fitted, fitted to the others.

        As :meth:`held_out_scores`; a stack has its members, with weights of its own. None where
        the others are fewer than the memories of a machine.

        Args:
            X: An array, a data frame, or a dictionary of columns, ``(n, columns)``.
        """
        count = self.n_memories_ if self.stack_ is None else AS_FITTED
        return self.held_out_scores(X, [count]).get(count)

    def _volume(self, observed: Tensor) -> Tensor:
        """Returns Σ_i log spread_i of what was observed, the Jacobian from states to the data."""
        return observed.double() @ self.columns_.spreads.log()

    def _best(
        self,
        count: int,
        data: Tensor,
        observed: Tensor,
        generator: Generator,
        show: Callable[[str], None] = lambda _: None,
    ) -> tuple[HopfieldBoltzmann, EMReport]:
        """Fits ``n_init`` machines and returns the likeliest."""
        fits = []
        for _ in range(self.n_init):
            machine = HopfieldBoltzmann(self.columns_.unit, count, generator=generator).double()
            scale = seed_cluster_means(machine, data, observed, self.columns_.numeric, generator)
            fits.append((machine, self._learn(machine, data, observed, scale, show)))
        return max(fits, key=lambda fit: fit[1].log_likelihood[-1])

    def _learn(
        self,
        machine: HopfieldBoltzmann,
        data: Tensor,
        observed: Tensor,
        scale: Tensor,
        show: Callable[[str], None],
    ) -> EMReport:
        return expectation_maximization(
            machine, data, observed, scale=scale, learn_scale=self.columns_.numeric,
            steps=self.max_iter, tolerance=self.tol, pseudo_count=self.pseudo_count,
            least_scale=self._least(),
            on_step=lambda _, value: show(f"{machine.memories} memories, {value:.4g} nats a row"),
        )  # fmt: skip
