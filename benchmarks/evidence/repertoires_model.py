"""A network on repertoires: sequences embedded by a convolution, pooled, and read out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from benchmarks.evidence.repertoires_data import NOTHING
from isinglass._support.random import torch_seeded
from isinglass._support.typing import Float
from isinglass.nn import HopfieldPooling

__all__ = ["BLOCK", "MeanPooling", "RepertoireNetwork", "learned", "scores", "weights"]

BLOCK = 4096  # sequences that are embedded at a time
KERNELS, WIDTH = 32, 5
BATCH = 8  # bags a step


class SequenceEncoder(nn.Module):
    """Filters that look at a few letters in a row, and the most that each finds anywhere.

    z_f = max_t relu(Σ_j W_f[j, letter at t + j] + b_f)
    """

    def __init__(self, kernels: int = KERNELS, width: int = WIDTH) -> None:
        super().__init__()
        self.width = width
        self.filters = nn.Linear(width * NOTHING, kernels)
        letters = torch.cat([torch.eye(NOTHING), torch.zeros(1, NOTHING)])  # nothing is zero
        self.register_buffer("letters", letters, persistent=False)

    def forward(self, codes: Tensor) -> Float[Tensor, "*rows kernels"]:
        """Embeds sequences of codes, ``(*rows, places)``."""
        around = F.pad(codes, (self.width // 2, self.width // 2), value=NOTHING)
        known = F.embedding(around.int(), self.letters).flatten(-2)
        windows = known.unfold(-1, self.width * NOTHING, NOTHING)
        return self.filters(windows).amax(-2).relu()


class MeanPooling(nn.Module):
    """The mean over the set: what pooling by association is at β = 0."""

    def stream(
        self, blocks: Sequence[Tensor], paddings: Sequence[Tensor], *, embed: nn.Module
    ) -> Float[Tensor, "bags kernels"]:
        """Averages the embedded rows of blocks."""
        known = [~padding.unsqueeze(-1) for padding in paddings]
        parts = [(embed(block) * seen).sum(-2) for block, seen in zip(blocks, known, strict=True)]
        return torch.stack(parts).sum(0) / torch.cat(known, 1).sum(1)


class RepertoireNetwork(nn.Module):
    """Sequences embedded one by one, pooled by learned states, and read out.

    Args:
        pooling: ``"Hopfield"`` or ``"mean"``.
    """

    def __init__(self, pooling: str = "Hopfield") -> None:
        super().__init__()
        self.encode = SequenceEncoder()
        self.pool = (
            HopfieldPooling(KERNELS, scaling=1.0) if pooling == "Hopfield" else MeanPooling()
        )
        self.read = nn.Linear(KERNELS, 1)

    def forward(self, codes: Tensor, empty: Tensor) -> Float[Tensor, " bags"]:
        """Returns the logit of each bag.

        Args:
            codes: ``(bags, sequences, places)``.
            empty: True at rows that are no sequences, ``(bags, sequences)``.
        """
        if codes.shape[1] <= BLOCK and isinstance(self.pool, HopfieldPooling):
            return self.read(self.pool(self.encode(codes), empty))[:, 0]
        blocks, paddings = codes.split(BLOCK, 1), empty.split(BLOCK, 1)
        pooled = self.pool.stream(blocks, paddings, embed=self.encode)
        return self.read(pooled)[:, 0]


def side_by_side(bags: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Returns bags filled up to one size, and where they are filled up."""
    most, longest = (max(bag.shape[axis] for bag in bags) for axis in (0, 1))
    codes = np.full((len(bags), most, longest), NOTHING, dtype=np.uint8)
    empty = np.ones((len(bags), most), dtype=bool)
    for place, bag in enumerate(bags):
        codes[place, : len(bag), : bag.shape[1]] = bag
        empty[place, : len(bag)] = False
    return torch.from_numpy(codes), torch.from_numpy(empty)


def learned(
    bags: Sequence[np.ndarray], labels: np.ndarray, pooling: str, seed: int,
    *, steps: int, sample: int,
) -> RepertoireNetwork:  # fmt: skip
    """Trains a network by Adam, with a rate that falls to zero as a cosine.

    Args:
        bags: Codes of each bag.
        labels: 0 or 1.
        pooling: As of the network.
        seed: Of the weights and of what each step sees.
        steps: Updates, of eight bags each.
        sample: Sequences drawn from each bag at each step, at most.
    """
    with torch_seeded(seed, torch.device("cpu")):
        network = RepertoireNetwork(pooling)
    generator = Generator().manual_seed(seed)
    truth = torch.from_numpy(labels).float()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) < BATCH:
            order = torch.cat([order, torch.randperm(len(bags), generator=generator)])
        index, order = order[:BATCH], order[BATCH:]
        drawn = [_some(bags[i], sample, generator) for i in index.tolist()]
        loss = F.binary_cross_entropy_with_logits(network(*side_by_side(drawn)), truth[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def _some(bag: np.ndarray, sample: int, generator: Generator) -> np.ndarray:
    if len(bag) <= sample:
        return bag
    return bag[torch.randint(len(bag), (sample,), generator=generator).numpy()]


@torch.no_grad()
def scores(network: RepertoireNetwork, bags: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the logit of each bag, all of its sequences looked at."""
    return np.array([float(network(*side_by_side([bag]))) for bag in bags])


@torch.no_grad()
def weights(network: RepertoireNetwork, bag: np.ndarray) -> np.ndarray:
    """Returns how much each sequence is looked at, the mean over heads and states."""
    blocks = torch.from_numpy(bag).split(BLOCK)
    told = torch.cat([*network.pool.stream_association(blocks, embed=network.encode)], -1)
    return told.mean((0, 1)).numpy()
