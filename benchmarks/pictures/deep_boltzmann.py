"""A deep Boltzmann machine: its layers in two halves, and digits that it imagines."""

from __future__ import annotations

from functools import partial

import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Generator, Tensor

import isinglass as ig
from isinglass._support.palette import SKY, YELLOW
from isinglass.data.digits import SIDE, load_digits
from isinglass.energies.layered._layer_graph import colors
from isinglass.learning import Likelihood, PersistentCD, fit, greedy_pretraining

LAYERS = (64, 60, 12)
SHOWN = (5, 8)
HALVES = (SKY, YELLOW)


def draw() -> dict[str, Figure]:
    """The stack of layers, data and fantasies."""
    generator = Generator().manual_seed(0)
    machine = ig.DeepBoltzmann([ig.Bernoulli(size) for size in LAYERS], generator=generator)
    data = load_digits()[0].bits().float()
    settings = {
        "optimizer": partial(torch.optim.SGD, lr=0.02, momentum=0.9),
        "score": Likelihood("pseudo", every=10**9),
        "generator": generator,
    }
    objective = PersistentCD(steps=5)
    greedy_pretraining(machine, data, objective, epochs=15, **settings)
    fit(machine, data, objective, epochs=50, **settings)
    figure, (graph, seen, dreamt) = plt.subplots(
        1, 3, figsize=(6.8, 2.1), width_ratios=(1, 2.1, 2.1)
    )
    _draw_layers(graph, machine)
    _draw_digits(seen, data[: SHOWN[0] * SHOWN[1]], "digits")
    _draw_digits(dreamt, _fantasies(machine, generator), "fantasies")
    return {"deep-boltzmann": figure}


@torch.no_grad()
def _fantasies(machine: ig.DeepBoltzmann, generator: Generator) -> Tensor:
    """Probabilities of ink, after many sweeps from noise: each chain one picture."""
    noise = torch.rand(SHOWN[0] * SHOWN[1], LAYERS[0], generator=generator).round()
    state = ig.run(
        ig.BlockGibbs(), machine, machine.extend(noise),
        steps=500, temperature=1.0, generator=generator,
    )  # fmt: skip
    return machine.visible.mean(machine.conditional_field(state, 0), 1.0)


def _draw_layers(axes: Axes, machine: ig.DeepBoltzmann) -> None:
    for shade, together in zip(HALVES, colors(len(LAYERS), machine.couplings), strict=True):
        for index in together:
            box = FancyBboxPatch(
                (0, 2 * index), 3, 0.9, boxstyle="round,pad=0.05", facecolor=shade, alpha=0.6,
                edgecolor="none",
            )  # fmt: skip
            axes.add_patch(box)
            name = f"$h_{index}$" if index else "$v$"
            axes.text(1.5, 2 * index + 0.45, f"{name}: {LAYERS[index]}", ha="center", va="center")
    for below, above in machine.couplings:
        axes.annotate(
            "", (1.5, 2 * above - 0.05), (1.5, 2 * below + 0.95),
            arrowprops={"arrowstyle": "<->", "color": "gray"},
        )  # fmt: skip
        axes.text(1.7, below + above + 0.45, f"$W_{above}$", color="gray", va="center")
    axes.set(xlim=(-0.2, 3.2), ylim=(-0.2, 2 * len(LAYERS) - 0.9), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title("layers of a color\nare drawn together", fontsize=8)


def _draw_digits(axes: Axes, images: Tensor, title: str) -> None:
    rows, columns = SHOWN
    framed = torch.nn.functional.pad(images.reshape(rows, columns, SIDE, SIDE), (1, 1, 1, 1))
    sheet = framed.permute(0, 2, 1, 3).reshape(rows * (SIDE + 2), columns * (SIDE + 2))
    axes.imshow(sheet, "gray_r", vmin=0, vmax=1, interpolation="none")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=8)
