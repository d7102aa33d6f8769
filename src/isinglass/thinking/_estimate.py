"""How many uses of rules there will be at least, told before they are listed."""

from __future__ import annotations

import torch
from torch import Tensor

from isinglass.thinking._codes import rows_of
from isinglass.thinking.rule import Form

__all__ = ["Estimate"]

#: A relation and whether it is read backwards, from its object to its subject.
Leg = tuple[int, bool]

#: A table of all propositions is made up to so many cells, and multiplied up to so often in all.
MOST_CELLS, MOST_PRODUCTS = 2**25, 1.5e11
#: What follows further on is looked at again when so many times as many uses have been listed.
AGAIN = 4


class Estimate:
    """A count of uses of rules of two premises that meet in an entity, without listing them.

        uses = Σ_rules Σ_{x≠y} (A_p A_q)[x,y],      A_r[x,y] = 1 where r(x,y) is held, x ≠ y

    What these rules conclude of the two ends joins what is held, round after round. Other rules are
    not looked at, so there are at least so many uses.

    Args:
        relations: First premise, second premise, conclusion of each rule, ``(N, 3)``.
        forms: Which variables they bind, with the rows that do.
        shape: B, n, n, R.
        enough: It stops above this number.
    """

    def __init__(
        self,
        relations: Tensor,
        forms: tuple[tuple[Form, int, int], ...],
        shape: tuple[int, int, int, int],
        enough: int,
    ) -> None:
        self.relations, self.forms, self.shape, self.enough = relations, forms, shape, enough
        self._next = 0

    def __call__(self, codes: Tensor, rounds: int | None, size: int) -> int:
        """Counts uses there will be at least.

        Args:
            codes: What is held, as numbers.
            rounds: How many rounds are to come at most; None is until nothing is new.
            size: How many uses are listed already.
        """
        minds, n, _, count = self.shape
        chains = _chains(self.relations, self.forms)
        total = self._at_once(codes, chains)
        if total > self.enough or size < self._next or minds * n * n * count > MOST_CELLS:
            return total
        self._next = AGAIN * size
        return max(total, self._ahead(codes, chains, rounds))

    def _at_once(self, codes: Tensor, chains: dict[tuple[Leg, Leg], list[Leg]]) -> int:
        """Counts uses in what is held by the degrees of entities, a few too low."""
        minds, n, _, count = self.shape
        batch, subject, other, relation = rows_of(codes, self.shape)
        two = subject != other
        batch, subject, other, relation = (x[two] for x in (batch, subject, other, relation))
        sizes = torch.bincount(relation, minlength=count).tolist()
        begins, ends = (
            torch.bincount((relation * minds + batch) * n + entity, minlength=count * minds * n)
            .reshape(count, -1)
            .double()
            for entity in (subject, other)
        )
        total = 0
        for ((p, p_back), (q, q_back)), conclusions in chains.items():
            met = (begins if p_back else ends)[p] @ (ends if q_back else begins)[q]
            # Chains that come back to where they began are no uses, at most one a proposition.
            total += len(conclusions) * max(0, int(met) - min(sizes[p], sizes[q]))
        return total

    def _ahead(
        self, codes: Tensor, chains: dict[tuple[Leg, Leg], list[Leg]], rounds: int | None
    ) -> int:
        """Counts uses in what follows within some rounds, as far as that is little work."""
        minds, n, _, count = self.shape
        batch, subject, other, relation = rows_of(codes, self.shape)
        held = torch.zeros(count, minds, n, n, device=codes.device)
        held[relation, batch, subject, other] = 1.0
        apart = 1 - torch.eye(n, device=codes.device)  # variables are never the same entity
        possible = int(MOST_PRODUCTS / max(1, len(chains) * minds * n**3))
        total, size = 0, float(len(codes))
        for _ in range(possible if rounds is None else min(possible, rounds)):
            found, total = held.clone(), 0
            for (first, second), conclusions in chains.items():
                ways = apart * ((apart * _read(held, first)) @ (apart * _read(held, second)))
                total += len(conclusions) * int(ways.sum(dtype=torch.float64))
                for conclusion in conclusions:
                    if conclusion[0] >= 0:
                        _read(found, conclusion).masked_fill_(ways > 0, 1.0)
            before, size = size, float(found.sum(dtype=torch.float64))
            if total > self.enough or size == before:
                break
            held = found
        return total


def _read(table: Tensor, leg: Leg) -> Tensor:
    relation, backwards = leg
    return table[relation].mT if backwards else table[relation]


def _chains(
    relations: Tensor, forms: tuple[tuple[Form, int, int], ...]
) -> dict[tuple[Leg, Leg], list[Leg]]:
    """Returns what rules of premises u–s and s–v conclude of u and v, −1 if it is of others."""
    chains: dict[tuple[Leg, Leg], list[Leg]] = {}
    for (first, second, last), begin, end in forms:
        shared = set(first) & set(second or ())
        if second is None or len({*first, *second}) < 3 or len(shared) != 1:
            continue
        (middle,) = shared
        u, v = (next(one for one in pair if one != middle) for pair in (first, second))
        back = last == (v, u)
        for p, q, r in relations[begin:end].tolist():
            chain = (p, first == (middle, u)), (q, second == (v, middle))
            ends = r if back or last == (u, v) else -1
            chains.setdefault(chain, []).append((ends, back))
    return chains
