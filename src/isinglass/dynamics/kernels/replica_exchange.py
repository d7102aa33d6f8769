"""Replica exchange: what is drawn afresh where it is easy travels to where it is hard."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import (
    check_count,
    check_fraction,
    check_generator,
    check_temperature,
)
from isinglass.core.capabilities import Annealable, require
from isinglass.core.energy import Energy, check_energy
from isinglass.core.kernel import Kernel
from isinglass.core.path import AnnealingPath
from isinglass.dynamics.annealing import interpolate
from isinglass.errors import ParameterError

__all__ = ["ReplicaExchange", "Replicas"]

FIRST_LEVELS = 16  # of the ladder that is adapted
FEWEST_PILOT_STEPS = 25


class Replicas(NamedTuple):
    """What replica exchange carries.

    Attributes:
        state: The replicas at λ = 1, ``(chains, size)``.
        replicas: Those at every level, ``(chains, levels, size)``.
    """

    position: Tensor
    replicas: Tensor


class ReplicaExchange(Kernel[Replicas]):
    r"""A replica at each of several levels of a path; neighbors trade places.

    A step tries to swap even pairs of neighbors, then odd ones, each pair with probability

        min(1, w_{k+1}(s_k) w_k(s_{k+1}) / (w_k(s_k) w_{k+1}(s_{k+1})))

    and after either moves every replica at its level and draws that at λ = 0 afresh. Even and odd
    in turn, rather than pairs at random, carry states along the ladder instead of letting them
    diffuse. All chains and levels are one batch.

    The distribution of all replicas together is left unchanged; ``kernel_state.position`` is the
    replica at λ = 1.
    ``info["acceptance"]`` has the acceptance probability of each pair, ``(chains, levels − 1)``.

    Reference: Swendsen & Wang 1986, doi:10.1103/PhysRevLett.57.2607; Okabe et al. 2001,
    doi:10.1016/S0009-2614(01)00055-0; Syed et al. 2022, doi:10.1111/rssb.12464.

    Args:
        energy: The energy that is sampled.
        levels: How many levels, evenly spaced, or λ of each, from 0 to 1. :meth:`tune` finds
            levels by a pilot.
        temperature: T of the wanted distribution; None is the energy's own.
        path: The way to it; None is ``energy.path(temperature)``.
        generator: Source of the replicas that :meth:`init` draws; None is torch's global one.

    Raises:
        ParameterError: If levels do not rise from 0 to 1.
        IntractableError: If the energy has no path.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Bernoulli(6), ig.Bernoulli(4), scale=1.0)
        >>> kernel = ReplicaExchange(rbm, 5)
        >>> chains = ig.run(kernel, rbm, rbm.extend(torch.zeros(10, 6)), steps=20, temperature=1.0)
        >>> chains.shape
        torch.Size([10, 10])
    """

    leaves_invariant: ClassVar[bool] = True

    def __init__(
        self,
        energy: Energy,
        levels: int | Float[Tensor, " levels"] = FIRST_LEVELS,
        *,
        temperature: float | None = None,
        path: AnnealingPath | None = None,
        generator: Generator | None = None,
    ) -> None:
        check_energy(energy)
        check_generator(generator)
        temperature = energy.temperature if temperature is None else temperature
        self.energy_moved = energy
        self.temperature = check_temperature(temperature)
        self.path = require(energy, Annealable).path(temperature) if path is None else path
        self.levels = levels if isinstance(levels, Tensor) else self.path.levels(levels)
        self.generator = generator
        rising = self.levels.ndim == 1 and len(self.levels) > 1
        if not (
            rising
            and float(self.levels[0]) == 0
            and float(self.levels[-1]) == 1
            and bool((self.levels.diff() > 0).all())
        ):
            raise ParameterError(f"levels {self.levels.tolist()}", "Let them rise from 0 to 1")

    @classmethod
    def tune(
        cls,
        energy: Energy,
        *,
        temperature: float | None = None,
        path: AnnealingPath | None = None,
        data: Float[Tensor, "n d"] | None = None,
        acceptance: float = 0.5,
        chains: int = 50,
        rounds: int = 4,
        generator: Generator | None = None,
    ) -> ReplicaExchange:
        """Builds a kernel whose levels a pilot has spaced so that every pair trades as often.

        The rejection rates of neighbors add up to a length Λ that does not depend on the levels;
        levels at equal distances of it, Λ/(1 − acceptance) of them, are rejected equally often.

        Reference: Syed et al. 2022, doi:10.1111/rssb.12464, Algorithm 4.

        Args:
            energy: The energy that is sampled.
            temperature: T of the wanted distribution; None is the energy's own.
            path: The way to it; None is ``energy.path(temperature, data)``.
            data: Visible states, whose means the exact end is given.
            acceptance: Wanted rate of swaps, between 0 and 1; a half is best for round trips.
            chains: How many chains the pilot runs.
            rounds: How often levels are spaced anew, each time after more steps.
            generator: Source of randomness; None is torch's global one.

        Raises:
            ParameterError: If ``acceptance`` is not between 0 and 1, or a count not at least one.

        Examples:
            >>> import isinglass as ig
            >>> generator = torch.Generator().manual_seed(0)
            >>> rbm = ig.RBM(ig.Bernoulli(6), ig.Bernoulli(4), scale=2.0, generator=generator)
            >>> kernel = ReplicaExchange.tune(rbm, generator=generator)
            >>> len(kernel.levels) < 16
            True
        """
        if not 0 < check_fraction("acceptance", acceptance) < 1:
            raise ParameterError(f"acceptance = {acceptance}", "Give 0.5 or so")
        check_count("chains", chains)
        check_count("rounds", rounds)
        check_generator(generator)
        path = require(energy, Annealable).path(temperature, data) if path is None else path
        levels = path.levels(FIRST_LEVELS)
        replicas = _walk_up(path, levels, chains, generator)
        for number in range(rounds):
            kernel = cls(energy, levels, temperature=temperature, path=path, generator=generator)
            steps = FEWEST_PILOT_STEPS * 2 ** max(0, number - 2)
            replicas, accepted = kernel._pilot(replicas, steps, generator)
            rejection = torch.cat([accepted.new_zeros(1), (1 - accepted).clamp_min(1e-3).cumsum(0)])
            count = 1 + max(1, math.ceil(float(rejection[-1]) / (1 - acceptance)))
            at = torch.linspace(0, 1, count, dtype=rejection.dtype) * rejection[-1]
            spaced = interpolate(at, rejection, levels)
            nearest = (spaced[:, None] - levels).abs().argmin(-1).to(replicas.device)
            levels, replicas = spaced, replicas[:, nearest]
        return cls(energy, levels, temperature=temperature, path=path, generator=generator)

    @torch.no_grad()
    def init(self, energy: Energy, state: Float[Tensor, "batch size"]) -> Replicas:
        """Starts from the states at λ = 1; below, replicas walk up from fresh draws.

        Raises:
            ParameterError: If it is another energy than the kernel was built for.
        """
        self._check_energy(energy)
        replicas = _walk_up(self.path, self.levels, len(state), self.generator)
        replicas[:, -1] = state = self.path.prepare(state, self.generator)
        return Replicas(state, replicas)

    @torch.no_grad()
    def step(
        self,
        energy: Energy,
        kernel_state: Replicas,
        temperature: float = 0.0,
        generator: Generator | None = None,
    ) -> tuple[Replicas, dict[str, Tensor]]:
        """Swaps, moves, and draws afresh at λ = 0: even pairs, then odd ones.

        Raises:
            ParameterError: If energy or temperature are not those that the kernel was built for.
        """
        self._check_energy(energy)
        if not math.isclose(temperature, self.temperature, rel_tol=1e-6):
            raise ParameterError(
                f"temperature = {temperature}, and a kernel built for {self.temperature}",
                "Build one for it: ReplicaExchange(energy, temperature=…)",
            )
        replicas, acceptances = kernel_state.replicas, []
        for first in (0, 1):
            replicas, acceptance = self._swap(replicas, first, generator)
            replicas = self._move(replicas, generator)
            acceptances.append(acceptance)
        return Replicas(replicas[:, -1], replicas), {"acceptance": acceptances[0] + acceptances[1]}

    def _move(self, replicas: Tensor, generator: Generator | None) -> Tensor:
        chains, count = replicas.shape[:2]
        levels = self.levels[1:].to(replicas.device).repeat(chains)
        moved = self.path.transition(replicas[:, 1:].flatten(0, 1), levels, generator)
        base = self.path.draw_base(chains, generator).unsqueeze(1)
        return torch.cat([base, moved.unflatten(0, (chains, count - 1))], 1)

    def _swap(
        self, replicas: Tensor, first: int, generator: Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Every other pair from the first on traded or not; the probabilities, 0 of the others."""
        chains, count = replicas.shape[:2]
        place = torch.arange(count, device=replicas.device)
        lower = ((place - first) % 2 == 0) & (place < count - 1)
        partner = place + lower.long() - _above(lower).long()
        levels = self.levels.to(replicas.device)
        gain = self.path.log_ratio(
            replicas.flatten(0, 1), levels.repeat(chains), levels[partner].repeat(chains)
        ).reshape(chains, count)
        acceptance = (gain + gain[:, partner]).clamp_max(0).exp() * lower
        uniform = torch.rand(
            acceptance.shape, dtype=acceptance.dtype, device=acceptance.device, generator=generator
        )
        swapped = uniform < acceptance
        source = place + swapped.long() - _above(swapped).long()
        return replicas.gather(1, source.unsqueeze(-1).expand_as(replicas)), acceptance[:, :-1]

    def _pilot(
        self, replicas: Tensor, steps: int, generator: Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Replicas after some steps, and how often each pair traded in the second half of them."""
        kernel_state, accepted = Replicas(replicas[:, -1], replicas), []
        for _ in range(steps):
            kernel_state, info = self.step(
                self.energy_moved, kernel_state, self.temperature, generator
            )
            accepted.append(info["acceptance"])
        rates = torch.stack(accepted[-(steps // 2) :]).double().mean((0, 1))
        return kernel_state.replicas, rates.cpu()

    def _check_energy(self, energy: Energy) -> None:
        if energy is not self.energy_moved:
            raise ParameterError(
                f"a {type(energy).__name__} that the kernel was not built for",
                "Build one for it: ReplicaExchange(energy)",
            )


def _above(flags: Tensor) -> Tensor:
    """Each flag moved one place up."""
    return torch.nn.functional.pad(flags[..., :-1], (1, 0))


@torch.no_grad()
def _walk_up(
    path: AnnealingPath, levels: Tensor, chains: int, generator: Generator | None
) -> Tensor:
    """Chains that have walked up a path, seen at every level."""
    seen = [path.draw_base(chains, generator)]
    for level in levels[1:].to(seen[0].device):
        seen.append(path.transition(seen[-1], level.expand(chains), generator))
    return torch.stack(seen, 1)
