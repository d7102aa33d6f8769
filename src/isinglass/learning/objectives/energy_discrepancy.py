"""Energy discrepancy: learn from noisy neighbors of the data, without chains, scores or log Z."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isinglass._support.random import source
from isinglass._support.typing import Float
from isinglass._support.validation import (
    check_at_least_zero,
    check_count,
    check_positive,
    check_rows,
)
from isinglass.core.capabilities import as_trainable
from isinglass.core.energy import Energy
from isinglass.dynamics.kernels._gradient import LINE, normal_like
from isinglass.errors import IntractableError, ParameterError
from isinglass.learning.objectives.base import Objective
from isinglass.units import Unit

__all__ = ["EnergyDiscrepancy"]


@dataclass(frozen=True)
class EnergyDiscrepancy(Objective):
    r"""Tell each example from noisy neighbors of its own: D = ⟨F(v)/T − U(ṽ)⟩.

    with ṽ drawn from a symmetric noise q around v, and U the energy that the noise leaves,

        U(ṽ) = −log ⟨exp(−F(v')/T)⟩,  v' ~ q(·|ṽ)

    which M such v' estimate:

        D ≈ ⟨log(w/M + (1/M) Σ_j exp((F(v) − F(v_j))/T))⟩

    For any size of noise D is least where exp(−F/T) is the distribution of the data, not smoothed
    as by :class:`DenoisingScoreMatching`. Small noise makes it score matching, large noise the
    likelihood, with log Z from M points at random. Of M + 1 free energies no gradient in v is
    taken. With w = 0 one neighbor of far lower energy has all of the gradient; w = 1 holds that
    back.

    Real units are noised by N(0, σ²). Of discrete ones each is drawn anew, evenly among its
    states, with probability ``noise``.

    Reference: Schröder et al. 2023, arXiv:2307.06431; of discrete units Schröder et al. 2024,
    arXiv:2412.01019.

    Args:
        noise: σ > 0 of real units, in units of the data; of discrete ones the share that is drawn
            anew, above 0 and at most 1.
        neighbors: M, how many v' of each example.
        stabilizer: w ≥ 0.

    Raises:
        ParameterError: If a number is out of its range.

    Examples:
        >>> import isinglass as ig
        >>> energy = ig.DeepEnergy(torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.SiLU(),
        ...                                            torch.nn.Linear(8, 1)), 2)
        >>> data = torch.randn(50, 2)
        >>> loss, _ = EnergyDiscrepancy(0.5, neighbors=8).loss(energy, data, {})
        >>> loss.backward()
    """

    noise: float
    neighbors: int = 32
    stabilizer: float = 1.0

    def __post_init__(self) -> None:
        check_positive("noise", self.noise)
        check_count("neighbors", self.neighbors)
        check_at_least_zero("stabilizer", self.stabilizer)

    def loss(
        self,
        energy: Energy,
        batch: Float[Tensor, "batch d"],
        memory: dict[str, Tensor],
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Computes D, noise drawn anew; nothing is remembered.

        Raises:
            IntractableError: If visible units are bounded reals, or F is not known.
            ParameterError: If more than all discrete units are to be drawn anew.
            ShapeError: If the batch is not rows.
            DomainError: If it is not made of states of the energy.
        """
        check_rows(batch)
        view = as_trainable(energy)
        free = view.free_energy(batch)
        noisy = self._noised(energy, batch, generator)
        near = self._noised(energy, noisy.repeat_interleave(self.neighbors, 0), generator)
        others = view.free_energy(near).unflatten(0, (len(batch), -1))
        gaps = (free[:, None] - others) / energy.temperature
        if self.stabilizer > 0:
            held = gaps.new_full((len(batch), 1), math.log(self.stabilizer))
            gaps = torch.cat([held, gaps], -1)
        return (torch.logsumexp(gaps, -1) - math.log(self.neighbors)).mean(), memory

    @torch.no_grad()
    def _noised(self, energy: Energy, state: Tensor, generator: Generator | None) -> Tensor:
        """Draws from the noise around each row, layer by layer."""
        parts: tuple[Unit, ...] = energy.layers[0].parts if energy.layers else ()
        if not parts:
            return self._shaken(state, generator)
        sizes = [part.size for part in parts]
        return torch.cat(
            [
                self._redrawn(part, rows, energy.temperature, generator)
                if part.support is None
                else self._shaken(_real(part, rows), generator)
                for part, rows in zip(parts, state.split(sizes, -1), strict=True)
            ],
            -1,
        )

    def _shaken(self, state: Tensor, generator: Generator | None) -> Tensor:
        return state + self.noise * normal_like(state, generator)

    def _redrawn(
        self, unit: Unit, state: Tensor, temperature: float, generator: Generator | None
    ) -> Tensor:
        """Each unit drawn anew with probability ``noise``, evenly."""
        if self.noise > 1:
            raise ParameterError(
                f"noise = {self.noise} of discrete units", "Give a share of them, up to 1"
            )
        kinds = unit.with_count(1).enumerate_states(temperature).to(state)
        units = state.unflatten(-1, (unit.count, -1))
        shape = units.shape[:-1]
        anew = torch.rand(shape, device=state.device, **source(generator)) < self.noise
        drawn = torch.randint(len(kinds), shape, device=state.device, **source(generator))
        return torch.where(anew.unsqueeze(-1), kinds[drawn], units).flatten(-2)


def _real(unit: Unit, state: Tensor) -> Tensor:
    if unit.support != LINE:
        raise IntractableError(
            f"{unit} is made of reals that are bounded, and noise would leave them",
            "Learn by PersistentCD()",
        )
    return state
