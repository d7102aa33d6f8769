"""Maximum likelihood by expectation–maximization (EM), of whole data and of data with gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from isinglass._support.functions import check_takes
from isinglass._support.typing import Bool, Float
from isinglass._support.validation import (
    check_at_least_zero,
    check_count,
    check_features,
    check_flag,
    check_like,
    check_observed,
    check_rows,
    check_weight,
)
from isinglass.energies.layered.hopfield_boltzmann import HopfieldBoltzmann
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.learning.sufficient_statistics import (
    NO_MASS,
    PseudoCounts,
    SufficientStatistics,
)
from isinglass.units import Unit

__all__ = [
    "EMReport",
    "check_data",
    "components_where",
    "e_step",
    "em_step",
    "expectation_maximization",
    "m_step",
    "write_memories",
]


@dataclass(frozen=True)
class EMReport:
    """Report of a fit by EM.

    Attributes:
        log_likelihood: Mean log p(x_O) of the rows before each step, and after the last, in nats.
        converged: Whether it rose by less than the tolerance in the last step.
        scale: s, what the data are divided by to be states of the machine, ``(d,)``.

    Examples:
        >>> import isinglass as ig
        >>> data = torch.tensor([[1.0, 1, -1], [-1, -1, 1]]).repeat(20, 1)
        >>> machine = ig.HopfieldBoltzmann(ig.Spin(3), memories=2)
        >>> report = expectation_maximization(machine, data, pseudo_count=1.0)
        >>> report.converged, report.log_likelihood[-1] > report.log_likelihood[0]
        (True, True)
    """

    log_likelihood: list[float]
    converged: bool
    scale: Float[Tensor, " d"]


@torch.no_grad()
def e_step(
    machine: HopfieldBoltzmann,
    data: Float[Tensor, "n d"],
    observed: Bool[Tensor, "*mask"] | None = None,
    scale: Float[Tensor, " d"] | None = None,
) -> tuple[Float[Tensor, "n N"], Float[Tensor, " n"]]:
    r"""Computes responsibilities and log-likelihood of what was observed: the E-step.

        T log p(x_O, μ) = k_μ + Σ_{i∈O} (θ_μi v_i − U(v_i) − T log s_i) + Σ_{i∉O} A_T(θ_μi) − V

    with v = x/s and V = T log Z. Missing units are summed out, so nothing is filled in.

    Args:
        machine: One group, one draw.
        data: x, ``(n, d)``; where not observed it may be anything, NaN too.
        observed: O of each row, whole one-hot units; None is everything.
        scale: s, ``(d,)``; 1 for all units that are not Gaussian. None is 1.

    Returns:
        p(μ | x_O), ``(n, N)``, and log p(x_O), ``(n,)``, a density of x for Gaussian units.

    Raises:
        ShapeError: If data or mask are not rows of the right length.
        DomainError: If what was observed is not a state of the visible units.
        IntractableError: If the machine has several groups or draws.

    Examples:
        >>> import isinglass as ig
        >>> machine = ig.HopfieldBoltzmann.from_patterns(ig.Spin(2), 2 * torch.eye(2))
        >>> cue, seen = torch.tensor([[1.0, 0.0]]), torch.tensor([[True, False]])
        >>> responsibilities, log_prob = e_step(machine, cue, seen)
        >>> responsibilities, log_prob.exp()  # a half and σ(4), on average
        (tensor([[0.6626, 0.3374]]), tensor([0.7410]))
    """
    observed = check_data(machine, data, observed)
    states = _states(data, observed, scale)
    machine.visible.check(states, observed)
    return _e_step(machine, states, observed, scale)


@torch.no_grad()
def m_step(
    machine: HopfieldBoltzmann,
    statistics: SufficientStatistics,
    scale: Float[Tensor, " d"] | None = None,
    learn_scale: Bool[Tensor, " d"] | bool = False,
    *,
    learn_beta: bool = False,
    pseudo_count: float | PseudoCounts = 0.0,
    least_scale: float | Float[Tensor, " d"] = 1e-3,
) -> Float[Tensor, " d"]:
    r"""Maximizes the expected log-likelihood over the parameters, in place: the M-step.

        mean of x_i given μ  ←  ⟨r_μ o_i x_i⟩ / ⟨r_μ o_i⟩      each memory moves to its rows
        c_μ = T log π_μ − A_T(x_μ + b),   π_μ ← ⟨r_μ⟩          Gaussian, equal weights: −½|x_μ|²
        s_i² T  ←  Σ_μ ⟨r_μ o_i (x_i − mean_μi)²⟩ / ⟨o_i⟩      one deviation a column, all memories

    Args:
        machine: One group, one draw; changed in place.
        statistics: Of the data, :meth:`SufficientStatistics.of`.
        scale: s as it is, ``(d,)``; None is 1.
        learn_scale: Which components' s to fit, Gaussian ones only; True is all Gaussian ones.
        learn_beta: Whether to fit T = 1/β instead, as one variance of all Gaussian units.
        pseudo_count: How many rows every memory is given, as a share of the rows: at the mean of
            the statistics if a number, else as the :class:`PseudoCounts` say.
        least_scale: The least s to be fitted, one for all or ``(d,)``.

    Returns:
        The new s, ``(d,)``.

    Raises:
        ParameterError: If scale or β is asked for where it cannot be fitted.
        DomainError: If with ``learn_beta`` the data lie on the memories; the machine is then as it
            was.
    """
    scale = torch.ones_like(statistics.origin) if scale is None else scale
    chosen = _scales_to_learn(machine, scale, learn_scale, learn_beta=learn_beta)
    if not isinstance(pseudo_count, PseudoCounts):
        center = statistics.origin + statistics.center()
        pseudo_count = PseudoCounts(pseudo_count, center, torch.full_like(center, torch.inf))
    rows = statistics.with_pseudo_counts(pseudo_count)
    means = torch.where(
        rows.mass > NO_MASS, rows.total / rows.mass.clamp_min(NO_MASS), statistics.center()
    )
    if learn_beta:
        machine.beta = 1 / _variance(statistics, means, scale, _is_gaussian(machine.visible, scale))
    else:
        variance = rows.deviation(means) / rows.mass.sum(0).clamp_min(NO_MASS)
        least = torch.as_tensor(least_scale, dtype=scale.dtype, device=scale.device)
        fitted = (variance / machine.temperature).sqrt().clamp_min(least)
        scale = torch.where(chosen & (statistics.mass.sum(0) > NO_MASS), fitted, scale)
    # A memory without any row stays where it is: it has no mean to move to.
    write_memories(
        machine,
        (means + statistics.origin) / scale,
        rows.weight / rows.weight.sum(),
        moves=(rows.weight > NO_MASS).unsqueeze(-1),
    )
    return scale


def em_step(
    machine: HopfieldBoltzmann,
    data: Float[Tensor, "n d"],
    *,
    pseudo_count: float = 0.0,
    learn_beta: bool = False,
) -> float:
    r"""Takes one step of EM on whole data, an :func:`e_step` and an :func:`m_step`.

        r_nμ = softmax_μ(β(c + Xv_n))                      the responsibilities
        mean of v given μ  ←  Σ_n r_nμ v_n / Σ_n r_nμ      each memory moves to its rows

    Without pseudo-counts the likelihood never falls. As β → ∞ it is k-means.

    Reference: Dempster, Laird & Rubin 1977, doi:10.1111/j.2517-6161.1977.tb01600.x.

    Args:
        machine: One group, one draw; changed in place.
        data: ``(n, d)``, states of the visible units.
        pseudo_count: How many imagined examples in the middle of the data every memory is given
            (:class:`~isinglass.learning.PseudoCounts`); above zero it keeps probabilities of
            discrete units off 0 and 1.
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
    pseudo_count = check_weight("pseudo_count", pseudo_count)
    responsibilities, log_prob = e_step(machine, data)
    statistics = SufficientStatistics.of(
        responsibilities, data, origin=_origin(machine, data, None)
    )
    pseudo = _pseudo_counts(machine, data, None, pseudo_count)
    m_step(machine, statistics, learn_beta=learn_beta, pseudo_count=pseudo)
    return float(log_prob.mean())


@torch.no_grad()
def expectation_maximization(
    machine: HopfieldBoltzmann,
    data: Float[Tensor, "n d"],
    observed: Bool[Tensor, "*mask"] | None = None,
    *,
    scale: Float[Tensor, " d"] | None = None,
    learn_scale: Bool[Tensor, " d"] | bool = False,
    learn_beta: bool = False,
    steps: int = 100,
    tolerance: float = 1e-4,
    pseudo_count: float = 0.0,
    least_scale: float | Float[Tensor, " d"] = 1e-3,
    on_step: Callable[[int, float], None] | None = None,
) -> EMReport:
    r"""Fits a one-group machine by EM, until the likelihood converges.

    Units that are missing are summed out in the E-step, and the M-step averages over rows in which
    a unit was observed; so the fit is maximum likelihood wherever being missing does not depend on
    the missing value itself (missing at random). Each Gaussian unit may have a scale of its own:
    x_i = s_i v_i, so that memories agree on the deviation of a column but columns differ.

    Reference: Dempster, Laird & Rubin 1977, doi:10.1111/j.2517-6161.1977.tb01600.x; Little &
    Rubin 2019, doi:10.1002/9781119482260 (missing at random).

    Args:
        machine: One group, one draw, its memories already seeded; changed in place.
        data: x, ``(n, d)``, states of the visible units; where not observed anything, NaN too.
        observed: True where a unit was observed, ``(n, d)``; whole one-hot units. None is all.
        scale: s to start from, ``(d,)``; None is one.
        learn_scale: Which components' s to fit, Gaussian ones only; True is all Gaussian ones.
        learn_beta: Whether to fit T = 1/β instead; see :func:`em_step`.
        steps: Most steps to take.
        tolerance: Rise of the mean log-likelihood, in nats, below which the fit has converged.
        pseudo_count: How many imagined rows in the middle of the data every memory is given; see
            :func:`em_step`.
        least_scale: The least s to be fitted, one for all or ``(d,)``.
        on_step: Called with the step's number and the mean log-likelihood before it.

    Returns:
        The mean log-likelihood by step, whether it converged, and s.

    Raises:
        ParameterError: If a parameter is out of range, the machine is no
            :class:`~isinglass.HopfieldBoltzmann`, or scale or β cannot be fitted.
        ShapeError: If data or mask are not rows of the right length.
        DomainError: If what was observed is not a state of the visible units, or with
            ``learn_beta`` lies on the memories.
        IntractableError: If the machine has several groups or draws, or units whose mean has no
            closed inverse.

    Examples:
        >>> import isinglass as ig
        >>> from isinglass.learning import seed_memories
        >>> generator = torch.Generator().manual_seed(0)
        >>> data = torch.randn(200, 2, generator=generator) * 0.1 + 3
        >>> machine = ig.HopfieldBoltzmann(ig.Gaussian(2), memories=1, generator=generator)
        >>> seed_memories(machine, data, generator)
        >>> report = expectation_maximization(machine, data, learn_beta=True)
        >>> report.converged, machine.patterns.detach().round()
        (True, tensor([[3., 3.]]))

        With gaps, and a scale for every column:

        >>> data = torch.randn(500, 2, generator=generator) * torch.tensor([0.5, 3.0])
        >>> observed = torch.rand(500, 2, generator=generator) < 0.8
        >>> machine = ig.HopfieldBoltzmann(ig.Gaussian(2), memories=1, generator=generator)
        >>> report = expectation_maximization(machine, data, observed, learn_scale=True)
        >>> report.scale.round(decimals=1)
        tensor([0.5000, 3.2000])
    """
    check_count("steps", steps)
    check_at_least_zero("tolerance", tolerance)
    if on_step is not None:
        check_takes("on_step", on_step, "a step's number", "the mean log-likelihood")
    pseudo_count = check_weight("pseudo_count", pseudo_count)
    observed = check_data(machine, data, observed)
    if not isinstance(learn_scale, Tensor):
        learn_scale = check_flag("learn_scale", learn_scale)
    learn_beta = check_flag("learn_beta", learn_beta)
    scale = torch.ones_like(data[0]) if scale is None else scale
    check_features(scale, data.shape[-1], "a scale")
    if scale.ndim != 1:
        raise ShapeError(f"a scale of shape {tuple(scale.shape)}", "Give one number a column")
    check_like(scale, data, "a scale")
    if not bool((scale.isfinite() & (scale > 0)).all()):
        raise DomainError(f"a scale from {scale.min():g} to {scale.max():g}", "Give s above zero")
    machine.visible.check(_states(data, observed, scale), observed)
    origin = _origin(machine, data, observed)
    pseudo = _pseudo_counts(machine, data, observed, pseudo_count)
    history: list[float] = []
    converged = False
    for step in range(steps):
        responsibilities, log_prob = _e_step(
            machine, _states(data, observed, scale), observed, scale
        )
        history.append(float(log_prob.mean()))
        if on_step is not None:
            on_step(step, history[-1])
        scale = m_step(
            machine, SufficientStatistics.of(responsibilities, data, observed, origin), scale,
            learn_scale, learn_beta=learn_beta, pseudo_count=pseudo,
            least_scale=least_scale,
        )  # fmt: skip
        converged = step > 0 and abs(history[-1] - history[-2]) < tolerance
        if converged:
            break
    _, log_prob = _e_step(machine, _states(data, observed, scale), observed, scale)
    history.append(float(log_prob.mean()))
    # The last M-step may gain more than the one before it: what had converged has.
    return EMReport(history, converged or abs(history[-1] - history[-2]) < tolerance, scale)


def check_data(
    machine: HopfieldBoltzmann, data: Tensor, observed: Tensor | None = None
) -> Tensor | None:
    """Refuses what EM cannot be asked of: other machines, data or masks that are not rows.

    Returns:
        The mask, one flag for every value.

    Raises:
        ParameterError: If the machine is no Hopfield–Boltzmann machine.
        ShapeError: If data or mask have the wrong shape.
        DomainError: If dtype or device are not those of the machine.
        IntractableError: If the machine has several groups or draws.
    """
    if not isinstance(machine, HopfieldBoltzmann):
        raise ParameterError(f"a {type(machine).__name__}", "EM is for HopfieldBoltzmann machines")
    check_rows(data)
    machine.mixture()
    check_like(data, machine.patterns)
    return None if observed is None else check_observed(observed, data)


def write_memories(
    machine: HopfieldBoltzmann, means: Tensor, weights: Tensor, *, moves: Tensor | None = None
) -> None:
    """Sets every memory to a mean and a weight; one that does not move keeps its pattern."""
    unit, temperature = machine.visible, machine.temperature
    fields = unit.natural_parameter(means, temperature)
    if moves is not None:
        fields = torch.where(moves, fields, machine.patterns + machine.visible_bias)
    machine.patterns.copy_(fields - machine.visible_bias)
    log_weights = weights.clamp_min(torch.finfo(weights.dtype).tiny).log()
    machine.memory_bias.copy_(temperature * log_weights - unit.log_partition(fields, temperature))


def components_where(unit: Unit, like: Tensor, holds: Callable[[Unit], bool]) -> Tensor:
    """Returns which components are of a kind that this holds for, ``(d,)``."""
    flags = [torch.full((part.size,), holds(part), device=like.device) for part in unit.parts]
    return torch.cat(flags)


def _e_step(
    machine: HopfieldBoltzmann, states: Tensor, observed: Tensor | None, scale: Tensor | None
) -> tuple[Tensor, Tensor]:
    """As :func:`e_step`, for states that have been checked."""
    mixture, unit = machine.mixture(), machine.visible
    temperature = mixture.temperature
    overlap = mixture.keys + linear(states, mixture.fields)
    if observed is not None:
        shares = unit.log_partition_per_component(mixture.fields, temperature)
        overlap = overlap + linear((~observed).to(states), shares)
    joint = overlap / temperature
    score = temperature * joint.logsumexp(-1) - unit.base_measure_energy(states, temperature)
    log_prob = (score - mixture.value()) / temperature
    if scale is not None:
        seen = torch.ones_like(states) if observed is None else observed.to(states)
        log_prob = log_prob - seen @ scale.log()
    return torch.softmax(joint, -1), log_prob


def _states(data: Tensor, observed: Tensor | None, scale: Tensor | None) -> Tensor:
    """States of the machine, v = x/s; zero where nothing was observed."""
    seen = data if observed is None else torch.where(observed, data, 0.0)
    return seen if scale is None else seen / scale


def _origin(machine: HopfieldBoltzmann, data: Tensor, observed: Tensor | None) -> Tensor:
    """The mean of Gaussian columns. Others are 0 or ±1, exact only about zero."""
    if observed is None:
        mean = data.mean(0)
    else:
        mean = torch.where(observed, data, 0.0).sum(0) / observed.sum(0).clamp_min(1)
    return torch.where(_is_gaussian(machine.visible, data), mean, 0.0)


def _pseudo_counts(
    machine: HopfieldBoltzmann, data: Tensor, observed: Tensor | None, count: float
) -> PseudoCounts:
    gaussian = _is_gaussian(machine.visible, data)
    return PseudoCounts.of(data, observed, gaussian, count / len(data))


def _is_gaussian(unit: Unit, like: Tensor) -> Tensor:
    return components_where(unit, like, lambda part: part.is_gaussian)


def _scales_to_learn(
    machine: HopfieldBoltzmann, scale: Tensor, learn: Tensor | bool, *, learn_beta: bool
) -> Tensor:
    """Which components' scale is to be fitted, ``(d,)``."""
    gaussian = _is_gaussian(machine.visible, scale)
    if isinstance(learn, Tensor):
        learn = check_observed(learn, scale)
    chosen = (gaussian & learn) if isinstance(learn, bool) else learn
    if bool((chosen & ~gaussian).any()) or (learn is True and not bool(gaussian.any())):
        raise ParameterError(
            f"learn_scale with {machine.visible}", "Only Gaussian units have a scale: leave it"
        )
    if learn_beta and not bool(gaussian.any()):
        raise ParameterError(
            f"learn_beta with {machine.visible}",
            "Their temperature only rescales the memories: leave beta fixed",
        )
    if learn_beta and bool(chosen.any()):
        raise ParameterError(
            "learn_beta and learn_scale, which both are the deviation of Gaussian units",
            "Fit one scale a column (learn_scale) or one for all (learn_beta)",
        )
    return chosen


def _variance(
    statistics: SufficientStatistics, means: Tensor, scale: Tensor, chosen: Tensor
) -> float:
    """Mean square distance of the states from their memories, a unit."""
    volume = scale[chosen].square()
    mass = statistics.mass.sum(0)[chosen].sum()
    variance = float((statistics.deviation(means)[chosen] / volume).sum() / mass)
    floor = 16 * torch.finfo(means.dtype).eps
    floor = floor * float((statistics.square[chosen] / volume).sum() / mass)
    if not variance > floor:
        raise DomainError(
            f"a variance of {variance:.3g} about the memories: the data lie on them",
            "Ask for fewer memories, or leave beta fixed",
        )
    return variance
