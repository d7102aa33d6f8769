"""What scikit-learn's mixtures offer beside density and samples: labels, criteria, parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from isinglass.data.columns import CategoricalColumn, Columns, Numeric
from isinglass.energies import HopfieldBoltzmann
from isinglass.integrations.sklearn._stack import TableStack
from isinglass.learning.em import e_step

__all__ = ["MixtureMixin"]


class MixtureMixin:
    """An estimator of a machine of one group, as the mixture that it is.

    Components of means and variances stand in the table's order, one a number or bit, one for each
    category; numbers are in the data's units, the rest probabilities.
    """

    machine_: HopfieldBoltzmann
    stack_: TableStack | None
    columns_: Columns
    scale_: torch.Tensor
    log_likelihood_curve_: list[float]

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns the likeliest memory of each row given its known cells, ``(n,)``."""
        return self.predict_proba(X).argmax(1)

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns the responsibilities p(μ | x), as ``transform`` does, ``(n, N)``."""
        model: Any = self
        data, observed = model._rows(X)
        if self.stack_ is not None:
            return self.stack_.responsibilities(data, observed).numpy()
        return e_step(self.machine_, data, observed, self.scale_)[0].numpy()

    def fit_predict(self, X: Any, y: Any = None) -> np.ndarray:  # noqa: N803
        """Fits the machine, and returns the likeliest memory of each row, ``(n,)``."""
        model: Any = self
        return model.fit(X, y).predict(X)

    def aic(self, X: Any) -> float:  # noqa: N803
        """Returns Akaike's criterion, −2 log p(X) + 2 · parameters; less is better."""
        return -2 * self._log_likelihood(X).sum() + 2 * self._n_parameters()

    def bic(self, X: Any) -> float:  # noqa: N803
        """Returns the Bayesian criterion, −2 log p(X) + log(n) · parameters; less is better."""
        found = self._log_likelihood(X)
        return -2 * found.sum() + np.log(len(found)) * self._n_parameters()

    @property
    def weights_(self) -> np.ndarray:
        """The probabilities π of the memories, ``(N,)``."""
        if self.stack_ is not None:
            return self.stack_.stack.moments()[0].numpy()
        return self.machine_.mixture().log_weights().detach().exp().numpy()

    @property
    def means_(self) -> np.ndarray:
        """The mean of each component given each memory, ``(N, components)``."""
        return self._in_order(self._mean_states() * self.columns_.spreads + self._centers())

    @property
    def covariances_(self) -> np.ndarray:
        """The variance of each component given each memory, ``(N, components)``, as for "diag"."""
        mean = self._mean_states()
        if self.stack_ is None:
            spread = self.machine_.temperature * self.scale_.square()
        else:
            _, _, variance, names = self.stack_.stack.moments()
            spread = self.stack_.layout.states(variance, names)
        numbers = self.columns_.spreads.square() * spread
        return self._in_order(torch.where(self.columns_.numeric, numbers, mean * (1 - mean)))

    @property
    def lower_bound_(self) -> float:
        """The mean log-likelihood a row that the fit ended with."""
        return self.log_likelihood_curve_[-1]

    def _n_parameters(self) -> int:
        """Counts what is free: weights, means or probabilities, and spreads or covariances."""
        if self.stack_ is not None:
            return self.stack_.parameters()
        memories = self.machine_.memories
        widths = [c.width - isinstance(c, CategoricalColumn) for c in self.columns_.columns]
        numbers = sum(isinstance(c, Numeric) for c in self.columns_.columns)
        return memories - 1 + memories * sum(widths) + numbers

    def _log_likelihood(self, rows: Any) -> np.ndarray:
        model: Any = self
        return model.score_samples(rows)

    @torch.no_grad()
    def _mean_states(self) -> torch.Tensor:
        """Returns the mean state of each memory, ``(N, components)``."""
        if self.stack_ is not None:
            _, numbers, _, names = self.stack_.stack.moments()
            return self.stack_.layout.states(numbers, names)
        found = self.machine_.mixture()
        mean = self.machine_.visible.mean(found.fields, found.temperature)
        return mean.detach() * self.scale_

    def _centers(self) -> torch.Tensor:
        found = torch.zeros_like(self.columns_.spreads)
        for column, place in zip(self.columns_.columns, self.columns_.places, strict=True):
            if isinstance(column, Numeric):
                found[place] = column.center
        return found

    def _in_order(self, components: torch.Tensor) -> np.ndarray:
        """Puts components of the layer in the order of the table."""
        return torch.cat([components[:, place] for place in self.columns_.places], 1).numpy()
