"""Properties of an energy: its gradient, its free energy, its file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from isinglass._support.typing import Float
from isinglass.core.energy import Energy
from isinglass.energies.layered.harmonium import Harmonium
from isinglass.io.archive import load, save
from isinglass.testing.property import PropertyViolation, require_close
from isinglass.testing.tolerance import IDENTITY, energy_tolerance

__all__ = [
    "check_free_energy",
    "check_gradient",
    "check_posterior_gradient",
    "check_round_trip",
]


def check_gradient(
    energy: Energy, state: Float[Tensor, "batch size"], tolerance: float = 1e-6
) -> None:
    """Checks that ``grad`` is the central finite difference of ``forward``, in float64.

    Raises:
        PropertyViolation: If it is not.

    Examples:
        >>> import isinglass as ig
        >>> memory = ig.ModernHopfield(torch.eye(3, dtype=torch.float64), beta=2.0)
        >>> check_gradient(memory, torch.rand(4, 3, dtype=torch.float64))
    """
    step = 1e-5
    shifts = step * torch.eye(state.shape[-1], dtype=state.dtype, device=state.device)
    with torch.no_grad():
        above = energy(state.unsqueeze(-2) + shifts)
        below = energy(state.unsqueeze(-2) - shifts)
    require_close(
        f"gradient of {type(energy).__name__}",
        energy.grad(state),
        (above - below) / (2 * step),
        tolerance,
    )


def check_free_energy(
    harmonium: Harmonium,
    visible: Float[Tensor, "batch d"],
    temperature: float,
    tolerance: float = IDENTITY,
) -> None:
    """Checks F_T(v) = −T log Σ_h exp(−E(v, h)/T) against all hidden states, in float64.

    Args:
        harmonium: A machine with discrete hidden units, few enough to enumerate.
        visible: Visible states.
        temperature: T > 0.
        tolerance: Largest relative error allowed.

    Raises:
        PropertyViolation: If it does not hold.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Bernoulli(3), ig.Bernoulli(2)).double()
        >>> check_free_energy(rbm, ig.Bernoulli(3).enumerate_states(), 0.7)
    """
    joint = _joint_states(harmonium, visible, temperature)
    with torch.no_grad():
        energies = harmonium.energy_at(joint, temperature)
        require_close(
            f"free energy of {type(harmonium).__name__}",
            harmonium.free_energy(visible, temperature),
            -temperature * torch.logsumexp(-energies / temperature, -1),
            tolerance,
        )


def check_posterior_gradient(
    harmonium: Harmonium,
    visible: Float[Tensor, "batch d"],
    temperature: float,
    tolerance: float = IDENTITY,
) -> None:
    """Checks Fisher's identity, ∇F = ⟨∇E⟩ over p(h | v), for every parameter.

    Raises:
        PropertyViolation: If it does not hold.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Bernoulli(3), ig.Bernoulli(2)).double()
        >>> check_posterior_gradient(rbm, ig.Bernoulli(3).enumerate_states(), 0.7)
    """
    joint = _joint_states(harmonium, visible, temperature)
    parameters = list(harmonium.parameters())
    energies = harmonium.energy_at(joint, temperature)
    posterior = torch.softmax(-energies.detach() / temperature, -1)
    expected = torch.autograd.grad((posterior * energies).sum(), parameters)
    found = torch.autograd.grad(harmonium.free_energy(visible, temperature).sum(), parameters)
    for (name, _), one, other in zip(harmonium.named_parameters(), found, expected, strict=True):
        require_close(f"∇F = ⟨∇E⟩ for {name}", one, other, tolerance)


def check_round_trip(energy: Energy, state: Float[Tensor, "batch size"]) -> None:
    """Checks that a file gives back the class, the tensors to the bit, and the energies.

    A tensor that is not contiguous comes back contiguous. Products with it may then be rounded
    otherwise, so energies of such tensors are the same to rounding.

    Raises:
        PropertyViolation: If anything differs.

    Examples:
        >>> import isinglass as ig
        >>> check_round_trip(ig.ModernHopfield(torch.eye(3), beta=2.0), torch.rand(4, 3))
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "energy.safetensors"
        save(energy, path)
        copy = load(path)
    if type(copy) is not type(energy):
        raise PropertyViolation(
            f"save and load: {type(energy).__name__} came back {type(copy).__name__}"
        )
    learned = [{n: p.requires_grad for n, p in e.named_parameters()} for e in (energy, copy)]
    if learned[0] != learned[1]:
        raise PropertyViolation(f"save and load: learned were {learned[0]}, now {learned[1]}")
    before, after = energy.state_dict(), copy.state_dict()
    if before.keys() != after.keys() or not all(torch.equal(before[k], after[k]) for k in before):
        raise PropertyViolation(f"save and load: the tensors of {type(energy).__name__} differ")
    with torch.no_grad():
        alike = all(before[k].stride() == after[k].stride() for k in before)
        bound = torch.zeros_like(energy(state)) if alike else energy_tolerance(energy, state)
        if not bool(((copy(state) - energy(state)).abs() <= bound).all()):
            raise PropertyViolation(
                f"save and load: the energies of {type(energy).__name__} differ"
            )


def _joint_states(harmonium: Harmonium, visible: Tensor, temperature: float) -> Tensor:
    """Every joint state of each visible row, ``(batch, states, size)``."""
    hidden = Harmonium(harmonium.layers[1:], ()).enumerate_states(temperature).to(visible.dtype)
    rows = visible.unsqueeze(-2).expand(-1, len(hidden), -1)
    return torch.cat([rows, hidden.expand(len(visible), -1, -1)], -1)
