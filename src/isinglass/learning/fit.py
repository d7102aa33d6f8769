"""One ``fit`` for every energy and objective."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, TensorDataset

from isinglass._shapes import Float
from isinglass.checks import check_count, check_fraction, check_rows
from isinglass.energy import Energy
from isinglass.errors import ParameterError
from isinglass.learning.batches import Batches
from isinglass.learning.checkpoint import Keeper
from isinglass.learning.default import default_objective
from isinglass.learning.objective import Objective
from isinglass.learning.progress import bar, interrupts
from isinglass.learning.score import Judge, Likelihood
from isinglass.learning.track import Fit
from isinglass.learning.training import MakeOptimizer, MakeScheduler, Training

__all__ = ["fit"]


def fit(
    energy: Energy,
    data: Float[Tensor, "n d"] | TensorDataset | DataLoader[Any],
    objective: Objective | None = None,
    *,
    epochs: int = 50,
    batch_size: int | None = None,
    optimizer: MakeOptimizer | None = None,
    scheduler: MakeScheduler | None = None,
    centred: bool = True,
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
) -> Fit:
    """Fit an energy to data, in place.

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
        optimizer: Makes the optimiser of the parameters, such as
            ``functools.partial(torch.optim.SGD, lr=0.05)``; None is the objective's own.
        scheduler: Makes a scheduler of the optimiser, stepped after every epoch.
        centred: Whether gradients of areas joined by weights are centred; see
            :func:`~isinglass.learning.centred_step`.
        average: Decay a step of a running average of the parameters, such as 0.999, which is
            scored, and left in the energy at the end; None is the last step's own parameters.
        autocast: A lower precision for the products, such as ``torch.bfloat16``: fields of chains
            and data are then rounded to about three digits, parameters and updates are not.
        validation: Rows that are scored, never learned from.
        score: How rows are scored; None is ``Likelihood()``, where that can be had.
        patience: After how many scores that are no better than the best, of validation rows if
            there are any, to stop and go back to the best; None is never.
        checkpoint: A file for the whole state of learning. Written aside and renamed.
        every: After how many epochs it is written; also at the end and on Ctrl-C.
        resume: Whether to go on from the checkpoint, if it is there already: the result is, bit
            for bit, as if nothing had happened.
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
            but ``resume`` is false, or belongs to another energy, objective or data.
        KeyboardInterrupt: On Ctrl-C, after the step at hand and the checkpoint.

    Examples:
        >>> import isinglass as ig
        >>> from isinglass.learning import fit
        >>> generator = torch.Generator().manual_seed(0)
        >>> data = torch.eye(4).repeat(50, 1)
        >>> rbm = ig.RBM(ig.Bit(4), ig.Bit(3), generator=generator)
        >>> report = fit(rbm, data, epochs=5, progress=False, generator=generator)
        >>> [row["epoch"] for row in report.track]
        [1, 2, 3, 4, 5]
    """
    _check(energy, objective, epochs, every, average)
    objective = objective or default_objective(energy)
    size = objective.batch_size if batch_size is None else batch_size
    batches = Batches("fit", data, size, energy)
    if validation is not None:
        check_rows("fit", validation)
        energy.check_visible("fit", validation)
    run = Training(
        energy, batches, objective, optimizer=optimizer, scheduler=scheduler, centred=centred,
        average=average, autocast=autocast, generator=generator,
    )  # fmt: skip
    keeper = None if checkpoint is None else Keeper(checkpoint, every, run, resume=resume)
    judge = Judge(run, validation, score or Likelihood(), patience, must=score is not None)
    with bar(epochs * batches.count(), progress) as show, interrupts() as stop:
        show(run)
        while run.epoch < epochs and not judge.is_over():
            _epoch(run, keeper, stop, show)
            run.track.append(judge(run.end_epoch()))
            if keeper is not None:
                keeper.after_epoch(last=run.epoch == epochs or judge.is_over())
            if on_epoch is not None:
                on_epoch(run.track[-1])
    return judge.report()


def _epoch(
    run: Training, keeper: Keeper | None, stop: Event, show: Callable[[Training], None]
) -> None:
    """What is left of an epoch."""
    for batch in run.batches.epoch(run.seed, run.epoch, skip=run.batch):
        if stop.is_set():
            if keeper is not None:
                keeper.write()
            raise KeyboardInterrupt
        run.step(batch)
        show(run)


def _check(
    energy: Energy, objective: Objective | None, epochs: int, every: int, average: float | None
) -> None:
    if not isinstance(energy, Energy):
        raise ParameterError("fit", f"a {type(energy).__name__}", "Give an energy")
    if objective is not None and not isinstance(objective, Objective):
        raise ParameterError(
            "fit", f"objective = {objective!r}", "Give an objective, such as PersistentCD()"
        )
    check_count("fit", "epochs", epochs)
    check_count("fit", "every", every)
    if average is not None:
        check_fraction("fit", "average", average)
