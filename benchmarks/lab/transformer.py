"""Trains the small Transformer of the lab: letters that repeat, two layers of four heads.

    python -m benchmarks.lab.transformer

A sequence is a few random letters again and again. To say the next one, a head of the second layer
has to find where the present letter stood before, and look at what followed: an induction head. It
needs a head of the first layer that looks at the letter before. A minute of one thread.

Reference: Olsson et al. 2022, "In-context learning and induction heads", arXiv:2209.11895.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import safetensors.torch
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

import isinglass.cli.lab
from isinglass._support.progress import progress_bars
from isinglass.io.atomic import atomic_write

OUT = Path(isinglass.cli.lab.__file__).parent / "weights" / "transformer.safetensors"
LETTERS, LENGTH, WIDTH, LAYERS, HEADS = 26, 32, 48, 2, 4


class Heads(nn.Module):
    """Attention alone: embeddings, layers of causal heads that add to the stream, a read-out."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(LETTERS, WIDTH)
        self.places = nn.Embedding(LENGTH, WIDTH)
        self.layers = nn.ModuleList(
            nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH, bias=False) for name in "qkvo"})
            for _ in range(LAYERS)
        )
        self.readout = nn.Linear(WIDTH, LETTERS, bias=False)

    def forward(self, letters: Tensor, temperature: float = 1.0) -> tuple[Tensor, list[Tensor]]:
        """Returns logits of the next letter, and the weights of every layer's heads."""
        stream = self.letters(letters) + self.places.weight[: letters.shape[-1]]
        future = torch.ones(letters.shape[-1], letters.shape[-1], dtype=torch.bool).triu(1)
        seen = []
        for layer in self.layers:
            q, k, v = (
                layer[name](stream).unflatten(-1, (HEADS, -1)).transpose(-2, -3) for name in "qkv"
            )
            scores = q @ k.mT / q.shape[-1] ** 0.5 / temperature
            weights = scores.masked_fill(future, -torch.inf).softmax(-1)
            stream = stream + layer["o"]((weights @ v).transpose(-2, -3).flatten(-2))
            seen.append(weights)
        return self.readout(stream), seen


def draw(count: int, generator: Generator) -> Tensor:
    """Draws sequences, 5 to 14 letters again and again."""
    period = torch.randint(5, 15, (count, 1), generator=generator)
    letters = torch.randint(LETTERS, (count, LENGTH), generator=generator)
    return letters.gather(1, torch.arange(LENGTH) % period)


def accuracy(model: Heads, generator: Generator) -> float:
    """Returns the share of letters in the last half that are foretold."""
    rows = draw(500, generator)
    with torch.no_grad():
        found = model(rows)[0].argmax(-1)
    late = slice(LENGTH // 2, LENGTH - 1)
    return float((found[:, late] == rows[:, 1:][:, late]).double().mean())


def main() -> None:
    """Trains, measures on fresh sequences and writes."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=3_000)
    options.add_argument("--out", type=Path, default=OUT)
    given = options.parse_args()
    torch.manual_seed(0)
    generator, model = torch.Generator().manual_seed(0), Heads()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=given.steps)
    with progress_bars() as bars:
        progress = bars.add("training")
        for step in range(given.steps):
            rows = draw(64, generator)
            logits = model(rows)[0][:, :-1]
            loss = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            progress((step + 1) / given.steps, f"loss {float(loss.detach()):.2f}")
    print(f"foretold, in the last half of fresh sequences: {accuracy(model, generator):.1%}")
    weights = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    with atomic_write(given.out, overwrite=True) as aside:
        safetensors.torch.save_file(weights, aside)


if __name__ == "__main__":
    main()
