"""How many ways the premises of every rule are bound at every pair of entities of a graph."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isinglass._support.typing import Int
from isinglass.thinking._codes import matches

__all__ = ["BindingCounts"]


@dataclass(frozen=True)
class BindingCounts:
    r"""Bindings of rule bodies of one and two premises, counted at every pair of entities.

    Variables are never the same entity, and what is 0 takes no memory:

        n(q, x, y) = A_q[x,y]        n(pq, x, y) = Σ_{z ≠ x,y} A_p[x,z] A_q[z,y]

    p and q are relations read forwards or backwards; relation r backwards has the number R + r.

    Reference: Lao et al. 2011, "Random walk inference and learning in a large scale knowledge base"
    (paths as features); Esposito et al. 2001, doi:10.1007/3-540-44797-0_10 (distinct variables).

    Attributes:
        entities: n.
        relations: R.
        edges: Facts read both ways, relation, from, to, ``(E, 3)``; none from an entity to itself.
        legs: p and q of each body, ``(K, 2)``; q is −1 in the first 2R, which have one premise.
        numbers: Which body the chain p·2R + q is, ``(4R²,)``; −1 where it is left out.
        codes: Where something is bound, (body·n + x)·n + y, ascending, ``(U,)``.
        counts: n there, ``(U,)``.
        support: How many facts of each relation a body is bound at, ``(K, R)``.
    """

    entities: int
    relations: int
    edges: Int[Tensor, "E 3"]
    legs: Int[Tensor, "K 2"]
    numbers: Int[Tensor, " chains"]
    codes: Int[Tensor, " U"]
    counts: Int[Tensor, " U"]
    support: Int[Tensor, "K R"]

    @classmethod
    def of(
        cls, facts: Int[Tensor, "N 3"], relations: int, entities: int, least_support: int
    ) -> BindingCounts:
        """Counts the bindings in a graph.

        Args:
            facts: Relation, subject, object, ``(N, 3)``, no row twice.
            relations: R.
            entities: n.
            least_support: A chain is left out unless it is bound at so many facts of some relation.

        Raises:
            IntractableError: If the graph has more chains of two facts than memory holds.
        """
        ways, places = 2 * relations, entities**2
        relation, subject, other = facts[facts[:, 1] != facts[:, 2]].unbind(-1)
        edges = torch.stack(
            [
                torch.cat([relation, relation + relations]),
                torch.cat([subject, other]),
                torch.cat([other, subject]),
            ],
            -1,
        )
        first, second = (edges[side] for side in matches(edges[:, 2], edges[:, 1]))
        apart = first[:, 1] != second[:, 2]
        chain = (first[:, 0] * ways + second[:, 0])[apart]
        pair = (first[:, 1] * entities + second[:, 2])[apart]
        codes, counts = torch.unique(chain * places + pair, return_counts=True)
        pairs = facts[:, 1] * entities + facts[:, 2]
        support = _support(codes, facts[:, 0], pairs, (ways**2, relations), places)
        kept = (support >= least_support).any(-1)
        numbers = torch.full_like(kept, -1, dtype=torch.long)
        numbers[kept] = ways + torch.arange(int(kept.sum()), device=facts.device)
        held = kept[codes // places]
        single = ((edges[:, 0] * entities + edges[:, 1]) * entities + edges[:, 2]).sort().values
        chains = kept.nonzero()[:, 0]
        lone = torch.arange(ways, device=facts.device)
        return cls(
            entities,
            relations,
            edges,
            torch.cat(
                [
                    torch.stack([lone, torch.full_like(lone, -1)], -1),
                    torch.stack([chains // ways, chains % ways], -1),
                ]
            ),
            numbers,
            torch.cat([single, numbers[codes[held] // places] * places + codes[held] % places]),
            torch.cat([torch.ones_like(single), counts[held]]),
            torch.cat(
                [_support(single, facts[:, 0], pairs, (ways, relations), places), support[kept]]
            ),
        )

    def __len__(self) -> int:
        """Counts the bodies."""
        return len(self.legs)

    def rows(self) -> tuple[Tensor, Tensor]:
        """Returns body and pair x·n + y of every entry."""
        return self.codes // self.entities**2, self.codes % self.entities**2

    def bound_places(self) -> Tensor:
        """Counts the pairs of entities at which each body is bound, ``(K,)``."""
        return torch.bincount(self.rows()[0], minlength=len(self))

    def at(self, subject: int, other: int) -> tuple[Tensor, Tensor]:
        """Returns the bodies that are bound at a pair of entities, and in how many ways."""
        body, pair = self.rows()
        here = pair == subject * self.entities + other
        return body[here], self.counts[here]

    def through(self, body: int, subject: int, other: int) -> Tensor:
        """Returns the entities that Z is bound to, in a body of two premises."""
        first, second = self.legs[body].tolist()
        relation, start, end = self.edges.unbind(-1)
        reached = end[(relation == first) & (start == subject)]
        return reached[torch.isin(reached, start[(relation == second) & (end == other)])]

    def using(self, facts: Int[Tensor, "T 3"], side: int) -> tuple[Tensor, Tensor, Tensor]:
        """Finds the bindings by which facts help the wrong answers to their own question.

        A fact r(x,y) in the graph binds no chain from x to y, but r(X,Z), q(Z,Y) from x to what y
        leads to, and p(X,Z), r(Z,Y) from what leads to x to y. Who asks r(x,?) or r(?,y) as if the
        fact was unknown takes these away, one binding each.

        Args:
            facts: Relation, subject, object, ``(T, 3)``, in the graph.
            side: 2 if the object is asked, 1 if the subject is.

        Returns:
            Question and candidate t·n + c, body and its count there, ``(M,)`` each.
        """
        n, ways = self.entities, 2 * self.relations
        relation, subject, other = facts.unbind(-1)
        step, start, end = self.edges.unbind(-1)
        if side == 2:
            asked, edge = matches(other, start)
            chain = relation[asked] * ways + step[edge]
            candidate = end[edge]
            pair = subject[asked] * n + candidate
        else:
            asked, edge = matches(subject, end)
            chain = step[edge] * ways + relation[asked]
            candidate = start[edge]
            pair = candidate * n + other[asked]
        body = self.numbers[chain]
        # A fact about one entity alone is no part of a chain, nor does a chain end where it began.
        bound = (body >= 0) & (pair // n != pair % n) & (subject != other)[asked]
        body, pair = body[bound], pair[bound]
        count = self.counts[torch.searchsorted(self.codes, body * n * n + pair)]
        return asked[bound] * n + candidate[bound], body, count


def _support(
    codes: Tensor, relation: Tensor, pairs: Tensor, shape: tuple[int, int], places: int
) -> Tensor:
    """Counts the facts of each relation at which each body is bound."""
    place, fact = matches(codes % places, pairs)
    both = codes[place] // places * shape[1] + relation[fact]
    return torch.bincount(both, minlength=shape[0] * shape[1]).reshape(shape)
