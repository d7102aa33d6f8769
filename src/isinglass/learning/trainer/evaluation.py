"""How likely a machine finds data, while it learns and after."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_count, check_rows
from isinglass.core.capabilities import Tractable, as_trainable, require
from isinglass.core.energy import Energy
from isinglass.dynamics import log_partition
from isinglass.errors import IntractableError, ParameterError
from isinglass.learning.objectives.pseudo_likelihood import pseudo_log_likelihood
from isinglass.learning.trainer.history import FitReport

if TYPE_CHECKING:
    from isinglass.learning.trainer.loop import TrainingLoop

__all__ = ["Evaluator", "Likelihood"]

BLOCK = 10_000  # rows whose energies are computed together
PSEUDO_ROWS, SITES = 500, 16  # of which each row's are drawn


@dataclass(frozen=True)
class Likelihood:
    """Mean log-likelihood of data in nats a row: exact, by annealing, or its pseudo-likelihood.

    ``"auto"`` is exact where log Z is a sum of at most ``states`` terms or a closed form, else
    the pseudo-likelihood of 500 rows by 16 units each, else nothing. Annealed importance
    sampling costs many sweeps: ask for it once in many epochs.

    Args:
        method: ``"auto"``, ``"exact"``, ``"pseudo"`` or ``"ais"``.
        every: In how many epochs it is computed once.
        rows: How many rows are looked at, at most, the first ones.
        states: How many states ``"auto"`` sums over, at most.
        seed: Of what is drawn, the same each time.

    Raises:
        ParameterError: If there is no such method, or a count is not a whole number above zero.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Bernoulli(4), ig.Bernoulli(2), scale=0.0)
        >>> name, values = Likelihood().measure(rbm, torch.ones(3, 4))
        >>> name, round(values[0] / 4, 4)  # log ½ a unit
        ('log-likelihood', -0.6931)
    """

    names: ClassVar[dict[str, str]] = {
        "exact": "log-likelihood", "ais": "log-likelihood by AIS", "pseudo": "pseudo-likelihood",
    }  # fmt: skip

    method: str = "auto"
    every: int = 1
    rows: int = 5_000
    states: int = 2**16
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.method, str) or self.method not in ("auto", *self.names):
            raise ParameterError(
                f"method = {self.method!r}", f"Choose auto, {', '.join(self.names)}"
            )
        for name in ("every", "rows", "states"):
            check_count(name, getattr(self, name))
        check_count("seed", self.seed, least=0)

    @torch.no_grad()
    def measure(self, energy: Energy, *data: Tensor) -> tuple[str, list[float]]:
        """Measures the mean over the rows of each set of data, ``(n, d)``, and names it.

        Raises:
            IntractableError: If the energy has none of the methods asked for.
        """
        for rows in data:
            check_rows(rows)
        looked_at = [rows[: self.rows] for rows in data]
        if self.method != "auto":
            return self.names[self.method], self._by(self.method, energy, looked_at)
        reasons = []
        most = math.log(self.states) + 1e-9
        few = not isinstance(energy, Tractable) or energy.log_states_summed() <= most
        for method in ("exact", "pseudo") if few else ("pseudo",):
            try:
                return self.names[method], self._by(method, energy, looked_at)
            except IntractableError as error:
                reasons.append(error.found)
        raise IntractableError("; ".join(reasons), "Estimate it: Likelihood('ais')")

    def _by(self, method: str, energy: Energy, data: list[Tensor]) -> list[float]:
        generator = Generator(data[0].device).manual_seed(self.seed)
        if method == "pseudo":
            few = [rows[:PSEUDO_ROWS] for rows in data]
            found = [
                pseudo_log_likelihood(energy, rows, sites=SITES, generator=generator)
                for rows in few
            ]
            return [float(values.double().mean()) for values in found]
        if method == "exact":
            log_z = float(require(energy, Tractable).exact_log_partition())
        else:
            log_z = float(log_partition(energy, method="ais", generator=generator).value)
        return [-mean_energy(energy, rows) / energy.temperature - log_z for rows in data]


def mean_energy(energy: Energy, data: Float[Tensor, "n d"]) -> float:
    """Returns the mean of what learning lowers on data, block by block, in float64."""
    learner = as_trainable(energy)
    blocks = [learner.positive_phase(rows).double() for rows in data.split(BLOCK)]
    return float(torch.cat(blocks).mean())


class Evaluator:
    """Scores a run after each epoch, keeps the best weights, and says when to stop.

    Args:
        run: Whose energy is scored.
        validation: Rows that are scored beside those learned from.
        score: How.
        patience: After how many scores that are no better to stop; None is never.
        must: Whether an energy without that score is an error.

    Raises:
        ParameterError: If ``patience`` is not a whole number of at least one.
        IntractableError: If there is no score, but ``must`` or ``patience`` asks for one.
    """

    def __init__(
        self,
        run: TrainingLoop,
        validation: Float[Tensor, "m d"] | None,
        score: Likelihood,
        patience: int | None,
        *,
        must: bool,
    ) -> None:
        self.run, self.validation, self.score, self.patience = run, validation, score, patience
        if patience is not None:
            check_count("patience", patience)
        self.scores = True
        try:
            score.measure(run.energy, run.batches.rows[:1])
        except IntractableError:
            if must or patience is not None:
                raise
            self.scores = False

    def __call__(self, row: dict[str, float]) -> dict[str, float]:
        """Adds scores to the row of an epoch."""
        energy, epoch = self.run.scored, int(row["epoch"])
        if not self.scores or epoch % self.score.every:
            return row
        data = [self.run.batches.rows] + ([] if self.validation is None else [self.validation])
        name, values = self.score.measure(energy, *data)
        row = row | {name: values[0]}
        if self.validation is not None:
            train, held = (self._mean_energy(energy, rows) for rows in data)
            gap = (held - train) / energy.temperature
            row |= {f"validation {name}": values[1], "energy gap": gap}
        if self.patience is not None:
            self._compare(energy, epoch, values[-1])
        return row

    def is_over(self) -> bool:
        """Returns whether no score was better for ``patience`` scores."""
        return self.patience is not None and self.run.best.get("since", 0) >= self.patience

    def report(self) -> FitReport:
        """Reports the run; the energy then has the best weights, or the averaged ones."""
        best, energy = self.run.best if self.patience is not None else {}, self.run.energy
        if best:
            energy.load_state_dict(best["weights"])
        elif self.run.average is not None:
            energy.load_state_dict(self.run.scored.state_dict())
        stopped = "no better" if self.is_over() else "all epochs"
        return FitReport(self.run.history, stopped, best.get("epoch", self.run.epoch))

    def _compare(self, energy: Energy, epoch: int, value: float) -> None:
        best = self.run.best
        if not best or value > best["value"]:
            weights = {name: tensor.clone() for name, tensor in energy.state_dict().items()}
            self.run.best = {"epoch": epoch, "value": value, "since": 0, "weights": weights}
        else:
            best["since"] += 1

    @torch.no_grad()
    def _mean_energy(self, energy: Energy, rows: Tensor) -> float:
        return mean_energy(energy, rows[: self.score.rows])
