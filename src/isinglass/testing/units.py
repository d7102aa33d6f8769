"""Properties of a unit kind: its three functions are those of one distribution."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass.errors import IntractableError
from isinglass.testing.property import PropertyViolation, require_close, require_within
from isinglass.testing.tolerance import IDENTITY, sampling_error
from isinglass.units import Unit

__all__ = ["check_unit"]


def check_unit(
    unit: Unit, field: Float[Tensor, "batch size"], temperature: float, generator: Generator
) -> None:
    """Holds a unit kind to all its properties at one temperature.

    * ``log_partition`` is the sum over all states, or the integral;
    * ``base_measure_energy`` is zero where ``has_base_measure_energy`` says so;
    * ``mean`` is its gradient;
    * ``sample`` has that mean, the variance T ∂²A, and yields states the unit contains;
    * T → 0 tends to ``temperature=0``, where mean and sample agree;
    * ``argmax_state`` yields states the unit contains from any start, and keeps one that ties;
    * ``natural_parameter`` inverts ``mean``, where it is given;
    * the configuration reads back.

    Args:
        unit: The kind to hold to account; continuous kinds, and parts, must have size 1.
        field: Fields to try, float64, without ties.
        temperature: T > 0.
        generator: Source of randomness.

    Raises:
        PropertyViolation: If any property does not hold.

    Examples:
        >>> from isinglass import Spin
        >>> field = torch.tensor([[0.3, -1.2]], dtype=torch.float64)
        >>> check_unit(Spin(2), field, 0.7, torch.Generator().manual_seed(0))
    """
    _check_partition(unit, field, temperature)
    _check_mean(unit, field, temperature)
    _check_sample(unit, field, temperature, generator)
    _check_limit(unit, field, generator)
    _check_settle(unit, field)
    _check_inverse(unit, field, temperature)
    if Unit.from_config(unit.config()) != unit:
        raise PropertyViolation(f"{unit}: its configuration {unit.config()} does not read back")


def _check_partition(unit: Unit, field: Tensor, temperature: float) -> None:
    states, spacing = _states(unit, field, temperature)
    base = unit.base_measure_energy(states, temperature)
    if not unit.has_base_measure_energy and bool(base.any()):
        raise PropertyViolation(
            f"{unit}: it says that U = 0, and U is as large as {base.abs().max():g}"
        )
    exponent = (field @ states.mT - base) / temperature + spacing.log()
    require_close(
        f"log_partition of {unit} is the sum over its states",
        unit.log_partition(field, temperature),
        temperature * torch.logsumexp(exponent, -1),
        IDENTITY,
    )


def _states(unit: Unit, field: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """All states and their weights: 1, or those of Simpson's rule where states are real."""
    states, weights = torch.ones(1, 0, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    for part in unit.parts:
        try:
            new = part.enumerate_states(temperature)
            spacing = torch.ones(len(new), dtype=torch.float64)
        except IntractableError:
            new, spacing = _grid(part, field, temperature)
        rows = states.repeat_interleave(len(new), 0)
        states = torch.cat([rows, new.repeat(len(states), 1)], -1)
        weights = torch.outer(weights, spacing).flatten()
    return states, weights


def _grid(unit: Unit, field: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Points and weights of Simpson's rule over the states of a continuous unit of size one."""
    if unit.size != 1:
        raise PropertyViolation(f"{unit}: give continuous kinds with size 1, to be integrated")
    bound = float(field.abs().max()) + 40 * temperature**0.5
    low = -bound if bool(unit.contains(torch.full((1, 1), -1.0, dtype=torch.float64))) else 0.0
    points = torch.linspace(low, bound, 20_001, dtype=torch.float64)
    weights = torch.full_like(points, 2.0)
    weights[1::2] = 4.0
    weights[0] = weights[-1] = 1.0
    return points.unsqueeze(-1), weights * (points[1] - points[0]) / 3


def _check_mean(unit: Unit, field: Tensor, temperature: float) -> None:
    leaf = field.clone().requires_grad_()
    gradient = torch.autograd.grad(unit.log_partition(leaf, temperature).sum(), leaf)[0]
    require_close(f"mean of {unit} is ∂A/∂I", unit.mean(field, temperature), gradient, IDENTITY)


def _check_sample(unit: Unit, field: Tensor, temperature: float, generator: Generator) -> None:
    count = 20_000
    draws = unit.sample(field.expand(count, *field.shape), temperature, generator)
    if not bool(unit.contains(draws).all()):
        raise PropertyViolation(f"sample of {unit}: not states of the unit")
    leaf = field.clone().requires_grad_()
    mean = unit.mean(leaf, temperature)
    # The diagonal of the Hessian, one component at a time: units here are few.
    curvature = torch.stack(
        [
            torch.autograd.grad(mean[:, i].sum(), leaf, retain_graph=True)[0][:, i]
            for i in range(field.shape[-1])
        ],
        -1,
    )
    variance = (temperature * curvature).clamp_min(0.0)  # of a saturated unit it rounds below zero
    mean = mean.detach()
    largest = (draws - mean).abs().amax(0)
    noise = sampling_error(variance, largest, count) + 1e-9
    require_within(f"mean of samples of {unit}", draws.mean(0), mean, noise)
    # ⟨(s − μ)⁴⟩ is at most 9σ⁴ for log-concave densities, at most 4σ² for states 2 apart.
    spread = 9 * variance.square() + 4 * variance
    noise = sampling_error(spread, largest.square(), count) + 1e-9
    squares = (draws - mean).square().mean(0)
    require_within(f"variance of samples of {unit} is T ∂²A", squares, variance, noise)


def _check_limit(unit: Unit, field: Tensor, generator: Generator) -> None:
    cold = float(field.abs().max()) * 1e-7
    settled = unit.mean(field, 0.0)
    draws = unit.sample(field, 0.0, generator)
    require_close(f"mean and sample of {unit} agree at T = 0", draws, settled, 0.0)
    require_close(
        f"settle of {unit} is the mean at T = 0", unit.argmax_state(field, draws), settled, 0.0
    )
    if getattr(unit, "beta", None) is None:  # a fixed β ties T to whole numbers of draws
        require_close(f"mean of {unit} as T → 0", unit.mean(field, cold), settled, 1e-3)
    require_close(
        f"log_partition of {unit} as T → 0",
        unit.log_partition(field, cold),
        unit.log_partition(field, 0.0),
        1e-4,
    )


def _check_settle(unit: Unit, field: Tensor) -> None:
    nothing = torch.zeros_like(field)
    for start in (nothing, unit.mean(field, 1.0)):
        settled = unit.argmax_state(nothing, start)
        if not bool(unit.contains(settled).all()):
            raise PropertyViolation(f"settle of {unit}: not states of the unit without a field")
        again = unit.argmax_state(nothing, settled)
        require_close(f"settle of {unit} keeps a state that ties", again, settled, 0.0)


def _check_inverse(unit: Unit, field: Tensor, temperature: float) -> None:
    mean = unit.mean(field, temperature)
    try:
        inverse = unit.natural_parameter(mean, temperature)
    except IntractableError:
        return
    require_close(
        f"natural_parameter of {unit} inverts its mean",
        unit.mean(inverse, temperature),
        mean,
        IDENTITY,
    )
    edges = unit.mean(field, 0.0)
    past = unit.natural_parameter(edges + 1e-15 * edges.sign(), temperature)
    if not bool(torch.isfinite(past).all()):
        raise PropertyViolation(f"natural_parameter of {unit}: not finite at the edge of its means")
