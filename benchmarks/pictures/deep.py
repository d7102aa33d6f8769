"""A network learned as an energy, and the attentional Boltzmann machine with its step."""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

import isinglass as ig
from isinglass._support.palette import BLUE, VERMILION
from isinglass.learning import DenoisingScoreMatching

EDGE = 2.6
STEPS = 3000


def two_moons(count: int, generator: Generator) -> Tensor:
    """Two half circles that reach into each other, with a little noise."""
    turn = torch.pi * torch.rand(count, generator=generator)
    upper = torch.rand(count, generator=generator) < 0.5
    moon = torch.stack([turn.cos() - 0.5, turn.sin() - 0.25], -1)
    moon = torch.where(upper.unsqueeze(-1), moon, -moon)
    return 1.3 * moon + 0.1 * torch.randn(count, 2, generator=generator)


def learned(data: Tensor, generator: Generator) -> ig.DeepEnergy:
    """Three thousand steps of denoising score matching, ever smaller ones."""
    layers = nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1)
    energy = ig.DeepEnergy(nn.Sequential(*layers), 2)
    optimizer = torch.optim.Adam(energy.parameters(), lr=5e-3)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    objective = DenoisingScoreMatching(sigma=0.12)
    for _ in range(STEPS):
        batch = data[torch.randint(len(data), (256,), generator=generator)]
        loss, _ = objective.loss(energy, batch, {}, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
    return energy


def grid(points: int) -> Tensor:
    """The plane, ``(points, points, 2)``."""
    line = torch.linspace(-EDGE, EDGE, points)
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)


def landscape(axes: Axes, energy: ig.Energy, height: float) -> None:
    """F as a map, up to ``height`` above its lowest."""
    with torch.no_grad():
        values = energy.free_energy(grid(161))
    axes.imshow(
        values - values.min(),
        cmap=plt.get_cmap("viridis", 12),
        vmin=0,
        vmax=height,
        extent=(-EDGE, EDGE, -EDGE, EDGE),
        origin="lower",
        interpolation="nearest",
    )


def bare(axes: Axes, title: str) -> None:
    """The plane without a frame."""
    axes.set(xticks=[], yticks=[], xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), aspect="equal")
    axes.set_title(title, fontsize=9)
    axes.spines[:].set_visible(False)


def deep() -> Figure:
    """Data, the energy that was learned of them, what it draws from noise."""
    generator = torch.Generator().manual_seed(0)
    data = two_moons(2000, generator)
    energy = learned(data, generator)
    noise = 2 * torch.randn(1000, 2, generator=generator)
    kernel, _ = ig.HMC().warm_up(energy, noise[:200], 1.0, generator)
    chains = ig.run(kernel, energy, noise, steps=100, temperature=1.0, generator=generator)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(7.5, 2.6))
    landscape(middle, energy, 8.0)
    for axes, points in ((left, data), (right, chains)):
        axes.scatter(*points[:1000].T, s=2, color=BLUE, linewidths=0, rasterized=True)
    bare(left, "data")
    bare(middle, "energy learned")
    bare(right, "drawn from it by HMC")
    return figure


def attentional() -> Figure:
    """F of three memories with the way each state is pulled, and exact samples."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.tensor([[1.4, 0.9], [-1.5, 0.7], [0.1, -1.6]])
    machine = ig.HopfieldBoltzmann.attentional(
        2.5 * weight, memory_bias=-(2.5 * weight).square().sum(-1) / 2
    )
    # A plane two and a half times as large, drawn at the size of the other picture.
    place = grid(15) * 2.5
    with torch.no_grad():
        step = machine.marginal().cccp_update(place) - place
        energy = machine.free_energy(grid(121) * 2.5)
    figure, (left, right) = plt.subplots(1, 2, figsize=(5.6, 2.8))
    left.imshow(
        energy - energy.min(), cmap=plt.get_cmap("viridis", 12), vmin=0, vmax=9,
        extent=(-EDGE, EDGE, -EDGE, EDGE), origin="lower", interpolation="nearest",
    )  # fmt: skip
    left.quiver(*(place / 2.5).unbind(-1), *step.unbind(-1), color="white", scale=60, width=0.005)
    left.scatter(*weight.T, s=24, color=VERMILION, edgecolors="white", zorder=3)
    drawn = machine.sample(1000, generator=generator) / 2.5
    right.scatter(*drawn.T, s=2, color=BLUE, linewidths=0, rasterized=True)
    right.scatter(*weight.T, s=24, color=VERMILION, edgecolors="white", zorder=3)
    bare(left, "free energy, and the score:\na Hopfield step less the state")
    bare(right, "exact samples")
    return figure


def draw() -> dict[str, Figure]:
    """Both pictures."""
    return {"deep-energy": deep(), "attentional": attentional()}
