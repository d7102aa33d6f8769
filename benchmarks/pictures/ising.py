"""The Ising model: samples below, at and above the critical temperature."""

from __future__ import annotations

import math

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isinglass import BoltzmannMachine
from isinglass._support.palette import SERIES

__all__ = ["draw"]

SIDE, SWEEPS = 192, 4000
CRITICAL = 2 / math.log(1 + math.sqrt(2))


def draw() -> dict[str, Figure]:
    """Each figure by the name of its file."""
    return {"ising": _ising(), "ising-energy": _energy()}


def _ising() -> Figure:
    """Ising grids of three temperatures from one start of random spins, and a Potts grid."""
    machine = BoltzmannMachine.ising(SIDE, SIDE)
    generator = torch.Generator().manual_seed(1)
    start = torch.randint(2, (1, SIDE**2), generator=generator) * 2.0 - 1
    figure = Figure(figsize=(7.6, 2.1))
    panels = figure.subplots(1, 4)
    for axes, share in zip(panels[:3], (0.75, 1.0, 1.5), strict=True):
        state = machine.sweep(start, share * CRITICAL, generator, sweeps=SWEEPS)
        _show(axes, state[0], f"Ising, T = {share:g} $T_c$".replace("= 1 ", "= "))
    states = 5
    potts = BoltzmannMachine.potts(SIDE // 2, SIDE // 2, states=states)
    ordered = 1 / math.log(1 + math.sqrt(states))
    start = torch.eye(states)[torch.randint(states, (1, SIDE**2 // 4), generator=generator)]
    state = potts.sweep(start.flatten(1), 0.95 * ordered, generator, sweeps=300)
    kinds = state.unflatten(-1, (-1, states)).argmax(-1).float()
    _show(panels[3], kinds[0], "Potts, q = 5, $T = 0.95\\,T_c$", "viridis")
    return figure


def _show(axes: Axes, state: torch.Tensor, title: str, colors: str = "gray_r") -> None:
    side = math.isqrt(len(state))
    axes.imshow(state.reshape(side, side), cmap=colors, interpolation="nearest", rasterized=True)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    axes.set_title(title, fontsize=9)


def _energy() -> Figure:
    """Energy and heat capacity of tori by Kaufman's formula, with sampled energies beside."""
    figure = Figure(figsize=(6.6, 2.6))
    left, right = figure.subplots(1, 2)
    line = torch.linspace(1.4, 3.6, 221, dtype=torch.float64)
    for side, (color, _, style) in zip((4, 16, 64), SERIES, strict=False):
        machine = BoltzmannMachine.ising(side, side).requires_grad_(False)
        log_z = torch.stack([machine.exact_log_partition(float(t)) for t in line]) / side**2
        (energy,) = torch.gradient(log_z, spacing=(line,), edge_order=2)
        energy = line.square() * energy
        (heat,) = torch.gradient(energy, spacing=(line,), edge_order=2)
        left.plot(line, energy, style, color=color, label=f"{side} × {side}")
        right.plot(line[2:-2], heat[2:-2], style, color=color)
    machine = BoltzmannMachine.ising(64, 64)
    generator = torch.Generator().manual_seed(0)
    state = torch.ones(50, 64**2)
    for temperature in torch.arange(1.5, 3.6, 0.2).tolist():
        state = machine.sweep(state, temperature, generator, sweeps=200)
        found = float(machine(state).mean().detach()) / 64**2
        left.plot(
            temperature, found, "k.", label="sampled, 64 × 64" if temperature == 1.5 else None
        )
    left.set(xlabel="temperature T/J", ylabel="energy a spin")
    right.set(xlabel="temperature T/J", ylabel="heat capacity a spin")
    left.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.axvline(CRITICAL, color="0.6", lw=0.8, ls=":")
    return figure
