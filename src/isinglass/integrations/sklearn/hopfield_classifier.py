"""Rows classified by association with the rows learned from, as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Generator, Tensor

from isinglass._support.optional import require_extra
from isinglass._support.typing import Float
from isinglass._support.validation import (
    check_at_least_zero,
    check_count,
    check_device,
    check_flag,
    check_fraction,
    check_positive,
)
from isinglass.errors import DivergenceError, DomainError, ParameterError
from isinglass.integrations.sklearn._committee import (
    Committee,
    Setting,
    Stored,
    stratified_folds,
)
from isinglass.integrations.sklearn._epochs import cosine, learn_epoch
from isinglass.integrations.sklearn._shared import (
    check_learnable,
    generator_of,
    learning_bar,
    standardized,
)
from isinglass.learning.stacking import stack_weights

with require_extra("sklearn"):
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data

__all__ = ["HopfieldClassifier"]

MOST = 1 << 23  # numbers that are looked at together
#: Deviations from the mean at which a feature is bent: no row is farther away than this.
BEND = 3.0
#: What is blended besides the setting that was given.
OTHERS = (
    Setting(beta=1.0, dropout=0.3, memory_dropout=0.2, weight_decay=1.0, hidden_size=0),
    Setting(beta=1.0, dropout=0.1, memory_dropout=0.2, weight_decay=0.3, hidden_size=64),
)


class HopfieldClassifier(ClassifierMixin, BaseEstimator):
    r"""Stores the rows learned from, and classifies a row by the labels of those it retrieves.

        z(x) = Mᵀx + Oᵀ relu(Iᵀx + c),   w = softmax_i(−β |z(x) − z(x_i)|² / 2)
        p(class | x) ∝ exp(Lᵀx + b) (Σ_i w_i y_i)^a

    w is one update of a modern Hopfield network that holds the rows x_i as keys and their labels
    y_i as values; projections, β, a, L and b are learned. In learning each row is classified by all
    rows but itself, which costs no more than a mask: what is minimized is the leave-one-out
    surprise −log p(y_i | x_i). Features are standardized, and bent so that none is farther than
    three deviations from its mean.

    A committee of ``n_folds`` members learns side by side, each without a fold of its own; in
    predicting all of them see all rows, and their probabilities are averaged. How likely each
    member finds the fold that it did not learn from is an estimate for new rows. With ``blend``
    further committees learn with other settings, and the weights of all are such that
    the rows held out are likeliest under the blend. Learning is by AdamW, with a rate that falls
    to zero as a cosine.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217, §4; Goldberger et al. 2004, Neighbourhood
    Components Analysis; Wolpert 1992, Stacked Generalization.

    Args:
        blend: Whether other settings are learned too; else what is given below stands alone.
        n_folds: Members of a committee; of fewer rows, as many as rows.
        hidden_size: Units of relu in the projection; 0 leaves it linear.
        projection_size: Dimensions in which rows are compared.
        beta: β where learning starts, at features of deviation 1.
        dropout: Share of the features dropped in a step.
        memory_dropout: Share of the stored rows dropped in a step.
        learning_rate: First step size.
        weight_decay: Of AdamW.
        batch_size: Rows a step.
        max_iter: Epochs.
        random_state: Seed or ``numpy.random.RandomState``.
        verbose: Whether to show a progress bar (extra ``cli``).
        device: Where to compute, such as ``"cpu"`` or ``"cuda"``.

    Attributes:
        classes_: The labels.
        n_features_in_: Number of features.
        feature_names_in_: Their names, if X had names.
        mean_: Mean of each feature.
        scale_: Its standard deviation; infinite where it is constant.
        committees_: The learned associations.
        settings_: What was learned with, one a committee.
        weights_: What each counts, with the sum 1.
        held_out_scores_: Mean log p of the rows held out under each committee.
        held_out_proba_: p(class | row) of the blend for each row learned from, of the members that
            did not learn from it.
        loss_curve_: Mean loss of each epoch, over the committees.
        n_iter_: Epochs learned.

    Examples:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = HopfieldClassifier(random_state=0).fit(X[::2], y[::2])
        >>> model.score(X[1::2], y[1::2]) > 0.9
        True
        >>> model.attention(X[1:2]).argmax(-1) < 25  # a stored row of the first class
        array([ True])
    """

    def __init__(
        self,
        *,
        blend: bool = True,
        n_folds: int = 5,
        hidden_size: int = 64,
        projection_size: int = 32,
        beta: float = 1.0,
        dropout: float = 0.3,
        memory_dropout: float = 0.2,
        learning_rate: float = 0.01,
        weight_decay: float = 1.0,
        batch_size: int = 256,
        max_iter: int = 60,
        random_state: Any = None,
        verbose: bool = False,
        device: str = "cpu",
    ) -> None:
        self.blend = blend
        self.n_folds = n_folds
        self.hidden_size = hidden_size
        self.projection_size = projection_size
        self.beta = beta
        self.dropout = dropout
        self.memory_dropout = memory_dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    def fit(self, X: Any, y: Any) -> HopfieldClassifier:  # noqa: N803
        """Stores ``(n, features)`` and ``(n,)`` labels, and learns how to compare.

        Args:
            X: Examples, one a row.
            y: Their labels.

        Raises:
            ValueError: If X is not a matrix of numbers, or y not one label a row.
            DomainError: If a value is NaN, infinite or beyond ±1e30.
            ParameterError: If a parameter is out of range, or there is one class only.
            DivergenceError: If the loss is no longer finite.
        """
        self._check()
        X, y = self._validated(X, y)  # noqa: N806
        check_classification_targets(y)
        self.classes_, targets = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ParameterError(
                f"y has one class only, {self.classes_[0]!r}", "Give rows of two classes"
            )
        self.mean_, scale = X.mean(0), X.std(0)
        # A constant column may have a deviation by rounding.
        constant = scale <= 1e-12 * np.abs(self.mean_)
        self.scale_ = np.where(constant, np.inf, scale)
        generator = generator_of(self.random_state)
        classes = torch.from_numpy(targets)
        fold = stratified_folds(classes, min(self.n_folds, len(classes)), generator)
        labels = torch.nn.functional.one_hot(classes, len(self.classes_)).float()
        self._stored = Stored(
            self._rows(X), classes.to(self.device), labels.to(self.device), fold.to(self.device)
        )
        own = Setting(
            self.beta, self.dropout, self.memory_dropout, self.weight_decay, self.hidden_size
        )
        self.settings_ = [own, *(OTHERS if self.blend else ())]
        with learning_bar(self.verbose, len(self.settings_) * self.max_iter) as show:
            found = [self._learned(setting, generator, show) for setting in self.settings_]
        # Learned in 32 bits, and read in 64: a row is the same whatever stands beside it.
        self.committees_ = [committee.double() for committee, _ in found]
        self._stored = replace(
            self._stored, rows=self._stored.rows.double(), labels=self._stored.labels.double()
        )
        self.loss_curve_ = np.mean([losses for _, losses in found], 0).tolist()
        self.n_iter_ = self.max_iter
        self._weigh()
        return self

    @torch.no_grad()
    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns p(class | x), ``(n, classes)``, in the order of ``classes_``.

        Raises:
            ValueError: If X has not the features that were learned from.
            DomainError: If a value is NaN or infinite.
        """
        rows = self._asked(X).double()
        stored = self._stored
        proba = np.zeros((len(rows), len(self.classes_)))
        for part in self._parts(rows):
            for weight, committee in self._counted():
                log_prob = committee(rows[part], stored)
                proba[part] += weight * log_prob.exp().mean(0).cpu().numpy()
        return proba / proba.sum(1, keepdims=True)

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns log p of each class; of two, log p(second) − log p(first)."""
        log_proba = np.log(self.predict_proba(X).clip(np.finfo(np.float64).tiny))
        return log_proba[:, 1] - log_proba[:, 0] if log_proba.shape[1] == 2 else log_proba

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Predicts the label of each row."""
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(-1)]

    @torch.no_grad()
    def attention(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns how much each stored row is looked at, w of all members and committees, mean.

        Args:
            X: Rows, ``(n, features)``.

        Returns:
            ``(n, stored rows)``, each row with the sum 1.
        """
        rows = self._asked(X).double()
        weights = np.zeros((len(rows), len(self._stored.rows)))
        for part in self._parts(rows):
            for weight, committee in self._counted():
                keys = committee.project(self._stored.rows)
                seen = committee.association(committee.project(rows[part]), keys)
                weights[part] += weight * seen.mean(0).cpu().numpy()
        return weights

    def _check(self) -> None:
        check_device(self.device)
        check_flag("blend", self.blend)
        check_flag("verbose", self.verbose)
        for name in ("n_folds", "projection_size", "batch_size", "max_iter"):
            check_count(name, getattr(self, name))
        if self.n_folds < 2:
            raise ParameterError("n_folds = 1", "Give 2 at least: one learns, one is held out")
        if self.hidden_size != 0:
            check_count("hidden_size", self.hidden_size)
        for name in ("beta", "learning_rate"):
            check_positive(name, getattr(self, name))
        check_at_least_zero("weight_decay", self.weight_decay)
        for name in ("dropout", "memory_dropout"):
            if check_fraction(name, getattr(self, name)) == 1:
                raise ParameterError(f"{name} = 1, which drops everything", "Give less than 1")

    def _validated(self, *given: Any) -> Any:
        """Returns X in 64 bits, and y if it is given."""
        first = len(given) == 2
        found = validate_data(
            self, *given, dtype=np.float64, ensure_all_finite=False, reset=first
        )  # fmt: skip
        rows = cast("np.ndarray", found[0] if first else found)
        if not np.isfinite(rows).all():
            raise DomainError("X has values that are NaN or infinite", "Fill the gaps first")
        if first:
            check_learnable("X", rows)
        return found

    def _asked(self, X: Any) -> Float[Tensor, "n features"]:  # noqa: N803
        check_is_fitted(self)
        return self._rows(self._validated(X))

    def _rows(self, rows: np.ndarray) -> Float[Tensor, "n features"]:
        """Standardizes features, and bends them: x / √(1 + (x/3)²)."""
        scaled = standardized(rows, self.mean_, self.scale_)
        bent = BEND * scaled / np.hypot(BEND, scaled)
        return torch.from_numpy(bent).to(self.device, torch.float32)

    def _learned(
        self, setting: Setting, generator: Generator, show: Callable[[str], None]
    ) -> tuple[Committee, list[float]]:
        """Runs all epochs of one committee, and returns the mean loss of each."""
        stored, members = self._stored, int(self._stored.fold.max()) + 1
        committee = Committee(
            members, stored.rows.shape[1], setting.hidden_size, self.projection_size,
            len(self.classes_), beta=setting.beta, generator=generator,
        ).to(self.device)  # fmt: skip
        decayed = committee.decayed()
        kept = {id(parameter) for parameter in decayed}
        others = [p for p in committee.parameters() if id(p) not in kept]
        optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": setting.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=self.learning_rate,
        )
        losses: list[float] = []
        for epoch in range(self.max_iter):
            order = torch.randperm(len(stored.rows), generator=generator).to(self.device)
            total = float(
                learn_epoch(
                    optimizer, order,
                    lambda batch: committee.loss(batch, stored, setting, generator),
                    batch_size=self.batch_size,
                    rate_at=lambda part, epoch=epoch: cosine(
                        self.learning_rate, (epoch + part) / self.max_iter
                    ),
                )
            )  # fmt: skip
            if not np.isfinite(total):
                raise DivergenceError("the loss is no longer finite", "Lower learning_rate")
            losses.append(total / len(order) / members)
            show(f"loss {losses[-1]:.3g}")
        return committee.requires_grad_(False), losses

    def _weigh(self) -> None:
        """Weighs the committees by the rows that their members did not learn from."""
        held = torch.stack([c.held_out(self._stored, MOST) for c in self.committees_])
        scores = (held * self._stored.labels).sum(-1).mT
        weights = stack_weights(scores)
        self.held_out_scores_ = scores.mean(0).tolist()
        self.weights_ = weights.cpu().numpy()
        self.held_out_proba_ = (weights[:, None, None] * held.exp()).sum(0).cpu().numpy()

    def _counted(self) -> Iterator[tuple[float, Committee]]:
        return zip(self.weights_.tolist(), self.committees_, strict=True)

    def _parts(self, rows: Tensor) -> Iterator[slice]:
        """Yields slices of rows that are looked at together."""
        width = self.n_folds * max(len(self._stored.rows), self.hidden_size, rows.shape[1])
        size = max(1, MOST // width)
        for start in range(0, len(rows), size):
            yield slice(start, start + size)
