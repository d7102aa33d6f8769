"""Data in batches, in an order that can be taken up again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor, distributed
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from isinglass._support.validation import check_count, check_rows
from isinglass.core.capabilities import as_trainable
from isinglass.core.energy import Energy
from isinglass.errors import ParameterError

__all__ = ["Batches", "rank", "world_size"]

FIRST = 10_000  # examples of a loader that chains start from and offsets are taken of


def world_size() -> int:
    """Returns how many processes learn together: 1 without a process group."""
    return distributed.get_world_size() if _in_group() else 1


def rank() -> int:
    """Returns which of them this one is, from 0."""
    return distributed.get_rank() if _in_group() else 0


def _in_group() -> bool:
    return distributed.is_available() and distributed.is_initialized()


class Batches:
    """The examples of a tensor, a ``TensorDataset`` or a ``DataLoader``, batch by batch.

    The order of an epoch follows from a seed and its number, as with
    :class:`torch.utils.data.DistributedSampler`, which shares the examples out among the
    processes of a group. A loader keeps its own order: give it a generator, which is seeded anew
    in every epoch, so that the order can be taken up again; its batches are moved to the energy's
    device.

    Args:
        data: The examples, one a row; of a dataset or a loader the first tensor is taken.
        batch_size: How many examples make a step, over all processes; None is all at once.
        energy: What they must be states of.

    Raises:
        ShapeError: If there are no rows, or fewer than there are processes.
        DomainError: If they are not states of the energy.
        ParameterError: If the batch size is no count, or not shared evenly by the processes.

    Examples:
        >>> import isinglass as ig
        >>> batches = Batches(torch.eye(5), 2, ig.RBM(ig.Bernoulli(5), ig.Spin(1)))
        >>> [len(batch) for batch in batches.epoch(seed=0, number=0)]
        [2, 2, 1]
    """

    def __init__(
        self,
        data: Tensor | TensorDataset | DataLoader[object],
        batch_size: int | None,
        energy: Energy,
    ) -> None:
        self.loader = data if isinstance(data, DataLoader) else None
        self.device = next((p.device for p in energy.parameters()), torch.device("cpu"))
        if isinstance(data, DataLoader):
            rows = torch.cat(list(islice(self._load(), 1 + FIRST // (data.batch_size or FIRST))))
        else:
            rows = data.tensors[0] if isinstance(data, TensorDataset) else data
        check_rows(rows)
        as_trainable(energy).check_visible(rows)
        self.rows = rows
        size = len(rows) if batch_size is None else check_count("batch_size", batch_size)
        if size % world_size() or len(rows) < world_size():
            raise ParameterError(
                f"batches of {size} examples out of {len(rows)} for {world_size()} processes",
                "Give a batch size that they share evenly",
            )
        self.size = size // world_size()

    def epoch(self, seed: int, number: int, skip: int = 0) -> Iterator[Tensor]:
        """Iterates over the batches of one epoch, but for the first few."""
        if self.loader is not None:
            if self.loader.generator is not None:
                self.loader.generator.manual_seed((seed + number) % 2**63)
            if isinstance(self.loader.sampler, DistributedSampler):
                self.loader.sampler.set_epoch(number)
            yield from islice(self._load(), skip, None)
            return
        sampler = DistributedSampler(range(len(self.rows)), world_size(), rank(), seed=seed % 2**31)  # pyright: ignore[reportArgumentType]  # needs no more than a length
        sampler.set_epoch(number)
        order = torch.tensor(list(sampler), device=self.rows.device)
        for chosen in order.split(self.size)[skip:]:
            yield self.rows.index_select(0, chosen)

    def count(self) -> int:
        """Returns how many batches an epoch has."""
        if self.loader is not None:
            return len(self.loader)
        share = -(-len(self.rows) // world_size())
        return -(-share // self.size)

    def fingerprint(self) -> str:
        """Identifies these data by shape, dtype and every value of the rows at hand."""
        if self.loader is not None:
            return f"a loader of {len(self.loader)} batches of {self.rows.shape[-1]} features"
        values = self.rows.detach().cpu().contiguous().view(torch.uint8).numpy()
        digest = hashlib.sha256(values.data)
        return f"{tuple(self.rows.shape)} {self.rows.dtype} {digest.hexdigest()}"

    def _load(self) -> Iterator[Tensor]:
        for batch in self.loader or ():
            rows = batch if isinstance(batch, Tensor) else batch[0]
            yield rows.to(self.device, non_blocking=True)
