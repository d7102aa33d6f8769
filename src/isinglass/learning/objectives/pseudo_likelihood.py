"""Pseudo-likelihood: every unit given all others, which needs no partition function."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_count, check_generator, check_rows
from isinglass.core.capabilities import as_trainable
from isinglass.core.energy import Energy, check_energy
from isinglass.errors import IntractableError, ParameterError
from isinglass.learning.objectives.base import Objective
from isinglass.units import Unit

__all__ = ["PseudoLikelihood", "pseudo_log_likelihood"]


@dataclass(frozen=True)
class PseudoLikelihood(Objective):
    r"""−Σ_i log p(v_i | all others), of discrete visible units; hidden ones are summed out.

        log p(v_i | v_∖i) = −F(v)/T − log Σ_s exp(−F(v with v_i = s)/T)

    Nothing is sampled and log Z cancels, so this is exact for what it is: consistent, as the
    likelihood is, but less efficient where units depend on each other strongly. It costs one
    free energy for every state of every unit; ``sites`` draws some units a row instead, which
    leaves the gradient right in expectation.

    Reference: Besag 1975, doi:10.2307/2987782.

    Args:
        sites: How many units of each row are looked at, drawn afresh; None is all.

    Raises:
        ParameterError: If ``sites`` is not a whole number of at least one.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Bernoulli(4), ig.Bernoulli(2))
        >>> loss, _ = PseudoLikelihood(sites=2).loss(rbm, torch.ones(8, 4), {})
        >>> loss.backward()
    """

    sites: int | None = None

    def __post_init__(self) -> None:
        if self.sites is not None:
            check_count("sites", self.sites)

    def loss(
        self,
        energy: Energy,
        batch: Float[Tensor, "batch d"],
        memory: dict[str, Tensor],
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Computes the mean negative pseudo-log-likelihood of a row.

        Raises:
            IntractableError: If a visible unit has infinitely many states, or the energy is not
                one of units.
            ParameterError: If there are fewer units than ``sites``.
        """
        units = _visible(energy).count
        if self.sites is not None and self.sites > units:
            raise ParameterError(
                f"sites = {self.sites} of {units} units",
                f"Give at most {units}, or None for all",
            )  # fmt: skip
        found = pseudo_log_likelihood(energy, batch, sites=self.sites, generator=generator)
        return -found.mean(), memory


def pseudo_log_likelihood(
    energy: Energy,
    visible: Float[Tensor, "batch d"],
    *,
    sites: int | None = None,
    generator: Generator | None = None,
) -> Float[Tensor, " batch"]:
    """Computes Σ_i log p(v_i | all others) of each row, in nats.

    Reference: Besag 1975, doi:10.2307/2987782.

    Args:
        energy: An energy of discrete visible units, whose free energy is known.
        visible: ``(batch, d)``.
        sites: How many units of each row are looked at, at most, and stand for all; None is all.
        generator: Chooses them; None is torch's global one.

    Raises:
        IntractableError: If a visible unit has infinitely many states, the energy is not one of
            units, or its hidden units cannot be summed out.
        DomainError: If the rows are not states of the visible units.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Bernoulli(4), ig.Bernoulli(2), scale=0.0)
        >>> bits = pseudo_log_likelihood(rbm, torch.ones(1, 4)) / torch.log(torch.tensor(2.0))
        >>> bits.detach().round(decimals=4)
        tensor([-4.])
    """
    check_generator(generator)
    check_energy(energy)
    if sites is not None:
        check_count("sites", sites)
    check_rows(visible)
    temperature = energy.temperature
    here = -as_trainable(energy).free_energy(visible) / temperature
    total = torch.zeros_like(here)
    first, kinds = 0, _visible(energy).parts
    for kind in kinds:
        columns = slice(first, first + kind.size)
        first += kind.size
        share = None if sites is None else max(1, round(sites * kind.size / visible.shape[-1]))
        states, scale = _alternatives(energy, kind, visible[:, columns], share, generator)
        rows = visible[:, None, None].expand(*states.shape[:-1], -1).clone()
        rows[..., columns] = states
        others = -as_trainable(energy).free_energy(rows.flatten(0, -2)) / temperature
        others = others.unflatten(0, states.shape[:-1])
        total = total + scale * (here.unsqueeze(-1) - torch.logsumexp(others, -1)).sum(-1)
    return total


def _alternatives(
    energy: Energy, kind: Unit, state: Tensor, sites: int | None, generator: Generator | None
) -> tuple[Float[Tensor, "batch sites states size"], float]:
    """The states of a layer that differ from these in one unit at most, unit by unit.

    Also how many units each of those looked at stands for.
    """
    one = kind.with_count(1).enumerate_states(energy.temperature).to(state)
    count = state.shape[-1] // one.shape[-1]
    sites = count if sites is None else min(sites, count)
    chosen = torch.arange(count, device=state.device).expand(len(state), count)
    if sites < count:
        uniform = torch.rand(chosen.shape, device=state.device, generator=generator)
        chosen = uniform.topk(sites).indices
    at_site = torch.nn.functional.one_hot(chosen, count).bool()[:, :, None, :, None]
    units = state.unflatten(-1, (count, -1))[:, None, None]
    return torch.where(at_site, one[:, None, :], units).flatten(-2), count / sites


def _visible(energy: Energy) -> Unit:
    """The visible units.

    Raises:
        IntractableError: If the energy does not say.
    """
    if not energy.layers:
        raise IntractableError(
            f"{type(energy).__name__} is no energy of units of known kinds",
            "Use score matching for real states",
        )
    return energy.layers[0]
