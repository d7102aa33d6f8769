"""Cluster updates: spins that agree are joined by chance, and clusters turn over as a whole."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Generator, Tensor

from isinglass._support.random import source
from isinglass.core.energy import Energy
from isinglass.core.kernel import Memoryless
from isinglass.dynamics._clusters import components
from isinglass.dynamics._spin_walkers import SpinPairs
from isinglass.errors import IntractableError

__all__ = ["SwendsenWang"]


class SwendsenWang(Memoryless):
    r"""Join spins that their coupling holds together, and turn every cluster over by a coin.

    Two spins whose coupling is satisfied are joined with probability

        p = 1 − exp(−2 J_ij σ_i σ_j / T)      J_ij σ_i σ_j > 0

    A field is a coupling to one more spin, the ghost, which stays as it is: so does the cluster
    that is joined to it. Bits are spins at half the distance. Near the critical point of a
    ferromagnet whole domains turn over in a step, where single spins would take thousands of
    sweeps. In a spin glass the step is as exact and of no use: clusters fill the whole system
    long before it is cold.

    Reference: Swendsen & Wang 1987, doi:10.1103/PhysRevLett.58.86; Fortuin & Kasteleyn 1972,
    doi:10.1016/0031-8914(72)90045-6.

    Examples:
        >>> import isinglass as ig
        >>> ising = ig.BoltzmannMachine.ising(16, 16)
        >>> generator = torch.Generator().manual_seed(0)
        >>> chains = ig.run(
        ...     ig.SwendsenWang(), ising, torch.ones(100, 256), steps=10, temperature=2.27,
        ...     generator=generator,
        ... )
        >>> share = (chains.sum(-1) > 0).float().mean()  # they began with all spins up
        >>> bool(0.3 < share < 0.7)
        True
    """

    leaves_invariant: ClassVar[bool] = True
    monotone: ClassVar[bool] = True

    def transition(
        self, energy: Energy, state: Tensor, temperature: float, generator: Generator | None
    ) -> Tensor:
        """Joins and turns over; at T = 0 all satisfied couplings join, and E never rises.

        Raises:
            IntractableError: If the energy is not one of two-state units joined in pairs.
        """
        pairs = SpinPairs.of(energy)
        if pairs is None:
            raise IntractableError(
                f"{type(energy).__name__} is no energy of two-state units joined in pairs",
                "Use BlockGibbs, or a BoltzmannMachine or ClassicalHopfield of spins or bits",
            )
        spins = pairs.enter(state).mT
        runs, size = spins.shape
        one, other = pairs.pairs.unbind(-1)
        bonds = _joined(pairs.strength * spins[:, one] * spins[:, other], temperature, generator)
        ghosts = _joined(pairs.field * spins, temperature, generator)
        # Spins of a run are numbered from 1 and its ghost 0, the least, which names its cluster.
        first = torch.arange(runs, device=state.device) * (size + 1)
        run, bond = bonds.nonzero(as_tuple=True)
        inside = torch.stack([one[bond], other[bond]], -1) + first[run, None] + 1
        run, spin = ghosts.nonzero(as_tuple=True)
        held = torch.stack([first[run], first[run] + spin + 1], -1)
        cluster = components(runs * (size + 1), torch.cat([inside, held]))
        coin = torch.rand(len(cluster), device=state.device, **source(generator)) < 0.5
        coin[first] = False
        turned = coin[cluster].reshape(runs, size + 1)[:, 1:]
        return pairs.leave(torch.where(turned, -spins, spins).mT)


def _joined(satisfied: Tensor, temperature: float, generator: Generator | None) -> Tensor:
    """Which couplings join, by how much each is satisfied."""
    if temperature == 0:
        return satisfied > 0
    drawn = torch.rand(
        satisfied.shape, dtype=satisfied.dtype, device=satisfied.device, **source(generator)
    )
    return drawn < -torch.expm1(-2 * satisfied.clamp_min(0.0) / temperature)
