"""Recall: descend an energy from a cue until it rests, each row by itself, with a report."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import Tensor

from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import check_at_least_zero, check_count, check_flag, is_autocast
from isinglass.core.energy import Energy, check_energy
from isinglass.core.kernel import Kernel, check_kernel
from isinglass.errors import ParameterError, ShapeError

__all__ = ["Recall", "recall"]


@dataclass(frozen=True)
class Recall:
    """What a recall found, row by row.

    Attributes:
        state: The final states, shaped like the cues.
        energy: E at the final states, to the bit the last entry of a trace.
        steps: Steps each row took, the last of a converged row being the one that found it at rest
            (for :class:`SingleSite` every other step changed one unit).
        residual: Largest change of any unit in the row's last step.
        converged: Whether that change was within the tolerance.
        energy_trace: E before the first step and after each, ``(steps + 1, *batch)``, rows that
            rest staying level; None unless asked for.
        info: What the kernel said of each row in the row's last step, by name, each tensor with
            the batch first; empty if no step was taken.

    Examples:
        >>> import isinglass as ig
        >>> memory = ig.ModernHopfield(torch.eye(3), beta=20.0)
        >>> found = memory.recall(torch.tensor([[0.9, 0.2, 0.1]]), trace=True)
        >>> found.state.round(decimals=3), found.converged
        (tensor([[1., 0., 0.]]), tensor([True]))
        >>> bool((found.energy_trace.diff(dim=0) <= 0).all())
        True
    """

    state: Float[Tensor, "*batch size"]
    energy: Float[Tensor, "*batch"]
    steps: Int[Tensor, "*batch"]
    residual: Float[Tensor, "*batch"]
    converged: Bool[Tensor, "*batch"]
    energy_trace: Float[Tensor, "steps *batch"] | None = None
    info: dict[str, Tensor] = field(default_factory=dict)

    @property
    def cycle(self) -> Bool[Tensor, "*batch"]:
        """Which rows were stopped in a 2-cycle, where they would have stayed for ever."""
        return self.info.get("cycle", torch.zeros_like(self.converged))

    def __str__(self) -> str:
        rows, cycles = self.converged.numel(), int(self.cycle.sum())
        return (
            f"{int(self.converged.sum())} of {rows} converged, "
            + (f"{cycles} in a 2-cycle, " if cycles else "")
            + f"{int(self.steps.min())}–{int(self.steps.max())} steps, "
            f"energy {self.energy.mean():.4g} on average, "
            f"largest last change {self.residual.max():.2g}"
        )


@torch.no_grad()
def recall(
    energy: Energy,
    cues: Float[Tensor, "*batch size"],
    kernel: Kernel,
    *,
    max_steps: int | None = None,
    tolerance: float | None = None,
    trace: bool = False,
) -> Recall:
    """Descends from each cue until a step changes no unit by more than ``tolerance``.

    A row that rests, or that the kernel says is in a 2-cycle (``info["cycle"]``), is taken out of
    the batch, so that nobody waits for the slowest and its result does not depend on its
    neighbors: of discrete units to the bit, unless a field ties within rounding; of real ones to
    rounding, since sums of a batch of another size are added in another order. Autocast is left
    out: cues are brought to the energy's dtype, since in a lower one few would ever rest.

    Args:
        energy: What to descend.
        cues: Where to start, ``(*batch, size)``; a single ``(size,)`` is one cue.
        kernel: How to descend, run at T = 0.
        max_steps: Most steps a row may take; None asks the kernel.
        tolerance: Largest change in one step that counts as rest; None is 64 machine epsilons
            of the dtype (2 of half precision), times the row's largest value if above one.
        trace: Whether to record the energy after every step.

    Returns:
        The final states with energy, steps, residual, convergence and the kernel's info of every
        row.

    Raises:
        ShapeError: If a cue has no unit, or the wrong number of them.
        DomainError: If a cue has NaN or infinity, or is not a state of the energy's units.
        ParameterError: If ``max_steps`` or ``tolerance`` is negative, or the kernel may move on
            after a step without change.
        IntractableError: If the kernel cannot move on this energy.

    Examples:
        >>> import isinglass as ig
        >>> memory = ig.ModernHopfield(torch.eye(3), beta=20.0)
        >>> found = recall(memory, torch.tensor([0.7, 0.3, 0.1]), ig.CCCP(), trace=True)
        >>> found.converged, bool((found.energy_trace.diff(dim=0) <= 0).all())
        (tensor(True), True)
    """
    if isinstance(cues, Tensor) and is_autocast(cues):  # whose rounding would never rest
        with torch.autocast(cues.device.type, enabled=False):
            return recall(
                energy, _in_dtype_of(energy, cues), kernel, max_steps=max_steps,
                tolerance=tolerance, trace=trace,
            )  # fmt: skip
    max_steps = _check_steps(energy, cues, kernel, max_steps)
    trace = check_flag("trace", trace)
    if tolerance is not None:
        tolerance = check_at_least_zero("tolerance", tolerance)

    return _descend(energy, cues, kernel, max_steps, tolerance, trace)


def _descend(
    energy: Energy,
    cues: Tensor,
    kernel: Kernel,
    max_steps: int,
    tolerance: float | None,
    trace: bool,
) -> Recall:
    """Steps until every row is at rest, rows at rest leaving the batch."""
    batch, size = cues.shape[:-1], cues.shape[-1]
    if cues.numel() == 0:
        return _nothing(cues, trace)
    state = cues.reshape(-1, size).clone()
    steps = torch.zeros(len(state), dtype=torch.int64, device=state.device)
    residual = torch.full((len(state),), torch.inf, dtype=state.dtype, device=state.device)
    converged = torch.zeros(len(state), dtype=torch.bool, device=state.device)
    said: dict[str, Tensor] = {}
    active = torch.arange(len(state), device=state.device)
    kernel_state = kernel.init(energy, cues.reshape(-1, size))
    energies = [kernel.energy(energy, state)] if trace else []

    for step in range(1, max_steps + 1):
        before = kernel_state.position
        kernel_state, info = kernel.step(energy, kernel_state)
        change = (kernel_state.position - before).abs().amax(-1)
        converged_now = change <= (
            tolerance if tolerance is not None else rest_tolerance(kernel_state.position)
        )
        if trace:
            energies.append(
                energies[-1].index_put((active,), kernel.energy(energy, kernel_state.position))
            )
        leaves = converged_now | info["cycle"] if "cycle" in info else converged_now
        if step == max_steps:
            leaves = torch.ones_like(leaves)
        if not bool(leaves.any()):
            continue
        rows = active[leaves]
        state[rows], steps[rows] = kernel_state.position[leaves], step
        residual[rows], converged[rows] = change[leaves], converged_now[leaves]
        for name, value in info.items():
            zeros = value.new_zeros(len(state), *value.shape[1:])
            said.setdefault(name, zeros)[rows] = value[leaves]
        active = active[~leaves]
        if len(active) == 0:
            break
        kernel_state = type(kernel_state)(*(part[~leaves] for part in kernel_state))

    return Recall(
        state.reshape(cues.shape),
        (energies[-1] if trace else kernel.energy(energy, state)).reshape(batch),
        steps.reshape(batch),
        residual.reshape(batch),
        converged.reshape(batch),
        torch.stack(energies).reshape(-1, *batch) if trace else None,
        {name: value.reshape(batch + value.shape[1:]) for name, value in said.items()},
    )


def _nothing(cues: Tensor, trace: bool) -> Recall:
    """Returns the recall of no cues: none of everything."""
    none = cues.new_zeros(cues.shape[:-1])
    flags = torch.zeros_like(none, dtype=torch.bool)
    return Recall(cues.clone(), none, none.long(), none, flags, none[None] if trace else None)


def _in_dtype_of(energy: Energy, cues: Tensor) -> Tensor:
    """Brings cues to the dtype of the energy's tensors, where it has any."""
    tensors = chain(energy.parameters(), energy.buffers())
    dtype = next((t.dtype for t in tensors if t.is_floating_point()), cues.dtype)
    return cues.to(dtype)


def _check_steps(energy: Energy, cues: Tensor, kernel: Kernel, max_steps: int | None) -> int:
    """How many steps a row may take, once kernel and cues are found fit."""
    check_kernel(kernel)
    check_energy(energy)
    if not kernel.converges:
        raise ParameterError(
            f"{type(kernel).__name__} does not declare that a step without change means rest",
            "Use a kernel that does, or take a number of steps with isinglass.dynamics.run",
        )
    energy.check_state(cues)
    if cues.shape[-1] == 0:
        raise ShapeError(f"cues of shape {tuple(cues.shape)}", "Give cues of one unit or more")
    if max_steps is None:
        return kernel.default_max_steps(cues.shape[-1])
    return check_count("max_steps", max_steps, least=0)


def rest_tolerance(state: Float[Tensor, "batch size"]) -> Float[Tensor, " batch"]:
    """Returns the largest change of a unit that counts as rest: rounding never ends."""
    eps = torch.finfo(state.dtype).eps
    rest = 64 * eps if eps < 1e-6 else 2 * eps  # 64 halves' epsilons would be half of a state
    return rest * state.abs().amax(-1).clamp_min(1.0)
