"""A fitted machine of a table as one file, without pickles."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from isinglass._support.optional import require_extra
from isinglass.data.columns import Columns
from isinglass.energies import HopfieldBoltzmann
from isinglass.errors import FileError
from isinglass.integrations.sklearn._frames import form_of, of_form
from isinglass.integrations.sklearn._numbers import NOWHERE, Bounds
from isinglass.integrations.sklearn._stack import TableStack
from isinglass.io.archive import load, read_tensors, save, write_tensors
from isinglass.learning.stacking import Recipe
from isinglass.learning.sufficient_statistics import PseudoCounts

with require_extra("sklearn"):
    from sklearn.utils.validation import check_is_fitted

__all__ = ["FileMixin"]

#: Under which name files keep what the columns are.
NOTE = "table"
#: Parameters that files keep too.
KEPT = ("covariance", "max_iter", "tol", "pseudo_count", "least_spread", "n_init")


class FileMixin:
    """An estimator of a table that is written to a file and read back."""

    machine_: HopfieldBoltzmann
    stack_: TableStack | None

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes the fitted machine and what its columns are to one safetensors file, no pickle.

        Args:
            path: The file, by custom ``*.safetensors``; :func:`isinglass.load` reads its machine.
            overwrite: Whether a file already there may be replaced.

        Raises:
            FileError: If the file exists and ``overwrite`` is false, or cannot be written.
        """
        check_is_fitted(self)
        fitted: Any = self
        note = {
            "columns": fitted.columns_.config(),
            "scale": fitted.scale_.tolist(),
            "named": hasattr(self, "feature_names_in_"),
            "form": form_of(fitted._example),
            "curve": fitted.log_likelihood_curve_,
            "converged": fitted.converged_,
            "validation": fitted.validation_scores_ and list(fitted.validation_scores_.items()),
            "rows": fitted.n_samples_seen_,
            "bounds": fitted._bounds.config(),
            "middle": [
                bound.clamp_max(NOWHERE).tolist()
                for bound in (fitted._pseudo.center, fitted._pseudo.spread)
            ],
            "parameters": {name: getattr(fitted, name) for name in KEPT},
        }
        if self.stack_ is None:
            save(self.machine_, path, overwrite=overwrite, note={NOTE: note})
            return
        note["recipes"] = [list(vars(recipe).values()) for recipe in self.stack_.recipes]
        note["n_memories"], note["scores"] = fitted.n_memories, fitted.stack_scores_
        header = {"note": {NOTE: note}, "reader": f"{type(self).__name__}.load"}
        write_tensors(path, header, self.stack_.tensors(), overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Loads a fitted estimator from a file written by :meth:`save`.

        What ``partial_fit`` has gathered is not in the file: it starts from the next batch.

        Raises:
            FileError: If the file is missing, damaged, or holds something else.
        """
        header, tensors = read_tensors(path)
        note = header.get("note", {}).get(NOTE)
        stacked = note is not None and "recipes" in note
        machine = None if stacked else load(path)
        if note is None or not (stacked or isinstance(machine, HopfieldBoltzmann)):
            raise FileError(
                "it describes no columns of a table",
                "Give a file written by HopfieldBoltzmannMachine.save or isinglass imagine --model",
                operation=f"loading {path}",
            )  # fmt: skip
        make: Any = cls
        count = machine.memories if isinstance(machine, HopfieldBoltzmann) else note["n_memories"]
        model = make(n_memories=count, **note.get("parameters", {}))
        model.columns_ = Columns.from_config(note["columns"])
        model.scale_ = torch.tensor(note["scale"], dtype=torch.float64)
        model.n_features_in_ = len(note["columns"])
        if note["named"]:
            model.feature_names_in_ = np.array(model.columns_.names, dtype=object)
        model._example = of_form(note["form"])
        model.log_likelihood_curve_, model.converged_ = note["curve"], note["converged"]
        model.n_iter_ = len(note["curve"]) - 1
        model.validation_scores_ = note["validation"] and dict(note["validation"])
        model.odd_cells_ = {}
        model.n_samples_seen_, model._batches, model._statistics = note["rows"], 0, None
        size = len(note["scale"])
        model._bounds = Bounds.from_config(note.get("bounds"), size)
        if isinstance(machine, HopfieldBoltzmann):
            model.machine_, model.stack_, model.n_memories_ = machine, None, machine.memories
        else:
            recipes = tuple(Recipe(*recipe) for recipe in note["recipes"])
            model.stack_ = TableStack.from_tensors(model.columns_, model._bounds, recipes, tensors)
            model.n_memories_, model.stack_scores_ = model.stack_.memories, note["scores"]
        center, spread = torch.tensor(
            note.get("middle", [[0.0] * size, [NOWHERE] * size]), dtype=torch.float64
        )
        model._pseudo = PseudoCounts(0.0, center, spread)
        return model
