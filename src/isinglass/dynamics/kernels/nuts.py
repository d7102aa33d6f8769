"""The no-U-turn sampler: Hamiltonian Monte Carlo that finds by itself how far to roll."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from isinglass._support.random import source
from isinglass._support.validation import check_count
from isinglass.core.energy import Energy
from isinglass.dynamics.kernels._gradient import GradientState, choose, evaluate, normal_like
from isinglass.dynamics.kernels.hmc import HMC

__all__ = ["NUTS"]

DIVERGENT = 1000.0  # a rise of H/T beyond which the leapfrog no longer follows the flow


class Tree(NamedTuple):
    """A stretch of the orbit of every row, each tensor with the batch first."""

    left: GradientState
    left_momentum: Tensor
    right: GradientState
    right_momentum: Tensor
    momenta: Tensor  # summed over the leaves
    proposal: GradientState
    log_weight: Tensor  # log Σ exp(−ΔH/T) over the leaves
    going: Tensor  # neither turned nor diverged


@dataclass(frozen=True, eq=False)
class NUTS(HMC):
    r"""The no-U-turn sampler: Hamiltonian Monte Carlo without a length to choose, at any T.

    The orbit from a random kick is doubled, forwards or backwards at random, until its ends
    approach each other,

        p₋·M⁻¹ρ ≤ 0  or  p₊·M⁻¹ρ ≤ 0,   ρ = Σ p over the orbit, less half of each end,

    and the next state is drawn from its points with weights exp(−H/T), later doublings preferred.
    That leaves exp(−E/T) exactly as it is. All rows double together, and those that have turned
    wait. At T = 0 it rolls from rest, as :class:`HMC` does.

    The info of a step has ``acceptance``, the mean of min(1, exp(−ΔH/T)) over the points;
    ``accepted``, whether the row moved; ``leaps``, how many leapfrog steps it took; and
    ``divergent``, whether the leapfrog lost the flow, which a smaller h mends.

    Reference: Hoffman & Gelman 2014, arXiv:1111.4246; Betancourt 2017, arXiv:1701.02434
    (multinomial draws, the criterion); Phan, Pradhan & Jankowiak 2019, arXiv:1912.11554 (without
    recursion).

    Args:
        step_size: h > 0, in units of the state; None is 1.2 d^(−1/4). :meth:`warm_up` finds one.
        mass: M > 0, one number a unit; None is one.
        doublings: Most doublings, so 2^doublings gradients a step.
        jitter: Each row's h is drawn within this fraction of it.

    Raises:
        ParameterError: If a number is out of range.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Gaussian(3), ig.Bernoulli(2)).marginal()
        >>> generator = torch.Generator().manual_seed(0)
        >>> kernel, state = NUTS().warm_up(rbm, torch.zeros(50, 3), 1.0, generator, steps=50)
        >>> ig.run(kernel, rbm, state, steps=20, temperature=1.0, generator=generator).shape
        torch.Size([50, 3])
    """

    _: KW_ONLY
    doublings: int = 8
    leaps: int = field(default=5, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("doublings", self.doublings)

    def _move(
        self,
        energy: Energy,
        kernel_state: GradientState,
        temperature: float,
        generator: Generator | None,
        size: Tensor | float,
    ) -> tuple[GradientState, dict[str, Tensor]]:
        """Takes a step with the step size of each row given."""
        if temperature == 0:
            return super()._move(energy, kernel_state, temperature, generator, size)
        mass = self._mass(kernel_state.position)
        orbit = _Orbit(mass, size, energy, kernel_state, temperature, generator)
        for depth in range(self.doublings):
            rows = orbit.tree.going.nonzero()[:, 0]
            if len(rows) == 0:
                break
            orbit.double(rows, depth)
        return orbit.tree.proposal, orbit.info()


class _Orbit:
    """The orbits of all rows in one step."""

    def __init__(
        self,
        mass: Tensor,
        size: Tensor | float,
        energy: Energy,
        start: GradientState,
        temperature: float,
        generator: Generator | None,
    ) -> None:
        state = start.position
        self.mass, self.energy, self.start = mass, energy, start
        self.temperature, self.generator = temperature, generator
        self.size = torch.as_tensor(size, dtype=state.dtype, device=state.device).expand(
            len(state), 1
        )
        kick = (temperature * mass).sqrt() * normal_like(state, generator)
        self.heat = start.energy + self._kinetic(kick)
        nought = torch.zeros_like(self.heat)
        every = torch.ones_like(nought, dtype=torch.bool)
        self.tree = Tree(start, kick, start, kick, kick, start, nought, every)
        self.accepted_mass, self.leaps = nought.clone(), nought.clone()
        self.divergent = ~every

    def info(self) -> dict[str, Tensor]:
        """Returns what a step has to say of every row."""
        moved = (self.tree.proposal.position != self.start.position).any(-1)
        return {
            "acceptance": self.accepted_mass / self.leaps.clamp_min(1),
            "accepted": moved,
            "leaps": self.leaps,
            "divergent": self.divergent,
        }

    def double(self, rows: Tensor, depth: int) -> None:
        """Doubles the orbits of these rows, and draws anew between the two halves."""
        old = _rows(self.tree, rows)
        forward = self._uniform(len(rows)) < 0.5
        new = self._grow(rows, old, forward, depth)
        # Later halves are preferred: a Metropolis step between the two, which mixes faster.
        take = new.going & (self._uniform(len(rows)).log() < new.log_weight - old.log_weight)
        left = choose(forward, old.left, new.left)
        right = choose(forward, new.right, old.right)
        column = forward.unsqueeze(-1)
        left_momentum = torch.where(column, old.left_momentum, new.left_momentum)
        right_momentum = torch.where(column, new.right_momentum, old.right_momentum)
        momenta = old.momenta + new.momenta
        joined = Tree(
            left, left_momentum, right, right_momentum, momenta,
            choose(take, new.proposal, old.proposal),
            torch.logaddexp(old.log_weight, new.log_weight),
            new.going & ~self._turns(left_momentum, right_momentum, momenta),
        )  # fmt: skip
        self.tree = _put(self.tree, rows, joined)

    def _grow(self, rows: Tensor, old: Tree, forward: Tensor, depth: int) -> Tree:
        """Grows 2^depth leaves from one end; rows that turn or diverge on the way are dropped."""
        edge = choose(forward, old.right, old.left)
        momentum = torch.where(forward.unsqueeze(-1), old.right_momentum, old.left_momentum)
        sign = torch.where(forward, 1.0, -1.0).to(momentum.dtype).unsqueeze(-1)
        size = self.size[rows] * sign
        going = torch.ones_like(forward)
        log_weight = torch.full_like(old.log_weight, -torch.inf)
        momenta = torch.zeros_like(momentum)
        proposal = edge
        first, first_momentum = edge, momentum
        kept: list[tuple[Tensor, Tensor]] = []  # momentum and sum before it, of unfinished subtrees
        for leaf in range(2**depth):
            edge, momentum = self._leap(edge, momentum, size, going)
            rise = (edge.energy + self._kinetic(momentum) - self.heat[rows]) / self.temperature
            rise = rise.where(rise.isfinite(), torch.inf)
            self._count(rows, going, rise)
            going = going & (rise <= DIVERGENT)
            if leaf == 0:
                first, first_momentum = edge, momentum
            weight = torch.where(going, -rise, -torch.inf)
            log_weight = torch.logaddexp(log_weight, weight)
            take = going & (self._uniform(len(rows)).log() < weight - log_weight)
            proposal = choose(take, edge, proposal)
            before, momenta = momenta, momenta + momentum
            # A leaf ends as many balanced subtrees as its number has trailing ones: each is
            # checked between its first leaf, which was kept, and this one.
            kept.append((momentum, before))
            ended = (~leaf & (leaf + 1)).bit_length() - 1
            for back in range(ended):
                begun, sum_before = kept[-2 - back]
                going = going & ~self._turns(begun, momentum, momenta - sum_before)
            del kept[len(kept) - ended :]
            if not bool(going.any()):
                break
        column = forward.unsqueeze(-1)
        return Tree(
            choose(forward, first, edge), torch.where(column, first_momentum, momentum),
            choose(forward, edge, first), torch.where(column, momentum, first_momentum),
            momenta, proposal, log_weight, going,
        )  # fmt: skip

    def _leap(
        self, edge: GradientState, momentum: Tensor, size: Tensor, going: Tensor
    ) -> tuple[GradientState, Tensor]:
        """Takes one leapfrog step of the rows that are still going, and leaves the others."""
        rows = going.nonzero()[:, 0]
        position, _, grad = (part[rows] for part in edge)
        size = size[rows]
        moved = momentum[rows] - size / 2 * grad
        new = evaluate(self.energy, position + size * moved / self.mass)
        moved = moved - size / 2 * new.grad
        edge = GradientState(
            *(part.index_copy(0, rows, n) for part, n in zip(edge, new, strict=True))
        )
        return edge, momentum.index_copy(0, rows, moved)

    def _count(self, rows: Tensor, going: Tensor, rise: Tensor) -> None:
        took = going.to(rise.dtype)
        self.leaps = self.leaps.index_add(0, rows, took)
        self.accepted_mass = self.accepted_mass.index_add(
            0, rows, took * (-rise).clamp_max(0).exp()
        )
        lost = rows[going & (rise > DIVERGENT)]
        self.divergent = self.divergent.index_fill(0, lost, True)

    def _turns(self, begin: Tensor, end: Tensor, momenta: Tensor) -> Tensor:
        inner = (momenta - (begin + end) / 2) / self.mass
        return ((begin * inner).sum(-1) <= 0) | ((end * inner).sum(-1) <= 0)

    def _kinetic(self, momentum: Tensor) -> Tensor:
        return (momentum.square() / self.mass).sum(-1) / 2

    def _uniform(self, count: int) -> Tensor:
        like = self.heat
        return torch.rand(count, dtype=like.dtype, device=like.device, **source(self.generator))


def _rows(tree: Tree, rows: Tensor) -> Tree:
    """Picks rows of a tree."""
    return _map_trees(lambda part: part[rows], tree)


def _put(tree: Tree, rows: Tensor, new: Tree) -> Tree:
    """Puts rows of a tree back."""
    return _map_trees(lambda old, part: old.index_copy(0, rows, part), tree, new)


def _map_trees(change: Callable[..., Tensor], *trees: Tree) -> Tree:
    """Applies a function to each tensor of trees, side by side."""
    parts: list[Any] = []
    for side in zip(*trees, strict=True):
        if isinstance(side[0], GradientState):
            parts.append(GradientState(*(change(*tensors) for tensors in zip(*side, strict=True))))
        else:
            parts.append(change(*side))
    return Tree(*parts)
