"""A graph of facts: what is known, and what rules can be read off it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from isinglass._support.several import check_several
from isinglass._support.typing import Bool, Float, Int
from isinglass._support.wording import shown
from isinglass.errors import DomainError, IntractableError
from isinglass.thinking.graphs.binding_counts import BindingCounts
from isinglass.thinking.rule import Rule
from isinglass.thinking.vocabulary import Proposition, Vocabulary

__all__ = ["FactGraph"]

#: A graph with more possible facts than this is refused, as each has an energy in memory.
MOST_FACTS = 2**28
#: What errors propose.
FACTS = 'a list of facts: [("mother", "Ann", "Bob")]'


@dataclass(frozen=True)
class FactGraph:
    """Facts of relations of two arguments by number, and what is counted in them once.

    Attributes:
        vocabulary: The R relations.
        names: The n entities, in alphabetical order.
        places: The number of each entity.
        facts: Relation, subject, object, ``(N, 3)``.
        known: Which propositions are facts, ``(R, n, n)``.
        counts: Bindings of rule bodies.
        by_pair: Body, offset of each pair and f = log(1 + n) of what is bound, by pair.
        by_body: Pair, offset of each body and f, by body.
        frequencies: How many facts of each relation have an entity as object, and as subject,
            ``(2, R, n)``.
    """

    vocabulary: Vocabulary
    names: tuple[str, ...]
    places: dict[str, int]
    facts: Int[Tensor, "N 3"]
    known: Bool[Tensor, "R n n"]
    counts: BindingCounts
    by_pair: tuple[Tensor, Tensor, Tensor]
    by_body: tuple[Tensor, Tensor, Tensor]
    frequencies: Float[Tensor, "2 R n"]

    @classmethod
    def of(cls, triples: Iterable[Sequence[str]], least_support: int) -> FactGraph:
        """Reads a graph and counts the bindings of all rules.

        Args:
            triples: Relation, subject, object; what stands twice counts once.
            least_support: At how many facts of a relation a chain of two facts is bound.

        Raises:
            DomainError: If there are no facts, or one is no relation with two arguments.
            IntractableError: If the graph is too large.
        """
        triples = [_checked(triple) for triple in check_several("facts", triples, FACTS)]
        vocabulary = Vocabulary.of(triples)
        names = tuple(sorted({name for triple in triples for name in triple[1:]}))
        places = {name: place for place, name in enumerate(names)}
        if len(vocabulary) * len(names) ** 2 > MOST_FACTS:
            raise IntractableError(
                f"{len(names):,} entities and {len(vocabulary)} relations, which could make "
                f"{len(vocabulary) * len(names) ** 2:,} facts",
                f"Take a part of the graph, of at most {MOST_FACTS:,}",
            )
        facts = torch.tensor(
            [[vocabulary.index(r), places[s], places[o]] for r, s, o in sorted(set(triples))]
        )
        counts = BindingCounts.of(facts, len(vocabulary), len(names), least_support)
        known = torch.zeros(len(vocabulary), len(names), len(names), dtype=torch.bool)
        known[tuple(facts.T)] = True
        body, pair = counts.rows()
        order = pair.argsort(stable=True)
        feature = counts.counts.float().log1p()
        by_pair = (body[order], _offsets(pair[order], len(names) ** 2), feature[order])
        by_body = (pair, _offsets(body, len(counts)), feature)
        frequencies = torch.stack([known.sum(1), known.sum(2)]).float()
        return cls(vocabulary, names, places, facts, known, counts, by_pair, by_body, frequencies)

    def entity(self, name: str | None) -> int:
        """Returns the number of an entity.

        Raises:
            DomainError: If no fact speaks of it.
        """
        if not isinstance(name, str) or name not in self.places:
            raise DomainError(
                f"the unknown entity {name!r}", "Ask of entities that the facts speak of"
            )
        return self.places[name]

    def number(self, triples: Iterable[Sequence[str]]) -> Int[Tensor, "T 3"]:
        """Returns propositions by number.

        Raises:
            DomainError: If one speaks of an unknown relation or entity.
        """
        rows = [
            (self.vocabulary.index(relation), self.entity(subject), self.entity(other))
            for relation, subject, other in map(_checked, check_several("facts", triples, FACTS))
        ]
        return torch.tensor(rows, dtype=torch.long).reshape(-1, 3)

    def rule(self, body: int, relation: int) -> Rule:
        """Returns the rule from a body to a relation."""
        first, second = self.counts.legs[body].tolist()
        premises = [self._atom(first, "X", "Y" if second < 0 else "Z")]
        if second >= 0:
            premises.append(self._atom(second, "Z", "Y"))
        return Rule(premises, (self.vocabulary.relations[relation], "X", "Y"))

    def bindings(self, body: int, subject: int, other: int) -> tuple[tuple[Proposition, ...], ...]:
        """Returns the facts of every binding of a body at a pair of entities."""
        first, second = self.counts.legs[body].tolist()
        x, y = self.names[subject], self.names[other]
        if second < 0:
            return ((self._atom(first, x, y),),)
        middle = [self.names[z] for z in self.counts.through(body, subject, other).tolist()]
        return tuple((self._atom(first, x, z), self._atom(second, z, y)) for z in middle)

    def _atom(self, leg: int, start: str, end: str) -> Proposition:
        backwards, index = divmod(leg, len(self.vocabulary))
        name = self.vocabulary.relations[index]
        return (name, end, start) if backwards else (name, start, end)

    def table(self, weights: Float[Tensor, "K R"]) -> Float[Tensor, "R n n"]:
        """Computes −E of every proposition from the weights of bodies and, below, of biases."""
        body, offsets, feature = self.by_pair
        sums = embedding_bag(body, weights[:-3], offsets, mode="sum", per_sample_weights=feature)
        frequencies = weights[-3:-1, :, None] * self.frequencies.log1p()
        table = sums.T.reshape(self.known.shape) + frequencies[0, :, None]
        table = table + frequencies[1, :, :, None]
        return table + weights[-1, :, None, None] * torch.eye(len(self.names), device=table.device)

    def slopes(self, slopes: Float[Tensor, "R n n"]) -> Float[Tensor, "K R"]:
        """Computes the slope in every weight from that in every −E, the transposed of the table."""
        pair, offsets, feature = self.by_body
        columns = slopes.flatten(1).T.contiguous()
        of_rules = embedding_bag(pair, columns, offsets, mode="sum", per_sample_weights=feature)
        summed = torch.stack([slopes.sum(1), slopes.sum(2)])
        of_frequencies = (summed * self.frequencies.log1p()).sum(-1)
        of_loops = slopes.diagonal(dim1=1, dim2=2).sum(-1)
        return torch.cat([of_rules, of_frequencies, of_loops[None]])


def _offsets(ascending: Tensor, size: int) -> Tensor:
    return torch.searchsorted(ascending.contiguous(), torch.arange(size, device=ascending.device))


def _checked(triple: Sequence[str]) -> Proposition:
    good = isinstance(triple, Sequence) and not isinstance(triple, str) and len(triple) == 3
    if not good or not all(isinstance(word, str) and word.strip() for word in triple):
        raise DomainError(
            f"the fact {shown(triple)[:60]}",
            'Write relation, subject, object: ("mother", "Ann", "Bob")',
        )
    return tuple(triple)
