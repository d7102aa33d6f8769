"""What was derived, from a whole graph or from a search, with the best derivation of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TypeVar

import torch
from torch import Tensor

from isinglass.thinking._codes import answer, place_of, rows_of
from isinglass.thinking.derivation_graph import DerivationGraph
from isinglass.thinking.mind import Mind
from isinglass.thinking.proof import Proof
from isinglass.thinking.rule_memory import RuleMemory
from isinglass.thinking.search import Search

__all__ = ["Derived", "from_graph", "from_search"]

Value = TypeVar("Value")


@dataclass(frozen=True)
class Derived:
    """Propositions with their energies, and the last step of the best derivation of each.

    Attributes:
        mind: Who speaks of them.
        rules: The memory.
        shape: B, n, n, R.
        codes: The propositions, ascending, ``(P,)``.
        energy: Free energies, ``(P,)``.
        best: Energies of the best derivations, ``(P,)``.
        step: Rule and premises of the last step, ``(P, 3)``; −1 for what is given, and for a second
            premise that is not there.
        thoughts: How many propositions each mind derived, in the chain that had most, ``(B,)``.
    """

    mind: Mind
    rules: RuleMemory
    shape: tuple[int, int, int, int]
    codes: Tensor
    energy: Tensor
    best: Tensor
    step: Tensor
    thoughts: Tensor

    @cached_property
    def _rows(self) -> list[list[int]]:
        return torch.stack(rows_of(self.codes, self.shape), -1).tolist()

    @cached_property
    def _steps(self) -> list[list[int]]:
        return self.step.tolist()

    @cached_property
    def _chances(self) -> list[float]:
        return self.rules.log_weights().exp().tolist()

    @cached_property
    def energies(self) -> list[float]:
        """Free energies as plain numbers."""
        return self.energy.tolist()

    @cached_property
    def proved(self) -> list[bool]:
        """Which are given, or follow by rules that are certain."""
        return (self.best <= 0).tolist()

    def cheapest(self, places: list[int]) -> list[int]:
        """Returns positions by rising energy, each proposition once."""
        found: dict[tuple[int, ...], int] = {}
        for place in sorted(places, key=lambda place: self.energies[place]):
            found.setdefault(tuple(self._rows[place]), place)
        return list(found.values())

    def row(self, place: int, *, relation_first: bool = False) -> tuple[int, int, int, int]:
        """Returns mind, subject, object, relation; or mind, relation, subject, object."""
        batch, subject, other, relation = self._rows[place]
        if relation_first:
            return batch, relation, subject, other
        return batch, subject, other, relation

    def matching(self, asked: Tensor) -> Tensor:
        """Returns the positions of answers to a question of each mind."""
        batch, subject, other, relation = rows_of(self.codes, self.shape)
        found = torch.stack([relation, subject, other], -1)
        return answer(found, asked[batch]).nonzero()[:, 0]

    def weakest_step(self, place: int) -> float:
        """Returns the smallest p(conclusion | premises) in the best derivation."""
        chances = self._chances
        return self.fold(
            place, self._weakest, lambda _, rule: 1.0 if rule < 0 else chances[rule], min
        )

    @cached_property
    def _weakest(self) -> dict[int, float]:
        return {}

    def fold(
        self,
        place: int,
        known: dict[int, Value],
        own: Callable[[int, int], Value],
        join: Callable[[list[Value]], Value],
    ) -> Value:
        """Returns what the best derivation amounts to, each of its propositions read once.

        Args:
            place: The proposition.
            known: What was found before; what is found is added.
            own: What a proposition is by itself, from its position and its rule, −1 if given.
            join: What several are together.
        """
        open_ = [place]
        while open_:  # as deep as derivations are, so no recursion
            each = open_[-1]
            rule, *premises = self._steps[each]
            premises = [premise for premise in premises if premise >= 0 <= rule]
            if missing := [premise for premise in premises if premise not in known]:
                open_ += missing
                continue
            known[open_.pop()] = join([own(each, rule), *(known[p] for p in premises)])
        return known[place]

    def leaves(self, place: int) -> set[int]:
        """Returns the positions of what the best derivation rests on."""
        return {each for each in self._below(place) if self._steps[each][0] < 0}

    def _below(self, place: int) -> set[int]:
        """Returns the positions of all that the best derivation uses, itself among them."""
        found, open_ = {place}, [place]
        while open_:
            rule, *premises = self._steps[open_.pop()]
            new = {premise for premise in premises if premise >= 0 <= rule} - found
            found |= new
            open_ += new
        return found

    def clashing(self, exclusive: Tensor, energy: float) -> list[list[tuple[int, int]]]:
        """Finds what each mind cannot hold together, pairs that rest on fewest givens first.

        Args:
            exclusive: Which relations exclude each other, ``(R, R)``.
            energy: The highest that the best derivation of what counts may have.
        """
        found: list[list[tuple[int, int]]] = [[] for _ in range(len(self.mind))]
        kept = (self.best <= energy).nonzero()[:, 0]
        kept = kept[self.codes[kept].argsort(stable=True)]
        about = self.codes[kept] // self.shape[3]
        _, place, often = torch.unique_consecutive(about, return_inverse=True, return_counts=True)
        by_pair: dict[int, list[int]] = {}
        several = often[place] > 1
        for pair, position in zip(about[several].tolist(), kept[several].tolist(), strict=True):
            by_pair.setdefault(pair, []).append(position)
        table = exclusive.tolist()
        for held in by_pair.values():
            for first, second in combinations(held, 2):
                if table[self._rows[first][3]][self._rows[second][3]]:
                    found[self._rows[first][0]].append((first, second))
        return [sorted(these, key=lambda two: len(self.resting(two))) for these in found]

    def resting(self, places: Iterable[int]) -> set[int]:
        """Returns the positions of what several derivations rest on together."""
        return set[int]().union(*map(self.leaves, places))

    def proof(self, place: int) -> Proof:
        """Returns the best derivation as a tree; what is used twice is one branch."""
        done: dict[int, Proof] = {}
        open_ = [place]
        while open_:  # as deep as derivations are, so no recursion
            rule, *premises = self._steps[open_[-1]]
            premises = [premise for premise in premises if premise >= 0 <= rule]
            missing = [premise for premise in premises if premise not in done]
            if missing:
                open_ += missing
                continue
            step = open_.pop()
            done[step] = Proof(
                self.mind.proposition(*self.row(step, relation_first=True)),
                float(self.best[step]) if rule >= 0 else 0.0,
                self.rules.rule(rule) if rule >= 0 else None,
                tuple(done[premise] for premise in premises),
            )
        return done[place]


def from_graph(
    graph: DerivationGraph, rules: RuleMemory, mind: Mind, temperature: float
) -> Derived:
    """Returns all that a graph derives."""
    weights = rules.log_weights().to(graph.rules.device)
    best, step = graph.best(weights)
    value = graph.values(weights, temperature) if temperature > 0 else best
    batch = rows_of(graph.codes, graph.shape)[0]
    thoughts = torch.bincount(batch[~graph.given], minlength=len(mind))
    return Derived(mind, rules, graph.shape, graph.codes, 0 - value, 0 - best, step, thoughts)


def from_search(search: Search, rules: RuleMemory, mind: Mind, chains: int) -> Derived:
    """Returns what a search thought; of a proposition of several chains the best is kept."""
    given = search.given
    thoughts = torch.cat([given.new_zeros(0, 4), *search.history])
    energy = torch.cat([search.energy.new_zeros(len(given)), *search.energies])
    codes = torch.cat([given, thoughts[:, 3]])
    rule = torch.cat([torch.full_like(given, -1), thoughts[:, 0]])
    premises = torch.cat([torch.full((len(given), 2), -1, device=given.device), thoughts[:, 1:3]])
    # A chain's own propositions are told apart until its steps are linked.
    order = torch.argsort(energy, stable=True)
    order = order[codes[order].argsort(stable=True)]
    codes, energy, rule, premises = codes[order], energy[order], rule[order], premises[order]
    step = torch.cat([rule.unsqueeze(-1), place_of(premises, codes)], -1)
    if chains > 1:
        size = search.shape[1] ** 2 * search.shape[3]
        codes = codes // size // chains * size + codes % size
    counted = search.thoughts.reshape(len(mind), chains).amax(-1)
    shape = (len(mind), *search.shape[1:])
    return Derived(mind, rules, shape, codes, energy, energy, step, counted)
