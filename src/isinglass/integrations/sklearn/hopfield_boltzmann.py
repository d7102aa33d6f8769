"""The one-group Hopfield–Boltzmann machine as a scikit-learn estimator for tables."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from isinglass._support.optional import require_extra
from isinglass._support.validation import check_choice, check_count
from isinglass.data.columns import Cells, is_unknown
from isinglass.energies import PatternMixture
from isinglass.integrations.sklearn._files import FileMixin
from isinglass.integrations.sklearn._frames import TableMixin, kinds_of, rows_like
from isinglass.integrations.sklearn._learning import LearningMixin
from isinglass.integrations.sklearn._mixture import MixtureMixin
from isinglass.integrations.sklearn._numbers import fit_columns, said_of_odd
from isinglass.integrations.sklearn._parameters import check_parameters
from isinglass.integrations.sklearn._shared import generator_of
from isinglass.integrations.sklearn._stack import StackConditional
from isinglass.learning.em import e_step
from isinglass.learning.sufficient_statistics import PseudoCounts

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
    LearningMixin,
    FileMixin,
    TableMixin,
    BaseEstimator,
):
    r"""Hopfield–Boltzmann machine of a table of mixed columns: density, samples, imputation.

        p(x) = Σ_μ π_μ N(z; m_μ, Σ_μ) Π_j P_μj(c_j)

    A row has one latent memory; given it, numbers z are normal, with the covariances that
    ``covariance`` says, and names and bits c are independent. All sums are closed, so likelihood,
    samples and what is missing given what is there are exact. It is fitted by EM to the cells that
    are there: maximum likelihood for values missing at random. With ``covariance="spherical"`` it
    is a :class:`~isinglass.HopfieldBoltzmann` of one group at T = 1, of x_i = center_i + spread_i
    s_i v_i; else mixtures are stacked: p(x) = Σ_m w_m p_m(x).

    Reference: Dempster, Laird & Rubin 1977, doi:10.1111/j.2517-6161.1977.tb01600.x; Cappé &
    Moulines 2009, arXiv:0712.4273 (``partial_fit``); Arthur & Vassilvitskii 2007 (the start).

    Args:
        n_memories: N, or "auto": as ``covariance`` says.
        covariance: What numbers have given the memory. "spherical" is a spread s_i a column, the
            same for all memories; "diag" spreads of each memory; "tied" one full covariance for
            all; "full" a covariance of each. "auto" is "spherical" where N is a number or numeric
            columns are more than 300, else a stack of all, weighted by cells that were hidden:
            :class:`~isinglass.distributions.MixtureStack`. Of diag, tied and full with N "auto"
            several N are stacked; of "spherical" rows are held out, and the fewest memories taken
            under which they are as likely as under any number, within one standard error.
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
        machine_: The :class:`~isinglass.HopfieldBoltzmann`; there where covariances are spherical.
        stack_: The mixtures of memories with other covariances, with their weights; None where
            covariances are spherical.
        columns_: The :class:`~isinglass.data.columns.Columns`: kinds, categories, centers.
        scale_: s_i, ``(components,)``, ones but for numbers.
        n_memories_: N in use, of all mixtures of a stack together.
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
        covariance: str = "auto",
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
        self.covariance = covariance
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
        check_parameters(self)
        again = self.warm_start and hasattr(self, "stack_")
        table = self._table(X, reset=not again)
        if not again:
            self.columns_, self._bounds = fit_columns(self._names(), table, self._kinds(table))
        data, observed = self._examples(table)
        self._pseudo = PseudoCounts.of(
            data, observed, self.columns_.numeric, self.pseudo_count / len(data)
        )
        self.validation_scores_ = None
        report = self._fit(data, observed, again)
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
        self._statistics: Any = self._expect(data, observed)
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
        if not hasattr(self, "stack_"):
            return self.fit(X)
        check_parameters(self)
        data, observed = self._examples(self._table(X))
        self._batches += 1
        self.n_samples_seen_ += len(data)
        self._step(data, observed, (self._batches + 2) ** -FORGETTING)
        return self

    def score_samples(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns log p of the known cells of each row, ``(n,)``, in nats and the data's units.

        A row of which nothing is known has 0.
        """
        data, observed = self._rows(X)
        if self.stack_ is None:
            _, log_prob = e_step(self.machine_, data, observed, self.scale_)
        else:
            log_prob = self.stack_.log_prob(data, observed)
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
        if self.stack_ is not None:
            states, memory = self.stack_.sample(n_samples, generator)
            rows = rows_like(self._example, self.columns_.decode(states))
            return (rows, memory.numpy()) if return_labels else rows
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
        size = max(1, BLOCK // (self.n_memories_ * max(1, states.shape[-1])))
        filled = []
        for rows, seen in zip(states.split(size), observed.split(size), strict=True):
            with torch.no_grad():
                found = self._conditional(rows, seen)
                fill = {"mean": found.mean, "mode": found.mode}
                filled.append(found.sample(generator) if how == "draw" else fill[how]())
        cells = self.columns_.decode(torch.cat(filled) * self.scale_, rounded=how == "draw")
        whole = [
            np.where(is_unknown(mine), theirs, mine)
            for mine, theirs in zip(table, cells, strict=True)
        ]
        return rows_like(X, whole)

    def conditional(self, X: Any) -> PatternMixture | StackConditional:  # noqa: N803
        """Returns the distribution of the unknown cells of each row, in states.

        A number x is the state (x − center)/(spread · s); ``columns_.places`` says where each
        column stands, and ``columns_.decode(states * scale_)`` brings states back. It has
        ``mean()``, ``mode()`` and ``sample(generator)``.
        """
        check_is_fitted(self)
        with torch.no_grad():
            return self._conditional(*self._states(self._table(X)))

    def __sklearn_tags__(self) -> Any:
        """Tells scikit-learn that unknown cells and categories are allowed."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.n_memories_

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

    def _encode(self, table: list[Cells]) -> tuple[Tensor, Tensor]:
        return self.columns_.encode(type(self).__name__, table, self.handle_unknown)

    def _rows(self, rows: Any) -> tuple[Tensor, Tensor]:
        check_is_fitted(self)
        return self._encode(self._table(rows))

    def _states(self, table: list[Cells]) -> tuple[Tensor, Tensor]:
        """Returns states of the machine, and which components are known."""
        data, observed = self._encode(table)
        return data / self.scale_, observed

    def _generator(self, random_state: Any) -> Generator:
        return generator_of(self.random_state if random_state is None else random_state)
