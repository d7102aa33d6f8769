"""What to guess, learned by Bellman's equation over search trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float, Num
from isinglass._support.validation import (
    check_finite,
    check_generator,
    check_kind,
    check_tensor,
)
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.thinking.puzzles._look_ahead import LookAhead
from isinglass.thinking.puzzles.board import OPEN, Board, OwnExclusions
from isinglass.thinking.puzzles.constraint_network import ConstraintNetwork, as_givens
from isinglass.thinking.puzzles.guess_orders import COLUMNS_AT_ONCE, LookingAhead

__all__ = ["LearnedOrder"]

LEVELS, STATES = 4, 500  # how deep states are drawn, and how many of each depth
SWEEPS, STILL = 100, 1e-9
RIDGE = 1e-3
FEATURES = 11
MOST = 20.0  # log of the largest tree


class LearnedOrder(LookingAhead):
    r"""The group of least search, by a learned value of settled states: Bellman over trees.

        C(s, g) = 1 + Σ_{u∈g} V(s_u),    V(s) = min_g C(s, g),    log V(s) = w·f(s)

    C counts the settled states of the whole tree below s that splits at g: V is 1 where s clashes
    or is solved. The features f say how many propositions and groups are open, and how small the
    groups are. :meth:`fit` repeats the equation on states met below some puzzles until w stays.

    Args:
        groups: How many groups are looked into.
        weights: w, as learned before; None is nothing learned yet.

    Raises:
        ParameterError: If ``groups`` is no whole number above zero.
        ShapeError: If there are not 11 weights.
        DomainError: If they are no finite numbers.

    Examples:
        >>> network = ConstraintNetwork(9, groups=[[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6]])
        >>> order = LearnedOrder().fit(network, torch.zeros(1, 9))
        >>> order.weights.shape
        torch.Size([11])
    """

    def __init__(self, groups: int = 32, weights: Float[Tensor, " 11"] | None = None) -> None:
        super().__init__(groups)
        if weights is not None:
            check_tensor("weights", weights)
            if weights.shape != (FEATURES,):
                raise ShapeError(f"weights of shape {tuple(weights.shape)}", f"Give {FEATURES}")
            check_finite("weights", weights)
            weights = weights.double()
        self.weights = weights

    def fit(
        self,
        network: ConstraintNetwork,
        givens: Num[Tensor, "puzzles size"] | Bool[Tensor, "puzzles size"],
        generator: Generator | None = None,
        *,
        exclusions: Sequence[Tensor | Sequence[Sequence[int]]] | None = None,
    ) -> LearnedOrder:
        """Learns the value of states from puzzles, which need no solutions, and returns itself.

        Args:
            network: Exclusions and groups of all puzzles.
            givens: 1 where given as true, −1 as false, 0 open; booleans are true or open.
            generator: Source of randomness of the states; None is torch's global one.
            exclusions: Further exclusions of each puzzle, as for a thinker.

        Raises:
            ShapeError: If a row has not as many numbers as the network propositions.
            DomainError: If a given is not −1, 0 or 1, or no puzzle needs a guess.
            ParameterError: If the network or the generator is none.
        """
        check_kind("network", network, ConstraintNetwork, "a ConstraintNetwork")
        check_generator(generator)
        given = as_givens(givens, network)
        own = OwnExclusions.of(exclusions, len(given), network.size, given.device)
        board = Board.of(network, given, own)
        board.settle()
        seen: list[_Seen] = []
        states: list[Tensor] = []
        for _ in range(LEVELS):
            board = _some(board, ~_ended(board), STATES, generator)
            if len(board.puzzle) == 0:
                break
            columns = torch.arange(len(board.puzzle), device=given.device)
            parts = columns.split(COLUMNS_AT_ONCE)
            looks = [LookAhead.of(board, part, self.groups) for part in parts]
            states.append(features(board))
            seen += [_Seen.of(look) for look in looks]
            below = [look.board for look in looks]
            board = Board.join(
                [_some(b, ~_ended(b), 2 * COLUMNS_AT_ONCE, generator) for b in below]
            )
        if not seen:
            raise DomainError("puzzles of which none needs a guess", "Give some with fewer givens")
        self.weights = _solve(torch.cat(states), seen)
        return self

    def left(self, board: Board) -> Tensor:
        """Returns V(s), the settled states of the tree below."""
        if self.weights is None:
            raise ParameterError("an order that has learned nothing", "Call fit(network, givens)")
        return _values(features(board), _ended(board), self.weights.to(board.state.device))

    def cost(self, look: LookAhead, left: Tensor) -> Tensor:
        """Computes C(s, g) = 1 + Σ_{u∈g} V(s_u)."""
        return 1 + (left * look.asked).sum(-1)


def features(board: Board) -> Tensor:
    """Describes settled states: open propositions and groups, and how small these are."""
    sums = board.sums
    some = sums < board.network.true
    kinds = [some, sums == 2, sums == 3, (sums > 3) & some]
    counts = torch.stack([(board.state == OPEN).sum(0), *(kind.sum(0) for kind in kinds)], -1)
    counts = counts.double()
    shares = counts / max(1, len(sums))
    return torch.cat([torch.ones_like(counts[:, :1]), counts.log1p(), shares], -1)


def _ended(board: Board) -> Tensor:
    return board.clashing | board.solved


def _values(described: Tensor, ended: Tensor, weights: Tensor) -> Tensor:
    return (described @ weights).clamp(0, MOST).exp().masked_fill(ended, 1.0)


def _some(board: Board, allowed: Tensor, most: int, generator: Generator | None) -> Board:
    """At most so many of the columns that are allowed, drawn at random."""
    columns = allowed.nonzero().flatten()
    device = None if generator is None else generator.device
    order = torch.randperm(len(columns), generator=generator, device=device).to(columns.device)
    return board.take(columns[order[:most]])


@dataclass(frozen=True)
class _Seen:
    """What a look ahead found, as far as learning needs it."""

    asked: Tensor
    child: Tensor
    described: Tensor
    ended: Tensor

    @classmethod
    def of(cls, look: LookAhead) -> _Seen:
        return cls(look.asked, look.child, features(look.board), _ended(look.board))

    def least(self, weights: Tensor) -> Tensor:
        """min_g C(s, g) of every state, ``(columns,)``."""
        values = _values(self.described, self.ended, weights)[self.child]
        costs = 1 + (values * self.asked).sum(-1)
        return costs.masked_fill(~self.asked.any(-1), torch.inf).amin(1)


def _solve(states: Tensor, seen: list[_Seen]) -> Tensor:
    """Repeats log V = w·f with V = min_g C until the weights stay."""
    weights = states.new_zeros(states.shape[1])
    ridge = RIDGE * len(states) * torch.eye(len(weights), dtype=states.dtype, device=states.device)
    for _ in range(SWEEPS):
        targets = torch.cat([some.least(weights) for some in seen]).log()
        before = weights
        weights = torch.linalg.solve(states.mT @ states + ridge, states.mT @ targets)
        if bool((weights - before).abs().max() < STILL):
            break
    return weights
