"""Bags of instances classified by Hopfield pooling, as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from isinglass._support.optional import require_extra
from isinglass._support.random import torch_seeded
from isinglass._support.typing import Bool, Float
from isinglass._support.validation import (
    check_at_least_zero,
    check_count,
    check_device,
    check_fraction,
    check_positive,
)
from isinglass.errors import DivergenceError, ParameterError, ShapeError
from isinglass.integrations.sklearn._bags import Bags
from isinglass.integrations.sklearn._epochs import cosine, learn_epoch
from isinglass.integrations.sklearn._shared import generator_of, learning_bar, standardized
from isinglass.nn import HopfieldPooling

with require_extra("sklearn"):
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted

__all__ = ["HopfieldPoolingClassifier"]

MOST = 1 << 24  # numbers of bags that are looked at together
BLOCK = 8192  # instances of a bag that are embedded at a time
#: Deviations from the mean beyond which a feature counts as there. None of n instances learned from
#: is farther than √n, and layer norms square what is embedded in 32 bits.
FARTHEST = 1e6


class _BagNetwork(nn.Module):
    """Instances embedded one by one, pooled by learned states, and read out."""

    def __init__(
        self, width: int, hidden: int, heads: int, quantity: int, classes: int,
        scaling: float | None, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.dropout = dropout
        self.embed = nn.Linear(width, hidden)
        self.pool = HopfieldPooling(
            hidden, num_heads=heads, quantity=quantity, scaling=scaling, dropout=dropout
        )
        self.read = nn.Linear(quantity * hidden, classes)

    def embedded(self, bags: Tensor) -> Tensor:
        return F.relu(self.embed(F.dropout(bags, self.dropout, self.training)))

    def looked_at(self, bags: Tensor, empty: Tensor) -> Tensor:
        """The weight of each instance, of all heads and states the mean."""
        blocks = bags.split(BLOCK, 1), empty.split(BLOCK, 1)
        told = self.pool.stream_association(*blocks, embed=self.embedded)
        return torch.cat([weights.mean((1, 2)) for weights in told], -1)

    def forward(self, bags: Tensor, empty: Tensor) -> Tensor:
        if bags.shape[1] <= BLOCK:
            pooled = self.pool(self.embedded(bags), stored_pattern_padding_mask=empty)
        else:
            blocks = bags.split(BLOCK, 1), empty.split(BLOCK, 1)
            pooled = self.pool.stream(*blocks, embed=self.embedded)
        return self.read(F.dropout(pooled, self.dropout, self.training))


class HopfieldPoolingClassifier(ClassifierMixin, BaseEstimator):
    """Classifies bags of instances, of which one may decide, by learned states that look for it.

        z_i = relu(A x_i + a),   w = softmax(β K q),   p(class | bag) = softmax(W Σ_i w_i V z_i + b)

    Each of ``quantity`` learned states q associates with the instances of a bag, in every head by
    one update of a modern Hopfield network; what they retrieve is read out: multiple-instance
    learning. The share of the instance that a state looks for falls as others are added, later at
    a larger β. Probabilities are means over ``n_estimators`` networks from different starts.
    Learning is by AdamW, with a rate that falls to zero as a cosine.

    Bags are a list of arrays, ``(instances, features)``, which scikit-learn's ``cross_val_score``
    and ``GridSearchCV`` split as any list; or one array with ``bags=``, the bag of each row.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217, §4; Widrich et al. 2020, arXiv:2007.13505.

    Args:
        n_estimators: Networks that are averaged.
        hidden_size: Features of an embedded instance, of all heads together.
        num_heads: Heads, which divide ``hidden_size``.
        quantity: Learned states, each of which looks for something.
        scaling: β of the association; None is 1/√(features of a head).
        dropout: Share of features, association weights and pooled features dropped in learning.
        learning_rate: First step size.
        weight_decay: Of AdamW.
        batch_size: Bags a step.
        max_iter: Epochs.
        random_state: Seed or ``numpy.random.RandomState``.
        verbose: Whether to show a progress bar (extra ``cli``).
        device: Where to compute, such as ``"cpu"`` or ``"cuda"``.

    Attributes:
        networks_: The learned networks.
        classes_: The labels.
        n_features_in_: Features of an instance.
        mean_: Mean of each feature over the instances learned from.
        scale_: Their standard deviation, 1 where it is zero.
        loss_curve_: Mean loss of each epoch, over the networks.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> bags = [rng.normal(size=(rng.integers(3, 9), 5)) for _ in range(60)]
        >>> y = np.arange(60) % 2
        >>> for bag, label in zip(bags, y):
        ...     bag[0, 0] += 6 * label  # one instance decides
        >>> model = HopfieldPoolingClassifier(n_estimators=1, random_state=0).fit(bags[:40], y[:40])
        >>> model.score(bags[40:], y[40:]) > 0.8, int(model.attention(bags[41]).argmax())
        (True, 0)
    """

    def __init__(
        self,
        n_estimators: int = 5,
        *,
        hidden_size: int = 64,
        num_heads: int = 4,
        quantity: int = 2,
        scaling: float | None = None,
        dropout: float = 0.3,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        batch_size: int = 16,
        max_iter: int = 60,
        random_state: Any = None,
        verbose: bool = False,
        device: str = "cpu",
    ) -> None:
        self.n_estimators = n_estimators
        self.hidden_size = hidden_size
        self.num_heads = num_heads
        self.quantity = quantity
        self.scaling = scaling
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    def fit(self, X: Any, y: Any, bags: Any = None) -> HopfieldPoolingClassifier:  # noqa: N803
        """Fits to bags and a label each.

        Args:
            X: A list of arrays, ``(instances, features)`` each, or one array of all instances.
            y: A label a bag, of one array in the order in which bags first appear; or a label
                a row.
            bags: Of one array, the bag of each row.

        Raises:
            ShapeError: If a bag is empty or of another width, or labels are not as many as bags.
            DomainError: If a value is NaN, infinite or beyond ±1e30.
            ParameterError: If a parameter is out of range, or all labels are the same.
            DivergenceError: If the loss is no longer finite.
        """
        found = Bags.of(X, bags, learning=True)
        labels = found.labels_of(y)
        check_classification_targets(labels)
        self.classes_, targets = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ParameterError(f"all labels are {self.classes_[0]}", "Give bags of two classes")
        self._check()
        self.n_features_in_ = found.rows.shape[1]
        self.mean_, scale = found.rows.mean(0), found.rows.std(0)
        self.scale_ = np.where(scale > 0, scale, 1.0)
        generator = generator_of(self.random_state)
        rows, truth = self._rows(found), torch.from_numpy(targets).to(self.device)
        epochs = self.n_estimators * self.max_iter
        seed = generator.initial_seed() % 2**32
        with (
            learning_bar(self.verbose, epochs) as show,
            torch_seeded(seed, torch.device(self.device)),
        ):
            self.networks_ = [self._network() for _ in range(self.n_estimators)]
            losses = [
                self._learn(network, found, rows, truth, generator, show)
                for network in self.networks_
            ]
        self.loss_curve_ = np.mean(losses, 0).tolist()
        return self

    @torch.no_grad()
    def predict_proba(self, X: Any, bags: Any = None) -> np.ndarray:  # noqa: N803
        """Returns p(class | bag), ``(bags, classes)``, in the order of ``classes_``.

        Raises:
            ShapeError: If bags are not as those learned from.
            DomainError: If a value is NaN or infinite.
        """
        found = self._known(X, bags)
        proba = np.zeros((len(found), len(self.classes_)))
        for index, inputs, empty in self._parts(found):
            for network in self.networks_:
                proba[index] += torch.softmax(network(inputs, empty), -1).cpu().numpy()
        return proba / len(self.networks_)

    def decision_function(self, X: Any, bags: Any = None) -> np.ndarray:  # noqa: N803
        """Returns log p of each class; of two, log p(second) − log p(first)."""
        smallest = np.finfo(np.float64).tiny
        log_proba = np.log(self.predict_proba(X, bags).clip(smallest))
        return log_proba[:, 1] - log_proba[:, 0] if log_proba.shape[1] == 2 else log_proba

    def predict(self, X: Any, bags: Any = None) -> np.ndarray:  # noqa: N803
        """Predicts the label of each bag."""
        proba = self.predict_proba(X, bags)
        return self.classes_[proba.argmax(-1)]

    def score(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any = None,
        bags: Any = None,
    ) -> float:
        """Returns the share of bags that are predicted right; ``y`` as in :meth:`fit`."""
        labels = Bags.of(X, bags).labels_of(y)
        return float(np.average(self.predict(X, bags) == labels, weights=sample_weight))

    @torch.no_grad()
    def attention(self, X: Any, bags: Any = None) -> Any:  # noqa: N803
        """Returns how much each instance is looked at, w of all states, heads and networks, mean.

        Args:
            X: A list of bags; or one bag alone, ``(instances, features)``, without ``bags``.
            bags: Of one array with several bags, the bag of each row.

        Returns:
            An array a bag, each with the sum 1; of one bag, or one array with ``bags``, one array.

        Raises:
            ShapeError: If bags are not as those learned from.
            DomainError: If a value is NaN or infinite.
        """
        alone = bags is None and (
            X.ndim == 2 if isinstance(X, np.ndarray) else len(X) > 0 and np.ndim(X[0]) == 1
        )
        found = self._known([X] if alone else X, bags)
        weights = np.zeros(len(found.rows))
        last = np.cumsum(found.sizes)
        for index, inputs, empty in self._parts(found):
            for network in self.networks_:
                told = network.looked_at(inputs, empty)[~empty]
                weights[last[index[0]] - found.sizes[index[0]] : last[index[-1]]] += (
                    told.cpu().numpy()
                )
        weights /= len(self.networks_)
        if bags is not None:
            back = np.empty_like(weights)
            back[found.order] = weights
            return back
        return weights if alone else found.split(weights)

    def _check(self) -> None:
        check_device(self.device)
        for name in ("n_estimators", "hidden_size", "num_heads", "quantity", "batch_size",
                     "max_iter"):  # fmt: skip
            check_count(name, getattr(self, name))
        if self.hidden_size % self.num_heads:
            raise ParameterError(
                f"hidden_size = {self.hidden_size} for {self.num_heads} heads",
                "Give a multiple of num_heads",
            )
        check_positive("learning_rate", self.learning_rate)
        check_at_least_zero("weight_decay", self.weight_decay)
        if check_fraction("dropout", self.dropout) == 1:
            raise ParameterError("dropout = 1, which drops everything", "Give less than 1")

    def _network(self) -> _BagNetwork:
        return _BagNetwork(
            self.n_features_in_, self.hidden_size, self.num_heads, self.quantity,
            len(self.classes_), self.scaling, self.dropout,
        ).to(self.device)  # fmt: skip

    def _learn(
        self, network: _BagNetwork, found: Bags, rows: Tensor, truth: Tensor,
        generator: Generator, show: Callable[[str], None],
    ) -> list[float]:  # fmt: skip
        """Runs all epochs of one network and returns the mean loss of each."""
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )

        def loss_of(batch: Tensor) -> tuple[Tensor, int]:
            index = batch.numpy()
            output = network(*found.padded(rows, index))
            return F.cross_entropy(output, truth[index]), len(index)

        losses: list[float] = []
        network.train()
        for epoch in range(self.max_iter):
            rate = cosine(self.learning_rate, epoch / self.max_iter)
            order = torch.randperm(len(found), generator=generator)
            total = float(
                learn_epoch(
                    optimizer, order, loss_of, batch_size=self.batch_size,
                    rate_at=lambda _, rate=rate: rate,
                )
            )  # fmt: skip
            if not np.isfinite(total):
                raise DivergenceError("the loss is no longer finite", "Lower learning_rate")
            losses.append(total / len(found))
            show(f"loss {losses[-1]:.3g}")
        network.eval()
        return losses

    def _known(self, given: Any, bags: Any) -> Bags:
        check_is_fitted(self)
        found = Bags.of(given, bags)
        if found.rows.shape[1] != self.n_features_in_:
            raise ShapeError(
                f"instances of {found.rows.shape[1]} features, learned from {self.n_features_in_}",
                "Give the features that were learned from",
            )
        return found

    def _rows(self, found: Bags) -> Float[Tensor, "rows features"]:
        scaled = standardized(found.rows, self.mean_, self.scale_, FARTHEST)
        return torch.from_numpy(scaled).to(self.device, torch.float32)

    def _parts(
        self, found: Bags
    ) -> Iterator[tuple[np.ndarray, Float[Tensor, "bags most width"], Bool[Tensor, "bags most"]]]:
        """Yields bags that are looked at together: which, their instances, where there is none."""
        rows, start = self._rows(found), 0
        while start < len(found):
            sizes = np.maximum.accumulate(found.sizes[start:])
            cost = sizes * np.arange(1, len(sizes) + 1) * max(self.hidden_size, rows.shape[1])
            count = max(1, int(np.searchsorted(cost, MOST, side="right")))
            index = np.arange(start, min(start + count, len(found)))
            yield index, *found.padded(rows, index)
            start += count
