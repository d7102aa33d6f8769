"""The energy of a puzzle: what excludes each other, and groups that must have one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from isinglass._support.several import check_several
from isinglass._support.typing import Bool, Float, Int, Num
from isinglass._support.validation import (
    check_count,
    check_features,
    check_positive,
    check_rows,
    check_tensor,
    is_hollow,
)
from isinglass.core.capabilities import Serializable
from isinglass.energies import BoltzmannMachine, SparseCouplings
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.thinking.puzzles._exact_groups import exact_groups
from isinglass.thinking.puzzles._neighbors import NeighborLists, as_pairs, as_whole, check_units
from isinglass.thinking.puzzles.board import Board
from isinglass.units import Bernoulli, Unit

__all__ = ["ConstraintNetwork"]

ROWS_AT_ONCE = 256


class ConstraintNetwork(Serializable):
    r"""Pairwise energy of a puzzle: E(s) = Σ_{(i,j) excluded} s_i s_j + Σ_g |1 − Σ_{i∈g} s_i|.

    A state says of each proposition whether it is true (1) or false (0). E counts what is violated:
    0 is the certificate of a solution. Exclusions and groups are given, or read off solved examples
    by :meth:`fit`: a coupling of −∞ where two were never true together, Hebb's rule read as a
    constraint, and a group where exactly one was true in every example.

    Reference: Hopfield & Tank 1985, doi:10.1007/BF00339943, whose penalties these are.

    Args:
        size: How many propositions there are.
        exclusions: Pairs never true together, ``(pairs, 2)``; a proposition paired with itself is
            never true.
        groups: Of the propositions of each exactly one is true; the pairs inside are excluded too.

    Raises:
        ParameterError: If a proposition is not one of 0 … size − 1, or a group is empty.
        ShapeError: If the exclusions are not pairs.

    Examples:
        >>> network = ConstraintNetwork(3, groups=[[0, 1], [1, 2]])
        >>> network(torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
        tensor([0., 2., 2.])
    """

    pairs: Tensor
    members: Tensor

    def __init__(
        self,
        size: int,
        exclusions: Sequence[Sequence[int]] | Int[Tensor, "pairs 2"] | None = None,
        groups: Sequence[Sequence[int]] = (),
    ) -> None:
        super().__init__()
        self.size = check_count("size", size)
        self.unit = Bernoulli(size)
        self.register_buffer("pairs", torch.zeros(0, 2, dtype=torch.int64))
        self.register_buffer("members", torch.zeros(0, 1, dtype=torch.int64))
        self._set([] if exclusions is None else exclusions, groups)

    def _set(
        self, exclusions: Sequence[Sequence[int]] | Tensor, groups: Sequence[Sequence[int]]
    ) -> None:
        where = self.pairs.device
        given = as_pairs(exclusions, self.size).to(where)
        example = "lists of propositions: [[0, 1], [2, 3]]"
        groups = [
            sorted(set(as_whole("a group", group, example).flatten().tolist()))
            for group in check_several("groups", groups, example)
        ]
        if not all(groups):
            raise ParameterError("a group of no propositions", "Give each group one or more")
        members = torch.full((len(groups), max(map(len, groups), default=1)), self.size)
        for row, group in zip(members, groups, strict=True):
            row[: len(group)] = check_units(torch.as_tensor(group), self.size)
        members = members.to(where)
        inside = [members[:, torch.combinations(torch.arange(members.shape[1]), 2)].flatten(0, 1)]
        pairs = torch.cat([given, *inside]).sort(1).values
        self.pairs = pairs[(pairs < self.size).all(1)].unique(dim=0)
        self.members = members
        self._list_neighbors()

    def _list_neighbors(self) -> None:
        one, other = self.pairs.unbind(1)
        source, target = torch.cat([one, other]), torch.cat([other, one])
        self.neighbors = NeighborLists.of(source, target, self.size)
        self.never = torch.zeros(self.size, dtype=torch.bool, device=one.device)
        self.never[one[one == other]] = True
        self.slots = self.members.mT.contiguous()  # the first member of every group, the second, …
        #: What a true proposition adds to the sum of its group: more than all open ones together.
        self.true = len(self.slots) + 1
        self.kind = torch.int16 if self.true**2 < 2**15 else torch.int32

    def _apply(self, fn, recurse: bool = True):  # what is derived from the pairs moves with them
        super()._apply(fn, recurse)
        self._list_neighbors()
        return self

    def fit(self, examples: Num[Tensor, "m size"] | Bool[Tensor, "m size"]) -> ConstraintNetwork:
        """Learns exclusions and groups from solved examples alone, and returns itself.

        Pairs that were never true together are exclusions, propositions that were never true
        exclude themselves, and cliques of exclusions of which exactly one was true in every example
        are groups. Examples without errors leave every true constraint standing; too few of them
        leave false ones beside, which cost answers and never make a wrong one. Counts all pairs.

        Args:
            examples: Solved puzzles, one a row, true propositions 1 and false ones 0.

        Raises:
            ShapeError: If they are not rows of ``size`` numbers.
            DomainError: If a number is neither 0 nor 1.

        Examples:
            >>> latin = torch.tensor([[1, 0, 0, 1], [0, 1, 1, 0]])
            >>> ConstraintNetwork(4).fit(latin).groups
            [(0, 1), (0, 2), (1, 3), (2, 3)]
        """
        check_rows(examples)
        if examples.shape[1] != self.size:
            raise ShapeError(
                f"examples of {examples.shape[1]} propositions for a network of {self.size}",
                f"Give {self.size} a row",
            )
        check_there("examples", examples)
        if not bool(((examples == 0) | (examples == 1)).all()):
            raise DomainError(
                "examples with values other than 0 and 1", "Give solved ones: 1 is true, 0 false"
            )
        exact = torch.float64 if len(examples) >= 2**24 else torch.float32  # whole numbers are kept
        truths = examples.to(self.pairs.device, exact)
        together = truths.mT @ truths
        counts = together.diagonal()
        seen = counts > 0
        excludes = (together == 0) & seen & seen[:, None]
        groups = exact_groups(counts, excludes, len(examples))
        never = (~seen).nonzero().expand(-1, 2)
        self._set(torch.cat([torch.triu(excludes).nonzero(), never]), groups)
        return self

    @property
    def groups(self) -> list[tuple[int, ...]]:
        """Propositions of which exactly one is true, a tuple a group."""
        return [tuple(unit for unit in row if unit < self.size) for row in self.members.tolist()]

    @property
    def layers(self) -> tuple[Unit, ...]:
        """Bits, one a proposition."""
        return (self.unit,)

    def forward(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
        """Computes E(s) = Σ_{(i,j) excluded} s_i s_j + Σ_g |1 − Σ_{i∈g} s_i|."""
        check_features(state, self.size)
        padded = torch.cat([state, torch.zeros_like(state[..., :1])], -1)
        one, other = self.pairs.unbind(1)
        violated = (state[..., one] * state[..., other]).sum(-1)
        return violated + (1 - padded[..., self.members].sum(-1)).abs().sum(-1)

    def energy(
        self, states: Num[Tensor, "rows size"] | Bool[Tensor, "rows size"]
    ) -> Float[Tensor, " rows"]:
        """Counts what each of many states violates, whatever their dtype, a few rows at a time.

        Raises:
            ShapeError: If a state has not ``size`` numbers.
            DomainError: If they are no tensor.
        """
        check_tensor("states", states)
        if states.ndim != 2:
            raise ShapeError(f"states of shape {tuple(states.shape)}", "Give one a row")
        kind = states.dtype if states.is_floating_point() else torch.get_default_dtype()
        parts = [self(rows.to(kind)) for rows in states.split(ROWS_AT_ONCE)]
        return torch.cat(parts) if parts else torch.zeros(0, dtype=kind, device=states.device)

    def settle(
        self, givens: Num[Tensor, "rows size"] | Bool[Tensor, "rows size"]
    ) -> tuple[Int[Tensor, "rows size"], Bool[Tensor, " rows"]]:
        """Finds what givens force, without a guess, and whether that is a contradiction.

        A true proposition makes its neighbors false; a group with one proposition left makes it
        true.

        Args:
            givens: 1 where given as true, −1 as false, 0 open; booleans are true or open.

        Returns:
            Settled states: 1 true, −1 false, 0 open, and whether each is contradictory.

        Raises:
            ShapeError: If a row has not ``size`` numbers.
            DomainError: If a number is not −1, 0 or 1.

        Examples:
            >>> network = ConstraintNetwork(4, groups=[[0, 1], [0, 2], [1, 3], [2, 3]])
            >>> network.settle(torch.tensor([[1, 0, 0, 0], [1, 0, 0, -1]]))
            (tensor([[ 1, -1, -1,  1],
                    [ 1, -1, -1, -1]]), tensor([False,  True]))
        """
        board = Board.of(self, as_givens(givens, self))
        board.settle()
        state = board.state[:-1].mT
        return torch.where(state > 1, 1, torch.where(state == 1, 0, -1)), board.clashing

    def to_boltzmann_machine(self, penalty: float = 1.0) -> BoltzmannMachine:
        r"""Returns a Boltzmann machine of bits with the same states of lowest energy.

            E′(s) = λ [Σ_{(i,j) excluded} s_i s_j + Σ_g (1 − Σ_{i∈g} s_i)²] − λ · (number of groups)

        so −λ times the number of groups is the energy of a solution. The square, unlike the modulus
        of :meth:`forward`, is pairwise; on states that violate no exclusion both are the same.

        Args:
            penalty: λ > 0, what one violation costs.

        Raises:
            ParameterError: If the penalty is not above zero, or nothing excludes anything.
        """
        penalty = check_positive("penalty", penalty)
        pairs = self.pairs[self.pairs[:, 0] != self.pairs[:, 1]]
        if len(pairs) == 0:
            raise ParameterError("a network of no exclusions", "Give or fit some")
        inside = self.members[:, torch.combinations(torch.arange(self.members.shape[1]), 2)]
        inside = inside.flatten(0, 1).sort(1).values
        inside = inside[(inside < self.size).all(1)]
        both, times = torch.cat([pairs, inside, inside]).unique(dim=0, return_counts=True)
        couplings = SparseCouplings(self.size, both, -penalty * times.to(torch.get_default_dtype()))
        in_groups = torch.bincount(self.members.flatten(), minlength=self.size + 1)[: self.size]
        bias = penalty * (in_groups.to(couplings.weight) - self.never.to(couplings.weight))
        return BoltzmannMachine(Bernoulli(self.size), couplings, bias)

    def extra_repr(self) -> str:
        """Shows how many propositions, exclusions and groups there are."""
        return f"{self.size}, exclusions={len(self.pairs)}, groups={len(self.members)}"

    def config(self) -> dict[str, object]:
        """Returns propositions, exclusions and groups."""
        return {"size": self.size, "exclusions": self.pairs.tolist(), "groups": self.groups}

    def description(self) -> dict[str, object]:
        """Returns how many propositions there are; exclusions and groups are tensors."""
        return {"size": self.size}

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._list_neighbors()  # of the pairs that were loaded


def as_givens(
    givens: Num[Tensor, "rows size"] | Bool[Tensor, "rows size"], network: ConstraintNetwork
) -> Int[Tensor, "rows size"]:
    """Returns givens as whole numbers on the device of the network: 1 true, −1 false, 0 open.

    Raises:
        ShapeError: If a row has not as many numbers as there are propositions.
        DomainError: If a number is not −1, 0 or 1, or they are no tensor.
    """
    check_tensor("givens", givens)
    if givens.ndim != 2 or givens.shape[1] != network.size:
        raise ShapeError(
            f"givens of shape {tuple(givens.shape)} for {network.size} propositions",
            f"Give one puzzle a row: (puzzles, {network.size})",
        )
    check_there("givens", givens)
    if not bool(((givens == 0) | (givens == 1) | (givens == -1)).all()):
        raise DomainError(
            "givens with values other than −1, 0 and 1", "Say 1 true, −1 false, 0 open"
        )
    return givens.to(network.pairs.device, torch.int8)


def check_there(name: str, values: Tensor) -> None:
    """Refuses a tensor without values, or of complex ones.

    Raises:
        DomainError: If it is one.
    """
    if values.is_complex():
        raise DomainError(f"{name} of dtype {values.dtype}", "Give real numbers: x.real")
    if is_hollow(values):
        raise DomainError(f"{name} on the device meta, which holds no values", "Give them")
