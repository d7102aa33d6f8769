"""An energy to copy, with a path of its own: the Curie–Weiss model, every spin joined to all."""

from typing import ClassVar

import torch
from torch import Generator, Tensor

from isinglass.core import (
    Annealable,
    AnnealingPath,
    Gibbs,
    Kernel,
    Serializable,
    Tractable,
    Trainable,
)
from isinglass.dynamics import BlockGibbs
from isinglass.units import Spin, Unit


class CurieWeiss(Gibbs, Tractable, Annealable, Trainable, Serializable):
    """Mean-field ferromagnet E(s) = −J (Σ s)²/2n, with J to be learned.

    It inherits what it has: an exact Gibbs sweep, log Z, a path, a sampler, a file. An energy that
    inherits :class:`isinglass.core.Energy` alone, and gives ``forward``, is one too.

    Reference: Kac 1968, in "Statistical Physics, Phase Transitions and Superfluidity".
    """

    def __init__(self, size: int, coupling: float = 1.0) -> None:
        super().__init__()
        self.unit = Spin(size)
        self.coupling = torch.nn.Parameter(torch.tensor(coupling, dtype=torch.float64))

    @property
    def layers(self) -> tuple[Unit, ...]:
        """One layer of spins."""
        return (self.unit,)

    def forward(self, state: Tensor) -> Tensor:
        """Computes E(s) = −J (Σ s)²/2n."""
        return -self.coupling * state.sum(-1).square() / (2 * self.unit.size)

    def check_state(self, state: Tensor) -> None:
        """Refuses what is not n spins."""
        self.unit.check(state)

    @torch.no_grad()
    def sweep(
        self, state: Tensor, temperature: float, generator: Generator | None = None
    ) -> Tensor:
        """Draws every spin given the others, in turn: field J Σ_{j≠i} s_j/n."""
        state, one = state.clone(), Spin(1)
        for site in range(self.unit.size):
            others = state.sum(-1, keepdim=True) - state[..., site : site + 1]
            field = self.coupling * others / self.unit.size
            if temperature == 0:
                new = one.argmax_state(field, state[..., site : site + 1])
            else:
                new = one.sample(field, temperature, generator)
            state[..., site : site + 1] = new
        return state

    def exact_log_partition(self, temperature: float | None = None) -> Tensor:
        """Computes log Σ_k C(n, k) exp(J (2k − n)²/2nT)."""
        n = torch.tensor(float(self.unit.size), dtype=torch.float64)
        k = torch.arange(self.unit.size + 1, dtype=torch.float64)
        ways = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
        scale = self.coupling / (2 * n * (self.temperature if temperature is None else temperature))
        return torch.logsumexp(ways + scale * (2 * k - n).square(), 0)

    def path(self, temperature: float | None = None, data: Tensor | None = None) -> AnnealingPath:
        """Builds the path that scales J from zero."""
        return CurieWeissPath(self, self.temperature if temperature is None else temperature)

    def default_sampler(self) -> Kernel:
        """Returns block Gibbs, which calls :meth:`sweep`."""
        return BlockGibbs()

    def config(self) -> dict[str, object]:
        """Returns the number of spins; J is a tensor of the file."""
        return {"size": self.unit.size}


class CurieWeissPath(AnnealingPath):
    """Anneals by log w_λ(s) = λJ (Σ s)²/2nT: p₀ is uniform, transitions are sweeps at λJ."""

    reversible: ClassVar[bool] = False  # a sweep in one order is not its own reversal

    def __init__(self, energy: CurieWeiss, temperature: float) -> None:
        self.energy, self.temperature = energy, temperature

    @property
    def base_log_partition(self) -> Tensor:
        """log Z₀ = n log 2."""
        return torch.tensor(2.0, dtype=torch.float64).log() * self.energy.unit.size

    def draw_base(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draws every spin without a field."""
        field = torch.zeros(count, self.energy.unit.size, dtype=torch.float64)
        return self.energy.unit.sample(field, self.temperature, generator)

    @torch.no_grad()
    def log_weight(self, state: Tensor, lambda_: Tensor) -> Tensor:
        """Computes log w_λ(s) = −λ E(s)/T."""
        return -lambda_ * self.energy(state) / self.temperature

    @torch.no_grad()
    def transition(
        self, state: Tensor, lambda_: Tensor, generator: Generator | None = None
    ) -> Tensor:
        """Draws every spin given the others, at each row's own λJ."""
        state, one, size = state.clone(), Spin(1), self.energy.unit.size
        for site in range(size):
            others = state.sum(-1) - state[:, site]
            field = lambda_ * self.energy.coupling * others / size
            state[:, site] = one.sample(field.unsqueeze(-1), self.temperature, generator)[:, 0]
        return state
