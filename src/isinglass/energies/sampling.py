"""Draws of visible states from a machine: exact where they can be listed, else by exchange."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_count, check_generator
from isinglass.core.capabilities import Annealable, Trainable
from isinglass.dynamics.kernels.replica_exchange import ReplicaExchange
from isinglass.errors import IntractableError
from isinglass.units._multinomial import draw_indices

__all__ = ["Sampled"]

#: States of all layers together, or of the visible one where the others are summed out, that are
#: listed: a second of work, and draws that are exact.
LISTED = 2**16
#: Rows of a list whose free energies are computed together.
ROWS = 1024


class Sampled(Annealable, Trainable):
    """Mixin of energies that are sampled by a default of their own, v ~ exp(−F(v)/T).

    It asks for a :meth:`path`, or for few enough states in :attr:`layers`.

    Examples:
        >>> import isinglass as ig
        >>> ising = ig.BoltzmannMachine.ising(3, 3, coupling=0.2)
        >>> ising.sample(5, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([5, 9])
    """

    @property
    def _sums_hidden(self) -> bool:
        """Whether hidden units are summed out in closed form, or there are none."""
        return len(self.layers) == 1

    @torch.no_grad()
    def sample(
        self, count: int, *, steps: int = 100, generator: Generator | None = None
    ) -> Float[Tensor, "n d"]:
        """Draws visible states from p(v) ∝ exp(−F(v)/T) at the machine's own temperature.

        Where the visible units have at most 65,536 states and hidden ones are summed out in closed
        form, or all units together have no more, states are listed: draws are exact and
        independent. Else every draw has a ladder of replicas of its own, set out along the
        machine's path from exact draws at its base, which takes ``steps`` steps of replica
        exchange; a pilot has spaced its levels for half of all swaps to be accepted. A hundred
        steps carry replicas up ladders of some ten levels several times; machines whose pilot asks
        for many more levels need more steps, which :func:`isinglass.dynamics.diagnose` tells.

        Args:
            count: How many states to draw.
            steps: Steps of replica exchange where states cannot be listed.
            generator: Source of randomness; None is torch's global one.

        Returns:
            Visible states, ``(count, d)``.

        Raises:
            ParameterError: If ``count`` or ``steps`` is not a whole number of at least one.
            IntractableError: If the machine has no path and too many states.

        Examples:
            >>> import isinglass as ig
            >>> rbm = ig.RBM(ig.Bernoulli(6), ig.Bernoulli(3))
            >>> rbm.sample(4, generator=torch.Generator().manual_seed(0)).shape
            torch.Size([4, 6])
        """
        check_count("count", count)
        check_count("steps", steps)
        check_generator(generator)
        listed = self._list()
        if listed is not None:
            states, log_weight = listed
            weight = torch.softmax(log_weight.double(), 0)
            return states[draw_indices(weight, count, generator)]
        kernel = ReplicaExchange.tune(self, generator=generator)
        chain = self.path().draw_base(count, generator)
        kernel_state = kernel.init(self, chain)
        for _ in range(steps):
            kernel_state, _ = kernel.step(self, kernel_state, self.temperature, generator)
        return self.visible_part(kernel_state.position)

    def _list(self) -> tuple[Tensor, Tensor] | None:
        """Every visible state and −F/T, if there are few enough; else None."""
        if not self.layers:
            return None
        counted = self.layers[:1] if self._sums_hidden else self.layers
        if math.prod(layer.state_count(self.temperature) for layer in counted) > LISTED:
            return None
        like = next(self.parameters())
        states = self.layers[0].enumerate_states(self.temperature).to(like)
        try:
            rows = [-self.free_energy(some) / self.temperature for some in states.split(ROWS)]
        except IntractableError:
            return None
        return states, torch.cat(rows)
