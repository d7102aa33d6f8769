"""One run of learning: everything that changes from step to step, and how it is put in a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any, NoReturn, TypeAlias, cast

import torch
from torch import Generator, Tensor, distributed, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from isinglass.core.capabilities import as_trainable
from isinglass.core.energy import Energy
from isinglass.energies import Harmonium
from isinglass.errors import DivergenceError, FileError, IntractableError, ParameterError
from isinglass.learning.objectives.base import Objective
from isinglass.learning.trainer.centering import centered_step, layer_means
from isinglass.learning.trainer.data import FIRST, Batches, rank, world_size
from isinglass.learning.trainer.history import chain_health

__all__ = ["MakeOptimizer", "MakeScheduler", "TrainingLoop"]

MakeOptimizer: TypeAlias = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
MakeScheduler: TypeAlias = Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]

OFFSET_RATE = 0.01  # of a new mean in the running mean of offsets: Melchior et al. 2016

LOOKS = 20  # at the energies of the chains, before their health is computed


class _Loss(nn.Module):
    """The loss as a module, for ``DistributedDataParallel`` to wrap."""

    def __init__(self, energy: Energy, objective: Objective, autocast: torch.dtype | None) -> None:
        super().__init__()
        self.energy, self.objective, self.autocast = energy, objective, autocast
        self.memory: dict[str, Tensor] = {}
        self.generator = Generator()

    def forward(self, batch: Tensor) -> Tensor:
        low = self.autocast is not None
        with torch.autocast(batch.device.type, self.autocast) if low else nullcontext():
            loss, self.memory = self.objective.loss(self.energy, batch, self.memory, self.generator)
        return loss


class TrainingLoop:
    """State of a run of :func:`~isinglass.learning.fit`, and its steps."""

    def __init__(
        self,
        energy: Energy,
        batches: Batches,
        objective: Objective,
        *,
        optimizer: MakeOptimizer | None,
        scheduler: MakeScheduler | None,
        centered: bool,
        average: float | None,
        autocast: torch.dtype | None,
        generator: Generator | None,
    ) -> None:
        self.energy, self.batches = energy, batches
        parameters = [parameter for parameter in energy.parameters() if parameter.requires_grad]
        if not parameters:
            raise ParameterError(
                f"a {type(energy).__name__} without parameters", "Give one that can learn"
            )
        if objective.samples:
            as_trainable(energy).check_normalizable()
        self.optimizer = (optimizer or objective.optimizer)(parameters)
        self.scheduler = None if scheduler is None else scheduler(self.optimizer)
        self.seed = _shared_seed(generator, batches.rows.device)
        self.loss = _Loss(energy, objective, autocast)
        self.loss.generator = Generator(batches.rows.device).manual_seed(self.seed + rank())
        self.loss.memory = objective.init(energy, batches.rows, self.loss.generator)
        self.module = self.loss if world_size() == 1 else nn.parallel.DistributedDataParallel(
            self.loss
        )  # fmt: skip
        self.machine = energy if isinstance(energy, Harmonium) and centered else None
        self.offsets: list[Tensor] = []
        if self.machine is not None and objective.centered:
            self.optimizer.zero_grad(set_to_none=True)
            self.offsets = self._average(layer_means(self.machine, batches.rows[:FIRST], None))
        self.average = (
            None if average is None
            else AveragedModel(energy, multi_avg_fn=get_ema_multi_avg_fn(average))
        )  # fmt: skip
        self.good = _copy_weights(energy)
        self.epoch = self.batch = 0
        self.total = 0.0
        self.history: list[dict[str, float]] = []
        self.looks: list[Tensor] = []
        self.best: dict[str, Any] = {}

    @property
    def chains(self) -> Tensor | None:
        """The persistent chains of this process, if the objective keeps any."""
        return self.loss.memory.get("chains")

    def step(self, batch: Tensor) -> None:
        """Takes one step of the optimizer on a batch.

        Raises:
            DivergenceError: If the loss is not a finite number.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.module(batch)
        loss.backward()
        value = float(loss.detach())
        if not math.isfinite(value):
            self._diverged(f"a loss of {value} in step {self.batch + 1}")
        if self.offsets and self.machine is not None:
            means = self._average(layer_means(self.machine, batch, self.chains))
            for offset, mean in zip(self.offsets, means, strict=True):
                offset.lerp_(mean, OFFSET_RATE)
            with centered_step(self.machine, self.offsets):
                self.optimizer.step()
        else:
            self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.energy)
        self.total += value
        self.batch += 1
        steps = self.epoch * self.batches.count() + self.batch
        if self.chains is not None and steps % max(10, self.batches.count() // LOOKS) == 0:
            with torch.no_grad():
                self.looks.append(as_trainable(self.energy).negative_phase(self.chains))

    def end_epoch(self) -> dict[str, float]:
        """Goes on to the next epoch and returns what is known of this one.

        Raises:
            DivergenceError: If a parameter is not finite, or so large that its square is not, or
                the energy can no longer be drawn from.
        """
        if not all(bool(p.square().isfinite().all()) for p in self.energy.parameters()):
            self._diverged("parameters whose squares are not finite")
        if self.loss.objective.samples:
            try:
                as_trainable(self.energy).check_normalizable()
            except IntractableError as error:
                self._diverged(f"{error.found}, at the end")
        self.good = _copy_weights(self.energy)
        grads = [p.grad for p in self.energy.parameters() if p.grad is not None]
        norm = torch.stack([grad.square().sum() for grad in grads]).sum().sqrt()
        found = {
            "epoch": self.epoch + 1,
            "loss": self.total / max(1, self.batch),
            "gradient norm": float(norm),
        }
        if len(self.looks) >= LOOKS:
            found |= chain_health(torch.stack(self.looks))
            self.looks = []
        self.epoch, self.batch, self.total = self.epoch + 1, 0, 0.0
        return found

    @property
    def scored(self) -> Energy:
        """The energy that is looked at: the averaged one, if weights are averaged."""
        return self.energy if self.average is None else cast("Energy", self.average.module)

    def state(self) -> dict[str, Any] | None:
        """Returns all of it as tensors and numbers; None in all processes but the first."""
        own = {"memory": self.loss.memory, "generator": self.loss.generator.get_state()}
        processes: list[Any] | None = [own]
        if world_size() > 1:
            processes = [None] * world_size() if rank() == 0 else None
            distributed.gather_object(own, processes)
        if processes is None:
            return None
        return {
            "energy": dict(self.energy.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "average": None if self.average is None else dict(self.average.state_dict()),
            "offsets": self.offsets,
            "processes": processes,
            "position": [self.seed, self.epoch, self.batch, self.total],
            "history": self.history,
            "looks": self.looks,
            "best": self.best,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Restores a state that :meth:`state` returned.

        Raises:
            FileError: If it does not fit, for instance as more processes share this run.
        """
        device = self.batches.rows.device
        if len(state["processes"]) != world_size():
            raise FileError(
                f"it is of {len(state['processes'])} processes, these are {world_size()}",
                "Start as many as before",
            )  # fmt: skip
        try:
            self.energy.load_state_dict(state["energy"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.scheduler is not None:
                self.scheduler.load_state_dict(state["scheduler"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
        except (KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
            why = " ".join(str(error).split())
            raise FileError(
                f"its tensors do not fit ({why})", "Give what it was written with"
            ) from error
        own = state["processes"][rank()]
        self.loss.memory = {name: value.to(device) for name, value in own["memory"].items()}
        self.loss.generator.set_state(own["generator"])
        self.offsets = [offset.to(device) for offset in state["offsets"]]
        self.seed, self.epoch, self.batch, self.total = state["position"]
        self.good = _copy_weights(self.energy)
        self.looks = [look.to(device) for look in state["looks"]]
        self.history, self.best = state["history"], state["best"]

    def _diverged(self, found: str) -> NoReturn:
        """Restores the last good weights and raises."""
        self.energy.load_state_dict(self.good)
        raise DivergenceError(
            f"{found} of epoch {self.epoch + 1}",
            "Lower the learning rate, or take more steps of the chains; the energy is as it was "
            "before that epoch",
        )

    def _average(self, means: list[Tensor]) -> list[Tensor]:
        """Averages means over the processes."""
        if world_size() == 1:
            return means
        together = torch.cat(means) / world_size()
        distributed.all_reduce(together)
        return list(together.split([len(mean) for mean in means]))


def _copy_weights(energy: Energy) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in energy.state_dict().items()}


def _shared_seed(generator: Generator | None, device: torch.device) -> int:
    """Draws one seed, the same in every process."""
    source = None if generator is None else generator.device
    seed = torch.randint(2**62, (1,), generator=generator, device=source).to(device)
    if world_size() > 1:
        distributed.broadcast(seed, 0)
    return int(seed)
