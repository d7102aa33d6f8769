"""Maximum likelihood where some of the data are missing: EM on what was observed, exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass._support.validation import check_at_least_zero, check_count, check_like, check_rows
from isinglass.energies.layered.hopfield_boltzmann import HopfieldBoltzmann
from isinglass.errors import ParameterError, ShapeError
from isinglass.learning.em import EMReport, spread_out, write_memories

__all__ = [
    "ObservedReport",
    "Reading",
    "e_step",
    "fit_observed",
    "m_step",
    "seed_observed",
]

#: Memories that less than this share of a row reminds of a unit take the mean of all rows.
REMINDED = 1e-12


@dataclass(frozen=True)
class Reading:
    r"""What data say of each memory, a row on average: the expected statistics of EM.

    Attributes:
        weight: ⟨r_μ⟩, ``(N,)``.
        mass: ⟨r_μ o_i⟩, ``(N, d)``, with o_i = 1 where unit i was observed.
        total: ⟨r_μ o_i x_i⟩, ``(N, d)``.
        square: ⟨o_i x_i²⟩, ``(d,)``.
    """

    weight: Float[Tensor, " N"]
    mass: Float[Tensor, "N d"]
    total: Float[Tensor, "N d"]
    square: Float[Tensor, " d"]

    @classmethod
    def of(
        cls, reads: Float[Tensor, "n N"], data: Float[Tensor, "n d"], observed: Bool[Tensor, "n d"]
    ) -> Reading:
        """The statistics of data of which row n reminds of memory μ with probability r_nμ."""
        seen = torch.where(observed, data, 0.0)
        share = reads.mT / len(data)
        return cls(share.sum(-1), share @ observed.to(data), share @ seen, seen.square().mean(0))

    def toward(self, other: Reading, rate: float) -> Reading:
        """(1 − rate) · this + rate · other: a step of stepwise EM."""
        return Reading(
            *(
                torch.lerp(mine, theirs, rate)
                for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)
            )
        )


@dataclass(frozen=True)
class ObservedReport(EMReport):
    """How a fit to what was observed went.

    Attributes:
        log_likelihood: Mean log p(x_O) of the rows before each step, and after the last, in nats.
        converged: Whether it rose by less than the tolerance in the last step.
        scale: s, what the data are divided by to be states of the machine, ``(d,)``.
    """

    scale: Float[Tensor, " d"]


@torch.no_grad()
def e_step(
    machine: HopfieldBoltzmann,
    data: Float[Tensor, "n d"],
    observed: Bool[Tensor, "n d"],
    scale: Float[Tensor, " d"],
) -> tuple[Float[Tensor, "n N"], Float[Tensor, " n"]]:
    r"""The E-step on what was observed: what it reminds of, and how likely it is.

        T log p(x_O, μ) = k_μ + Σ_{i∈O} (θ_μi v_i − U(v_i) − T log s_i) + Σ_{i∉O} A_T(θ_μi) − V

    with v = x/s and V = T log Z. Missing units are summed out, so nothing is filled in.

    Args:
        machine: One group, one draw.
        data: x, ``(n, d)``; zero where not observed.
        observed: O of each row, whole one-hot units.
        scale: s, ``(d,)``; 1 for all units that are not Gaussian.

    Returns:
        p(μ | x_O), ``(n, N)``, and log p(x_O), ``(n,)``, a density of x for Gaussian units.

    Raises:
        ShapeError: If the data are not rows of the right length.
        DomainError: If what was observed is not a state of the visible units.
        IntractableError: If the machine has several groups or draws.

    Examples:
        >>> import isinglass as ig
        >>> machine = ig.HopfieldBoltzmann.from_patterns(ig.Spin(2), 2 * torch.eye(2))
        >>> cue, seen = torch.tensor([[1.0, 0.0]]), torch.tensor([[True, False]])
        >>> reads, log_prob = e_step(machine, cue, seen, torch.ones(2))
        >>> reads, log_prob.exp()  # a half and σ(4), on average
        (tensor([[0.6626, 0.3374]]), tensor([0.7410]))
    """
    _check(machine, data, observed)
    states = torch.where(observed, data, 0.0) / scale
    machine.visible.check(states, observed)
    mixture = machine.mixture()
    temperature = mixture.temperature
    shares = machine.visible.log_partition_per_component(mixture.fields, temperature)
    reach = mixture.keys + states @ mixture.fields.mT + (~observed).to(data) @ shares.mT
    joint = reach / temperature
    base = machine.visible.base_measure_energy(states, temperature) + mixture.value()
    volume = observed.to(data) @ scale.log()
    return torch.softmax(joint, -1), joint.logsumexp(-1) - base / temperature - volume


@torch.no_grad()
def m_step(
    machine: HopfieldBoltzmann,
    reading: Reading,
    scale: Float[Tensor, " d"],
    learn_scale: Bool[Tensor, " d"],
    *,
    pseudo_count: float = 0.0,
    least_scale: float = 1e-3,
) -> Float[Tensor, " d"]:
    r"""The M-step on what was observed: every memory moves to what reminds it.

        mean of x_i given μ  ←  ⟨r_μ o_i x_i⟩ / ⟨r_μ o_i⟩,     π_μ ← ⟨r_μ⟩
        s_i² T  ←  Σ_μ ⟨r_μ o_i (x_i − mean_μi)²⟩ / ⟨o_i⟩      one spread a column, all memories

    Args:
        machine: One group, one draw; changed in place.
        reading: The expected statistics, :meth:`Reading.of`.
        scale: s as it is, ``(d,)``.
        learn_scale: Which components' s to learn; only of Gaussian units.
        pseudo_count: How many rows at the data's mean every memory is given, as a share of rows.
        least_scale: The least s to be learned.

    Returns:
        The new s, ``(d,)``.
    """
    mass = reading.mass + pseudo_count
    center = reading.total.sum(0) / reading.mass.sum(0).clamp_min(REMINDED)
    total = reading.total + pseudo_count * center
    means = torch.where(mass > REMINDED, total / mass.clamp_min(REMINDED), center)
    square = reading.square + len(mass) * pseudo_count * center.square()
    variance = (square - (means * total).sum(0)) / mass.sum(0).clamp_min(REMINDED)
    spread = (variance.clamp_min(0) / machine.temperature).sqrt().clamp_min(least_scale)
    scale = torch.where(learn_scale & (reading.mass.sum(0) > REMINDED), spread, scale)
    weight = reading.weight + pseudo_count
    write_memories(machine, means / scale, weight / weight.sum())
    return scale


@torch.no_grad()
def seed_observed(
    machine: HopfieldBoltzmann,
    data: Float[Tensor, "n d"],
    observed: Bool[Tensor, "n d"],
    learn_scale: Bool[Tensor, " d"] | None = None,
    generator: Generator | None = None,
) -> Float[Tensor, " d"]:
    """Give every memory the mean of the rows nearest to an example that k-means++ chose.

    Missing units take their column's mean while distances are measured, and only then.

    Reference: Arthur & Vassilvitskii 2007.

    Args:
        machine: One group, one draw; changed in place.
        data: ``(n, d)``, numbers on one scale.
        observed: Which of them are given.
        learn_scale: Which components' scale to learn; None is no one's.
        generator: Source of randomness; None is torch's global one.

    Returns:
        s, ``(d,)``, ones where it is not learned.

    Raises:
        ShapeError: If there are fewer rows than memories.
    """
    _check(machine, data, observed)
    if len(data) < machine.memories:
        raise ShapeError(
            f"{len(data)} rows for {machine.memories} memories",
            "Give more rows, or ask for fewer memories",
        )  # fmt: skip
    seen = torch.where(observed, data, 0.0)
    center = seen.sum(0) / observed.sum(0).clamp_min(1)
    filled = torch.where(observed, data, center)
    seeds = filled[spread_out(filled, machine.memories, generator)]
    # |x − y|² but for what all seeds share.
    distance = seeds.square().sum(-1) - 2 * filled @ seeds.mT
    nearest = distance.argmin(-1, keepdim=True)
    reads = torch.zeros_like(distance).scatter_(-1, nearest, 1.0)
    # One row at the mean for each memory keeps probabilities off 0 and 1, where EM never leaves.
    return m_step(
        machine,
        Reading.of(reads, data, observed),
        torch.ones_like(center),
        _nowhere(center) if learn_scale is None else learn_scale,
        pseudo_count=1 / len(data),
    )


def fit_observed(
    machine: HopfieldBoltzmann,
    data: Float[Tensor, "n d"],
    observed: Bool[Tensor, "*mask"],
    *,
    scale: Float[Tensor, " d"] | None = None,
    learn_scale: Bool[Tensor, " d"] | None = None,
    steps: int = 100,
    tolerance: float = 1e-4,
    pseudo_count: float = 0.0,
    least_scale: float = 1e-3,
    on_step: Callable[[int, float], None] | None = None,
) -> ObservedReport:
    r"""Fit a one-group machine by EM to the observed part of the data, until its likelihood rests.

    What is missing is summed out in the E-step, and the M-step averages over rows in which a unit
    was observed; so the fit is maximum likelihood wherever being missing does not depend on the
    missing value itself (missing at random). Each Gaussian unit may have a scale of its own:
    x_i = s_i v_i, so that memories agree on the spread of a column but columns differ.

    Reference: Dempster, Laird & Rubin 1977, doi:10.1111/j.2517-6161.1977.tb01600.x; Little &
    Rubin 2019, doi:10.1002/9781119482260 (missing at random).

    Args:
        machine: One group, one draw, its memories already seeded; changed in place.
        data: x, ``(n, d)``; where not observed it may be anything finite.
        observed: True where a unit was observed, ``(n, d)``; whole one-hot units.
        scale: s to start from, ``(d,)``; None is one.
        learn_scale: Which components' s to learn; only of Gaussian units. None is no one's.
        steps: Most steps to take.
        tolerance: Rise of the mean log-likelihood, in nats, below which the fit rests.
        pseudo_count: How many imagined rows at the data's mean every memory is given.
        least_scale: The least s to be learned.
        on_step: Called with the step's number and the mean log-likelihood.

    Returns:
        The track of the mean log-likelihood, whether it came to rest, and s.

    Raises:
        ParameterError: If a parameter is out of range, or the machine is no
            :class:`~isinglass.HopfieldBoltzmann`.
        ShapeError: If data or mask are not rows of the right length.
        DomainError: If what was observed is not a state of the visible units.
        IntractableError: If the machine has several groups or draws.

    Examples:
        >>> import isinglass as ig
        >>> generator = torch.Generator().manual_seed(0)
        >>> data = torch.randn(500, 2, generator=generator) * torch.tensor([0.5, 3.0])
        >>> observed = torch.rand(500, 2, generator=generator) < 0.8
        >>> machine = ig.HopfieldBoltzmann(ig.Gaussian(2), memories=1, generator=generator)
        >>> report = fit_observed(machine, data, observed, learn_scale=torch.tensor([True, True]))
        >>> report.scale.round(decimals=1)
        tensor([0.5000, 3.1000])
    """
    check_count("steps", steps)
    check_at_least_zero("tolerance", tolerance)
    check_at_least_zero("pseudo_count", pseudo_count)
    _check(machine, data, observed)
    scale = torch.ones_like(data[0]) if scale is None else scale
    learn_scale = _nowhere(scale) if learn_scale is None else learn_scale
    history: list[float] = []
    for step in range(steps):
        reads, log_prob = e_step(machine, data, observed, scale)
        history.append(float(log_prob.mean()))
        if on_step is not None:
            on_step(step, history[-1])
        if step and abs(history[-1] - history[-2]) < tolerance:
            break
        scale = m_step(
            machine, Reading.of(reads, data, observed), scale, learn_scale,
            pseudo_count=pseudo_count / len(data), least_scale=least_scale,
        )  # fmt: skip
    else:
        history.append(float(e_step(machine, data, observed, scale)[1].mean()))
    return ObservedReport(
        history, len(history) > 1 and abs(history[-1] - history[-2]) < tolerance, scale
    )


def _check(machine: HopfieldBoltzmann, data: Tensor, observed: Tensor) -> None:
    if not isinstance(machine, HopfieldBoltzmann):
        raise ParameterError(f"a {type(machine).__name__}", "EM is for HopfieldBoltzmann machines")
    check_rows(data)
    check_like(data, machine.patterns)
    if observed.dtype != torch.bool or observed.shape != data.shape:
        raise ShapeError(
            f"data of shape {tuple(data.shape)}, a mask of shape {tuple(observed.shape)} and "
            f"dtype {observed.dtype}",
            "Give one boolean for each value, True where it was observed",
        )


def _nowhere(like: Tensor) -> Tensor:
    return torch.zeros_like(like, dtype=torch.bool)
