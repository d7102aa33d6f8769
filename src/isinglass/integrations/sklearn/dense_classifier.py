"""The Krotov–Hopfield classifier as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from isinglass._support.optional import require_extra
from isinglass._support.validation import (
    check_at_least_zero,
    check_count,
    check_device,
    check_fraction,
    check_positive,
)
from isinglass.energies import DenseClassifier, Interaction, Power
from isinglass.energies.hopfield.interactions import interaction_of
from isinglass.errors import ParameterError
from isinglass.integrations.sklearn._epochs import cosine, learn_epoch
from isinglass.integrations.sklearn._shared import generator_of, learning_bar, random_source

with require_extra("sklearn"):
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.model_selection import train_test_split
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

__all__ = ["DenseMemoryClassifier"]

#: Root mean square of E(c_α = −1) − E(c_α = +1) over the first examples, before any learning.
DECIDED = 1e6  # a field of a label that no learning turns
START = 0.3
#: Standard deviation of the first memories, a degree: a step then changes F by a like share at all.
STEP = 1 / 200
#: Most numbers of rows × labels × memories looked at in one go.
BLOCK = 1 << 23


class DenseMemoryClassifier(ClassifierMixin, BaseEstimator):
    """Learns memories of inputs and labels; recall the label of an input in one update.

        decision_α = E(c_α = −1) − E(c_α = +1),   E(v, c) = −Σ_μ F(ξ_μ·v + Σ_α ξ_μα c_α)

    of :class:`~isinglass.DenseClassifier`. ``predict_proba`` is the Boltzmann distribution over
    the states with one label on, at the classifier's T = ½: softmax(2 · decision). A low degree
    learns features that many examples share, a high one prototypes.

    Inputs are mapped to [−1, 1] by the range each feature has in the first data seen, and cut
    off there. Memories stay in [−1, 1] too. They start near zero, a little toward the mean input,
    so that at a high degree none is left out. Learning is by Adam, in :meth:`fit` with a rate
    that falls to zero as a cosine; the paper normalizes gradients by memory instead.

    Reference: Krotov & Hopfield 2016, arXiv:1606.01164; Kingma & Ba 2015, arXiv:1412.6980.

    Args:
        n_memories: K, how many memories to learn.
        degree: n, the power; 3 unless given.
        rectified: Whether the power is zero below zero; it is unless told otherwise.
        interaction: F: ``"power"``, ``"exp"``, or an :class:`~isinglass.energies.Interaction`.
        scale: s of F(o) = (o/s)ⁿ; None sets it by the first data such that all label units start
            undecided. Only for ``interaction="power"``.
        loss_exponent: 2m of the paper's Σ_α |c_α − t_α|^2m; None is the log-likelihood.
        learning_rate: First step size of Adam, in units of the memories.
        batch_size: Examples a step.
        max_iter: Most epochs.
        early_stopping: Whether to hold examples out, stop when the accuracy on them no longer
            rises, and keep the memories that had the best.
        validation_fraction: Share of the examples held out.
        n_iter_no_change: How many epochs without improvement by ``tol`` end the learning.
        tol: Least improvement of accuracy (early stopping), or of the loss.
        random_state: Seed or ``numpy.random.RandomState``.
        verbose: Whether to show a progress bar (extra ``cli``).
        device: Where to compute, such as ``"cpu"`` or ``"cuda"``.

    Attributes:
        energy_: The :class:`~isinglass.DenseClassifier`, which :func:`isinglass.save` can write.
        classes_: The labels.
        n_features_in_: Number of features.
        feature_names_in_: Their names, if X had names.
        data_min_: Least value of each feature, mapped to −1.
        data_max_: Largest value of each feature, mapped to 1.
        n_iter_: Epochs learned.
        loss_curve_: Mean loss of each epoch.
        validation_scores_: Accuracy on the examples held out, each epoch; None without them.

    Examples:
        >>> from sklearn.datasets import load_digits
        >>> images, digits = load_digits(return_X_y=True)
        >>> model = DenseMemoryClassifier(n_memories=50, max_iter=10, random_state=0)
        >>> model.fit(images[:1000], digits[:1000]).score(images[1000:], digits[1000:]) > 0.9
        True
    """

    def __init__(
        self,
        n_memories: int = 200,
        *,
        degree: int | None = None,
        rectified: bool | None = None,
        interaction: Interaction | str = "power",
        scale: float | None = None,
        loss_exponent: float | None = None,
        learning_rate: float = 0.003,
        batch_size: int = 100,
        max_iter: int = 50,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        random_state: Any = None,
        verbose: bool = False,
        device: str = "cpu",
    ) -> None:
        self.n_memories = n_memories
        self.degree = degree
        self.rectified = rectified
        self.interaction = interaction
        self.scale = scale
        self.loss_exponent = loss_exponent
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> DenseMemoryClassifier:  # noqa: N803
        """Fits memories anew to ``(n, features)`` and ``(n,)`` labels.

        Args:
            X: Examples, one a row.
            y: Their labels.
            sample_weight: How much each example counts; None is the same for all.

        Raises:
            ValueError: If X is not a finite matrix, or y not one label a row.
            ParameterError: If a parameter is out of range.
        """
        epochs = check_count("max_iter", self.max_iter)
        rows, labels, weight = self._check(X, y, sample_weight, first=True)
        self._start(rows, weight, np.unique(labels))
        held: Any = None
        if self.early_stopping:
            share = check_fraction("validation_fraction", self.validation_fraction)
            try:
                parts = train_test_split(
                    rows, labels, weight, test_size=share, stratify=labels,
                    random_state=self._seed(),
                )  # fmt: skip
            except ValueError as error:
                raise ParameterError(
                    f"early_stopping cannot hold out {share:g} of {len(rows)} examples ({error})",
                    "Give more examples of each class, or early_stopping=False",
                ) from error
            rows, held_rows, labels, held_labels, weight, _ = cast("list[np.ndarray]", parts)
            held = self._inputs(held_rows), held_labels
        data = self._tensors(rows, labels, weight)
        with learning_bar(self.verbose, epochs) as show:
            self._learn(data, held, epochs, show)
        return self

    def partial_fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        classes: Any = None,
        sample_weight: Any = None,
    ) -> DenseMemoryClassifier:
        """Fits one epoch more, to the same or other examples.

        Args:
            X: Examples, one a row. The first call sets the range of the inputs.
            y: Their labels.
            classes: All labels there will be; needed at the first call, and the same after.
            sample_weight: How much each example counts.

        Raises:
            ValueError: If X is not a finite matrix, y not one label a row, or a label is new.
            ParameterError: If the first call has no classes, or a later one has others.
        """
        first = not hasattr(self, "energy_")
        if first and classes is None:
            raise ParameterError("classes = None", "Name all classes at the first call")
        if not (first or classes is None or np.array_equal(np.unique(classes), self.classes_)):
            raise ParameterError(f"classes = {classes}", f"Give {self.classes_} again")
        rows, labels, weight = self._check(X, y, sample_weight, first)
        named = np.unique(cast("Any", classes)) if first else self.classes_
        if not np.isin(labels, named).all():
            raise ParameterError(f"labels outside {named}", "Name all classes at the first call")
        if first:
            self._start(rows, weight, named)
        self._epoch(self._tensors(rows, labels, weight))
        return self

    def inputs(self, X: Any) -> Tensor:  # noqa: N803
        """Returns X as ``energy_`` takes it: a tensor, each feature on [−1, 1]."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return self._inputs(cast("np.ndarray", rows))

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns E(c_α = −1) − E(c_α = +1), ``(n, classes)``; of two labels, the difference."""
        return self._decision(self.inputs(X))

    def _decision(self, inputs: Tensor) -> np.ndarray:
        size = max(1, BLOCK // (len(self.classes_) * len(self.energy_.memories)))
        with torch.no_grad():
            fields = [self.energy_.label_field(block) for block in inputs.split(size)]
        decision = 2 * torch.cat(fields).cpu().numpy()
        return decision[:, 1] - decision[:, 0] if decision.shape[1] == 2 else decision

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns p(label | x) = softmax(2 · decision), ``(n, classes)``."""
        decision = torch.from_numpy(self.decision_function(X))
        if decision.ndim == 1:
            decision = torch.stack([-decision, decision], -1) / 2
        return torch.softmax(2 * decision, -1).numpy()

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Predicts the label of each row."""
        return self._label(self.decision_function(X))

    def _label(self, decision: np.ndarray) -> np.ndarray:
        chosen = decision > 0 if decision.ndim == 1 else decision.argmax(-1)
        return self.classes_[chosen.astype(int)]

    def _check(
        self, rows: Any, labels: Any, weight: Any, first: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows, labels = validate_data(
            self, rows, labels, dtype=[np.float64, np.float32], reset=first
        )
        check_classification_targets(labels)
        weight = _check_sample_weight(weight, rows, ensure_non_negative=True)
        counts = weight > 0
        if not counts.any():
            raise ParameterError("no example with a weight above zero", "Weigh one at least")
        return rows[counts], labels[counts], weight[counts]

    def _start(self, rows: np.ndarray, weight: np.ndarray, classes: np.ndarray) -> None:
        """Initializes memories, and the scale at which they leave the label units undecided."""
        check_device(self.device)
        check_positive("learning_rate", self.learning_rate)
        check_at_least_zero("tol", self.tol)
        check_count("n_iter_no_change", self.n_iter_no_change)
        check_count("batch_size", self.batch_size)
        interaction = interaction_of(self.interaction, self.degree, self.rectified)
        by_name = isinstance(self.interaction, str) and self.interaction == "power"
        if self.scale is not None and not by_name:
            raise ParameterError(
                f"scale = {self.scale} with interaction = {self.interaction!r}",
                "It belongs to interaction='power': leave it out",
            )  # fmt: skip
        self.classes_, self.n_iter_, self.loss_curve_ = classes, 0, []
        self.validation_scores_ = None
        self.data_min_, self.data_max_ = rows.min(0), rows.max(0)
        self._random = random_source(self.random_state)
        self._generator = generator_of(self._random)
        std = STEP * getattr(interaction, "degree", 3)
        self.energy_ = DenseClassifier(
            rows.shape[1], len(classes), self.n_memories,
            interaction=interaction, std=std, generator=self._generator,
        ).to(self.device, torch.float64 if rows.dtype == np.float64 else torch.float32)  # fmt: skip
        inputs = self._inputs(rows)
        share = torch.from_numpy(weight / weight.sum()).to(inputs)
        self.energy_.memories.data[:, : inputs.shape[1]] += 2 * std * (share @ inputs)
        if by_name:
            self.energy_.interaction = (
                scaled_power(self.energy_, inputs[:1000], share[:1000])
                if self.scale is None
                else replace(cast("Power", interaction), scale=check_positive("scale", self.scale))
            )
            self._check_scale(inputs[:1000])
        self._optimizer = torch.optim.Adam(self.energy_.parameters(), lr=self.learning_rate)

    @torch.no_grad()
    def _check_scale(self, inputs: Tensor) -> None:
        """Refuses a scale at which labels are decided before anything is learned, or never."""
        largest = self.energy_.label_field(inputs).abs().max()
        if not 0 < largest < DECIDED:
            raise ParameterError(
                f"scale = {self.scale}, by which the labels' first fields are {largest:.3g}",
                "Leave it out, so that the data set it",
            )

    def _learn(self, data: Any, held: Any, epochs: int, show: Callable[[str], None]) -> None:
        best, best_epoch, kept = -np.inf, 0, self.energy_.memories.detach().clone()
        scores: list[float] = []
        for epoch in range(epochs):
            self._epoch(data, epoch / epochs, (epoch + 1) / epochs)
            gain, text = -self.loss_curve_[-1], f"loss {self.loss_curve_[-1]:.3g}"
            if held is not None:
                gain = float((self._label(self._decision(held[0])) == held[1]).mean())
                scores.append(gain)
                text += f", held out {gain:.4f}"
            show(text)
            if gain > best + self.tol or epoch == 0:
                best, best_epoch = gain, epoch
                kept.copy_(self.energy_.memories.detach())
            elif epoch - best_epoch >= self.n_iter_no_change:
                break
        if held is not None:
            self.validation_scores_ = scores
            self.energy_.memories.data.copy_(kept)

    def _epoch(
        self, data: tuple[Tensor, Tensor, Tensor], begin: float = 0.0, end: float = 0.0
    ) -> None:
        """Runs one epoch in a random order, on this part of the cosine schedule."""
        inputs, targets, weight = data

        def loss_of(batch: Tensor) -> tuple[Tensor, Tensor]:
            losses = self.energy_.loss(inputs[batch], targets[batch], self.loss_exponent)
            counts = weight[batch].sum()
            return (losses * weight[batch]).sum() / counts, counts

        order = torch.randperm(len(inputs), generator=self._generator).to(self.device)
        total = learn_epoch(
            self._optimizer, order, loss_of, batch_size=self.batch_size,
            rate_at=lambda part: cosine(self.learning_rate, begin + (end - begin) * part),
            after=lambda: self.energy_.memories.data.clamp_(-1, 1),
        )  # fmt: skip
        self.loss_curve_.append(float(total / weight.sum()))
        self.n_iter_ += 1

    def _tensors(
        self, rows: np.ndarray, labels: np.ndarray, weight: np.ndarray
    ) -> tuple[Tensor, Tensor, Tensor]:
        inputs = self._inputs(rows)
        targets = torch.from_numpy(np.searchsorted(self.classes_, labels)).to(self.device)
        return inputs, targets, torch.from_numpy(weight).to(inputs)

    def _inputs(self, rows: np.ndarray) -> Tensor:
        """Scales each feature to [−1, 1] by its range in the first data; constant ones to 0."""
        span = self.data_max_ - self.data_min_
        middle = (self.data_max_ + self.data_min_) / 2
        scaled = 2 * (rows - middle) / np.where(span > 0, span, np.inf)
        return torch.from_numpy(scaled.clip(-1, 1)).to(self.energy_.memories)

    def _seed(self) -> int:
        return int(self._random.randint(2**31 - 1))


@torch.no_grad()
def scaled_power(classifier: DenseClassifier, inputs: Tensor, weight: Tensor) -> Power:
    """Scales the classifier's power so that these inputs leave the labels near zero."""
    power = cast("Power", classifier.interaction)
    from_inputs, from_labels = classifier.memories.split(classifier.sizes, -1)
    # Overlaps of at most one, so that no power is out of range; then E goes as scale⁻ⁿ.
    largest = (inputs @ from_inputs.mT).abs().max() + from_labels.abs().sum(-1).max()
    classifier.interaction = replace(power, scale=float(largest))
    square = (2 * classifier.label_field(inputs)).square().mean(-1)
    rms = float(weight @ square / weight.sum()) ** 0.5
    return replace(power, scale=float(largest) * (rms / START) ** (1 / power.degree))
