"""The one-group Hopfield–Boltzmann machine as a scikit-learn imputer."""

from __future__ import annotations

import warnings
from typing import Any, cast

import numpy as np

from isinglass._support.optional import require_extra
from isinglass._support.validation import check_flag
from isinglass._support.wording import shown
from isinglass.data.columns import is_unknown
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.integrations.sklearn._frames import check_form
from isinglass.integrations.sklearn._shared import random_source
from isinglass.integrations.sklearn.hopfield_boltzmann import HopfieldBoltzmannMachine

with require_extra("sklearn"):
    from sklearn.base import BaseEstimator, TransformerMixin, clone
    from sklearn.impute import MissingIndicator
    from sklearn.utils.validation import (
        _check_feature_names_in,  # pyright: ignore[reportAttributeAccessIssue]
        check_is_fitted,
        validate_data,
    )

__all__ = ["HopfieldBoltzmannImputer"]


class HopfieldBoltzmannImputer(TransformerMixin, BaseEstimator):
    r"""Imputer that fills what is missing in a row by its exact distribution given the rest.

        transform: E[x_i | x_O] = Σ_μ p(μ | x_O) mean_μi

    Stands where scikit-learn's ``KNNImputer`` and ``IterativeImputer`` do, in pipelines too, with
    their parameters. Arrays of numbers keep their precision; arrays of objects and data frames may
    hold strings, which are filled by the likeliest category.

    Reference: Little & Rubin 2019, doi:10.1002/9781119482260.

    Args:
        estimator: A :class:`HopfieldBoltzmannMachine`, which is cloned; None is one as it comes.
        missing_values: What stands for a missing value: NaN (then None and pandas' NA too), a
            number or a string.
        sample_posterior: Whether to fill with a draw of the row instead, for multiple imputation.
        min_value: The least to fill in, one for all columns or one a column.
        max_value: The largest to fill in, likewise.
        add_indicator: Whether to append which values were missing, as ``MissingIndicator`` does.
        keep_empty_features: Whether columns of which nothing is known in the fit stay, filled with
            zeros; else they are dropped.
        random_state: Seed or ``numpy.random.RandomState``, of the fit unless the estimator has its
            own, and of draws.

    Attributes:
        estimator_: The fitted machine.
        indicator_: The fitted ``MissingIndicator``; None unless ``add_indicator``.
        n_features_in_: Number of columns.
        feature_names_in_: Their names, if X had names.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=100)
        >>> table = np.column_stack([x, 2 * x])
        >>> imputer = HopfieldBoltzmannImputer(random_state=0).fit(table)
        >>> imputer.transform([[1.0, np.nan]]).round()
        array([[1., 2.]])
    """

    def __init__(
        self,
        estimator: HopfieldBoltzmannMachine | None = None,
        *,
        missing_values: Any = np.nan,
        sample_posterior: bool = False,
        min_value: Any = -np.inf,
        max_value: Any = np.inf,
        add_indicator: bool = False,
        keep_empty_features: bool = False,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.missing_values = missing_values
        self.sample_posterior = sample_posterior
        self.min_value = min_value
        self.max_value = max_value
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> HopfieldBoltzmannImputer:  # noqa: N803
        """Fits the machine to what is known.

        Args:
            X: ``(n, columns)``.
            y: Not used.

        Raises:
            ValueError: If X is not a matrix, or has no row.
            ShapeError: If X is sparse or a series.
            DomainError: If a column has dates or times.
            ParameterError: If a parameter is out of range.
        """
        if not isinstance(self.estimator, HopfieldBoltzmannMachine | None):
            raise ParameterError(
                f"estimator = {shown(self.estimator)}", "Give a HopfieldBoltzmannMachine, or None"
            )
        for name in ("sample_posterior", "add_indicator", "keep_empty_features"):
            check_flag(name, getattr(self, name))
        rows = self._check(X, reset=True)
        missing = self._missing(rows)
        self._limits = self._bounds(rows.shape[1])
        self._empty = missing.all(0)
        if self._empty.any() and not self.keep_empty_features:
            lost = ", ".join(map(str, self._names(None)[self._empty]))
            warnings.warn(
                f"Columns without a value are left out of what transform returns: {lost}. "
                "keep_empty_features=True keeps them, filled with zeros",
                UserWarning,
                stacklevel=2,
            )
        self._random = random_source(self.random_state)
        self.indicator_ = None
        if self.add_indicator:
            self.indicator_ = MissingIndicator(missing_values=1, error_on_new=False)
            self.indicator_.fit(missing.astype(int))
        estimator: Any = clone(self.estimator or HopfieldBoltzmannMachine())
        if estimator.random_state is None:
            estimator.set_params(random_state=self._random.randint(2**31 - 1))
        if isinstance(estimator.columns, dict):
            places = {name: n for n, name in enumerate(self._names(None))}
            told = {str(places.get(name, name)): kind for name, kind in estimator.columns.items()}
            estimator.set_params(columns=told)
        self.estimator_ = estimator.fit(self._tear(rows, missing))
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Fills what is missing, and appends the indicator if asked for.

        Args:
            X: ``(n, columns)``; what is known stays as it is.

        Returns:
            ``(n, columns kept)`` in the precision of X; of objects if X has strings.
        """
        check_is_fitted(self)
        rows = self._check(X, reset=False)
        missing = self._missing(rows)
        filled = rows.copy()
        torn = missing & ~self._empty
        some = torn.any(1)
        if some.any():
            how = "draw" if self.sample_posterior else "mean"
            given = self._tear(rows[some], missing[some])
            seed = self._random.randint(2**31 - 1) if self.sample_posterior else 0
            found = self.estimator_.impute(given, how, random_state=seed)
            filled[some] = np.where(torn[some], self._clip(found), rows[some])
        filled[:, self._empty] = np.where(missing[:, self._empty], 0, rows[:, self._empty])
        kept = filled if self.keep_empty_features else filled[:, ~self._empty]
        if self.indicator_ is None:
            return kept
        flags = cast("np.ndarray", self.indicator_.transform(missing.astype(int)))
        return np.hstack([kept, flags.astype(kept.dtype)])

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Returns the names of the columns kept, then ``missingindicator_`` and a name for each.

        Args:
            input_features: Names, if the fit had none.
        """
        check_is_fitted(self)
        names = self._names(input_features)
        kept = names if self.keep_empty_features else names[~self._empty]
        if self.indicator_ is None:
            return kept
        return np.concatenate([kept, self.indicator_.get_feature_names_out(names)])

    def __sklearn_tags__(self) -> Any:
        """Tells scikit-learn that NaN and strings are allowed, and that dtypes are kept."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._by_nan()
        tags.input_tags.string = tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _names(self, given: Any) -> np.ndarray:
        return cast("np.ndarray", _check_feature_names_in(self, given))

    def _by_nan(self) -> bool:
        """Returns whether missing values are NaN."""
        return bool(is_unknown(np.array([self.missing_values], object))[0])

    def _check(self, rows: Any, reset: bool) -> np.ndarray:
        """Returns an array of floats, or of objects if there are strings."""
        check_form(rows)
        kept = rows.dtypes if hasattr(rows, "dtypes") else [getattr(rows, "dtype", None)]
        if any(getattr(dtype, "kind", "O") in "Mm" for dtype in kept):
            raise DomainError("dates or times", "Turn them into numbers first, such as days")
        kinds = np.asarray(rows).dtype.kind
        numbers = kinds in "biufc" or (hasattr(rows, "dtypes") and not _has_words(rows))
        if kinds in "US":
            rows = np.array(rows, object)
        return cast("np.ndarray", validate_data(
            self, rows, dtype=[np.float64, np.float32] if numbers else None,
            ensure_all_finite="allow-nan" if self._by_nan() else True, reset=reset,
        ))  # fmt: skip

    def _missing(self, rows: np.ndarray) -> np.ndarray:
        if self._by_nan():
            return np.column_stack([is_unknown(cells) for cells in rows.T])
        try:
            found = np.asarray(rows == self.missing_values, bool)
        except (OverflowError, ValueError):  # beyond a float, or several
            found = np.empty(0, bool)
        if found.shape != rows.shape:
            raise ParameterError(
                f"missing_values = {shown(self.missing_values)}",
                "Give NaN, None, or the number or string that a missing cell has",
            )
        return found

    def _tear(self, rows: np.ndarray, missing: np.ndarray) -> np.ndarray:
        """Returns rows with NaN for what is missing; columns of which nothing is known are zero."""
        table = rows.astype(np.float64 if rows.dtype.kind == "f" else object)
        table[missing] = np.nan
        table[:, self._empty] = 0
        return table

    def _bounds(self, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the limits of each column.

        Raises:
            ShapeError: If there is not one a column.
            ParameterError: If a least value is not below the largest.
        """
        found = []
        for name in ("min_value", "max_value"):
            value = getattr(self, name)
            end = -np.inf if name == "min_value" else np.inf
            try:
                limit = np.asarray(end if value is None else value, np.float64)
            except (OverflowError, TypeError, ValueError) as error:
                found_of = f"{name} = {shown(value)}"
                raise ParameterError(found_of, "Give a number, or one a column") from error
            if limit.shape not in {(), (columns,)}:
                raise ShapeError(
                    f"{name} of shape {limit.shape} for {columns} columns",
                    "Give a number, or one a column",
                )
            found.append(np.broadcast_to(limit, (columns,)))
        if not (found[0] < found[1]).all():
            raise ParameterError(
                f"min_value = {self.min_value!r} and max_value = {self.max_value!r}",
                "Give a least value below the largest",
            )
        return found[0], found[1]

    def _clip(self, filled: np.ndarray) -> np.ndarray:
        """Brings what is filled into the limits, where there are any."""
        for place, (least, most) in enumerate(zip(*self._limits, strict=True)):
            if np.isfinite(least) or np.isfinite(most):
                filled[:, place] = np.clip(filled[:, place], least, most)
        return filled


def _has_words(frame: Any) -> bool:
    """Returns whether a data frame has columns that are no numbers."""
    return not all(getattr(dtype, "kind", "O") in "biuf" for dtype in frame.dtypes)
