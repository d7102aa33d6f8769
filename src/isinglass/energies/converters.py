"""One network in the clothes of another: the same energies, up to a constant that is returned.

Each converter returns the other network and a number, in units of the energy:

    E_before(v) = E_after(v) + constant       (F, where hidden units are summed out)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_positive
from isinglass.energies.hopfield.classical import ClassicalHopfield
from isinglass.energies.hopfield.modern import ModernHopfield
from isinglass.energies.hopfield.storage_rules import Hebb, Rule
from isinglass.energies.layered.hopfield_boltzmann import HopfieldBoltzmann
from isinglass.energies.layered.rbm import RBM
from isinglass.errors import IntractableError, ParameterError
from isinglass.units import Gaussian, Spin

__all__ = ["to_classical", "to_gaussian_rbm", "to_hopfield_boltzmann", "to_modern"]


@torch.no_grad()
def to_gaussian_rbm(memory: ClassicalHopfield, temperature: float = 1.0) -> tuple[RBM, float]:
    r"""Writes a classical Hopfield net of spins as an RBM whose hidden units are Gaussian.

        −½ vᵀJv = F_T(v) + ½ s d + ½ k T log 2πT,   J + s·1 = WᵀW,   F_T(v) = −½|Wv|² − …

    With Hebb's rule W is the patterns, one a hidden unit, and s their number N: the diagonal that
    J leaves out is a constant on spins. For any other couplings W comes from the eigenvectors of
    J, s being its lowest eigenvalue with the sign turned, in float64. Block Gibbs then draws all
    spins at once.

    Reference: Barra et al. 2012, arXiv:1105.2790.

    Args:
        memory: What to convert; its patterns, if the rule is Hebb's, or its couplings.
        temperature: T > 0 at which the constant holds; the RBM is the same at each.

    Returns:
        The RBM, and ½ s d + ½ k T log 2πT for its k hidden units.

    Raises:
        ParameterError: If ``temperature`` is not above zero.

    Examples:
        >>> import isinglass as ig
        >>> memory = ig.ClassicalHopfield(torch.tensor([[1.0, 1, -1], [1, -1, -1]]))
        >>> rbm, constant = to_gaussian_rbm(memory)
        >>> v = torch.tensor([[1.0, -1, 1]])
        >>> torch.allclose(memory(v), rbm.free_energy(v) + constant)
        True
    """
    check_positive("temperature", temperature)
    if isinstance(memory.rule, Hebb) and len(memory.patterns) and not memory.dreams:
        weight, shift = memory.patterns, float(len(memory.patterns))
    else:
        values, vectors = torch.linalg.eigh(memory.weight.double())
        shift = max(0.0, -float(values[0]))
        raised = values + shift
        kept = raised > 1e-12 * raised[-1].clamp_min(1.0)
        kept[-1] = True  # an RBM has at least one hidden unit
        weight = (vectors[:, kept] * raised[kept].clamp_min(0.0).sqrt()).mT
    rbm = RBM(Spin(memory.unit.size), Gaussian(len(weight))).to(memory.weight)
    rbm.weight.copy_(weight)
    constant = shift * memory.unit.size / 2 + _volume(len(weight), temperature)
    return rbm, constant


@torch.no_grad()
def to_classical(
    rbm: RBM,
    patterns: Float[Tensor, "N d"] | None = None,
    rule: Rule | None = None,
    temperature: float = 1.0,
) -> tuple[ClassicalHopfield, float]:
    r"""Writes an RBM of spins with Gaussian hidden units as a classical Hopfield net: J = WᵀW.

        F_T(v) = −½ vᵀJv − ½ Σ_i (WᵀW)_ii − ½|c|² − ½ k T log 2πT,   J without its diagonal

    The inverse of :func:`to_gaussian_rbm`: give ``patterns=memory.patterns, rule=memory.rule`` to
    have the same memory back.

    Args:
        rbm: Spins, and Gaussian hidden units; the field on the spins, b + Wᵀc, has to be zero.
        patterns: What the memory is to remember as stored, rows of ±1; None is the rows of W, if
            they are spins.
        rule: Which rule it stores more by; None is Hebb's.
        temperature: T > 0 at which the constant holds.

    Raises:
        IntractableError: If the units are of other kinds, or the spins feel a field.
        ParameterError: If patterns are needed and not given, or ``temperature`` is not above zero.
        IsinglassError: If the patterns are no rows of d spins.

    Examples:
        >>> import isinglass as ig
        >>> memory = ig.ClassicalHopfield(torch.tensor([[1.0, 1, -1], [1, -1, -1]]))
        >>> back, _ = to_classical(to_gaussian_rbm(memory)[0])
        >>> torch.equal(back.weight, memory.weight)
        True
    """
    check_positive("temperature", temperature)
    visible, hidden = rbm.layers
    if visible.two_states != (-1.0, 1.0) or not hidden.is_gaussian:
        raise IntractableError(
            f"an RBM of {visible} and {hidden}", "Give one of Spin and Gaussian units"
        )
    weight, (visible_bias, hidden_bias) = rbm.weight.detach(), rbm.biases
    field = visible_bias + hidden_bias @ weight
    if bool(field.abs().max() > 1e-6 * weight.abs().max()):
        raise IntractableError(
            f"a field of up to {float(field.abs().max()):.3g} on the spins",
            "A classical Hopfield net has none: set the RBM's biases to zero",
        )
    if patterns is None:
        if not bool((weight.abs() == 1).all()):
            raise ParameterError(
                "weights that are not ±1", "Give patterns=memory.patterns to store"
            )
        patterns = weight
    memory = ClassicalHopfield(patterns, Hebb() if rule is None else rule)
    memory.weight = (weight.mT @ weight).fill_diagonal_(0.0)
    constant = float(weight.double().square().sum() + hidden_bias.double().square().sum()) / 2
    return memory, -constant - _volume(hidden.size, temperature)


@torch.no_grad()
def to_hopfield_boltzmann(
    memory: ModernHopfield, draws: int = 1
) -> tuple[HopfieldBoltzmann, float]:
    """Writes a modern Hopfield net as the one-group machine whose free energy is its energy.

        ½|v|² − lse_β(Xv) = F(v)   at T = 1/(mβ), whatever m = ``draws``

    Args:
        memory: What to convert; its patterns are copied.
        draws: m, patterns looked up at once.

    Returns:
        The machine, and a constant of zero, or the memory's ``offset`` if that is part of its E.

    Raises:
        ParameterError: If ``draws`` is not a whole number of at least one.

    Examples:
        >>> import isinglass as ig
        >>> machine, constant = to_hopfield_boltzmann(ig.ModernHopfield(torch.eye(3), beta=2.0))
        >>> machine.sample(5).shape, constant
        (torch.Size([5, 3]), 0.0)
    """
    machine = HopfieldBoltzmann.from_patterns(
        Gaussian(memory.unit.size),
        memory.patterns.detach(),
        beta=float(memory.beta),
        draws=draws,
    )
    return machine, float(memory.offset) if memory.constants else 0.0


@torch.no_grad()
def to_modern(machine: HopfieldBoltzmann) -> tuple[ModernHopfield, float]:
    """Writes a one-group machine with Gaussian visible units as a modern Hopfield net.

        F(v) = ½|v|² − b·v − lse_β(c + Xv) = ½|v|² − lse_β((X + b)v) − c

    b goes into the patterns; c has no place in the net but as a constant.

    Args:
        machine: One group, Gaussian visible units, the same memory bias c for all memories.

    Returns:
        The net, and −c.

    Raises:
        IntractableError: If the machine is another one.

    Examples:
        >>> import isinglass as ig
        >>> machine = ig.HopfieldBoltzmann(ig.Gaussian(3), memories=4, beta=2.0)
        >>> net, _ = to_modern(machine)
        >>> v = torch.randn(5, 3)
        >>> torch.allclose(net(v), machine.free_energy(v), atol=1e-6)
        True
    """
    biases = machine.memory_bias.detach()
    uneven = float(biases.max() - biases.min())
    wrong = ""
    if not machine.visible.is_gaussian:
        wrong = f"visible units {machine.visible}"
    elif machine.groups != 1:
        wrong = f"{machine.groups} groups"
    elif uneven > 1e-6 / machine.beta:
        wrong = f"memory biases that differ by up to {uneven:.3g}"
    if wrong:
        raise IntractableError(
            wrong,
            "A modern Hopfield net is one group of unbiased memories and Gaussian visible units",
        )
    patterns = machine.patterns.detach() + machine.visible_bias.detach()
    return ModernHopfield(patterns, machine.beta), -float(biases[0])


def _volume(units: int, temperature: float) -> float:
    """What Gaussian hidden units add to −F beside ½|field|²."""
    return units * temperature / 2 * math.log(2 * math.pi * temperature)
