"""The kernel: a way to move a state on an energy, descending at T = 0 and sampling above."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import (
    ClassVar,
    Generic,
    NamedTuple,
    Protocol,
    TypeVar,
    cast,
    runtime_checkable,
)

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float, Int
from isinglass._support.validation import check_count, check_generator, check_temperature
from isinglass.core.energy import Energy, check_energy
from isinglass.errors import IntractableError, ParameterError
from isinglass.units import Unit

__all__ = [
    "ChainState",
    "FieldEnergy",
    "Kernel",
    "KernelState",
    "Memoryless",
    "SamplingWarning",
    "check_kernel",
    "descending_only",
    "field_energy",
    "run",
]


class SamplingWarning(UserWarning):
    """Chains do not do what they are run for; the message says which, and what helps."""


@runtime_checkable
class ChainState(Protocol):
    """What any kernel carries from step to step: a named tuple of tensors, the position first.

    Every tensor has the batch first, so that recall can pick out the rows that still move.
    """

    @property
    def position(self) -> Tensor:
        """The state of the energy's units, one chain a row."""
        ...

    def __iter__(self) -> Iterator[Tensor]: ...


ENOUGH = 100  # steps after which a chain that was never accepted is reported

State = TypeVar("State", bound=ChainState)


class KernelState(NamedTuple):
    """What a memoryless kernel carries from step to step: the position alone.

    Kernels that need more carry a named tuple of their own, whose first field is ``position``
    and whose every tensor has the batch first, so that rows can be picked out.
    """

    position: Tensor


class Kernel(ABC, Generic[State]):
    """A Markov kernel: a way to move a state on an energy, ``init`` once and ``step`` repeatedly.

    A step returns ``(kernel_state, info)``: the kernel state is what the next step needs, the info
    is for looking. ``leaves_invariant`` declares that a step at T > 0 leaves exp(−E/T) unchanged;
    ``monotone`` that a step at T = 0 never raises E by more than rounding; ``converges`` that once
    a step at T = 0 changes nothing, none will, which recall relies on. The properties in
    :mod:`isinglass.testing` hold the first two to account. The type in brackets is that of
    the kernel state.

    Examples:
        >>> class Downhill(Kernel[KernelState]):
        ...     converges = True
        ...     def init(self, energy, state):
        ...         return KernelState(state)
        ...     def step(self, energy, kernel_state, temperature=0.0, generator=None):
        ...         state = kernel_state.position
        ...         return KernelState(state - 0.1 * energy.grad(state)), {}
        >>> import isinglass as ig
        >>> memory = ig.ModernHopfield(torch.eye(2), beta=20.0)
        >>> found = memory.recall(torch.tensor([0.9, 0.2]), kernel=Downhill(), max_steps=1000)
        >>> found.state.round(decimals=3), bool(found.converged)
        (tensor([1., 0.]), True)
    """

    leaves_invariant: ClassVar[bool] = False
    monotone: ClassVar[bool] = False
    converges: ClassVar[bool] = False

    @abstractmethod
    def init(self, energy: Energy, state: Float[Tensor, "batch size"]) -> State:
        """Builds the kernel state to start from, of states that were checked by whoever calls."""

    @abstractmethod
    def step(
        self,
        energy: Energy,
        kernel_state: State,
        temperature: float = 0.0,
        generator: Generator | None = None,
    ) -> tuple[State, dict[str, Tensor]]:
        """Moves every row once, at temperature T."""

    def energy(self, energy: Energy, state: Float[Tensor, "batch size"]) -> Float[Tensor, " batch"]:
        """Computes E at T = 0 for recall to report; a kernel that has it cheaper overrides this."""
        return energy.energy_at(state, 0.0)

    def default_max_steps(self, size: int) -> int:
        """Returns how many steps recall allows a row of ``size`` units unless told otherwise."""
        return 100


class Memoryless(Kernel[KernelState]):
    """A kernel whose next state follows from the state alone: it gives ``transition``.

    Examples:
        >>> class Stay(Memoryless):
        ...     def transition(self, energy, state, temperature, generator):
        ...         return state
        >>> import isinglass as ig
        >>> memory = ig.ModernHopfield(torch.eye(3))
        >>> ig.run(Stay(), memory, torch.ones(1, 3), steps=5, temperature=1.0)
        tensor([[1., 1., 1.]])
    """

    def init(self, energy: Energy, state: Float[Tensor, "batch size"]) -> KernelState:
        """Starts from the states as they are."""
        return KernelState(state)

    @abstractmethod
    def transition(
        self,
        energy: Energy,
        state: Float[Tensor, "batch size"],
        temperature: float,
        generator: Generator | None,
    ) -> Float[Tensor, "batch size"]:
        """Draws or computes the next state of every row."""

    def step(
        self,
        energy: Energy,
        kernel_state: KernelState,
        temperature: float = 0.0,
        generator: Generator | None = None,
    ) -> tuple[KernelState, dict[str, Tensor]]:
        """Moves every row once; there is no info to look at."""
        return KernelState(
            self.transition(energy, kernel_state.position, temperature, generator)
        ), {}


@runtime_checkable
class FieldEnergy(Protocol):
    """An energy of units of one kind that each feel a local field of the others.

    The field of a unit is what its kind needs to be drawn given the rest: for two states a, b it
    is (E(b) − E(a))/(a − b), so that the Boltzmann rule is exact.
    """

    unit: Unit

    def local_field(self, state: Float[Tensor, "batch size"]) -> Float[Tensor, "batch size"]:
        """Computes the field on every unit."""
        ...

    def moved_field(
        self,
        field: Float[Tensor, "batch size"],
        state: Float[Tensor, "batch size"],
        site: Int[Tensor, " batch"],
        change: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch size"]:
        """Corrects the field to that at ``state``, unit ``site`` having changed by ``change``."""
        ...


def field_energy(energy: Energy) -> FieldEnergy:
    """Returns the energy as one with local fields.

    Raises:
        IntractableError: If it has none.
    """
    if not isinstance(energy, FieldEnergy) or not energy.unit.pointwise:
        raise IntractableError(
            f"{type(energy).__name__} has no local fields on units of one kind",
            "Use CCCP or BlockGibbs, or an energy with local_field, such as ClassicalHopfield",
        )
    return cast("FieldEnergy", energy)


def descending_only(temperature: float) -> None:
    """Refuses T > 0 for a kernel that only descends.

    Raises:
        ParameterError: If the temperature is not zero.
    """
    if temperature != 0:
        raise ParameterError(
            f"temperature = {temperature}, but this kernel only descends",
            "Use temperature=0, or sample with BlockGibbs or SingleSite",
        )


def check_kernel(kernel: object) -> None:
    """Refuses what is not a kernel, such as the class of one.

    Raises:
        ParameterError: If it is not.
    """
    if not isinstance(kernel, Kernel):
        raise ParameterError(f"kernel = {kernel!r}", "Give a kernel object, such as SingleSite()")


@torch.no_grad()
def run(
    kernel: Kernel[State],
    energy: Energy,
    state: Float[Tensor, "*batch size"],
    *,
    steps: int,
    temperature: float,
    generator: Generator | None = None,
) -> Float[Tensor, "*batch size"]:
    """Takes ``steps`` steps of a kernel and returns the last state.

    Args:
        kernel: How to move.
        energy: What to move on.
        state: Where to start, one chain a row, ``(*batch, size)``.
        steps: How many steps to take.
        temperature: T, in units of the energy.
        generator: Source of randomness; None is torch's global one.

    Warns:
        SamplingWarning: If a chain never moved in a hundred steps or more, each proposal rejected.

    Raises:
        ParameterError: If ``steps`` or ``temperature`` is negative, or ``kernel`` is no kernel.
        DomainError: If the state is not one the energy is defined on.

    Examples:
        >>> import isinglass as ig
        >>> from isinglass.dynamics import BlockGibbs
        >>> rbm = ig.RBM(ig.Bernoulli(4), ig.Bernoulli(3))
        >>> start = torch.zeros(10, 7)
        >>> run(BlockGibbs(), rbm, start, steps=5, temperature=1.0).shape
        torch.Size([10, 7])
    """
    check_count("steps", steps, least=0)
    temperature = check_temperature(temperature)
    check_kernel(kernel)
    check_energy(energy)
    check_generator(generator)
    energy.check_state(state)
    kernel_state = kernel.init(energy, state.reshape(-1, state.shape[-1]))
    moved = None
    for _ in range(steps):
        kernel_state, info = kernel.step(energy, kernel_state, temperature, generator)
        if "accepted" in info:
            moved = info["accepted"] if moved is None else moved | info["accepted"]
    if moved is not None and temperature > 0 and steps >= ENOUGH:
        _report_stuck(kernel, int((~moved).sum()), len(moved), steps)
    return kernel_state.position.reshape(state.shape)


def _report_stuck(kernel: object, stuck: int, chains: int, steps: int) -> None:
    if stuck:
        warnings.warn(
            f"isinglass.run: {stuck} of {chains} chains never moved in {steps} steps of "
            f"{type(kernel).__name__}: its step size is too large where they are. Start from the "
            "position that kernel.warm_up hands back, or give a smaller step_size",
            SamplingWarning, stacklevel=3,
        )  # fmt: skip
