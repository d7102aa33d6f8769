"""Many runs side by side, each at a temperature of its own: what a search moves."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float, Int
from isinglass.core.capabilities import Gibbs
from isinglass.core.energy import Energy
from isinglass.core.kernel import ChainState, FieldEnergy, Kernel
from isinglass.dynamics.kernels.asynchronous import Asynchronous, CoupledEnergy
from isinglass.dynamics.kernels.block_gibbs import BlockGibbs
from isinglass.dynamics.kernels.single_site import SingleSite
from isinglass.dynamics.recall import recall
from isinglass.errors import IntractableError
from isinglass.units import Unit

__all__ = ["KernelWalkers", "Walkers", "default_kernel", "layers_of", "random_states"]

#: States that are probed for what a change of one unit costs, and numbers held at once for it.
PROBED, AT_ONCE = 1024, 2**24


class Walkers(ABC):
    """Runs of one energy: they hold their states, and are moved in place."""

    @abstractmethod
    def sweep(self, temperature: Float[Tensor, " runs"], generator: Generator | None) -> None:
        """Draws every unit once, each run at its own temperature, all above zero."""

    @abstractmethod
    def energy(self) -> Float[Tensor, " runs"]:
        """Computes the energy of each run, but for a constant that is the same for all."""

    @abstractmethod
    def select(self, runs: Int[Tensor, " runs"]) -> None:
        """Goes on from the states of these runs, one for each."""

    @abstractmethod
    def states(self, runs: Int[Tensor, " some"] | None = None) -> Float[Tensor, "some size"]:
        """Returns states of the energy; of all runs unless some are named."""

    @abstractmethod
    def descend(self) -> None:
        """Lowers every run to where no change of one unit lowers it further."""

    @abstractmethod
    def costs(self, generator: Generator | None) -> Float[Tensor, " changes"]:
        """Returns by how much changes of one unit raise the energy, where they do."""


class KernelWalkers(Walkers):
    """Runs that any kernel moves; those of one temperature are one batch.

    Args:
        energy: What is moved on.
        states: Where runs begin.
        kernel: How they move at T > 0.
        sweeps: How many steps of the kernel are a sweep.
    """

    def __init__(
        self,
        energy: Energy,
        states: Float[Tensor, "runs size"],
        kernel: Kernel,
        sweeps: int = 1,
    ) -> None:
        self._energy, self._kernel, self._steps = energy, kernel, sweeps
        self._state: ChainState = kernel.init(energy, states)

    def sweep(self, temperature: Float[Tensor, " runs"], generator: Generator | None) -> None:
        """Takes the kernel's steps, one temperature after another."""
        for value in temperature.unique().tolist():
            here = temperature == value
            whole = bool(here.all())
            some = self._state if whole else _of(self._state, [part[here] for part in self._state])
            for _ in range(self._steps):
                some, _ = self._kernel.step(self._energy, some, value, generator)
            if whole:
                self._state = some
                continue
            parts = [part.clone() for part in self._state]  # some are views, or the caller's
            for part, moved in zip(parts, some, strict=True):
                part[here] = moved
            self._state = _of(self._state, parts)

    def energy(self) -> Float[Tensor, " runs"]:
        """Computes E as recall does: as a kernel at T = 0 sees it."""
        return self._kernel.energy(self._energy, self._state.position)

    def select(self, runs: Int[Tensor, " runs"]) -> None:
        """Picks rows of all that the kernel carries."""
        self._state = _of(self._state, [part[runs] for part in self._state])

    def states(self, runs: Int[Tensor, " some"] | None = None) -> Float[Tensor, "some size"]:
        """Returns the positions of the kernel's states."""
        position = self._state.position
        return position if runs is None else position[runs]

    def descend(self) -> None:
        """Recalls from where runs are, by the kernel of T = 0."""
        found = descended(self._energy, self._state.position)
        self._state = self._kernel.init(self._energy, found)

    def costs(self, generator: Generator | None) -> Float[Tensor, " changes"]:
        """Changes one unit of each of some states to what it would be without a field."""
        position = self._state.position
        size = position.shape[-1]
        many = max(1, min(PROBED, AT_ONCE // size))
        rows = torch.arange(many, device=position.device) % len(position)
        before = position[rows]
        other = random_states(self._energy, many, generator).to(before)
        numbers = _units_of(self._energy).to(position.device)
        chosen = torch.randint(
            int(numbers[-1]) + 1, (many, 1), device=position.device, generator=generator
        )
        after = torch.where(numbers == chosen, other, before)
        rise = self._energy.energy_at(after, 0.0) - self._energy.energy_at(before, 0.0)
        return rise[(after != before).any(-1)]


def descended(energy: Energy, states: Float[Tensor, "runs size"]) -> Float[Tensor, "runs size"]:
    """Returns the local minima that the energy's own dynamics find from these states."""
    kernel = default_kernel(energy)
    return recall(energy, states, kernel, max_steps=100 * kernel.default_max_steps(1)).state


def default_kernel(energy: Energy) -> Kernel:
    """Returns what draws every unit of an energy given the others.

    Raises:
        IntractableError: If its units are real numbers, or have no conditionals.
    """
    real = energy.layers and all(layer.support is not None for layer in energy.layers)
    if isinstance(energy, Gibbs) and not real:
        return BlockGibbs()
    if isinstance(energy, CoupledEnergy):
        return Asynchronous()
    if isinstance(energy, FieldEnergy) and energy.unit.pointwise:
        return SingleSite()
    raise IntractableError(
        f"{type(energy).__name__} has no units that can be drawn given the others",
        "Give an energy with a sweep, such as BoltzmannMachine or RBM; real states descend by "
        "recall, or by an optimizer of torch",
    )


def random_states(
    energy: Energy, count: int, generator: Generator | None
) -> Float[Tensor, "n size"]:
    """Draws units as they are without a field, at the energy's own temperature.

    Raises:
        IntractableError: If the energy does not say what its units are.
    """
    layers = layers_of(energy)
    like = next(iter([*energy.parameters(), *energy.buffers()]), torch.zeros(()))
    return torch.cat(
        [
            layer.sample(like.new_zeros(count, layer.size), energy.temperature, generator)
            for layer in layers
        ],
        -1,
    )


def layers_of(energy: Energy) -> tuple[Unit, ...]:
    """Returns the units of an energy.

    Raises:
        IntractableError: If it does not say what they are.
    """
    if energy.layers:
        return energy.layers
    if isinstance(energy, FieldEnergy):
        return (energy.unit,)
    raise IntractableError(
        f"{type(energy).__name__} does not say what its units are", "Give an energy with layers"
    )


def _units_of(energy: Energy) -> Int[Tensor, " size"]:
    """The unit that each component of a state belongs to, over all layers."""
    numbers, first = [], 0
    for layer in layers_of(energy):
        ids = layer.variable_ids() + first
        numbers.append(ids)
        first = int(ids[-1]) + 1
    return torch.cat(numbers)


def _of(state: ChainState, parts: list[Tensor]) -> ChainState:
    return type(state)(*parts)
