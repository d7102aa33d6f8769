"""Thoughts one after another: a batch of minds, each asserting what its guide puts first."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isinglass.errors import ShapeError
from isinglass.thinking._codes import answer, codes_of, place_of, rows_of
from isinglass.thinking.derivation_graph import RuleTable, uses_of
from isinglass.thinking.guides import Guide, Possible
from isinglass.thinking.mind import Mind
from isinglass.units.base import gumbel_like

__all__ = ["Search"]


@dataclass
class Search:
    """A search in which every mind has one thought a step, all minds at once.

    Attributes:
        mind: The minds, one a chain.
        table: The rules.
        log_weights: log p(conclusion | premises) of each.
        query: What is asked of each mind, −1 where open, ``(B, 3)``.
        guide: What comes first.
        temperature: T; 0 takes the highest priority, above it one is drawn.
        consuming: Whether premises are gone once they are used.
        generator: Where draws at T > 0 come from.
    """

    mind: Mind
    table: RuleTable
    log_weights: Tensor
    query: Tensor
    guide: Guide
    temperature: float = 0.0
    consuming: bool = False
    generator: Generator | None = None

    def __post_init__(self) -> None:
        mind = self.mind
        self.given, self.shape = codes_of(mind)
        self.held = self.given
        self.energy = self.log_weights.new_zeros(len(self.held))
        #: Every thought that was had: rule, premises, conclusion; and its energy.
        self.history: list[Tensor] = []
        self.energies: list[Tensor] = []
        self.thoughts = torch.zeros(len(mind), dtype=torch.long, device=self.held.device)
        self._pool = self.held.new_zeros(0, 4)
        self._since = self.energy.new_zeros(0)
        self._admit(self.held[:0], self.held, 0)

    def answered(self, energy: float) -> Tensor:
        """Tells which minds hold an answer of an energy that is not higher."""
        batch, subject, other, relation = rows_of(self.held, self.shape)
        hit = answer(torch.stack([relation, subject, other], -1), self.query[batch])
        hit &= self.energy <= energy
        return torch.zeros(len(self.mind), dtype=torch.bool, device=hit.device).index_fill(
            0, batch[hit], True
        )

    def run(self, budget: int, *, enough: float | None) -> None:
        """Thinks until every mind has spent its budget, has nothing to think, or is answered.

        Args:
            budget: How many thoughts a mind may have.
            enough: Energy of an answer that ends the search of a mind; None is never.
        """
        for step in range(1, budget + 1):
            rest = None if enough is None else self.answered(enough)
            chosen = self._choose(rest)
            if not len(chosen):
                return
            self._assert(chosen, step)

    def _choose(self, rest: Tensor | None) -> Tensor:
        """Returns the position in the pool of the next thought of each mind that is not at rest."""
        batch, subject, other, relation = rows_of(self._pool[:, 3], self.shape)
        possible = Possible(
            batch,
            torch.stack([relation, subject, other], -1),
            self._energy_of(self._pool),
            self._since,
            self._continued(self._pool[:, 3]),
            self.query,
        )
        priority = self.guide.priority(possible)
        if not isinstance(priority, Tensor) or priority.shape != batch.shape:
            found = getattr(priority, "shape", type(priority).__name__)
            raise ShapeError(
                f"a priority of {type(self.guide).__name__}: {found} for {len(batch)} thoughts",
                "Let priority(possible) return one number for each possible thought",
            )
        if self.temperature > 0:
            priority = priority / self.temperature + gumbel_like(priority, self.generator)
        if rest is not None:
            priority = priority.masked_fill(rest[batch], -torch.inf)
        # The first of the best in each mind: sorted by mind, then by falling priority.
        order = priority.argsort(descending=True, stable=True)
        order = order[batch[order].argsort(stable=True)]
        ranked = batch[order]
        first = torch.ones_like(ranked, dtype=torch.bool)
        first[1:] = ranked[1:] != ranked[:-1]
        chosen = order[first]
        return chosen[priority[chosen] > -torch.inf]

    def _assert(self, chosen: Tensor, step: int) -> None:
        thought, energy = self._pool[chosen], self._energy_of(self._pool[chosen])
        self.history.append(thought)
        self.energies.append(energy)
        new = thought[:, 3]
        self.thoughts[rows_of(new, self.shape)[0]] += 1
        if self.consuming:
            spent = torch.isin(self.held, thought[:, 1:3].flatten())
            self.held, self.energy = self.held[~spent], self.energy[~spent]
        old = self.held
        self.held, order = torch.cat([old, new]).sort()
        self.energy = torch.cat([self.energy, energy])[order]
        self._admit(old, new, step)

    def _admit(self, old: Tensor, new: Tensor, step: int) -> None:
        """Puts what became possible into the pool, and drops what is held or possible no more."""
        table, shape = self.table, self.shape
        found = [use for form in table.forms for use in uses_of(old, new, form, table, shape)]
        pool = torch.cat([self._pool, *found])
        age = self._since.new_full((len(pool) - len(self._since),), step)
        since = torch.cat([self._since, age])
        kept = ~torch.isin(pool[:, 3], self.held)
        if self.consuming:
            kept &= torch.isin(pool[:, 1], self.held)
            kept &= torch.isin(pool[:, 2], self.held) | (pool[:, 2] < 0)
        self._pool, self._since = pool[kept], since[kept]

    def _energy_of(self, uses: Tensor) -> Tensor:
        """Returns the energy of the derivations that uses of rules would complete."""
        total = -self.log_weights[uses[:, 0]]
        nothing = self.energy.new_zeros(1)  # of a second premise that is not there, at −1
        return total + torch.cat([self.energy, nothing])[place_of(uses[:, 1:3], self.held)].sum(-1)

    def _continued(self, conclusions: Tensor) -> Tensor:
        """Returns how many uses each conclusion would open, together with what is held."""
        count = self.energy.new_zeros(len(conclusions))
        if not len(conclusions):
            return count
        unique, place = torch.unique(conclusions, return_inverse=True)
        opened = count.new_zeros(len(unique))
        for form in self.table.forms:
            for uses in uses_of(self.held, unique, form, self.table, self.shape):
                where = place_of(uses[:, 1:3], unique)
                opened += torch.bincount(where[where >= 0], minlength=len(unique))
        return opened[place]
