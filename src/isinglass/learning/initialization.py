"""Where learning starts: memories near examples, biases at the means of the data."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass._support.validation import check_generator, check_rows
from isinglass.energies.layered.harmonium import Harmonium
from isinglass.energies.layered.hopfield_boltzmann import HopfieldBoltzmann
from isinglass.errors import ShapeError
from isinglass.learning.em import (
    check_data,
    components_where,
    m_step,
    write_memories,
)
from isinglass.learning.sufficient_statistics import PseudoCounts, SufficientStatistics

__all__ = ["seed_biases", "seed_cluster_means", "seed_memories"]


@torch.no_grad()
def seed_memories(
    machine: HopfieldBoltzmann, data: Float[Tensor, "n d"], generator: Generator | None = None
) -> None:
    """Starts every memory near an example, the examples spread out by k-means++.

    Each example is chosen with probability proportional to its squared distance from the nearest
    one chosen before; each memory starts halfway between its example and
    the middle of the data: the median of Gaussian units, the mean of others.

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
    check_generator(generator)
    check_data(machine, data)
    machine.visible.check(data)
    _check_enough(machine, data, "examples")
    chosen = _spread_out(data, machine.memories, generator)
    uniform = data.new_full((machine.memories,), 1 / machine.memories)
    write_memories(machine, (data[chosen] + _center(machine, data)) / 2, uniform)


@torch.no_grad()
def seed_cluster_means(
    machine: HopfieldBoltzmann,
    data: Float[Tensor, "n d"],
    observed: Bool[Tensor, "*mask"] | None = None,
    learn_scale: Bool[Tensor, " d"] | bool = False,
    generator: Generator | None = None,
) -> Float[Tensor, " d"]:
    """Starts every memory at the mean of the rows nearest to an example of k-means++.

    Missing units take their column's median (mean if not Gaussian) while distances are measured,
    and only then.

    Reference: Arthur & Vassilvitskii 2007.

    Args:
        machine: One group, one draw; changed in place.
        data: ``(n, d)``, numbers on one scale; where not observed anything, NaN too.
        observed: Which of them are given; None is all.
        learn_scale: Which components' scale to fit; see
            :func:`~isinglass.learning.expectation_maximization`.
        generator: Source of randomness; None is torch's global one.

    Returns:
        s, ``(d,)``, ones where it is not fitted.

    Raises:
        ShapeError: If data or mask are not rows, or there are fewer rows than memories.
        DomainError: If what was observed is not a state of the visible units.
        IntractableError: If the machine has several groups or draws, or units whose mean has no
            closed inverse.

    Examples:
        >>> import isinglass as ig
        >>> data = torch.tensor([[0.0], [1.0], [8.0], [9.0]])
        >>> machine = ig.HopfieldBoltzmann(ig.Gaussian(1), memories=2)
        >>> scale = seed_cluster_means(machine, data, generator=torch.Generator().manual_seed(0))
        >>> scale, machine.patterns.detach().sort(0).values  # with not quite one row at 4½ each
        (tensor([1.]), tensor([[1.7580],
                [7.2420]]))
    """
    check_generator(generator)
    observed = check_data(machine, data, observed)
    machine.visible.check(data, observed)
    _check_enough(machine, data, "rows")
    # One row in the middle for each memory keeps probabilities off 0 and 1, where EM never leaves.
    gaussian = components_where(machine.visible, data, lambda part: part.is_gaussian)
    pseudo = PseudoCounts.of(data, observed, gaussian, share=1 / len(data))
    filled = data if observed is None else torch.where(observed, data, pseudo.center)
    seeds = filled[_spread_out(filled, machine.memories, generator)]
    # |x − y|² but for what all seeds share.
    distance = seeds.square().sum(-1) - 2 * filled @ seeds.mT
    nearest = distance.argmin(-1, keepdim=True)
    responsibilities = torch.zeros_like(distance).scatter_(-1, nearest, 1.0)
    return m_step(
        machine,
        SufficientStatistics.of(responsibilities, data, observed),
        learn_scale=learn_scale,
        pseudo_count=pseudo,
    )


@torch.no_grad()
def seed_biases(machine: Harmonium, data: Float[Tensor, "n d"]) -> None:
    """Starts biases b where visible units have the data's means and hidden ones feel no field.

    The visible biases are the fields of the means (of the data and one example in the middle,
    which keeps them off their edges), the hidden ones −W times the means: a good place to learn
    images from, whose dark edges need not be learned any more.

    Reference: Hinton 2012, doi:10.1007/978-3-642-35289-8_32, section 8; Melchior et al. 2016.

    Args:
        machine: Changed in place.
        data: ``(n, d)``, states of the visible units.

    Raises:
        ShapeError: If the data are not rows, or have the wrong number of features.
        DomainError: If they are not states of the visible units.
        IntractableError: If the mean of the visible units has no closed-form inverse.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Bernoulli(2), ig.Bernoulli(1))
        >>> seed_biases(rbm, torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        >>> rbm.biases[0].detach()  # log(2.5/0.5), and 0 for what is on half the time
        tensor([1.6094, 0.0000])
    """
    check_rows(data)
    machine.check_visible(data)
    unit, temperature = machine.visible, machine.temperature
    middle = unit.mean(torch.zeros_like(data[0]), temperature)
    mean = (data.sum(0) + middle) / (len(data) + 1)
    machine.biases[0].copy_(unit.natural_parameter(mean, temperature))
    for bias in machine.biases[1:]:
        bias.zero_()
    state = machine.extend(mean.unsqueeze(0))
    for index in range(1, len(machine.layers)):
        machine.biases[index].sub_(machine.conditional_field(state, index)[0])


def _check_enough(machine: HopfieldBoltzmann, data: Tensor, noun: str) -> None:
    if len(data) < machine.memories:
        raise ShapeError(
            f"{len(data)} {noun} for {machine.memories} memories",
            f"Give more {noun}, or ask for fewer memories",
        )


def _spread_out(data: Tensor, count: int, generator: Generator | None) -> Tensor:
    """Which examples greedy k-means++ starts from, ``(count,)``.

    Of a few candidates each the one stays that leaves the least to the nearest: one draw alone puts
    two starts into one of three plain clusters about one time in fifteen.
    """
    chosen = torch.randint(len(data), (1,), device=data.device, generator=generator)
    moved = data - data[chosen]  # or large numbers that all rows share would cost digits below
    distance = norms = moved.square().sum(-1)
    candidates = 2 + int(math.log(count))
    for _ in range(count - 1):
        weights = torch.where(distance > 0, distance, torch.finfo(data.dtype).tiny)
        drawn = torch.multinomial(weights, candidates, replacement=True, generator=generator)
        apart = norms.unsqueeze(-1) + norms[drawn] - 2 * moved @ moved[drawn].mT
        left = apart.clamp_min(0.0).minimum(distance.unsqueeze(-1))
        best = left.sum(0).argmin()
        chosen, distance = torch.cat([chosen, drawn[best : best + 1]]), left[:, best]
        distance[chosen[-1]] = 0.0  # whatever rounding has left
    return chosen


def _center(machine: HopfieldBoltzmann, data: Tensor) -> Tensor:
    """The middle of the data, a little off the edges that bounded units cannot reach."""
    gaussian = components_where(machine.visible, data, lambda part: part.is_gaussian)
    mean = PseudoCounts.of(data, None, gaussian, share=1.0).center
    middle = machine.visible.mean(torch.zeros_like(mean), machine.temperature)
    bounded = components_where(machine.visible, data, lambda part: part.bounded)
    return torch.where(bounded, (len(data) * mean + middle) / (len(data) + 1), mean)
