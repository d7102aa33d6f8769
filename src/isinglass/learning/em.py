"""Maximum likelihood by expectation–maximisation, where the model term is exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_at_least_zero, check_count, check_like, check_rows
from isinglass.energies.layered.hopfield_boltzmann import HopfieldBoltzmann
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.units import Gaussian, Unit

__all__ = ["EMReport", "em_step", "expectation_maximization", "seed_memories"]


@dataclass(frozen=True)
class EMReport:
    """How a fit went.

    Attributes:
        log_likelihood: Mean log p(v) of the data before each step, and after the last, in nats.
        converged: Whether it rose by less than the tolerance in the last step.
    """

    log_likelihood: list[float]
    converged: bool


@torch.no_grad()
def seed_memories(
    machine: HopfieldBoltzmann, data: Float[Tensor, "n d"], generator: Generator | None = None
) -> None:
    """Start every memory near an example, spread out as k-means++ does.

    Each example is chosen with probability proportional to its squared distance from the nearest
    one chosen before; each memory starts halfway between its example and the data's mean.

    Reference: Arthur & Vassilvitskii 2007.

    Args:
        machine: One group, one draw; changed in place.
        data: ``(n, d)``.
        generator: Source of randomness; None is torch's global one.

    Raises:
        ShapeError: If the data are not rows, or fewer than the memories.
        DomainError: If the data are not states of the visible units.
        IntractableError: If the machine has several groups or draws, or units whose mean has no
            closed inverse.

    Examples:
        >>> import isinglass as ig
        >>> data = torch.tensor([[0.0, 0.0], [4.0, 4.0]])
        >>> machine = ig.HopfieldBoltzmann(ig.Gaussian(2), memories=2)
        >>> seed_memories(machine, data, torch.Generator().manual_seed(0))
        >>> machine.patterns.detach().sort(0).values  # halfway between example and mean
        tensor([[1., 1.],
                [3., 3.]])
    """
    _check(machine, data)
    if len(data) < machine.memories:
        raise ShapeError(
            f"{len(data)} examples for {machine.memories} memories",
            "Give more examples, or ask for fewer memories",
        )
    chosen = spread_out(data, machine.memories, generator)
    uniform = data.new_full((machine.memories,), 1 / machine.memories)
    write_memories(machine, (data[chosen] + _center(machine, data)) / 2, uniform)


@torch.no_grad()
def em_step(
    machine: HopfieldBoltzmann,
    data: Float[Tensor, "n d"],
    *,
    pseudo_count: float = 0.0,
    learn_beta: bool = False,
) -> float:
    r"""One step of EM; reading is the E-step, writing the M-step.

        r_nμ = softmax_μ(β(c + Xv_n))                      which memory each example reminds of
        mean of v given μ  ←  Σ_n r_nμ v_n / Σ_n r_nμ      each memory moves to what reminds it
        c_μ = T log π_μ − A_T(x_μ + b),   π_μ = ⟨r_μ⟩      Gaussian, equal weights: −½|x_μ|²

    Without pseudo-counts the likelihood never falls. As β → ∞ it is k-means.

    Reference: Dempster, Laird & Rubin 1977, doi:10.1111/j.2517-6161.1977.tb01600.x.

    Args:
        machine: One group, one draw; changed in place.
        data: ``(n, d)``, states of the visible units.
        pseudo_count: How many imagined examples at the data's mean every memory is given; above
            zero it keeps probabilities of discrete units off 0 and 1.
        learn_beta: Whether to fit T = 1/β too, as the variance of Gaussian units, the one of all
            Gaussian columns where kinds are mixed; of the others it scales the memories alone.

    Returns:
        The mean log-likelihood before the step, in nats.

    Raises:
        ParameterError: If ``learn_beta`` is asked for where no unit is Gaussian, or
            ``pseudo_count`` is negative or not finite.
        DomainError: If the data are not states of the visible units, or with ``learn_beta`` lie
            on the memories; the machine is then as it was.
        IntractableError: If the machine has several groups or draws, or units whose mean has no
            closed inverse.
        ShapeError: If the data are not rows.

    Examples:
        >>> import isinglass as ig
        >>> generator = torch.Generator().manual_seed(0)
        >>> data = torch.randn(100, 3, generator=generator).sign()
        >>> machine = ig.HopfieldBoltzmann(ig.Spin(3), memories=2, generator=generator)
        >>> first, second = em_step(machine, data), em_step(machine, data)
        >>> second >= first
        True
    """
    _check(machine, data)
    check_at_least_zero("pseudo_count", pseudo_count)
    gaussian = _of_parts(machine.visible, data, lambda part: type(part) is Gaussian)
    if learn_beta and not bool(gaussian.any()):
        raise ParameterError(
            f"learn_beta with {machine.visible}",
            "Their temperature only rescales the memories: leave beta fixed",
        )
    mixture = machine.mixture()
    before = float(mixture.log_prob(data).mean())
    reads = mixture.responsibilities(data)
    mass = reads.sum(0)
    total = reads.mT @ data + pseudo_count * data.mean(0)
    weight = (mass + pseudo_count).unsqueeze(-1)
    means = total / weight.clamp_min(1e-8)
    reminded = weight > 1e-8
    if learn_beta:
        centers = torch.where(reminded, means, 0.0)
        machine.beta = 1 / _variance(data[:, gaussian], reads, centers[:, gaussian])
    write_memories(machine, means, (mass + pseudo_count) / (mass + pseudo_count).sum(), reminded)
    return before


def expectation_maximization(
    machine: HopfieldBoltzmann,
    data: Float[Tensor, "n d"],
    *,
    steps: int = 100,
    tolerance: float = 1e-4,
    pseudo_count: float = 0.0,
    learn_beta: bool = False,
    on_step: Callable[[int, float], None] | None = None,
) -> EMReport:
    """Fit a one-group machine by EM until the likelihood rests.

    Args:
        machine: One group, one draw, its memories already seeded; changed in place.
        data: ``(n, d)``, states of the visible units.
        steps: Most steps to take.
        tolerance: Rise of the mean log-likelihood, in nats, below which the fit rests.
        pseudo_count: See :func:`em_step`.
        learn_beta: See :func:`em_step`.
        on_step: Called with the step's number and the mean log-likelihood, e.g. to show progress.

    Reference: Dempster, Laird & Rubin 1977, doi:10.1111/j.2517-6161.1977.tb01600.x.

    Returns:
        The track of the mean log-likelihood, and whether it came to rest.

    Raises:
        ParameterError: If ``steps`` is not a whole number of at least one, or as in
            :func:`em_step`.
        DomainError: If the data are not states of the visible units.

    Examples:
        >>> import isinglass as ig
        >>> generator = torch.Generator().manual_seed(0)
        >>> data = torch.randn(200, 2, generator=generator) * 0.1 + 3
        >>> machine = ig.HopfieldBoltzmann(ig.Gaussian(2), memories=1, generator=generator)
        >>> seed_memories(machine, data, generator)
        >>> report = expectation_maximization(machine, data, learn_beta=True)
        >>> report.converged, machine.patterns.detach().round()
        (True, tensor([[3., 3.]]))
    """
    check_count("steps", steps)
    check_at_least_zero("tolerance", tolerance)
    history: list[float] = []
    for step in range(steps):
        history.append(em_step(machine, data, pseudo_count=pseudo_count, learn_beta=learn_beta))
        if on_step is not None:
            on_step(step, history[-1])
        if step and abs(history[-1] - history[-2]) < tolerance:
            break
    with torch.no_grad():
        history.append(float(machine.log_prob(data).mean()))
    return EMReport(history, abs(history[-1] - history[-2]) < tolerance)


def _check(machine: HopfieldBoltzmann, data: Tensor) -> None:
    if not isinstance(machine, HopfieldBoltzmann):
        raise ParameterError(f"a {type(machine).__name__}", "EM is for HopfieldBoltzmann machines")
    check_rows(data)
    machine.mixture()
    machine.visible.check(data)
    check_like(data, machine.patterns)


def _variance(data: Tensor, reads: Tensor, means: Tensor) -> float:
    """Mean square distance of the data from their memories, a unit."""
    # Distances do not depend on where zero is: near it, squares cancel the least.
    center = data.mean(0)
    data, means = data - center, means - center
    spread = data.square().sum(-1, keepdim=True) + means.square().sum(-1) - 2 * data @ means.mT
    variance = float((reads * spread.clamp_min(0)).sum() / data.numel())
    floor = 16 * torch.finfo(data.dtype).eps * float(data.square().mean())
    if not variance > floor:
        raise DomainError(
            f"a variance of {variance:.3g} about the memories: the data lie on them",
            "Ask for fewer memories, or leave beta fixed (learn_beta=False)",
        )
    return variance


def spread_out(data: Tensor, count: int, generator: Generator | None) -> Tensor:
    """Which examples k-means++ starts from, ``(count,)``."""
    chosen = torch.randint(len(data), (1,), device=data.device, generator=generator)
    distance = (data - data[chosen]).square().sum(-1)
    for _ in range(count - 1):
        weights = torch.where(distance > 0, distance, torch.finfo(data.dtype).tiny)
        new = torch.multinomial(weights, 1, generator=generator)
        chosen = torch.cat([chosen, new])
        distance = torch.minimum(distance, (data - data[new]).square().sum(-1))
    return chosen


def write_memories(
    machine: HopfieldBoltzmann, means: Tensor, weights: Tensor, reminded: Tensor | None = None
) -> None:
    """Give each memory this mean and this weight; one that nothing reminds of itself stays."""
    unit, temperature = machine.visible, machine.temperature
    fields = unit.natural_parameter(means, temperature)
    if reminded is not None:
        fields = torch.where(reminded, fields, machine.patterns + machine.visible_bias)
    machine.patterns.copy_(fields - machine.visible_bias)
    log_weights = weights.clamp_min(torch.finfo(weights.dtype).tiny).log()
    machine.memory_bias.copy_(temperature * log_weights - unit.log_partition(fields, temperature))


def _center(machine: HopfieldBoltzmann, data: Tensor) -> Tensor:
    """The data's mean, a little off the edges that bounded units cannot reach."""
    mean = data.mean(0)
    middle = machine.visible.mean(torch.zeros_like(mean), machine.temperature)
    bounded = _of_parts(machine.visible, data, lambda part: part.bounded)
    return torch.where(bounded, (len(data) * mean + middle) / (len(data) + 1), mean)


def _of_parts(unit: Unit, like: Tensor, holds: Callable[[Unit], bool]) -> Tensor:
    """Which components are of a kind that this holds for, ``(d,)``."""
    flags = [torch.full((part.size,), holds(part), device=like.device) for part in unit.parts]
    return torch.cat(flags)
