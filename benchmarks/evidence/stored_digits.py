"""The 60,000 training digits of MNIST stored as they are, and recalled from parts and from noise.

Every pixel is +1 above half of the darkest level, else −1. Cues are stored digits whose lower half
is hidden, of which 10, 20 or 30 % of the pixels are flipped, or to which Gaussian noise is added.
Each family of memory is asked for the same cues, as it comes and with settings: the share of cues
recalled to the last pixel, the share of pixels wrong, seconds of one core for 100 cues of the first
task and the size of what is kept, beside the nearest stored digit, found by one matrix product.
What is known stays as it is; memories of spins, which take no unknown pixels, see hidden ones as
paper and noise by its sign. The data are not part of the project: ISINGLASS_DATA names the folder
that holds mnist/mnist.npz. Prints tables, draws a picture; run it again to go on after a stop.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Generator, Tensor

import isinglass as ig
from benchmarks.evidence.cache import Cache
from benchmarks.evidence.image_sets import mnist
from isinglass.data.image_memory import ImageMemory
from isinglass.dynamics import Kernel
from isinglass.energies import Dreaming, Power
from isinglass.io.atomic import atomic_write

Record = dict[str, Any]
#: What a memory makes of cues, and of which pixels are known; None is all.
Answer = Callable[[Tensor, Tensor | None], Tensor]

SIZE = 784
TASKS: dict[str, tuple[str, float]] = {
    "lower half hidden": ("hidden", 0.5),
    "10 % flipped": ("flipped", 0.1),
    "20 % flipped": ("flipped", 0.2),
    "30 % flipped": ("flipped", 0.3),
    "noise, σ = 1": ("noise", 1.0),
    "noise, σ = 2": ("noise", 2.0),
}
CUES = 500
TIMED = 100
SLOW = 10  # cues of a memory that flips one spin after another


@cache
def digits() -> Tensor:
    """All training digits as spins, (60000, 784)."""
    return torch.where(mnist()[0][0].flatten(1) > 0.5, 1.0, -1.0)


def cues_of(task: str, targets: Tensor, seed: int) -> tuple[Tensor, Tensor | None]:
    """Returns cues, and which of their pixels are known."""
    kind, amount = TASKS[task]
    generator = Generator().manual_seed(seed)
    if kind == "hidden":
        return targets, torch.arange(SIZE) < round(amount * SIZE)
    if kind == "flipped":
        flipped = torch.rand(targets.shape, generator=generator) < amount
        return torch.where(flipped, -targets, targets), None
    return targets + amount * torch.randn(targets.shape, generator=generator), None


@dataclass(frozen=True)
class Method:
    """A memory, how it is asked, and what it cannot be asked.

    Args:
        build: Makes the memory of the stored digits, and says how it answers and what it keeps.
        cues: Of how many it is asked.
        kinds: Kinds of tasks it is asked.
    """

    build: Callable[[Tensor], tuple[Answer, int]]
    cues: int = CUES
    kinds: tuple[str, ...] = ("hidden", "flipped", "noise")


def kept(module: torch.nn.Module) -> int:
    """Bytes of a memory's tensors."""
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def nearest(patterns: Tensor) -> tuple[Answer, int]:
    """The peer: the stored digit with the largest overlap, by one matrix product."""

    def answer(cues: Tensor, known: Tensor | None) -> Tensor:
        seen = cues if known is None else torch.where(known, cues, 0.0)
        return patterns[(seen @ patterns.mT).argmax(-1)]

    return answer, patterns.nbytes


def by_spins(
    build: Callable[[Tensor], Any], kernel: Callable[[], Kernel | None], patterns: Tensor
) -> tuple[Answer, int]:
    """A memory of spins: hidden pixels are shown as paper, noise by its sign."""
    memory = build(patterns)

    def answer(cues: Tensor, known: Tensor | None) -> Tensor:
        seen = cues if known is None else torch.where(known, cues, -1.0)
        return memory.recall(torch.where(seen > 0, 1.0, -1.0), kernel=kernel()).state

    size = memory.weight.nbytes if isinstance(memory, ig.ClassicalHopfield) else kept(memory)
    return answer, size


def by_vectors(build: Callable[[Tensor], Any], patterns: Tensor) -> tuple[Answer, int]:
    """A memory of real vectors, which holds what is known."""
    memory = build(patterns)

    def answer(cues: Tensor, known: Tensor | None) -> Tensor:
        return memory.recall(cues, known=known).state

    return answer, kept(memory)


def by_index(patterns: Tensor) -> tuple[Answer, int]:
    """The modern net, its digits looked up in 8 bits."""
    memory = ig.ModernHopfield(patterns, beta=1.0)
    index = memory.build_index()
    return lambda cues, _known: memory.recall(cues, kernel=index).state, kept(memory) * 5 // 4


def by_gallery(patterns: Tensor) -> tuple[Answer, int]:
    """ImageMemory, which chooses β by itself."""
    memory = ImageMemory(patterns)

    def answer(cues: Tensor, known: Tensor | None) -> Tensor:
        if known is not None:
            return memory.complete(cues, known).images
        shown = (cues - memory.mean) / memory.scale  # nothing is held, so that noise goes
        return memory.memory.recall(shown).state * memory.scale + memory.mean

    return answer, kept(memory.memory) + patterns.nbytes


def by_keys(patterns: Tensor) -> tuple[Answer, int]:
    """Upper halves are keys, lower halves their values."""
    keys, values = patterns.split(SIZE // 2, dim=-1)
    memory = ig.HeteroMemory(ig.ModernHopfield(keys.contiguous(), beta=1.0), values.contiguous())

    def answer(cues: Tensor, _known: Tensor | None) -> Tensor:
        upper = cues[:, : SIZE // 2]
        return torch.cat([upper, memory.recall(upper).values], -1)

    return answer, kept(memory)


def by_machine(patterns: Tensor) -> tuple[Answer, int]:
    """The Hopfield–Boltzmann machine: the mean of the exact conditional, or of one look-up."""
    machine = ig.HopfieldBoltzmann.from_patterns(ig.Spin(SIZE), patterns, beta=1.0)

    def answer(cues: Tensor, known: Tensor | None) -> Tensor:
        with torch.no_grad():
            if known is not None:
                return machine.conditional(cues, known).mean()
            return machine.mixture().responsibilities(cues) @ patterns

    return answer, kept(machine)


def dense(**settings: Any) -> Callable[[Tensor], tuple[Answer, int]]:
    """A dense memory whose spins all move at once."""
    return partial(by_spins, partial(ig.DenseMemory, **settings), ig.CCCP)


METHODS: dict[str, Method] = {
    "nearest neighbor": Method(nearest),
    "ClassicalHopfield()": Method(partial(by_spins, ig.ClassicalHopfield, lambda: None)),
    "ClassicalHopfield(Dreaming())": Method(
        partial(by_spins, partial(ig.ClassicalHopfield, rule=Dreaming()), lambda: None)
    ),
    "DenseMemory()": Method(
        partial(by_spins, ig.DenseMemory, lambda: None), SLOW, ("hidden", "flipped")
    ),
    "DenseMemory(), all spins at once": Method(dense()),
    "DenseMemory(n = 30), all at once": Method(dense(interaction=Power(30, scale=SIZE))),
    'DenseMemory("exp"), all at once': Method(dense(interaction="exp")),
    "ModernHopfield()": Method(partial(by_vectors, ig.ModernHopfield)),
    "ModernHopfield(), 8-bit index": Method(by_index, kinds=("flipped", "noise")),
    "ImageMemory()": Method(by_gallery),
    "SparseHopfield()": Method(partial(by_vectors, ig.SparseHopfield)),
    "SubsetHopfield()": Method(partial(by_vectors, ig.SubsetHopfield), 100),
    "HeteroMemory(ModernHopfield())": Method(by_keys, kinds=("hidden",)),
    "HopfieldBoltzmann.from_patterns()": Method(by_machine),
}


class Asked:
    """Asks a memory, which is built when it is first needed and let go with this object."""

    def __init__(self, name: str, patterns: Tensor, seed: int) -> None:
        self.method, self.patterns, self.seed = METHODS[name], patterns, seed

    @cached_property
    def built(self) -> tuple[Answer, int]:
        """How the memory answers, and what it keeps."""
        return self.method.build(self.patterns)

    def recalled(self, task: str, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Stored digits, cues made of them, and what the memory makes of those."""
        chosen = torch.randperm(
            len(self.patterns), generator=Generator().manual_seed(self.seed)
        )[:count]  # fmt: skip
        targets = self.patterns[chosen]
        cues, known = cues_of(task, targets, self.seed + 1)
        found = torch.where(self.built[0](cues, known) > 0, 1.0, -1.0)
        return targets, cues, found if known is None else torch.where(known, cues, found)

    def measure(self, task: str, count: int) -> Record:
        """Share recalled, and pixels wrong."""
        targets, _, found = self.recalled(task, count)
        wrong = (found != targets).float().mean(-1)
        exact = float((wrong == 0).float().mean())
        return {"exact": exact, "wrong": float(wrong.mean()), "cues": count}

    def cost(self, count: int) -> Record:
        """Seconds of the processor to store, and for 100 cues; bytes kept."""
        task = next(task for task, (kind, _) in TASKS.items() if kind in self.method.kinds)
        begin = time.process_time()
        size = self.built[1]
        stored = time.process_time()
        self.recalled(task, count)
        asked = time.process_time() - stored
        return {"storing": stored - begin, "asking": 100 * asked / count, "bytes": size}


def cell(found: Record, name: str, task: str, key: str) -> str:
    """Writes a share in per cent, or a dash where it was not measured."""
    record = found.get(f"{name}/{task}")
    return "–" if record is None else f"{100 * record[key]:.{1 if key == 'exact' else 2}f}"


def as_tables(found: Record) -> Iterator[Table]:
    """Builds the tables: recalled exactly, pixels wrong, and what it costs."""
    for key, title in (("exact", "recalled exactly, %"), ("wrong", "pixels wrong, %")):
        table = Table("memory", *TASKS, title=title)
        for name in METHODS:
            table.add_row(name, *(cell(found, name, task, key) for task in TASKS))
        yield table
    table = Table("memory", "seconds to store", "seconds for 100 cues", "MB", title="cost")
    for name in METHODS:
        cost = found[f"cost/{name}"]
        table.add_row(
            name, f"{cost['storing']:.1f}", f"{cost['asking']:.2f}", f"{cost['bytes'] / 1e6:.0f}"
        )
    yield table


SHOWN = {
    "nearest neighbor": "nearest", "ClassicalHopfield()": "Hebb",
    "ClassicalHopfield(Dreaming())": "dreaming",
    "DenseMemory(), all spins at once": "dense, n = 3",
    "DenseMemory(n = 30), all at once": "dense, n = 30", "ModernHopfield()": "modern",
}  # fmt: skip


def draw(patterns: Tensor, seed: int) -> Figure:
    """A digit, the cue, and what memories make of it, one row a task."""
    figure = Figure(figsize=(7.6, 6.2), layout="constrained")
    grid = figure.subplots(len(TASKS), 2 + len(SHOWN))
    asked = {name: Asked(name, patterns, seed) for name in SHOWN}
    for row, task in zip(grid, TASKS, strict=True):
        panels: list[tuple[str, Tensor]] = []
        for name, label in SHOWN.items():
            targets, cues, found = asked[name].recalled(task, 1)
            if not panels:
                _, known = cues_of(task, targets, seed + 1)
                shown = cues if known is None else torch.where(known, cues, 0.0)
                panels += [("stored", targets), ("cue", shown)]
            panels.append((label, found))
        for axes, (title, image) in zip(row, panels, strict=True):
            axes.imshow(image.reshape(28, 28), "gray_r", vmin=-1, vmax=1, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            if row is grid[0]:
                axes.set_title(title, fontsize=8)
        row[0].set_ylabel(task, rotation=0, ha="right", va="center", fontsize=8)
    return figure


def main() -> None:
    """Measure what is missing, print the tables, draw the picture."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.evidence.stored_digits", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="where results go")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seed", type=int, default=0, help="seed of the cues")
    parser.add_argument("--quick", action="store_true", help="2,000 digits: does it run?")
    given = parser.parse_args()
    torch.set_num_threads(1)
    patterns = digits()[:2000] if given.quick else digits()
    store = Cache(given.out / f"{'quick-' * given.quick}stored_digits-{given.seed}.json")
    for name in track(given.methods, description="memories"):
        method, asked = METHODS[name], Asked(name, patterns, given.seed)
        count = min(method.cues, 20) if given.quick else method.cues
        for task, (kind, _) in TASKS.items():
            if kind in method.kinds:
                store.get(f"{name}/{task}", partial(asked.measure, task, count))
        again = Asked(name, patterns, given.seed)  # with nothing built
        store.get(f"cost/{name}", partial(again.cost, min(count, TIMED)))
    if set(given.methods) != set(METHODS):
        return
    for table in as_tables(store.found):
        Console(width=140).print(table)
    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "isinglass", "svg.fonttype": "none", "font.size": 8}
    with atomic_write(given.out / "stored-digits.svg", overwrite=True) as aside:
        draw(patterns, given.seed).savefig(aside, format="svg", metadata={"Date": None})
    Console().print(f"results and picture in {given.out}")


if __name__ == "__main__":
    main()
