"""The one-group Hopfield–Boltzmann machine as a scikit-learn estimator for tables."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from isinglass._support.optional import require_extra
from isinglass._support.validation import (
    check_at_least_zero,
    check_choice,
    check_count,
    check_flag,
    check_positive,
    check_weight,
)
from isinglass.data.columns import Cells, is_unknown
from isinglass.energies import HopfieldBoltzmann, PatternMixture
from isinglass.errors import ParameterError
from isinglass.integrations.sklearn._files import FileMixin
from isinglass.integrations.sklearn._frames import (
    TableMixin,
    kinds_of,
    rows_like,
)
from isinglass.integrations.sklearn._memory_count import choose_count, held_out_scores
from isinglass.integrations.sklearn._mixture import MixtureMixin
from isinglass.integrations.sklearn._numbers import fit_columns, said_of_odd
from isinglass.integrations.sklearn._shared import generator_of, learning_bar
from isinglass.learning.em import EMReport, e_step, expectation_maximization, m_step
from isinglass.learning.initialization import seed_cluster_means
from isinglass.learning.sufficient_statistics import PseudoCounts, SufficientStatistics

with require_extra("sklearn"):
    from sklearn.base import (
        BaseEstimator,
        ClassNamePrefixFeaturesOutMixin,
        DensityMixin,
        TransformerMixin,
    )
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils.validation import check_is_fitted

__all__ = ["HopfieldBoltzmannMachine"]

#: Stepwise EM forgets as (batches + 2)^−FORGETTING.
FORGETTING = 0.6
#: Most numbers of rows × memories × components filled in at once.
BLOCK = 1 << 22


class HopfieldBoltzmannMachine(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    DensityMixin,
    MixtureMixin,
    FileMixin,
    TableMixin,
    BaseEstimator,
):
    r"""Hopfield–Boltzmann machine of a table of mixed columns: density, samples, imputation.

        p(x) = Σ_μ π_μ Π_i p(x_i | μ),    x_i = center_i + spread_i s_i v_i

    A row has one latent memory; given it, cells are independent: numbers Gaussian, with a mean a
    memory and a spread s_i a column; zeros and ones bits; names one-hot. All sums are closed, so
    likelihood, samples and what is missing given what is there are exact. It is a
    :class:`~isinglass.HopfieldBoltzmann` of one group at T = 1, fitted by EM to the cells that
    are there: maximum likelihood for values missing at random.

    Reference: Dempster, Laird & Rubin 1977, doi:10.1111/j.2517-6161.1977.tb01600.x; Cappé &
    Moulines 2009, arXiv:0712.4273 (``partial_fit``); Arthur & Vassilvitskii 2007 (the start).

    Args:
        n_memories: N; "auto" holds rows out, a fifth at a time, and takes the fewest under which
            they are as likely as under any number, within one standard error; the least likely
            twentieth of the rows has no say.
        columns: "numeric", "binary" or "categorical" for columns that are not as they look, by
            name or number, or for all. Strings look categorical. An array of floats is numeric,
            one of whole numbers too unless all of it is 0 and 1; in a data frame or dictionary
            each column of 0 and 1 is binary, but for floats of a data frame without gaps.
        max_iter: Most steps of EM.
        tol: Rise of the mean log-likelihood, in nats a row, below which the fit has converged.
        pseudo_count: How many imagined rows in the middle of the data every memory is given: keeps
            probabilities off 0 and 1, and memories of few rows near the rest.
        least_spread: The least spread of a numeric column about a memory, as a share of the
            column's own; nor is it below δ/√12 where neighboring values are δ apart.
        n_init: How many starts to try; the best likelihood stays.
        warm_start: Whether :meth:`fit` goes on from where it was.
        handle_unknown: What a category not seen in the fit is: "error", or "missing".
        random_state: Seed or ``numpy.random.RandomState``.
        verbose: Whether to show a progress bar (extra ``cli``).

    Attributes:
        machine_: The :class:`~isinglass.HopfieldBoltzmann`.
        columns_: The :class:`~isinglass.data.columns.Columns`: kinds, categories, centers.
        scale_: s_i, ``(components,)``, ones but for numbers.
        n_memories_: N in use.
        log_likelihood_curve_: Mean log p(x) of the rows before each step, and after the last.
        n_iter_: Steps of EM.
        converged_: Whether the likelihood converged.
        validation_scores_: Mean log p(x) of the rows held out but for the least likely twentieth,
            by number of memories; None unless "auto". Categories that only rows held out have
            count as unknown.
        odd_cells_: How many cells of each column lie so far outside that they were not learned
            from, by column; empty if there are none.
        n_samples_seen_: Rows seen by ``fit`` and ``partial_fit``.
        n_features_in_: Number of columns.
        feature_names_in_: Their names, if X had names.

    Examples:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=200)
        >>> table = np.column_stack([x, 2 * x + 0.1 * rng.normal(size=200), x > 0])
        >>> model = HopfieldBoltzmannMachine(random_state=0).fit(table)
        >>> torn = np.array([[1.0, np.nan, np.nan]])
        >>> model.impute(torn).round()
        array([[1., 2., 1.]])
        >>> model.sample(2).shape
        (2, 3)
    """

    def __init__(
        self,
        n_memories: int | str = "auto",
        *,
        columns: Mapping[Any, str] | None = None,
        max_iter: int = 200,
        tol: float = 1e-4,
        pseudo_count: float = 1.0,
        least_spread: float = 0.01,
        n_init: int = 1,
        warm_start: bool = False,
        handle_unknown: str = "error",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_memories = n_memories
        self.columns = columns
        self.max_iter = max_iter
        self.tol = tol
        self.pseudo_count = pseudo_count
        self.least_spread = least_spread
        self.n_init = n_init
        self.warm_start = warm_start
        self.handle_unknown = handle_unknown
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> HopfieldBoltzmannMachine:  # noqa: N803
        """Fits memories by EM to the known cells; NaN, None and pandas' NA are unknown.

        Args:
            X: An array, a data frame, or a dictionary of columns, ``(n, columns)``.
            y: Not used.

        Raises:
            DomainError: If nothing is known of a column, or a cell is not of its column's kind.
            ParameterError: If a parameter is out of range.
            ValueError: If X is not a matrix, or has no row.

        Warns:
            ConvergenceWarning: If ``max_iter`` ran out before the likelihood converged.
            UserWarning: If "auto" finds one memory best, or cells lie far outside their column:
                few, over six spreads from its median and over three times farther than all others.
        """
        self._check_parameters()
        again = self.warm_start and hasattr(self, "machine_")
        table = self._table(X, reset=not again)
        if not again:
            self.columns_, self._bounds = fit_columns(self._names(), table, self._kinds(table))
        data, observed = self._examples(table)
        self._pseudo = PseudoCounts.of(
            data, observed, self.columns_.numeric, self.pseudo_count / len(data)
        )
        with learning_bar(self.verbose, self.max_iter) as show:
            if again:
                report = self._learn(self.machine_, data, observed, self.scale_, show)
            else:
                generator = generator_of(self.random_state)
                self.n_memories_ = self._count(data, observed, generator, show)
                self.machine_, report = self._best(
                    self.n_memories_, data, observed, generator, show
                )
        self.scale_ = report.scale
        # In the units of the data, where scikit-learn's and the user's likelihoods are.
        volume = float(self._volume(observed).mean())
        self.log_likelihood_curve_ = [value - volume for value in report.log_likelihood]
        self.n_iter_ = len(report.log_likelihood) - 1
        self.converged_ = report.converged
        if not self.converged_:
            said = f"EM was not at rest after max_iter = {self.max_iter} steps: allow more"
            warnings.warn(said, ConvergenceWarning, stacklevel=2)
        self.n_samples_seen_, self._batches = len(data), 0
        self._statistics: SufficientStatistics | None = self._expect(data, observed)
        return self

    def partial_fit(self, X: Any, y: Any = None) -> HopfieldBoltzmannMachine:  # noqa: N803
        """Takes a step of stepwise EM on a batch of rows; the first batch is fitted whole.

        Expected statistics move toward the batch's by (t + 2)^−0.6 at the t-th. The first batch
        sets the columns' kinds, centers and categories, and the number of memories.

        Reference: Cappé & Moulines 2009, arXiv:0712.4273.

        Args:
            X: An array or data frame, ``(n, columns)``.
            y: Not used.

        Raises:
            DomainError: If a cell is not of its column's kind.
        """
        if not hasattr(self, "machine_"):
            return self.fit(X)
        self._check_parameters()
        data, observed = self._examples(self._table(X))
        self._batches += 1
        self.n_samples_seen_ += len(data)
        batch = self._expect(data, observed)
        rate = (self._batches + 2) ** -FORGETTING
        self._statistics = (
            batch if self._statistics is None else self._statistics.toward(batch, rate)
        )
        share = self.pseudo_count / self.n_samples_seen_
        self.scale_ = m_step(
            self.machine_, self._statistics, self.scale_, self.columns_.numeric,
            pseudo_count=replace(self._pseudo, share=share), least_scale=self._least(),
        )  # fmt: skip
        return self

    def score_samples(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns log p of the known cells of each row, ``(n,)``, in nats and the data's units.

        A row of which nothing is known has 0.
        """
        data, observed = self._rows(X)
        _, log_prob = e_step(self.machine_, data, observed, self.scale_)
        return (log_prob - self._volume(observed)).numpy()

    def score(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        X: Any,  # noqa: N803
        y: Any = None,
    ) -> float:
        """Returns the mean of :meth:`score_samples`, in nats a row."""
        return float(self.score_samples(X).mean())

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns the responsibilities p(μ | x) of the memories given known cells, ``(n, N)``."""
        return self.predict_proba(X)

    def sample(
        self, n_samples: int = 1, random_state: Any = None, *, return_labels: bool = False
    ) -> Any:
        """Draws fresh rows, exact and independent, in the form of the fit's.

        Args:
            n_samples: How many.
            random_state: Seed; None is the estimator's own, so that an estimator with a seed draws
                the same rows at every call.
            return_labels: Whether to return the memory of each row too, ``(n_samples,)``, as
                scikit-learn's mixtures do.

        Raises:
            ParameterError: If ``n_samples`` is not a whole number of at least one.
        """
        check_is_fitted(self)
        check_count("n_samples", n_samples)
        generator = self._generator(random_state)
        states = self.machine_.sample(n_samples, generator=generator)
        rows = rows_like(self._example, self.columns_.decode(states * self.scale_))
        if not return_labels:
            return rows
        # A row and then its memory given the row, the same as a memory and then its row.
        weights = e_step(self.machine_, states)[0]
        return rows, torch.multinomial(weights, 1, generator=generator).squeeze(-1).numpy()

    def impute(self, X: Any, how: str = "mean", random_state: Any = None) -> Any:  # noqa: N803
        """Fills unknown cells by their exact distribution given the known ones of the row.

        Args:
            X: An array or data frame, ``(n, columns)``; known cells stay as they are.
            how: "mean", the expected number and the likeliest category of each cell by itself;
                "mode", a likeliest row as a whole; "draw", one draw of the row.
            random_state: Seed for "draw"; None is the estimator's own, the same at every call.

        Returns:
            The table in the form of X; a column of whole numbers (pandas' Int64) becomes float64 if
            what it is filled with is not whole, as means are.

        Raises:
            ParameterError: If ``how`` is none of these.
            DomainError: If a known cell is not of its column's kind.
        """
        check_choice("how", how, ("mean", "mode", "draw"))
        check_is_fitted(self)
        table = self._table(X)
        states, observed = self._states(table)
        generator = self._generator(random_state)
        size = max(1, BLOCK // (self.n_memories_ * states.shape[-1]))
        filled = []
        for rows, seen in zip(states.split(size), observed.split(size), strict=True):
            with torch.no_grad():
                mixture = self.machine_.conditional(rows, seen)
                fill = {"mean": mixture.mean, "mode": mixture.mode}
                filled.append(mixture.sample(generator) if how == "draw" else fill[how]())
        cells = self.columns_.decode(torch.cat(filled) * self.scale_, rounded=how == "draw")
        whole = [
            np.where(is_unknown(mine), theirs, mine)
            for mine, theirs in zip(table, cells, strict=True)
        ]
        return rows_like(X, whole)

    def conditional(self, X: Any) -> PatternMixture:  # noqa: N803
        """Returns the distribution of the unknown cells of each row, in states of ``machine_``.

        A number x is the state (x − center)/(spread · s); ``columns_.places`` says where each
        column stands, and ``columns_.decode(states * scale_)`` brings states back.
        """
        check_is_fitted(self)
        with torch.no_grad():
            return self.machine_.conditional(*self._states(self._table(X)))

    def __sklearn_tags__(self) -> Any:
        """Tells scikit-learn that unknown cells and categories are allowed."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.n_memories_

    def _check_parameters(self) -> None:
        if isinstance(self.n_memories, str) and self.n_memories != "auto":
            raise ParameterError(f"n_memories = {self.n_memories!r}", "Say 'auto', or a number")
        if not isinstance(self.n_memories, str):
            check_count("n_memories", self.n_memories)
        check_count("max_iter", self.max_iter)
        check_count("n_init", self.n_init)
        check_at_least_zero("tol", self.tol)
        check_weight("pseudo_count", self.pseudo_count)
        check_positive("least_spread", self.least_spread)
        check_choice("handle_unknown", self.handle_unknown, ("error", "missing"))
        check_flag("warm_start", self.warm_start)
        check_flag("verbose", self.verbose)
        if not isinstance(self.columns, Mapping | str | None):
            raise ParameterError(
                f"columns of type {type(self.columns).__name__}",
                "Give a dictionary from columns to kinds",
            )

    def _names(self) -> list[str]:
        names = getattr(self, "feature_names_in_", range(self.n_features_in_))
        return [str(name) for name in names]

    def _kinds(self, table: list[Cells]) -> dict[str, str]:
        """Returns the kinds that arrays and data frames imply, overridden by those of the user."""
        names = self._names()
        if isinstance(self.columns, str):
            return dict.fromkeys(names, self.columns)
        told = {str(name): kind for name, kind in (self.columns or {}).items()}
        return kinds_of(self._example, names, table) | told

    def _examples(self, table: list[Cells]) -> tuple[Tensor, Tensor]:
        """Returns states to learn from, those far outside unknown."""
        data, observed = self._encode(table)
        odd = self._bounds.outside(data, observed)
        self.odd_cells_ = {
            column.name: count
            for column, place in zip(self.columns_.columns, self.columns_.places, strict=True)
            if (count := int(odd[:, place].sum()))
        }
        if self.odd_cells_:
            warnings.warn(said_of_odd(self.odd_cells_), UserWarning, stacklevel=3)
        return torch.where(odd, 0.0, data), observed & ~odd

    def _least(self) -> Tensor:
        """Returns the least scale of each component."""
        return self._bounds.resolution.clamp_min(float(self.least_spread))

    def _encode(self, table: list[Cells]) -> tuple[Tensor, Tensor]:
        return self.columns_.encode(type(self).__name__, table, self.handle_unknown)

    def _rows(self, rows: Any) -> tuple[Tensor, Tensor]:
        check_is_fitted(self)
        return self._encode(self._table(rows))

    def _states(self, table: list[Cells]) -> tuple[Tensor, Tensor]:
        """Returns states of the machine, and which components are known."""
        data, observed = self._encode(table)
        return data / self.scale_, observed

    def _expect(self, data: Tensor, observed: Tensor) -> SufficientStatistics:
        responsibilities, _ = e_step(self.machine_, data, observed, self.scale_)
        return SufficientStatistics.of(responsibilities, data, observed)

    def _count(
        self,
        data: Tensor,
        observed: Tensor,
        generator: Generator,
        show: Callable[[str], None],
    ) -> int:
        """Returns the number of memories N, as given or chosen on rows held out."""
        self.validation_scores_ = None
        if self.n_memories != "auto":
            count = int(self.n_memories)
            if count > len(data):
                raise ParameterError(
                    f"n_memories = {count} for n_samples = {len(data)}",
                    "Ask for fewer memories, or give more rows",
                )  # fmt: skip
            return count

        score = self._held_out(data, observed, generator)
        count, self.validation_scores_ = choose_count(len(data), score, generator, show)
        if count == 1 and len(self.columns_.columns) > 1:
            warnings.warn(
                "n_memories='auto' found no number better than 1, under which columns are "
                "independent: nothing is learned of one from another. Give more rows or fewer "
                "columns, or say n_memories=2 or more",
                UserWarning, stacklevel=3,
            )  # fmt: skip
        return count

    def _held_out(
        self, data: Tensor, observed: Tensor, generator: Generator
    ) -> Callable[[int, Tensor, Tensor], Tensor]:
        """Returns what scores some rows under N memories fitted to others, in the data's units."""

        def score(count: int, train: Tensor, test: Tensor) -> Tensor:
            machine, report = self._best(count, data[train], observed[train], generator)
            seen = observed[test] & ~self.columns_.new(data[test], data[train])
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
        data, observed = self._rows(X)
        observed = observed & ~self._bounds.outside(data, observed)
        data, generator = torch.where(observed, data, 0.0), generator_of(self.random_state)
        score = self._held_out(data, observed, generator)
        return held_out_scores(len(data), score, generator, counts)

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

    def _generator(self, random_state: Any) -> Generator:
        return generator_of(self.random_state if random_state is None else random_state)
