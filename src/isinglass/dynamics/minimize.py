"""Ground states: the states of least energy, searched for by cooling many runs side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor

from isinglass._support.functions import check_takes
from isinglass._support.progress import Progress, progress_bar
from isinglass._support.typing import Float
from isinglass._support.validation import (
    check_choice,
    check_count,
    check_generator,
    check_positive,
    check_tensor,
)
from isinglass.core.energy import Energy, check_energy
from isinglass.core.kernel import Kernel, check_kernel
from isinglass.dynamics._spin_walkers import spin_walkers
from isinglass.dynamics._walkers import (
    KernelWalkers,
    Walkers,
    default_kernel,
    layers_of,
    random_states,
)
from isinglass.errors import DomainError, ParameterError, ShapeError

__all__ = ["Minimum", "minimize"]

METHODS = ("population", "annealing", "exchange", "descent")
#: Runs of the pilot that finds the temperatures, and states of units in all of them.
PILOT, PILOT_UNITS = 64, 2**20
#: Ends of the temperatures: shares of the mean cost of a change, and of its first quartile.
HOT, COLD = 1 / 2, 1 / 8
#: Levels of an exchange: so many for the square root of the units, from the least to the most.
LEVELS_PER_ROOT, FEWEST_LEVELS, MOST_LEVELS = 2.0, 8, 40


@dataclass(frozen=True)
class Minimum:
    """What a search for ground states found.

    Attributes:
        state: The best state, ``(size,)``.
        energy: Its energy, in units of the energy.
        states: Where each run ended, ``(runs, size)``: at T = 0 no change of one unit lowers its
            energy.
        energies: The energies there, ``(runs,)``.
        temperatures: The temperatures run at, from hot to cold, in units of the energy; none of a
            descent.
        method: How it was searched.

    Examples:
        >>> import isinglass as ig
        >>> ring = ig.BoltzmannMachine.ising(8, coupling=-1.0)
        >>> found = ig.minimize(ring, runs=10, generator=torch.Generator().manual_seed(0))
        >>> found.energy, found.states.shape, found.hits > 5
        (-8.0, torch.Size([10, 8]), True)
        >>> bool((found.state.roll(1) == -found.state).all())
        True
    """

    state: Float[Tensor, " size"]
    energy: float
    states: Float[Tensor, "runs size"]
    energies: Float[Tensor, " runs"]
    temperatures: Float[Tensor, " levels"]
    method: str

    @property
    def hits(self) -> int:
        """How many runs ended at the least energy that was found, but for rounding."""
        slack = 100 * torch.finfo(self.energies.dtype).eps * float(self.energies.abs().amax())
        return int((self.energies <= self.energies.amin() + slack).sum())

    def __str__(self) -> str:
        runs = len(self.energies)
        cooled = ""
        if len(self.temperatures):
            hot, cold = float(self.temperatures[0]), float(self.temperatures[-1])
            cooled = f", T from {hot:.3g} to {cold:.3g}"
        return (
            f"energy {self.energy:.8g}, found by {self.hits} of {runs} runs of {self.method}"
            f" (mean {float(self.energies.mean()):.6g}){cooled}"
        )


@torch.no_grad()
def minimize(
    energy: Energy,
    method: str = "population",
    *,
    runs: int = 100,
    sweeps: int = 1000,
    temperatures: Sequence[float] | Float[Tensor, " levels"] | None = None,
    starts: Float[Tensor, "starts size"] | None = None,
    kernel: Kernel | None = None,
    progress: Progress | None = None,
    generator: Generator | None = None,
) -> Minimum:
    r"""Searches for the state of least energy, by many runs that are cooled side by side.

    A sweep draws every unit given the others at temperature T; afterwards each run descends to
    where no change of one unit lowers its energy. The methods do the same number of sweeps:

    - ``"population"``: T falls from sweep to sweep, and at each step runs are drawn anew in
      proportion to exp(−(1/T' − 1/T) E): those in bad valleys are given up for copies of good ones;
    - ``"annealing"``: each run by itself, so that :attr:`Minimum.hits` counts independent ones;
    - ``"exchange"``: runs stay at temperatures of their own, and neighbors trade theirs with
      probability min(1, exp((1/T − 1/T')(E − E'))), even pairs, then odd ones; the best state
      that each ladder of runs has met;
    - ``"descent"``: no temperature at all: local minima from random states.

    Temperatures come from the energy. At the local minima of a pilot changes of one unit cost
    Δ > 0. The hot end is half of their mean, which in mean field is where order begins; the cold
    end is an eighth of their first quartile. In between they fall geometrically.

    Pairs of spins or bits are swept by colors of their graph, or in blocks where most of them
    touch, all runs together; other energies by ``kernel``, or their own Gibbs sweep.

    Reference: Kirkpatrick, Gelatt & Vecchi 1983, doi:10.1126/science.220.4598.671; Hukushima &
    Iba 2003, doi:10.1063/1.1632130, and Machta 2010, doi:10.1103/PhysRevE.82.026704 (population);
    Hukushima & Nemoto 1996, doi:10.1143/JPSJ.65.1604 (exchange).

    Args:
        energy: What to minimize, over all its units, hidden ones as well.
        method: ``"population"``, ``"annealing"``, ``"exchange"`` or ``"descent"``.
        runs: How many runs; exchange puts as many of them on a ladder as it has levels.
        sweeps: How often each run is swept.
        temperatures: T > 0 in units of the energy: the hot and the cold end, or all of them from
            hot to cold; None finds the ends by a pilot.
        starts: States to begin with, ``(starts, size)``, shared out among the runs in turn; the
            hot end forgets them, so give lower temperatures as well. None are random ones.
        kernel: What moves runs at T > 0, a step a sweep; None is the fastest for the energy.
        progress: Called with the share done and what is being done; None shows a bar on terminals
            if rich is installed.
        generator: Source of randomness; None is torch's global one.

    Raises:
        IntractableError: If units are real numbers, or cannot be drawn given the others.
        ParameterError: If the method is unknown, a count too small, temperatures do not fall or
            are not above zero, or there are fewer runs than an exchange has levels.
        ShapeError: If ``starts`` is no matrix of rows.
        DomainError: If starts are no states of the energy, or energies are not finite.

    Examples:
        >>> import isinglass as ig
        >>> generator = torch.Generator().manual_seed(0)
        >>> couplings = torch.randn(20, 20, generator=generator).triu(1)
        >>> glass = ig.BoltzmannMachine(ig.Spin(20), couplings + couplings.mT)
        >>> found = ig.minimize(glass, runs=50, sweeps=100, generator=generator)
        >>> states = ig.Spin(20).enumerate_states().float()
        >>> abs(found.energy - glass(states).min().item()) < 1e-4
        True
    """
    check_energy(energy)
    check_choice("method", method, METHODS)
    check_count("runs", runs)
    check_count("sweeps", sweeps)
    check_generator(generator)
    if kernel is not None:
        check_kernel(kernel)
    if progress is not None:
        check_takes(
            "progress", progress, "the share done", "a text",
            remedy="Give a function of the share done and a text, or None",
        )  # fmt: skip
    default_kernel(energy)  # refuses what cannot be minimized before anything is drawn
    given = None if temperatures is None else _check_temperatures(temperatures)
    if starts is not None:
        starts = _check_starts(energy, starts)
    with progress_bar() if progress is None else nullcontext(progress) as tick:
        return _search(energy, method, runs, sweeps, given, starts, kernel, tick, generator)


def _search(
    energy: Energy,
    method: str,
    runs: int,
    sweeps: int,
    given: Tensor | None,
    starts: Tensor | None,
    kernel: Kernel | None,
    tick: Progress,
    generator: Generator | None,
) -> Minimum:
    """Finds temperatures, cools, descends, and gathers."""
    tick(0.0, "finding the temperatures")
    if method == "descent":
        schedule = torch.zeros(0, dtype=torch.float64)
    else:
        ends = _ends(energy, generator) if given is None else given
        schedule = ends if len(ends) != 2 else _between(ends, method, runs, sweeps, energy)
    first = random_states(energy, runs, generator) if starts is None else starts
    first = first[torch.arange(runs, device=first.device) % len(first)]

    def on_sweep(done: int, what: str) -> None:
        tick(min(0.05 + 0.9 * done / sweeps, 0.95), what)

    if method == "exchange":
        levels = len(schedule)
        if levels > runs:
            raise ParameterError(
                f"{runs} runs for {levels} temperatures", f"Give {levels} runs or more"
            )
        first = first[: runs // levels * levels]
        ladders = _Ladders(_walkers(energy, first, kernel), schedule, generator)
        first = ladders.run(sweeps, on_sweep)
    elif method != "descent":
        walkers = _walkers(energy, first, kernel)
        _cool(walkers, schedule, sweeps, method == "population", on_sweep, generator)
        first = walkers.states()
    tick(0.95, "descending")
    walkers = _walkers(energy, first, None)
    walkers.descend()
    states = walkers.states()
    energies = energy.energy_at(states, 0.0)
    if not bool(energies.isfinite().all()):
        raise DomainError(
            "states whose energy is NaN or infinite",
            "Divide the couplings, or use float64, until every energy is a finite number",
        )
    best = int(energies.argmin())
    tick(1.0, "done")
    return Minimum(states[best], float(energies[best]), states, energies, schedule, method)


def _walkers(energy: Energy, states: Tensor, kernel: Kernel | None) -> Walkers:
    """The fastest runs that the energy allows."""
    if kernel is not None:
        return KernelWalkers(energy, states, kernel)
    fast = spin_walkers(energy, states)
    if fast is not None:
        return fast
    kernel = default_kernel(energy)
    return KernelWalkers(energy, states, kernel, kernel.default_max_steps(1) // 100 or 1)


def _ends(energy: Energy, generator: Generator | None) -> Tensor:
    """The hot and the cold end, from what changes of one unit cost at local minima."""
    size = sum(layer.size for layer in layers_of(energy))
    count = max(1, min(PILOT, PILOT_UNITS // max(size, 1)))
    walkers = _walkers(energy, random_states(energy, count, generator), None)
    walkers.descend()
    costs = walkers.costs(generator).double().cpu()
    costs = costs[costs > 1e-6 * costs.abs().amax()] if len(costs) else costs
    if len(costs) == 0:  # a constant, at least as far as was seen: any temperature will do
        return torch.ones(2, dtype=torch.float64)
    cheap = costs.kthvalue(1 + (len(costs) - 1) // 4).values
    hot = HOT * costs.mean()
    return torch.stack([hot, torch.minimum(COLD * cheap, hot)])


def _between(
    ends: Tensor, method: str, runs: int, sweeps: int, energy: Energy
) -> Float[Tensor, " levels"]:
    """Temperatures that fall geometrically, one a sweep, or the levels of an exchange."""
    count = sweeps
    if method == "exchange":
        units = sum(layer.count for layer in layers_of(energy))
        wanted = min(max(int(LEVELS_PER_ROOT * math.sqrt(units)), FEWEST_LEVELS), MOST_LEVELS)
        count = max(2, min(wanted, runs))
    return torch.logspace(math.log10(ends[0]), math.log10(ends[1]), count, dtype=torch.float64)


def _cool(
    walkers: Walkers,
    schedule: Tensor,
    sweeps: int,
    resampled: bool,
    on_sweep: Callable[[int, str], None],
    generator: Generator | None,
) -> None:
    """Sweeps all runs while the temperature falls; each has its share of the sweeps."""
    what = "annealing the population" if resampled else "annealing"
    at = torch.arange(sweeps) * len(schedule) // sweeps
    before, runs = None, len(walkers.energy())
    for done, temperature in enumerate(schedule[at].tolist()):
        if resampled and before is not None and temperature != before:
            energy = walkers.energy().double()
            weights = torch.softmax((1 / before - 1 / temperature) * energy, 0)
            walkers.select(_drawn(weights, generator))
        before = temperature
        walkers.sweep(torch.full((runs,), temperature, dtype=torch.float64), generator)
        on_sweep(done + 1, what)


def _drawn(weights: Float[Tensor, " runs"], generator: Generator | None) -> Tensor:
    """As many numbers as there are weights, each as often as its weight says, but for rounding.

    One random number shifts a comb over the sums of the weights: no draw varies less.
    """
    runs = len(weights)
    shift = torch.rand((), dtype=weights.dtype, device=weights.device, generator=generator)
    comb = (torch.arange(runs, dtype=weights.dtype, device=weights.device) + shift) / runs
    return torch.searchsorted(weights.cumsum(0), comb).clamp_max(runs - 1)


class _Ladders:
    """Runs that trade temperatures: each ladder has one run at every level.

    Args:
        walkers: The runs, those of a ladder side by side.
        schedule: The temperatures, from hot to cold.
        generator: Source of randomness.
    """

    def __init__(self, walkers: Walkers, schedule: Tensor, generator: Generator | None) -> None:
        self._walkers, self._generator = walkers, generator
        self._energy = walkers.energy()
        device, levels = self._energy.device, len(schedule)
        self._schedule = schedule.to(device)
        self._place = torch.arange(len(self._energy), device=device).reshape(-1, levels)
        self._least, self._best = self._energy.clone(), walkers.states().clone()

    def run(self, sweeps: int, on_sweep: Callable[[int, str], None]) -> Float[Tensor, "n size"]:
        """Sweeps and trades; returns the best state that each ladder met."""
        temperature = torch.empty_like(self._energy, dtype=torch.float64)
        for done in range(sweeps):
            temperature[self._place] = self._schedule.expand(self._place.shape)
            self._walkers.sweep(temperature, self._generator)
            self._energy = self._walkers.energy()
            self._keep()
            self._trade(done % 2)
            on_sweep(done + 1, "exchanging")
        ladders = self._least.reshape(self._place.shape)
        rows = ladders.argmin(-1) + torch.arange(len(ladders), device=ladders.device) * len(
            self._schedule
        )
        return self._best[rows]

    def _keep(self) -> None:
        better = (self._energy < self._least).nonzero()[:, 0]
        if len(better):
            self._least[better] = self._energy[better]
            self._best[better] = self._walkers.states(better)

    def _trade(self, first: int) -> None:
        """Lets every other pair of neighbors trade, from the first on."""
        lower = self._place[:, first:-1:2]
        upper = self._place[:, first + 1 :: 2]
        beta = 1 / self._schedule
        apart = (beta[first:-1:2] - beta[first + 1 :: 2]) * (
            self._energy[lower] - self._energy[upper]
        )
        drawn = torch.rand(
            apart.shape, dtype=apart.dtype, device=apart.device, generator=self._generator
        )
        traded = drawn < apart.exp()
        self._place[:, first:-1:2], self._place[:, first + 1 :: 2] = (
            torch.where(traded, upper, lower),
            torch.where(traded, lower, upper),
        )


def _check_temperatures(temperatures: Sequence[float] | Tensor) -> Tensor:
    """Returns temperatures as a tensor, refusing those that do not fall."""
    if isinstance(temperatures, Tensor):
        check_tensor("temperatures", temperatures)
        temperatures = temperatures.flatten().tolist()
    try:
        found = [check_positive("a temperature", value) for value in temperatures]
    except TypeError:
        found = []
    if len(found) == 0 or any(b > a for a, b in pairwise(found)):
        raise ParameterError(
            f"temperatures = {str(temperatures)[:60]}",
            "Give the hot and the cold end, or all temperatures from hot to cold",
        )
    return torch.tensor(found, dtype=torch.float64)


def _check_starts(energy: Energy, starts: Tensor) -> Tensor:
    check_tensor("starts", starts)
    if starts.ndim != 2 or len(starts) == 0:
        raise ShapeError(
            f"starts of shape {tuple(starts.shape)}", "Give one state a row, (starts, size)"
        )
    energy.check_state(starts)
    return starts
