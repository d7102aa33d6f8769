"""The restricted Boltzmann machine as a scikit-learn transformer, in BernoulliRBM's place."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from isinglass._support.optional import require_extra
from isinglass._support.validation import check_count, check_flag, check_fraction, check_positive
from isinglass._support.wording import shown
from isinglass.energies import RBM
from isinglass.errors import DivergenceError, ParameterError
from isinglass.integrations.sklearn._bits import PersistentChains, bits_of, pseudo_likelihood
from isinglass.integrations.sklearn._shared import generator_of, learning_bar
from isinglass.learning import Likelihood, Objective, fit
from isinglass.learning.trainer.data import Batches
from isinglass.learning.trainer.loop import TrainingLoop
from isinglass.units import Bernoulli

with require_extra("sklearn"):
    from scipy.sparse import issparse
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils.validation import check_is_fitted, validate_data

__all__ = ["RBMTransformer"]

#: Rows as they were checked: an array, or a sparse one by rows.
Rows: TypeAlias = np.ndarray

#: log Z is summed where one side has at most so many units.
MOST_SUMMED = 16
#: Rows looked at after each epoch, and under which name.
LOOKED = 100
LIKELIHOOD = "pseudo-log-likelihood"
#: Most numbers made dense at once.
BLOCK = 1 << 22


class RBMTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Binary hidden features of data in [0, 1]: a restricted Boltzmann machine of bits.

        transform: P(h_j = 1 | v) = σ(w_j·v + c_j)

    Takes the place of :class:`sklearn.neural_network.BernoulliRBM`: its parameters, methods and
    fitted weights. It learns by persistent contrastive divergence too, but with centered gradients,
    which do not care whether an image or its negative is shown, and with momentum. It differs
    in that numbers between 0 and 1 are drawn as bits whenever they are learned from, and in the
    scores, see :meth:`score_samples`.

    Features that leave [0, 1] are brought into it by their range in the first data; rows that
    leave that range later are cut off there, with a warning. Of a sparse X a batch at a time is
    made dense.

    Reference: Smolensky 1986; Tieleman 2008, doi:10.1145/1390156.1390290; Melchior, Fischer &
    Wiskott 2016, jmlr.org/papers/v17/14-237.html (centering).

    Args:
        n_components: How many hidden units.
        learning_rate: Step size, of the mean gradient of a batch.
        batch_size: Examples a step.
        n_iter: Epochs.
        objective: What a step descends, such as ``PersistentCD(steps=5)``,
            ``ContrastiveDivergence()`` or ``ExactGradient()``; None is PCD with one step and a
            chain for each example of a batch, in closed form; others take several times longer.
        momentum: Share of the last step in the next one.
        centered: Whether gradients are centered.
        random_state: Seed or ``numpy.random.RandomState``.
        verbose: Whether to show a progress bar (extra ``cli``).

    Attributes:
        machine_: The :class:`~isinglass.RBM`, which :func:`isinglass.save` can write.
        components_: W, ``(n_components, features)``.
        intercept_hidden_: c, ``(n_components,)``.
        intercept_visible_: b, ``(features,)``.
        h_samples_: The hidden units of the chains, ``(batch_size, n_components)``; only with
            ``objective=None``.
        history_: What was measured in each epoch, the pseudo-log-likelihood of a hundred rows by
            one unit drawn of each unless there is an ``objective``; None without :meth:`fit`.
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
        if self.objective is None:
            self._learn(rows)
            return self
        size, epochs = int(self.batch_size), int(self.n_iter)
        report = fit(
            self.machine_, _batches_of_bits(self._dense(rows), size, self._generator),
            self.objective, epochs=epochs, optimizer=self._optimizer(), centered=self.centered,
            score=Likelihood(every=epochs), progress=self.verbose, generator=self._generator,
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
        first = not hasattr(self, "machine_")
        rows = self._dense(self._start(X)) if first else self._inputs(X)
        bits = bits_of(rows, self._generator)
        if self._training is None and self.objective is None:
            self._training = self._chains(bits.mean(0))
        elif self._training is None and self.objective is not None:
            self._training = TrainingLoop(
                self.machine_, Batches(bits, None, self.machine_),
                self.objective, optimizer=self._optimizer(), scheduler=None,
                centered=self.centered, average=None, autocast=None, generator=self._generator,
            )  # fmt: skip
        if isinstance(self._training, PersistentChains):
            self._training.run([bits])
        elif self._training is not None:
            self._training.step(bits)
        self._check_finite()
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns P(h = 1 | v), ``(n, n_components)``, of numbers between 0 and 1 as they are."""
        check_is_fitted(self)
        weight, (_, bias) = self.machine_.weight.mT, self.machine_.biases
        with torch.no_grad():
            return self._by_blocks(X, lambda rows: torch.sigmoid(torch.addmm(bias, rows, weight)))

    def score_samples(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns log p of each row in nats, ``(n,)``, numbers above ½ counting as ones.

        Exact where hidden or visible units are at most 16; else the pseudo-log-likelihood
        Σ_i log p(v_i | all others), which costs as many energies as there are features.
        """
        check_is_fitted(self)
        machine = self.machine_
        with torch.no_grad():
            summed = min(machine.weight.shape) <= MOST_SUMMED
            log_z = machine.exact_log_partition() if summed else None

            def score(rows: Tensor) -> Tensor:
                bits = (rows > 0.5).to(rows)
                if log_z is None:
                    return pseudo_likelihood(machine, bits)
                return (-machine.free_energy(bits) - log_z).to(bits)

            return self._by_blocks(X, score)

    def score(self, X: Any, y: Any = None) -> float:  # noqa: N803
        """Returns the mean of :meth:`score_samples`, in nats a row."""
        return float(self.score_samples(X).mean())

    def gibbs(self, v: Any) -> np.ndarray:
        """Takes one step of block Gibbs sampling from each row: hidden units, then visible ones.

        Args:
            v: ``(n, features)``, in [0, 1].
        """
        check_is_fitted(self)

        def moved(rows: Tensor) -> Tensor:
            state = self.machine_.sweep(self.machine_.extend(rows), 1.0, self._generator)
            return self.machine_.visible_part(state)

        with torch.no_grad():
            return self._by_blocks(v, moved)

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

    @property
    def h_samples_(self) -> np.ndarray:
        """The hidden units of the persistent chains, ``(batch_size, n_components)``."""
        training: Any = self._training
        return training.hidden.numpy()

    def __sklearn_tags__(self) -> Any:
        """Tells scikit-learn that dtypes are kept, and that sparse data are taken."""
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

    def _start(self, rows: Any) -> Rows:
        """Makes a new machine for data like these, and returns the data checked."""
        for count in ("n_components", "batch_size", "n_iter"):
            check_count(count, getattr(self, count))
        check_positive("learning_rate", self.learning_rate)
        if not isinstance(self.objective, Objective | None):
            raise ParameterError(
                f"objective = {shown(self.objective)}", "Give one, such as PersistentCD(steps=5)"
            )
        check_flag("centered", self.centered)
        check_flag("verbose", self.verbose)
        if check_fraction("momentum", self.momentum) == 1:
            raise ParameterError(f"momentum = {self.momentum!r}", "Give one below 1")
        checked = self._check(rows, reset=True)
        least, most = checked.min(0), checked.max(0)
        if issparse(checked):
            least, most = (cast("Any", end).toarray()[0] for end in (least, most))
        self.data_min_, self.data_max_ = np.minimum(least, 0), np.maximum(most, 1)
        self.history_, self._training = None, None
        self._generator = generator_of(self.random_state)
        machine = RBM(
            Bernoulli(checked.shape[1]),
            Bernoulli(int(self.n_components)),
            generator=self._generator,
        )
        self.machine_ = machine.to(_tensor(np.empty(0, checked.dtype)).dtype)
        return checked

    def _learn(self, rows: Rows) -> None:
        """Fits by persistent contrastive divergence, in closed form."""
        size, generator = int(self.batch_size), self._generator
        many = size * max(1, BLOCK // (size * rows.shape[1]))  # rows made dense at a time
        mean = np.asarray(rows.mean(0), rows.dtype).reshape(1, -1)
        training = self._training = self._chains(self._dense(mean)[0])
        self.history_ = []
        looked = self._dense(rows[:LOOKED])
        with learning_bar(self.verbose, self.n_iter) as show:
            for epoch in range(self.n_iter):
                order = torch.randperm(rows.shape[0], generator=generator).numpy()
                for start in range(0, len(order), many):
                    block = self._dense(rows[order[start : start + many]])
                    training.run(bits_of(block, generator).split(size))
                self._check_finite()
                site = torch.randint(looked.shape[1], (len(looked),), generator=generator)
                found = pseudo_likelihood(self.machine_, (looked > 0.5).to(looked), site)
                self.history_.append({"epoch": epoch + 1, LIKELIHOOD: float(found.mean())})
                show(f"{self.history_[-1][LIKELIHOOD]:.4g} nats a row")

    def _chains(self, mean: Tensor) -> PersistentChains:
        return PersistentChains(
            self.machine_, int(self.batch_size), mean, learning_rate=float(self.learning_rate),
            momentum=float(self.momentum), centered=self.centered, generator=self._generator,
        )  # fmt: skip

    def _check_finite(self) -> None:
        """Refuses weights that ran away.

        Raises:
            DivergenceError: If a weight or bias is not finite.
        """
        if not all(bool(parameter.isfinite().all()) for parameter in self.machine_.parameters()):
            raise DivergenceError("weights that are not finite", "Lower the learning rate")

    def _by_blocks(self, rows: Any, function: Callable[[Tensor], Tensor]) -> np.ndarray:
        """Applies a function to rows in [0, 1], a block of them dense at a time."""
        checked = self._check(rows, reset=False)
        size = max(1, BLOCK // checked.shape[1])
        outside, found = 0, torch.empty(0)
        slack = 1e-6 * (self.data_max_ - self.data_min_)
        least, most = _tensor(self.data_min_ - slack), _tensor(self.data_max_ + slack)
        for start in range(0, checked.shape[0], size):
            block = _unpack(checked[start : start + size])
            outside += int(((block < least) | (block > most)).any(-1).sum())
            part = function(self._scale(block))
            if start == 0:  # all at once, as parts kept one by one leave no room for the next block
                found = part.new_empty(checked.shape[0], *part.shape[1:])
            found[start : start + size] = part
        if outside:
            warnings.warn(
                f"{outside} of {checked.shape[0]} rows leave the range of the fit "
                "and are cut off there: scale the data first", UserWarning, stacklevel=3,
            )  # fmt: skip
        return found.numpy()

    def _inputs(self, rows: Any) -> Tensor:
        return torch.from_numpy(self._by_blocks(rows, lambda block: block))

    def _check(self, rows: Any, reset: bool) -> Rows:
        dtypes = [np.float64, np.float32]
        return cast(
            "Rows", validate_data(self, rows, accept_sparse="csr", dtype=dtypes, reset=reset)
        )

    def _dense(self, rows: Rows) -> Tensor:
        return self._scale(_unpack(rows))

    def _scale(self, rows: Tensor) -> Tensor:
        least, most = _tensor(self.data_min_), _tensor(self.data_max_)
        if not bool(least.any()) and bool((most == 1).all()):
            return rows.clamp(0, 1).to(self.machine_.weight)
        return ((rows - least) / (most - least)).clamp(0, 1).to(self.machine_.weight)

    def _optimizer(self) -> Any:
        return partial(torch.optim.SGD, lr=float(self.learning_rate), momentum=float(self.momentum))


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(values))


def _unpack(rows: Rows) -> Tensor:
    """Returns sparse rows as dense ones."""
    return torch.from_numpy(cast("Any", rows).toarray()) if issparse(rows) else _tensor(rows)


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
        return bits_of(self.rows[index], self.generator)


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
