"""Tables of several forms taken apart into columns, and put together again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from isinglass._support.optional import require_extra
from isinglass.data.columns import Cells
from isinglass.errors import ShapeError

with require_extra("sklearn"):
    from scipy.sparse import issparse
    from sklearn.utils import check_array
    from sklearn.utils.validation import validate_data

__all__ = ["TableMixin", "check_form", "form_of", "kinds_of", "of_form", "rows_like"]


class TableMixin:
    """An estimator that takes arrays, data frames of pandas and polars, dictionaries of columns."""

    n_features_in_: int
    feature_names_in_: np.ndarray

    def _table(self, rows: Any, reset: bool = False) -> list[Cells]:
        """Returns the cells of each column, checked as scikit-learn does."""
        check_form(rows)
        if _is_columns(rows) or _is_polars(rows):
            table = self._mapping(_by_name(rows), reset)
        elif _is_frame(rows):
            _check_names(list(rows.columns))
            validate_data(self, rows, skip_check_array=True, reset=reset)
            check_array(np.zeros(rows.shape), estimator=self)  # it has rows and columns
            table = _split_frame(rows)
        else:
            if not hasattr(rows, "dtype") and np.asarray(rows).dtype.kind in "US":
                rows = np.array(rows, dtype=object)  # a list of lists, with some strings in it
            checked = validate_data(
                self, rows, dtype=None, ensure_all_finite="allow-nan", reset=reset
            )
            table = list(cast("np.ndarray", checked).T)
        if reset:
            self._example = _empty_like(rows)
        return table

    def _mapping(self, rows: Mapping[str, Any], reset: bool) -> list[Cells]:
        """Checks columns by name, which scikit-learn does not know, and returns their cells."""
        table = [np.asarray(cells) for cells in rows.values()]
        if len({cells.shape for cells in table}) != 1 or table[0].ndim != 1 or not len(table[0]):
            raise ShapeError(
                f"columns of shapes {', '.join(str(cells.shape) for cells in table) or 'none'}",
                "Give columns of one length, of at least one row",
            )
        if reset:
            self.feature_names_in_ = np.array(list(rows), dtype=object)
            self.n_features_in_ = len(rows)
        elif list(rows) != list(self.feature_names_in_):
            raise ShapeError(
                f"columns {', '.join(rows)}",
                f"Give the columns of the fit: {', '.join(self.feature_names_in_)}",
            )  # fmt: skip
        return table


def _is_columns(rows: Any) -> bool:
    """Returns whether these are columns by name; sparse arrays of one kind are mappings too."""
    return isinstance(rows, Mapping) and not hasattr(rows, "shape")


def _is_polars(rows: Any) -> bool:
    """Returns whether these are a polars data frame."""
    return hasattr(rows, "get_columns") and hasattr(rows, "clear")


def _by_name(rows: Any) -> Mapping[str, Any]:
    """Returns columns by name; those of polars as numbers with NaN, or objects with None."""
    if not _is_polars(rows):
        return rows
    return {
        column.name: column.to_numpy() if column.dtype.is_numeric()
        else np.array([*column.to_list(), None], dtype=object)[:-1]
        for column in rows.get_columns()
    }  # fmt: skip


def _is_frame(rows: Any) -> bool:
    """Returns whether these are a pandas data frame, or something with its interface."""
    return hasattr(rows, "iloc") and hasattr(rows, "dtypes")


def check_form(rows: Any) -> None:
    """Refuses what is no table."""
    if issparse(rows):
        remedy = "Make it dense: X.toarray(), whose zeros are numbers, not unknown cells"
        raise ShapeError(f"a sparse {type(rows).__name__}", remedy)
    if type(rows).__name__ in {"Series", "LazyFrame"}:
        remedy = "Give a data frame (to_frame, collect)"
        raise ShapeError(f"a {type(rows).__name__}, which is no table", remedy)


def _check_names(names: list[Any]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ShapeError(f"two columns named {twice!r}", "Give each a name of its own")


def _split_frame(frame: Any) -> list[Cells]:
    """Splits a data frame into columns of numbers or of objects."""
    return [_cells(frame.iloc[:, number]) for number in range(frame.shape[1])]


def rows_like(example: Any, table: list[Cells]) -> Any:
    """Joins columns in the form of an example: an array, a dictionary or a data frame.

    Examples:
        >>> table = [np.array([1.0, 2.0]), np.array(["a", "b"], object)]
        >>> rows_like(np.empty((0, 2)), table)
        array([[1.0, 'a'],
               [2.0, 'b']], dtype=object)
    """
    if _is_columns(example):
        return dict(zip(example, table, strict=True))
    if _is_polars(example):
        pairs = zip(example.columns, table, strict=True)
        return type(example)({name: cells.tolist() for name, cells in pairs})
    if _is_frame(example):
        index = example.index if len(example) == len(table[0]) else None
        return _frame(table, example.columns, list(example.dtypes), index)
    if all(cells.dtype.kind in "biuf" for cells in table):
        return np.column_stack(table).astype(np.float64)
    return np.column_stack([cells.astype(object) for cells in table])


def _empty_like(rows: Any) -> Any:
    """Returns what :func:`rows_like` needs of these rows."""
    if _is_columns(rows):
        return dict.fromkeys(rows)
    if _is_polars(rows):
        return rows.clear()
    return rows.iloc[:0] if _is_frame(rows) else None


def form_of(example: Any) -> dict[str, Any]:
    """Describes the form of an example as JSON values; :func:`of_form` reads it back.

    Examples:
        >>> form_of(of_form({"form": "columns", "names": ["a"]}))
        {'form': 'columns', 'names': ['a']}
    """
    if _is_columns(example):
        return {"form": "columns", "names": list(example)}
    if _is_polars(example):
        return {"form": "columns", "names": list(example.columns)}
    if _is_frame(example):
        names = list(map(str, example.columns))
        return {"form": "frame", "names": names, "dtypes": [_describe(d) for d in example.dtypes]}
    return {"form": "array"}


def of_form(form: Mapping[str, Any]) -> Any:
    """Returns an example of this form, without rows."""
    if form["form"] == "columns":
        return dict.fromkeys(form["names"])
    if form["form"] == "frame":
        dtypes = [_dtype(dtype) for dtype in form["dtypes"]]
        return _frame([np.empty(0, object) for _ in form["names"]], form["names"], dtypes)
    return None


def kinds_of(example: Any, names: list[str], table: list[Cells]) -> dict[str, str]:
    """Returns the kinds of columns that the form of the rows implies, whatever they hold.

    What a fold of the rows happens to hold must not decide: an array of floats is numeric, one of
    whole numbers too unless all of it is 0 and 1. A data frame names its categories, and has floats
    for truths only where some are unknown.

    Examples:
        >>> kinds_of(None, ["0", "1"], [np.array([0.0, 1.0]), np.array([3.0, 4.0])])
        {'0': 'numeric', '1': 'numeric'}
    """
    if _is_frame(example) or _is_polars(example):
        named = [_is_frame(example) and hasattr(dtype, "categories") for dtype in example.dtypes]
        return {
            name: "categorical" if category else "numeric"
            for name, category, cells in zip(names, named, table, strict=True)
            if category or (cells.dtype.kind == "f" and not np.isnan(cells).any())
        }
    kinds = {cells.dtype.kind for cells in table}
    if _is_columns(example) or not kinds <= set("iuf"):
        return {}
    bits = "f" not in kinds and all(np.isin(cells, (0, 1)).all() for cells in table)
    return dict.fromkeys(names, "binary" if bits else "numeric")


def _describe(dtype: Any) -> Any:
    """Describes the dtype of a data frame's column as JSON values."""
    if hasattr(dtype, "categories") and dtype.categories is not None:
        return {"categories": dtype.categories.tolist(), "ordered": dtype.ordered}
    return str(dtype)


def _dtype(described: Any) -> Any:
    import pandas as pd

    return pd.CategoricalDtype(**described) if isinstance(described, dict) else described


def _frame(table: list[Cells], names: Any, dtypes: list[Any], index: Any = None) -> Any:
    """Makes a data frame of these dtypes, as far as its cells allow."""
    import pandas as pd

    frame = pd.DataFrame(dict(enumerate(table)), index=index)
    for number, dtype in enumerate(dtypes):
        for wanted in (dtype, "float64"):  # the mean of whole numbers may be none
            try:
                frame[number] = frame[number].astype(wanted)
                break
            except (TypeError, ValueError):
                continue
    frame.columns = names
    return frame


def _cells(series: Any) -> Cells:
    plain = isinstance(series.dtype, np.dtype) and series.dtype.kind in "biufMm"
    return series.to_numpy() if plain else series.astype(object).to_numpy()
