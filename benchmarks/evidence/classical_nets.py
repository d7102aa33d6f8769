"""Nets of 50 × 50 spins: basins, spurious states and capacity by rule, and what sleep does to them.

``basins``: share of stored patterns that come back with at most 1 % of the units wrong, against the
load N/d and the share of the cue's units that were flipped: random patterns, tiles of photographs,
faces and digits, each divided into black and white. ``states``: where the net falls from random
states: to a pattern, a negative, a mixture of three, five or seven, or something else (each within
2 % of the units), and to how many different ones. ``capacity``: the load at which half of the
random patterns are recalled from themselves (overlap above 0.9), at d = 1,000 and at d = 200, where
unlearning (Hopfield, Feinstein & Palmer 1983) is measured too: it dreams on until the least
stability of a pattern, on average, has been largest, which needs no cue. Published: 0.138 by Hebb's
rule (Amit, Gutfreund & Sompolinsky 1985), 1 by the pseudo-inverse and by dreaming for ever
(Fachechi, Agliari & Barra 2019). The data are not part of the project: ISINGLASS_DATA names the
folder of mnist/mnist.npz and olivetti/olivetti.npz; the photographs are scikit-learn's and need
Pillow. Prints tables, draws two pictures; run it again to go on after a stop.
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Generator, Tensor

from benchmarks.evidence.cache import Cache
from benchmarks.evidence.image_sets import faces, mnist, photographs, spins
from isinglass import ClassicalHopfield
from isinglass._support.palette import SERIES
from isinglass.energies import Dreaming, Hebb, PseudoInverse, Rule, Storkey
from isinglass.io.atomic import atomic_write

Record = dict[str, Any]

SIDE = 50
RULES: dict[str, Rule] = {
    "Hebb": Hebb(),
    "Storkey": Storkey(),
    "dreaming, t = 1": Dreaming(time=1.0),
    "dreaming, t = 10": Dreaming(time=10.0),
    "pseudo-inverse": PseudoInverse(),
}
LONG = {"dreaming, t = 1000": Dreaming(time=1000.0)}  # for the capacity alone
UNLEARNING = "unlearning"
#: How many patterns of each set, and the shares of the units that are flipped.
COUNTS = {
    "random": [25, 125, 250, 350, 500, 1000, 1500],
    "photographs": [5, 10, 25, 50, 100, 192],
    "faces": [5, 10, 25, 50, 100, 400],
    "digits": [5, 10, 25, 50, 125, 500],
}
FLIPPED = [0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45]
CUES = 25  # of each share
#: Random starts, and how many patterns are stored, by units.
STARTS = 200
STATES = {"random": [5, 10, 25, 50, 125, 250], "digits": [5, 25, 125]}
#: Loads of the capacity, and how many nets of each.
LOADS = [0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
SLEPT_LOADS = [0.14, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
SIZES = {1000: 2, 200: 10}
RATE = 0.05  # of a dream, where storing a pattern counts 1


@cache
def stored(name: str) -> Tensor:
    """All patterns of a set, in a random order that is always the same."""
    generator = Generator().manual_seed(zlib.crc32(name.encode()))
    if name == "random":
        return torch.where(torch.rand(2000, SIDE**2, generator=generator) < 0.5, -1.0, 1.0)
    if name == "photographs":
        found = spins(photographs(SIDE), SIDE)
    elif name == "faces":
        found = spins(faces(), SIDE)
    else:
        found = spins(mnist()[0][0][:2000], SIDE, level=0.5)
    return found[torch.randperm(len(found), generator=generator)]


def basins(rule: Rule, name: str, count: int, generator: Generator) -> Record:
    """Share recalled, and recalled to the last unit, by the share of units flipped."""
    patterns = stored(name)[:count]
    begin = time.perf_counter()
    memory = ClassicalHopfield(patterns, rule)
    storing = time.perf_counter() - begin
    target = patterns[:CUES].repeat(len(FLIPPED), 1)
    share = torch.tensor(FLIPPED).repeat_interleave(len(target) // len(FLIPPED))[:, None]
    noise = torch.rand(target.shape, generator=generator)
    found = memory.recall(torch.where(noise < share, -target, target)).state
    wrong = (found != target).float().mean(-1).reshape(len(FLIPPED), -1)
    return {
        "recalled": (wrong <= 0.01).float().mean(-1).tolist(),
        "exact": (wrong == 0).float().mean(-1).tolist(),
        "storing": storing, "seconds": time.perf_counter() - begin,
    }  # fmt: skip


def slept(patterns: Tensor, generator: Generator, patience: int = 3) -> ClassicalHopfield:
    """Unlearns until the least stability of a pattern, on average, has not risen for a while."""
    memory, best, waited = ClassicalHopfield(patterns), -torch.inf, 0
    kept = memory.weight, memory.dreams
    while waited < patience:
        held = float(memory.stability().amin(-1).mean())
        if held > best:
            best, kept, waited = held, (memory.weight, memory.dreams), 0
        else:
            waited += 1
        memory.dream(max(patterns.shape[-1] // 4, 1), rate=RATE, generator=generator)
    memory.weight, memory.dreams = kept
    return memory


def mixtures(states: Tensor, patterns: Tensor) -> Tensor:
    """Largest overlap of each state with a mixture of three, five or seven patterns."""
    overlaps = states @ patterns.mT / patterns.shape[-1]
    found = states.new_zeros(len(states))
    for count in (3, 5, 7):
        if count > len(patterns):
            break
        chosen = overlaps.abs().topk(count, dim=-1).indices
        signs = overlaps.gather(-1, chosen).sign()
        mixed = torch.einsum("nk,nkd->nd", signs, patterns[chosen]).sign()
        found = found.maximum((states * mixed).mean(-1))
    return found


def states(rule: Rule, name: str, count: int, generator: Generator) -> Record:
    """Where random states fall, and how many different places there are that are no pattern."""
    patterns = stored(name)[:count]
    memory = ClassicalHopfield(patterns, rule)
    noise = torch.rand(STARTS, patterns.shape[-1], generator=generator)
    found = memory.recall(torch.where(noise < 0.5, -1.0, 1.0))
    overlaps = found.state @ patterns.mT / patterns.shape[-1]
    near = 1 - 2 * 0.02
    pattern, negative = (overlaps.amax(-1) >= near), (overlaps.amin(-1) <= -near)
    mixed = ~pattern & ~negative & (mixtures(found.state, patterns) >= near)
    other = ~(pattern | negative | mixed)
    shares = {
        "pattern": pattern, "negative": negative & ~pattern, "mixture": mixed, "other": other
    }  # fmt: skip
    spurious = found.state[other]
    spurious = spurious * spurious[:, :1]  # a state and its negative are one
    return {kind: float(which.float().mean()) for kind, which in shares.items()} | {
        "different mixtures": len(torch.unique(found.state[mixed] * found.state[mixed, :1], dim=0)),
        "different others": len(torch.unique(spurious, dim=0)),
        "not at rest": int((~found.converged).sum()),
    }


def capacity(
    rule: Rule | None, size: int, trials: int, load: float, generator: Generator
) -> Record:
    """Share of random patterns that stay where they are, overlap above 0.9; None is unlearning."""
    shares, dreams = [], []
    for _ in range(trials):
        noise = torch.rand(round(load * size), size, generator=generator)
        patterns = torch.where(noise < 0.5, -1.0, 1.0)
        memory = slept(patterns, generator) if rule is None else ClassicalHopfield(patterns, rule)
        cues = patterns[:100]
        overlaps = (memory.recall(cues).state * cues).mean(-1)
        shares.append(float((overlaps > 0.9).float().mean()))
        dreams.append(memory.dreams)
    return {"recalled": sum(shares) / trials, "dreams": sum(dreams) / trials}


def points(quick: bool) -> Iterator[tuple[str, Callable[[Generator], Record]]]:
    """All that is measured."""
    for label, rule in RULES.items():
        for name, counts in COUNTS.items():
            for count in counts[:2] if quick else counts:
                yield f"basins/{name}/{label}/{count}", partial(basins, rule, name, count)
        for name, counts in STATES.items():
            for count in counts[:2] if quick else counts:
                yield f"states/{name}/{label}/{count}", partial(states, rule, name, count)
    for label, rule in (RULES | LONG).items():
        for size, trials in SIZES.items():
            for load in LOADS[:2] if quick else LOADS:
                key = f"capacity/{size}/{label}/{load}"
                yield key, partial(capacity, rule, size, trials, load)
    for load in SLEPT_LOADS[:1] if quick else SLEPT_LOADS:
        key = f"capacity/200/{UNLEARNING}/{load}"
        yield key, partial(capacity, None, 200, 1 if quick else 2, load)


def curve(found: Record, size: int, label: str) -> tuple[list[float], list[float]]:
    """Loads, and the share of patterns recalled at each."""
    loads = SLEPT_LOADS if label == UNLEARNING else LOADS
    return loads, [found[f"capacity/{size}/{label}/{load}"]["recalled"] for load in loads]


def half(found: Record, size: int, label: str) -> str:
    """The load at which half is recalled, on the line between its neighbors; or beyond the last."""
    loads, shares = curve(found, size, label)
    if shares[-1] >= 0.5:
        return f"> {loads[-1]}"
    at = next(n for n in range(len(loads) - 1) if shares[n] >= 0.5 > shares[n + 1])
    part = (shares[at] - 0.5) / (shares[at] - shares[at + 1])
    return f"{loads[at] + part * (loads[at + 1] - loads[at]):.3f}"


def as_tables(found: Record) -> Iterator[Table]:
    """Builds the tables: basins, spurious states, capacity."""
    for name, counts in COUNTS.items():
        table = Table(title=f"{name}: largest share flipped of which 90 % are recalled")
        for column in ("N", *RULES):
            table.add_column(column, justify="right")
        for count in counts:
            cells = [basin(found[f"basins/{name}/{label}/{count}"]) for label in RULES]
            table.add_row(str(count), *cells)
        yield table
    for name, counts in STATES.items():
        table = Table(title=f"{name}: % to patterns, negatives, mixtures, others (how many)")
        for column in ("N", *RULES):
            table.add_column(column, justify="right")
        for count in counts:
            cells = [fallen(found[f"states/{name}/{label}/{count}"]) for label in RULES]
            table.add_row(str(count), *cells)
        yield table
    table = Table("rule", "d = 1000", "d = 200", title="load at which half is recalled")
    for label in RULES | LONG:
        table.add_row(label, half(found, 1000, label), half(found, 200, label))
    table.add_row(UNLEARNING, "–", half(found, 200, UNLEARNING))
    yield table


def basin(record: Record) -> str:
    """Writes the largest share of flipped units up to which 90 % of the cues come back."""
    reached = "–"
    for share, recalled in zip(FLIPPED, record["recalled"], strict=True):
        if recalled < 0.9:
            break
        reached = f"{share:.0%}"
    return reached


def fallen(record: Record) -> str:
    """Writes shares of the starts in per cent, and the number of different others."""
    kinds = ("pattern", "negative", "mixture", "other")
    shares = " ".join(f"{100 * record[kind]:.0f}" for kind in kinds)
    return f"{shares} ({record['different others']})"


def draw(found: Record) -> Figure:
    """Basins of random patterns and of images, and the capacity."""
    figure = Figure(figsize=(9.6, 5.6), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    styles = dict(zip([*RULES, *LONG, UNLEARNING], SERIES, strict=True))
    for ax, (name, counts) in zip(axes, COUNTS.items(), strict=False):
        for label in RULES:
            color, marker, line = styles[label]
            reach = []
            for count in counts:
                shares = found[f"basins/{name}/{label}/{count}"]["recalled"]
                reach.append(sum(shares[1:]) / len(shares[1:]))
            loads = [count / SIDE**2 for count in counts]
            ax.plot(loads, reach, line, color=color, marker=marker, markersize=4, label=label)
        ax.set(xscale="log", ylim=(-0.03, 1.03), title=name, xlabel="load N/d")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_ylabel("cues recalled, 10–45 % flipped")
    for label, (color, marker, line) in styles.items():
        style = {"color": color, "marker": marker, "markersize": 4, "label": label}
        if label in RULES:
            counts = STATES["random"]
            ends = [found[f"states/random/{label}/{count}"]["other"] for count in counts]
            axes[4].plot([count / SIDE**2 for count in counts], ends, line, **style)
        axes[5].plot(*curve(found, 200, label), line, **style)
    axes[4].set(xscale="log", xlabel="load N/d", title="random starts, random patterns")
    axes[4].set_ylabel("share that ends elsewhere")
    axes[5].set(xlabel="load N/d", ylabel="patterns recalled", title="capacity, d = 200")
    figure.legend(*axes[5].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def gallery(seed: int, count: int = 50, share: float = 0.3) -> Figure:
    """Images stored among others of their kind, cues of them, and what each rule recalls."""
    names = [name for name in COUNTS if name != "random"]
    figure = Figure(figsize=(7.6, 3.9), layout="constrained")
    generator = Generator().manual_seed(seed)
    for row, name in zip(figure.subplots(len(names), 2 + len(RULES)), names, strict=True):
        patterns = stored(name)[:count]
        noise = torch.rand(patterns[:1].shape, generator=generator)
        cue = torch.where(noise < share, -patterns[:1], patterns[:1])
        panels = {"stored": patterns[:1], f"cue, {share:.0%} flipped": cue}
        panels |= {
            label: ClassicalHopfield(patterns, rule).recall(cue).state
            for label, rule in RULES.items()
        }
        for axes, (title, state) in zip(row, panels.items(), strict=True):
            axes.imshow(state.reshape(SIDE, SIDE), cmap="gray", interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            if name == names[0]:
                axes.set_title(title, fontsize=8)
        row[0].set_ylabel(name)
    return figure


def main() -> None:
    """Measure what is missing, print the tables, draw the picture."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.evidence.classical_nets", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="where results go")
    parser.add_argument("--seed", type=int, default=0, help="seed of cues and starts")
    parser.add_argument("--quick", action="store_true", help="few patterns: does it run?")
    given = parser.parse_args()
    torch.set_num_threads(1)
    name = f"classical_nets-{given.seed}"
    cache_ = Cache(given.out / f"{'quick-' * given.quick}{name}.json")
    for key, run in track(list(points(given.quick)), description="nets"):
        generator = Generator().manual_seed(zlib.crc32(f"{given.seed} {key}".encode()))
        cache_.get(key, partial(run, generator))
    if given.quick:
        Console().print(f"{len(cache_.found)} points; tables and picture need all of them")
        return
    for table in as_tables(cache_.found):
        Console(width=150).print(table)
    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "isinglass", "svg.fonttype": "none", "font.size": 8}
    figures = {"classical-nets": draw(cache_.found), "classical-images": gallery(given.seed)}
    for name, figure in figures.items():
        with atomic_write(given.out / f"{name}.svg", overwrite=True) as aside:
            figure.savefig(aside, format="svg", metadata={"Date": None})
    Console().print(f"results and pictures in {given.out}")


if __name__ == "__main__":
    main()
