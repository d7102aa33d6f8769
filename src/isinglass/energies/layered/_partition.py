"""Sums over all states of a harmonium, and whether there is such a sum."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isinglass._support.validation import check_positive
from isinglass.energies.layered.harmonium_path import HarmoniumPath, layers_to_sum_out
from isinglass.errors import IntractableError
from isinglass.units import Unit

if TYPE_CHECKING:
    from isinglass.energies.layered.harmonium import Harmonium

__all__ = ["check_normalizable", "fewest_states", "sum_states"]

MOST_STATES = 2**22
ROWS = 2**14  # summed together
ENDLESS = 1e9  # log of a number of states that stands for infinity, and can be added up


def sum_states(harmonium: Harmonium, temperature: float | None = None) -> Tensor:
    """Computes log Z: the fewest layers enumerated, all that touch only those summed out.

    Differentiable. Gaussian layers alone are a Gaussian integral.

    Raises:
        IntractableError: If there are too many states, or Z is infinite.
        ParameterError: If the temperature is not above zero.
    """
    temperature = harmonium.temperature if temperature is None else temperature
    temperature = check_positive("temperature", temperature)
    check_normalizable(harmonium)
    if all(layer.is_gaussian for layer in harmonium.layers):
        return _gaussian_integral(harmonium, temperature)
    summed, log_count = fewest_states(harmonium, temperature)
    path, layers = HarmoniumPath(harmonium, temperature, summed=summed), harmonium.layers
    if log_count > math.log(MOST_STATES) + 1e-9:
        states = "infinitely many" if log_count >= ENDLESS else f"e^{log_count:.0f}"
        raise IntractableError(
            f"{states} states are left when layers {summed} are summed out",
            f"At most {MOST_STATES} are summed; estimate it: log_partition(energy, method='ais')",
        )
    like = harmonium.biases[0]
    chunks = []
    for states in _chunks([layers[index] for index in path.kept], temperature, like):
        parts = [like.new_zeros(1, layer.size).expand(len(states[0]), -1) for layer in layers]
        for index, rows in zip(path.kept, states, strict=True):
            parts[index] = rows
        level = like.new_ones(len(states[0]))
        chunks.append(path.log_weight(torch.cat(parts, -1), level).double().logsumexp(0))
    return torch.stack(chunks).logsumexp(0)


def _chunks(layers: Sequence[Unit], temperature: float, like: Tensor) -> Iterator[list[Tensor]]:
    """Every joint state of some layers, in blocks: a row is its number written unit by unit."""
    singles = [[part.with_count(1) for part in layer.parts] for layer in layers]
    tables = [
        [
            (one.enumerate_states(temperature).to(like), part.size // one.size)
            for part, one in zip(layer.parts, ones, strict=True)
        ]
        for layer, ones in zip(layers, singles, strict=True)
    ]
    count = math.prod(len(table) ** units for layer in tables for table, units in layer)
    for start in range(0, count, ROWS):
        rows = torch.arange(start, min(start + ROWS, count), device=like.device)
        found = []
        for layer in tables:
            columns = []
            for table, units in layer:
                for _ in range(units):
                    columns.append(table[rows % len(table)])
                    rows = rows // len(table)
            found.append(torch.cat(columns, -1))
        yield found


def fewest_states(harmonium: Harmonium, temperature: float) -> tuple[list[int], float]:
    """Chooses layers to sum out; returns the log of how many states the others have, too."""
    counts = {
        layer: min(math.log(layer.state_count(temperature)), ENDLESS) for layer in harmonium.layers
    }
    summed = layers_to_sum_out(harmonium, counts.__getitem__)
    kept = (layer for index, layer in enumerate(harmonium.layers) if index not in summed)
    return summed, sum(counts[layer] for layer in kept)


def _gaussian_integral(harmonium: Harmonium, temperature: float) -> Tensor:
    """[bᵀP⁻¹b/T + n log 2πT − log det P]/2 with the precision P."""
    root = torch.linalg.cholesky(_precision(harmonium))
    bias = torch.cat([bias.double() for bias in harmonium.biases])
    solved = torch.linalg.solve_triangular(root, bias.unsqueeze(-1), upper=False)
    volume = len(bias) * math.log(2 * math.pi * temperature)
    spread = 2 * root.diagonal().log().sum()
    return (solved.square().sum() / temperature + volume - spread) / 2


def _precision(harmonium: Harmonium) -> Tensor:
    """P = 1 − couplings, of all layers together, in float64."""
    sizes = [layer.size for layer in harmonium.layers]
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    precision = torch.eye(sum(sizes), dtype=torch.float64, device=harmonium.biases[0].device)
    for (first, second), weight in zip(harmonium.couplings, harmonium.weights, strict=True):
        rows = slice(starts[second], starts[second] + sizes[second])
        columns = slice(starts[first], starts[first] + sizes[first])
        precision[rows, columns] = -weight.double()
        precision[columns, rows] = -weight.double().mT
    return precision


def check_normalizable(harmonium: Harmonium, /) -> None:
    """Refuses a machine of real units whose couplings let them run away, so that Z is infinite.

    Gaussian units do where ½sᵀs − Σ sᵀWs falls without end in some direction; rectified ones where
    such a direction is found that has no negative component.

    Raises:
        IntractableError: If Z is infinite.
    """
    lows = torch.cat([_lowest(layer) for layer in harmonium.layers])
    real = [any(part.support is not None for part in layer.parts) for layer in harmonium.layers]
    if not any(real[first] and real[second] for first, second in harmonium.couplings):
        return
    among = (~lows.isnan()).nonzero()[:, 0].to(harmonium.biases[0].device)
    lows = lows.to(among.device)[among]
    with torch.no_grad():
        precision = _precision(harmonium)[among[:, None], among]
        values, vectors = torch.linalg.eigh(precision)
        falling = vectors[:, values <= 1e-12 * values.abs().max()].mT
        if len(falling) == 0:
            return
        # Directions of descent, both ways, bent until no component is below its support.
        ways = torch.cat([falling, -falling])
        for _ in range(200):
            ways = ways.maximum(lows)
            ways = ways / ways.norm(dim=-1, keepdim=True).clamp_min(1e-30)
            if bool((((ways @ precision) * ways).sum(-1) <= 1e-12).logical_and(ways.any(-1)).any()):
                raise IntractableError(
                    "real units are coupled so strongly that they run away: Z is infinite",
                    "Make the weights between real layers smaller, below one in spectral norm",
                )
            ways = 2 * ways - ways @ precision


def _lowest(layer: Unit) -> Tensor:
    """How far down each component goes, 0 or −∞; NaN where states are discrete."""
    ends = [torch.nan if part.support is None else part.support[0] for part in layer.parts]
    sizes = torch.tensor([part.size for part in layer.parts])
    return torch.tensor(ends, dtype=torch.float64).repeat_interleave(sizes)
