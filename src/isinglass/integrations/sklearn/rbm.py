"""The restricted Boltzmann machine as a scikit-learn transformer, in BernoulliRBM's place."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from isinglass._support.optional import require_extra
from isinglass._support.validation import check_count, check_positive
from isinglass.energies import RBM
from isinglass.errors import ParameterError
from isinglass.integrations.sklearn._shared import generator_of
from isinglass.learning import Likelihood, Objective, PersistentCD, fit, pseudo_log_likelihood
from isinglass.learning.trainer.data import Batches
from isinglass.learning.trainer.loop import TrainingLoop
from isinglass.units import Bernoulli

with require_extra("sklearn"):
    from scipy.sparse import issparse
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils.validation import check_is_fitted, validate_data

__all__ = ["RBMTransformer"]

#: log Z is summed where one side has at most so many units.
MOST_SUMMED = 16


class RBMTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Binary hidden features of data in [0, 1]: a restricted Boltzmann machine of bits.

        transform: P(h_j = 1 | v) = σ(w_j·v + c_j)

    Takes the place of :class:`sklearn.neural_network.BernoulliRBM`: its parameters, methods and
    fitted weights. It learns by persistent contrastive divergence too, but with centered gradients,
    which do not care whether an image or its negative is shown, and with momentum. It differs
    in that numbers between 0 and 1 are drawn as bits whenever they are learned from; in the
    scores, see :meth:`score_samples`; in that there is no ``h_samples_``; and in speed: it is
    several times slower, most with small batches.

    Features that leave [0, 1] are brought into it by their range in the first data; rows that
    leave that range later are cut off there, with a warning. Sparse X is made dense.

    Reference: Smolensky 1986; Tieleman 2008, doi:10.1145/1390156.1390290; Melchior, Fischer &
    Wiskott 2016, jmlr.org/papers/v17/14-237.html (centering).

    Args:
        n_components: How many hidden units.
        learning_rate: Step size, of the mean gradient of a batch.
        batch_size: Examples a step.
        n_iter: Epochs.
        objective: What a step descends, such as ``PersistentCD(steps=5)``,
            ``ContrastiveDivergence()`` or ``ExactGradient()``; None is PCD with one step and a
            chain for each example of a batch.
        momentum: Share of the last step in the next one.
        centered: Whether gradients are centered.
        random_state: Seed or ``numpy.random.RandomState``.
        verbose: Whether to show a progress bar (extra ``cli``).

    Attributes:
        machine_: The :class:`~isinglass.RBM`, which :func:`isinglass.save` can write.
        components_: W, ``(n_components, features)``.
        intercept_hidden_: c, ``(n_components,)``.
        intercept_visible_: b, ``(features,)``.
        history_: What was measured in each epoch; None without :meth:`fit`.
        data_min_: What is mapped to 0: the least value of each feature, but not above 0.
        data_max_: What is mapped to 1: the largest value of each feature, but not below 1.
        n_features_in_: Number of features.
        feature_names_in_: Their names, if X had names.

    Examples:
        >>> X = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
        >>> RBMTransformer(n_components=2, random_state=0).fit_transform(X).shape
        (4, 2)
    """

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: float = 0.05,
        batch_size: int = 10,
        n_iter: int = 10,
        objective: Objective | None = None,
        momentum: float = 0.5,
        centered: bool = True,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.objective = objective
        self.momentum = momentum
        self.centered = centered
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> RBMTransformer:  # noqa: N803
        """Fits a machine anew to the rows of X.

        Args:
            X: ``(n, features)``, in [0, 1] or to be brought there by its range.
            y: Not used.

        Raises:
            ValueError: If X is not a finite matrix.
            ParameterError: If a parameter is out of range.
            DivergenceError: If the weights do not stay finite.
        """
        rows = self._start(X)
        batches = _batches_of_bits(rows, self.batch_size, self._generator)
        report = fit(
            self.machine_, batches, self._objective(),
            epochs=self.n_iter, optimizer=self._optimizer(), centered=self.centered,
            score=Likelihood(every=self.n_iter), progress=self.verbose, generator=self._generator,
        )  # fmt: skip
        self.history_ = report.history
        return self

    def partial_fit(self, X: Any, y: Any = None) -> RBMTransformer:  # noqa: N803
        """Takes one step on one batch; chains and momentum are kept from call to call.

        Args:
            X: ``(batch, features)``. The first call sets the range of the features.
            y: Not used.

        Raises:
            ValueError: If X is not a finite matrix.
            DivergenceError: If the loss is not finite.
        """
        rows = self._inputs(X) if hasattr(self, "machine_") else self._start(X)
        bits = torch.bernoulli(rows, generator=self._generator)
        if self._training is None:
            self._training = TrainingLoop(
                self.machine_, Batches(bits, None, self.machine_),
                self._objective(), optimizer=self._optimizer(), scheduler=None,
                centered=self.centered, average=None, autocast=None, generator=self._generator,
            )  # fmt: skip
        self._training.step(bits)
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns P(h = 1 | v), ``(n, n_components)``, of numbers between 0 and 1 as they are."""
        check_is_fitted(self)
        with torch.no_grad():
            field = self._inputs(X) @ self.machine_.weight.mT + self.machine_.biases[1]
            return torch.sigmoid(field).numpy()

    def score_samples(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns log p of each row in nats, ``(n,)``, numbers above ½ counting as ones.

        Exact where hidden or visible units are at most 16; else the pseudo-log-likelihood
        Σ_i log p(v_i | all others), which costs as many energies as there are features.
        """
        check_is_fitted(self)
        bits = (self._inputs(X) > 0.5).to(self.machine_.weight)
        with torch.no_grad():
            if min(self.machine_.weight.shape) > MOST_SUMMED:
                blocks = bits.split(max(1, (1 << 22) // bits.shape[1] ** 2))
                found = [pseudo_log_likelihood(self.machine_, block) for block in blocks]
                return torch.cat(found).numpy()
            log_z = self.machine_.exact_log_partition()
            return (-self.machine_.free_energy(bits) - log_z).to(bits).numpy()

    def score(self, X: Any, y: Any = None) -> float:  # noqa: N803
        """Returns the mean of :meth:`score_samples`, in nats a row."""
        return float(self.score_samples(X).mean())

    def gibbs(self, v: Any) -> np.ndarray:
        """Takes one step of block Gibbs sampling from each row: hidden units, then visible ones.

        Args:
            v: ``(n, features)``, in [0, 1].
        """
        check_is_fitted(self)
        start = self.machine_.extend(self._inputs(v))
        with torch.no_grad():
            state = self.machine_.sweep(start, 1.0, self._generator)
        return self.machine_.visible_part(state).numpy()

    @property
    def components_(self) -> np.ndarray:
        """The weights W, ``(n_components, n_features)``."""
        return self._parameter(self.machine_.weight)

    @property
    def intercept_hidden_(self) -> np.ndarray:
        """The biases c of the hidden units, ``(n_components,)``."""
        return self._parameter(self.machine_.biases[1])

    @property
    def intercept_visible_(self) -> np.ndarray:
        """The biases b of the visible units, ``(n_features,)``."""
        return self._parameter(self.machine_.biases[0])

    def __sklearn_tags__(self) -> Any:
        """Tells scikit-learn that dtypes are kept, and that sparse data are made dense."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.machine_.biases[1])

    @staticmethod
    def _parameter(parameter: Tensor) -> np.ndarray:
        return parameter.detach().numpy()

    def _start(self, rows: Any) -> Tensor:
        """Returns a new machine for data like these, and the data in [0, 1]."""
        for count in ("n_components", "batch_size", "n_iter"):
            check_count(count, getattr(self, count))
        check_positive("learning_rate", self.learning_rate)
        if not isinstance(self.objective, Objective | None):
            raise ParameterError(
                f"objective = {self.objective!r}", "Give one, such as PersistentCD(steps=5)"
            )
        if not 0 <= self.momentum < 1:
            raise ParameterError(f"momentum = {self.momentum!r}", "Give one below 1")
        checked = self._check(rows, reset=True)
        self.data_min_ = checked.min(0).clip(max=0)
        self.data_max_ = checked.max(0).clip(min=1)
        self.history_, self._training = None, None
        self._generator = generator_of(self.random_state)
        machine = RBM(
            Bernoulli(checked.shape[1]), Bernoulli(self.n_components), generator=self._generator
        )
        self.machine_ = machine.to(torch.from_numpy(checked[:1].copy()).dtype)
        return self._scale(checked)

    def _inputs(self, rows: Any) -> Tensor:
        checked = self._check(rows, reset=False)
        slack = 1e-6 * (self.data_max_ - self.data_min_)
        outside = (checked < self.data_min_ - slack) | (checked > self.data_max_ + slack)
        if outside.any():
            warnings.warn(
                f"{outside.any(-1).sum()} of {len(checked)} rows leave the range of the fit "
                "and are cut off there: scale the data first", UserWarning, stacklevel=3,
            )  # fmt: skip
        return self._scale(checked)

    def _check(self, rows: Any, reset: bool) -> np.ndarray:
        dtypes = [np.float64, np.float32]
        checked = validate_data(self, rows, accept_sparse="csr", dtype=dtypes, reset=reset)
        return cast("Any", checked).toarray() if issparse(checked) else cast("np.ndarray", checked)

    def _scale(self, rows: np.ndarray) -> Tensor:
        scaled = (rows - self.data_min_) / (self.data_max_ - self.data_min_)
        return torch.from_numpy(scaled.clip(0, 1)).to(self.machine_.weight)

    def _objective(self) -> Objective:
        return self.objective or PersistentCD(chains=self.batch_size)

    def _optimizer(self) -> Any:
        return partial(torch.optim.SGD, lr=self.learning_rate, momentum=self.momentum)


class _BernoulliRows(Dataset[Tensor]):
    """A data set of bits, drawn from their probabilities each time they are asked for."""

    def __init__(self, rows: Tensor, generator: Generator) -> None:
        self.rows, self.generator = rows, generator

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        return self.__getitems__([index])[0]

    def __getitems__(self, index: list[int]) -> Tensor:
        """Returns a batch at once, as a loader asks for it."""
        return torch.bernoulli(self.rows[index], generator=self.generator)


def _batches_of_bits(rows: Tensor, batch_size: int, generator: Generator) -> DataLoader[Tensor]:
    """Returns shuffled batches of drawn bits."""
    order = Generator().manual_seed(generator.initial_seed())
    return DataLoader(
        _BernoulliRows(rows, generator),
        batch_size,
        shuffle=True,
        generator=order,
        collate_fn=_as_it_is,
    )


def _as_it_is(batch: Any) -> Any:
    return batch
