"""Properties of a kernel: what it promises to leave alone, and what it promises never to raise."""

from __future__ import annotations

from typing import cast

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass.core.energy import Energy
from isinglass.dynamics import Kernel, recall
from isinglass.dynamics.recall import rest_tolerance
from isinglass.energies.layered.harmonium import Harmonium
from isinglass.testing.property import (
    PropertyViolation,
    require_chi_square,
    require_close,
    require_within,
)
from isinglass.testing.tolerance import energy_tolerance

__all__ = [
    "check_batch_invariance",
    "check_mean_field",
    "check_monotone",
    "check_stationary",
    "check_stationary_density",
]


@torch.no_grad()
def check_monotone(
    kernel: Kernel, energy: Energy, state: Float[Tensor, "batch size"], steps: int = 20
) -> None:
    """Checks that a kernel declared monotone never raises the energy of a row at T = 0.

    Where it can recall, so does the trace that recall reports.

    Raises:
        PropertyViolation: If a step raises it by more than rounding.

    Examples:
        >>> import isinglass as ig
        >>> memory = ig.ModernHopfield(torch.eye(3, dtype=torch.float64), beta=2.0)
        >>> check_monotone(ig.CCCP(), memory, torch.rand(4, 3, dtype=torch.float64))
    """
    if not kernel.monotone:
        raise PropertyViolation(f"{type(kernel).__name__} does not declare itself monotone")
    kernel_state = kernel.init(energy, state)
    before = energy.energy_at(kernel_state.position, 0.0)
    for step in range(steps):
        kernel_state, _ = kernel.step(energy, kernel_state)
        after = energy.energy_at(kernel_state.position, 0.0)
        rise = after - before
        if bool((rise > energy_tolerance(energy, state, before, after)).any()):
            raise PropertyViolation(
                f"{type(kernel).__name__} on {type(energy).__name__}: step {step} raised the "
                f"energy of row {int(rise.argmax())} by {float(rise.max()):.3g}"
            )
        before = after
    if kernel.converges:
        _check_trace(kernel, energy, state, steps)


def _check_trace(kernel: Kernel, energy: Energy, state: Tensor, steps: int) -> None:
    """The energies that recall reports begin at the cue, never rise, and end at its states."""
    property_name = f"trace of {type(kernel).__name__} on {type(energy).__name__}"
    for most in (1, steps):
        found = recall(energy, state, kernel, max_steps=most, trace=True)
        trace = cast("Tensor", found.energy_trace)
        # Rows that rest leave the batch, and a batch of another size rounds in another way.
        bound = energy_tolerance(energy, state, *trace)
        require_within(property_name, trace[0], energy.energy_at(state, 0.0), bound)
        require_within(property_name, trace[-1], energy.energy_at(found.state, 0.0), bound)
        require_close(property_name, found.energy, trace[-1], 0.0)
        rise = trace.diff(dim=0).clamp_min(0.0)
        require_within(property_name, rise, torch.zeros_like(rise), bound)


@torch.no_grad()
def check_mean_field(
    harmonium: Harmonium, state: Float[Tensor, "batch size"], temperature: float, steps: int = 20
) -> None:
    """Checks that the mean sweep never raises the mean-field free energy at T > 0.

    Raises:
        PropertyViolation: If a sweep raises it by more than rounding.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Bernoulli(3), ig.Bernoulli(2), scale=1.0).double()
        >>> check_mean_field(rbm, torch.rand(4, 5, dtype=torch.float64), 0.7)
    """
    parts = list(harmonium.split(state))
    fields = list(parts)
    before: Tensor | None = None
    for step in range(steps):
        swept = harmonium.mean_sweep(torch.cat(parts, -1), temperature)
        for index in harmonium.order:
            fields[index] = harmonium.conditional_field(torch.cat(parts, -1), index)
            parts[index] = harmonium.layers[index].mean(fields[index], temperature)
        require_close("mean_sweep takes the means in turn", swept, torch.cat(parts, -1), 1e-12)
        after = harmonium.mean_field_energy(torch.cat(fields, -1), temperature)
        if before is not None:
            rise = after - before
            if bool((rise > energy_tolerance(harmonium, state, before, after)).any()):
                raise PropertyViolation(
                    f"mean sweep of {type(harmonium).__name__}: sweep {step} raised the mean-field "
                    f"free energy by {float(rise.max()):.3g}"
                )
        before = after


@torch.no_grad()
def check_stationary(
    kernel: Kernel,
    energy: Energy,
    states: Float[Tensor, "states size"],
    log_weights: Float[Tensor, " states"],
    temperature: float,
    generator: Generator,
    *,
    samples: int = 40_000,
    steps: int = 2,
) -> None:
    """Checks that exact draws of an enumerated distribution stay so after a few steps.

    Args:
        kernel: A kernel that declares itself exact.
        energy: What it moves on.
        states: Every state, one a row.
        log_weights: log p of each, up to a constant: −E/T.
        temperature: T.
        generator: Source of randomness.
        samples: How many chains to run.
        steps: How many steps each takes.

    Raises:
        PropertyViolation: If the counts of states afterwards fail a χ² test at 5 σ.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Bernoulli(2), ig.Bernoulli(2), scale=1.0).double()
        >>> states = ig.Bernoulli(4).enumerate_states()
        >>> with torch.no_grad():
        ...     weights = -rbm(states) / 0.5
        >>> check_stationary(ig.BlockGibbs(), rbm, states, weights, 0.5, torch.Generator())
    """
    if not kernel.leaves_invariant:
        raise PropertyViolation(f"{type(kernel).__name__} does not declare leaves_invariant")
    probabilities = torch.softmax(log_weights, 0)
    chosen = torch.multinomial(probabilities, samples, replacement=True, generator=generator)
    kernel_state = kernel.init(energy, states[chosen])
    for _ in range(steps):
        kernel_state, _ = kernel.step(energy, kernel_state, temperature, generator)
    nearest = torch.cdist(kernel_state.position, states).argmin(-1)
    if not torch.allclose(states[nearest], kernel_state.position, atol=1e-9):
        raise PropertyViolation(f"{type(kernel).__name__}: left the enumerated states")
    require_chi_square(
        f"{type(kernel).__name__} on {type(energy).__name__} at T = {temperature:g}",
        torch.bincount(nearest, minlength=len(states)).to(probabilities.dtype),
        probabilities,
    )


@torch.no_grad()
def check_stationary_density(
    kernel: Kernel,
    energy: Energy,
    low: float,
    high: float,
    temperature: float,
    generator: Generator,
    *,
    samples: int = 40_000,
    cells: int = 50,
) -> None:
    """Checks as :func:`check_stationary` does, for one real unit with its mass in (low, high).

    Raises:
        PropertyViolation: If the histogram after a step fails a χ² test at 5 σ.

    Examples:
        >>> import isinglass as ig
        >>> memory = ig.ModernHopfield(torch.tensor([[1.0], [-1.0]]).double(), beta=2.0)
        >>> check_stationary_density(ig.BlockGibbs(), memory, -6, 6, 0.25, torch.Generator())
    """
    if not kernel.leaves_invariant:
        raise PropertyViolation(f"{type(kernel).__name__} does not declare leaves_invariant")
    edges = torch.linspace(low, high, 20_001, dtype=torch.float64)
    middle = ((edges[1:] + edges[:-1]) / 2).unsqueeze(-1)
    mass = torch.softmax(-energy(middle) / temperature, 0)
    chosen = torch.multinomial(mass, samples, replacement=True, generator=generator)
    jitter = torch.rand(samples, 1, dtype=torch.float64, generator=generator) - 0.5
    start = middle[chosen] + jitter * (edges[1] - edges[0])
    kernel_state, _ = kernel.step(energy, kernel.init(energy, start), temperature, generator)
    after = torch.histc(kernel_state.position, bins=cells, min=low, max=high)
    require_chi_square(
        f"{type(kernel).__name__} on {type(energy).__name__} at T = {temperature:g}",
        after,
        mass.reshape(cells, -1).sum(-1),
    )


def check_batch_invariance(
    kernel: Kernel, energy: Energy, cues: Float[Tensor, "batch size"], tolerance: float = 1e-12
) -> None:
    """Checks that recall of a cue does not depend, but for rounding, on the cues beside it.

    Args:
        kernel: A kernel that recalls.
        energy: What it moves on.
        cues: Where to start.
        tolerance: Largest difference of a unit, times the unit if that is above one: what is
            rounded in one step, divided by how fast descent draws states together.

    Raises:
        PropertyViolation: If a row recalled alone differs from the same row of the batch, or takes
            more steps or fewer though its change was not at the border of what counts as rest.

    Examples:
        >>> import isinglass as ig
        >>> memory = ig.ModernHopfield(torch.eye(3, dtype=torch.float64), beta=2.0)
        >>> check_batch_invariance(ig.CCCP(), memory, torch.rand(4, 3, dtype=torch.float64))
    """
    together = recall(energy, cues, kernel)
    for row, cue in enumerate(cues):
        alone = recall(energy, cue, kernel)
        property_name = f"{type(kernel).__name__} on {type(energy).__name__}: row {row} alone"
        require_close(property_name, together.state[row], alone.state, tolerance)
        fewest = min(int(together.steps[row]), int(alone.steps))
        if int(together.steps[row] + alone.steps) > 2 * fewest and not _at_the_border(
            kernel, energy, cues, row, fewest
        ):
            raise PropertyViolation(
                f"{property_name}: {int(alone.steps)} steps, {int(together.steps[row])} in batch"
            )


def _at_the_border(kernel: Kernel, energy: Energy, cues: Tensor, row: int, steps: int) -> bool:
    """Whether the last of these steps changed a row, alone and in the batch, by about rounding."""
    batch = recall(energy, cues, kernel, max_steps=steps)
    alone = recall(energy, cues[row], kernel, max_steps=steps)
    border = 2 * rest_tolerance(batch.state[row : row + 1])
    return bool(torch.maximum(batch.residual[row], alone.residual) <= border)
