"""One ``fit`` for every energy and objective."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import torch
from torch import Generator, Tensor
from torch.optim import LBFGS, Optimizer, SparseAdam
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

from isinglass._support.functions import check_takes
from isinglass._support.interrupts import interrupts
from isinglass._support.typing import Float
from isinglass._support.validation import check_count, check_flag, check_fraction
from isinglass.core.energy import Energy
from isinglass.errors import ParameterError
from isinglass.learning.objectives.base import Objective
from isinglass.learning.objectives.default import default_objective
from isinglass.learning.trainer.checkpoint import Checkpointer
from isinglass.learning.trainer.data import Batches
from isinglass.learning.trainer.evaluation import Evaluator, Likelihood
from isinglass.learning.trainer.history import FitReport
from isinglass.learning.trainer.loop import MakeOptimizer, MakeScheduler, TrainingLoop
from isinglass.learning.trainer.progress import bar

__all__ = ["fit"]

KINDS: dict[str, tuple[Any, str]] = {
    "energy": (Energy, "an energy"),
    "objective": (Objective | None, "an objective, such as PersistentCD()"),
    "autocast": (torch.dtype | None, "a dtype, such as torch.bfloat16"),
    "score": (Likelihood | None, "a Likelihood, such as Likelihood('exact')"),
    "checkpoint": (str | Path | None, "the path of a file"),
    "generator": (Generator | None, "a torch.Generator"),
}  # of the arguments, and what to give


def fit(
    energy: Energy,
    data: Float[Tensor, "n d"] | TensorDataset | DataLoader[Any],
    objective: Objective | None = None,
    *,
    epochs: int = 50,
    batch_size: int | None = None,
    optimizer: MakeOptimizer | None = None,
    scheduler: MakeScheduler | None = None,
    centered: bool = True,
    average: float | None = None,
    autocast: torch.dtype | None = None,
    validation: Float[Tensor, "m d"] | None = None,
    score: Likelihood | None = None,
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    every: int = 1,
    resume: bool = False,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    progress: bool = True,
    generator: Generator | None = None,
) -> FitReport:
    """Fits an energy E to data by descending an objective, in place.

    Works alone and in a ``torch.distributed`` process group, where every process has all the
    data and takes its share of each batch; gradients are averaged by ``DistributedDataParallel``,
    each process has chains of its own, and the first one writes.

    Args:
        energy: What learns.
        data: Examples, one a row; of a dataset or a loader the first tensor is taken.
        objective: What a step descends; None is
            :func:`~isinglass.learning.default_objective` of the energy.
        epochs: How often all data are seen, counted from the beginning, also of a resumed run.
        batch_size: Examples in a step, over all processes; None is the objective's own number.
        optimizer: Makes the optimizer of the parameters, such as
            ``functools.partial(torch.optim.SGD, lr=0.05)``; None is the objective's own. LBFGS
            and SparseAdam are refused: a step is of one batch, and its gradient dense.
        scheduler: Makes a scheduler of the optimizer, stepped after every epoch;
            ``ReduceLROnPlateau`` after every score, of validation rows if there are any.
        centered: Whether gradients of layers joined by weights are centered; see
            :func:`~isinglass.learning.centered_step`.
        average: Decay a step, below 1, of a running average of the parameters, such as 0.999, which
            is scored, and left in the energy at the end; None is the last step's own parameters.
        autocast: A lower precision for the products, such as ``torch.bfloat16``: fields of chains
            and data are then rounded to about three digits, parameters and updates are not.
        validation: Rows that are scored, never learned from.
        score: How rows are scored; None is ``Likelihood()``, where that can be had.
        patience: After how many scores that are no better than the best, of validation rows if
            there are any, to stop and go back to the best; None is never.
        checkpoint: A file for the whole state of learning. Written aside and renamed.
        every: After how many epochs it is written; also at the end and on Ctrl-C.
        resume: Whether to go on from the checkpoint, if it is there already: the result is, bit
            for bit, as if nothing had happened. ``epochs``, ``patience``, ``autocast`` and
            ``every`` may be others from there on; all else must be what it was written with.
        on_epoch: Called with the track of each epoch.
        progress: Whether to show a bar on a terminal (extra ``cli``).
        generator: Source of all that is random; None is torch's global one, for a seed.

    Returns:
        How it went.

    Raises:
        ShapeError: If data or validation rows have the wrong shape, or there are none.
        DomainError: If they are not states of the visible units.
        ParameterError: If a setting is out of range, or the energy has nothing to learn.
        IntractableError: If the energy has no sampler, free energy or partition function that
            the objective needs, or no score where ``patience`` or ``score`` asks for one.
        DivergenceError: If a loss or parameter is not finite. The energy is then as it was after
            the last good epoch, and the checkpoint is not touched.
        FileError: If the checkpoint cannot be written (the one before is then whole), is there
            but ``resume`` is false, is a folder, or was written with other settings.
        KeyboardInterrupt: On Ctrl-C, after the step at hand and the checkpoint.

    Examples:
        >>> import isinglass as ig
        >>> from isinglass.learning import fit
        >>> generator = torch.Generator().manual_seed(0)
        >>> data = torch.eye(4).repeat(50, 1)
        >>> rbm = ig.RBM(ig.Bernoulli(4), ig.Bernoulli(3), generator=generator)
        >>> report = fit(rbm, data, epochs=5, progress=False, generator=generator)
        >>> [row["epoch"] for row in report.history]
        [1, 2, 3, 4, 5]
    """
    _check(
        energy=energy, objective=objective, autocast=autocast, score=score, checkpoint=checkpoint,
        generator=generator,
    )  # fmt: skip
    _check_settings(epochs, every, average, autocast, on_epoch)
    centered = check_flag("centered", centered)
    objective = objective or default_objective(energy)
    size = objective.batch_size if batch_size is None else batch_size
    batches = Batches(data, size, energy)
    held = None if validation is None else Batches(validation, None, energy)
    run = TrainingLoop(
        energy, batches, objective, optimizer=_check_optimizer(optimizer),
        scheduler=_check_scheduler(scheduler), centered=centered, average=average,
        autocast=autocast, generator=generator,
    )  # fmt: skip
    must = score is not None or isinstance(run.scheduler, ReduceLROnPlateau)
    evaluator = Evaluator(run, validation, score or Likelihood(), patience, must=must)
    settings = {
        "average": average,
        "score": evaluator.score,
        "validation": held and held.fingerprint(),
    }
    checkpointer = (
        None
        if checkpoint is None
        else Checkpointer(checkpoint, every, run, settings, resume=resume)
    )
    with bar(epochs * batches.count(), progress) as show, interrupts() as stop:
        show(run)
        while run.epoch < epochs and not evaluator.is_over():
            _epoch(run, checkpointer, stop, show)
            run.history.append(evaluator(run.end_epoch()))
            _schedule(run.scheduler, run.history[-1])
            if checkpointer is not None:
                checkpointer.after_epoch(last=run.epoch == epochs or evaluator.is_over())
            if on_epoch is not None:
                on_epoch(run.history[-1])
    return evaluator.report()


def _epoch(
    run: TrainingLoop,
    checkpointer: Checkpointer | None,
    stop: Event,
    show: Callable[[TrainingLoop], None],
) -> None:
    """Takes the steps that are left of an epoch."""
    for batch in run.batches.epoch(run.seed, run.epoch, skip=run.batch):
        if stop.is_set():
            if checkpointer is not None:
                checkpointer.write()
            raise KeyboardInterrupt
        run.step(batch)
        show(run)


def _schedule(scheduler: LRScheduler | None, row: dict[str, float]) -> None:
    """Steps the scheduler; one that waits for a plateau hears the score of the epoch."""
    if isinstance(scheduler, ReduceLROnPlateau):
        scores = [value for name, value in row.items() if "likelihood" in name]
        if scores:  # that of the validation rows is the last
            scheduler.step(scores[-1] if scheduler.mode == "max" else -scores[-1])
    elif scheduler is not None:
        scheduler.step()


def _check(**given: object) -> None:
    for name, value in given.items():
        kind, what = KINDS[name]
        if not isinstance(value, kind):
            raise ParameterError(f"{name} = {value!r}", f"Give {what}")


def _check_settings(
    epochs: int,
    every: int,
    average: float | None,
    autocast: torch.dtype | None,
    on_epoch: Callable[[dict[str, float]], None] | None,
) -> None:
    check_count("epochs", epochs)
    check_count("every", every)
    if average is not None and check_fraction("average", average) == 1:
        raise ParameterError(
            "average = 1, which would never move", "Give a decay below 1, such as 0.999"
        )
    if autocast not in (None, torch.bfloat16, torch.float16):
        raise ParameterError(f"autocast = {autocast}", "Give torch.bfloat16 or none")
    if on_epoch is not None:
        check_takes("on_epoch", on_epoch, "the track of an epoch")


def _check_optimizer(make: MakeOptimizer | None) -> MakeOptimizer | None:
    """Returns a maker whose optimizer is checked."""
    remedy = "Give what makes a torch.optim optimizer, such as partial(torch.optim.SGD, lr=0.05)"

    def made(parameters: Any) -> Optimizer:
        optimizer = _make("optimizer", make, parameters, Optimizer, remedy)
        if isinstance(optimizer, LBFGS | SparseAdam):
            raise ParameterError(
                f"optimizer = {type(optimizer).__name__}, for which the gradient of one "
                "batch is not enough or not sparse", "Take another, such as torch.optim.Adam",
            )  # fmt: skip
        return optimizer

    return None if make is None else made


def _check_scheduler(make: MakeScheduler | None) -> MakeScheduler | None:
    """Returns a maker whose scheduler is checked."""
    remedy = (
        "Give what makes a scheduler of an optimizer, such as "
        "partial(torch.optim.lr_scheduler.StepLR, step_size=10)"
    )
    if make is None:
        return None
    return lambda optimizer: _make("scheduler", make, optimizer, LRScheduler, remedy)


def _make(name: str, make: Any, given: Any, kind: type[Any], remedy: str) -> Any:
    """Calls ``make`` and checks what it makes.

    Raises:
        ParameterError: If it makes nothing of the kind, or cannot be called.
    """
    try:
        thing = make(given)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name}: {error}", remedy) from error
    if not isinstance(thing, kind):
        raise ParameterError(f"{name} makes a {type(thing).__name__}", remedy)
    return thing
