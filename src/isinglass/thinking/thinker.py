"""The thinker: from what is given and the rules to answers with their derivations, or unsure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Generator, Tensor

from isinglass._support.several import check_several
from isinglass._support.typing import Int
from isinglass._support.validation import (
    check_at_least_zero,
    check_count,
    check_flag,
    check_fraction,
    check_generator,
    check_kind,
)
from isinglass.errors import IntractableError, ParameterError, ShapeError
from isinglass.thinking._derived import Derived, from_graph, from_search
from isinglass.thinking._verdicts import Judge, exclusions
from isinglass.thinking.derivation_graph import DerivationGraph
from isinglass.thinking.guides import Guide, TowardQuery
from isinglass.thinking.mind import Mind
from isinglass.thinking.proof import Proof
from isinglass.thinking.rule_memory import RuleMemory
from isinglass.thinking.search import Search
from isinglass.thinking.vocabulary import ANYTHING, Proposition

__all__ = ["Answer", "Contradiction", "Reply", "Thinker"]

#: What errors propose.
QUESTION = 'a question, ("?", "Ann", "Bob")'


@dataclass(frozen=True)
class Answer:
    """A proposition that answers a question.

    Attributes:
        proposition: The answer.
        energy: Its free energy −V at the temperature of the thought; at T = 0 that of the best
            derivation, the sum of −log p over the rules used.
        share: Its part of exp(−energy) among the answers that compete with it.
        sure: Whether the share reaches the thinker's confidence, every step being likely enough; or
            the steps together do, and no other answer is likely. Never if it is contradicted.
        contradicted: Whether it rests on givens that contradict each other.

    Examples:
        >>> from isinglass.thinking import Mind, RuleMemory, Thinker, Vocabulary
        >>> words = Vocabulary(["a", "b"], exclusive=[["a", "b"]])
        >>> memory = RuleMemory(words, ["a(X,Z), a(Z,Y) -> b(X,Y)"])
        >>> mind = Mind.from_tuples([("a", "1", "2"), ("a", "2", "3")], words)
        >>> answer = Thinker(memory).think(mind, ("b", "1", "?")).answers[0]
        >>> answer.proposition, round(answer.energy, 3), len(answer.proof.premises)
        (('b', '1', '3'), 0.0, 2)
    """

    proposition: Proposition
    energy: float
    share: float
    sure: bool
    contradicted: bool
    _derived: Derived = field(repr=False, compare=False)
    _place: int = field(repr=False, compare=False)

    @cached_property
    def proof(self) -> Proof:
        """The best derivation, a :class:`Proof`."""
        return self._derived.proof(self._place)


@dataclass(frozen=True)
class Reply:
    """What a thinker says to one question.

    Attributes:
        query: What was asked.
        answers: All that was derived, lowest energy first; empty if nothing was.
        thoughts: How many propositions were derived on the way, in the chain that had most.

    Examples:
        >>> from isinglass.thinking import Mind, RuleMemory, Thinker, Vocabulary
        >>> words = Vocabulary(["a", "b"], exclusive=[["a", "b"]])
        >>> memory = RuleMemory(words, ["a(X,Z), a(Z,Y) -> b(X,Y)"])
        >>> mind = Mind.from_tuples([("a", "1", "2"), ("a", "2", "3")], words)
        >>> print(Thinker(memory).think(mind, ("b", "2", "?")))
        b(2,?)  unsure: nothing follows
    """

    query: Proposition
    answers: tuple[Answer, ...]
    thoughts: int
    _whole: Derived = field(repr=False, compare=False)
    _clashes: tuple[tuple[int, int], ...] = field(default=(), repr=False, compare=False)

    @cached_property
    def contradictions(self) -> tuple[Contradiction, ...]:
        """What the mind cannot hold together, the one of fewest given propositions first."""
        return tuple(
            Contradiction(self._whole.proof(first), self._whole.proof(second))
            for first, second in self._clashes
        )

    @property
    def sure(self) -> bool:
        """Whether there is an answer, and the best one is sure."""
        return bool(self.answers) and self.answers[0].sure

    @property
    def best(self) -> Proposition | None:
        """The answer of lowest energy; None if there is none."""
        return self.answers[0].proposition if self.answers else None

    def __str__(self) -> str:
        if not self.answers:
            return f"{_words(self.query)}  unsure: nothing follows"
        head = f"{_words(self.query)}  {'sure' if self.sure else 'unsure'}"
        if self.answers[0].contradicted:
            given = ", ".join(map(_words, self.contradictions[0].given()))
            head += f": it rests on facts that contradict each other, the fewest that do: {given}"
        lines = [
            f"  {_words(answer.proposition)}   energy {answer.energy:.3f}, share {answer.share:.3f}"
            for answer in self.answers
        ]
        return "\n".join([head, *lines])


@dataclass(frozen=True)
class Contradiction:
    """Two propositions that exclude each other, both derived.

    Attributes:
        first: Derivation of the one.
        second: Derivation of the other.

    Examples:
        >>> from isinglass.thinking import Mind, RuleMemory, Thinker, Vocabulary
        >>> words = Vocabulary(["a", "b"], exclusive=[["a", "b"]])
        >>> memory = RuleMemory(words, ["a(X,Z), a(Z,Y) -> b(X,Y)"])
        >>> mind = Mind.from_tuples([("a", "1", "2"), ("a", "2", "3")], words)
        >>> more = Mind.from_tuples([*mind.to_tuples()[0], ("a", "1", "3"), ("b", "1", "3")], words)
        >>> Thinker(memory).contradictions(more)[0][0].given()
        [('a', '1', '3'), ('b', '1', '3')]
    """

    first: Proof
    second: Proof

    def given(self) -> list[Proposition]:
        """Returns the given propositions that cannot all be true, each once."""
        return list(dict.fromkeys([*self.first.given(), *self.second.given()]))


@dataclass(frozen=True)
class Thinker:
    """Derives answers from what a mind holds by the rules of a memory.

        V(p) = T log[ [p is given] + Σ_uses exp((w + V(premise₁) + V(premise₂))/T) ],   energy −V

    Without a budget all derivations are weighed, exactly. With one, thoughts come one after another
    in the order of the guide, until there is an answer of certain steps or the budget is spent.

    Reference: Goodman 1999, doi:10.1162/089120199561.

    Args:
        rules: The long-term memory.
        guide: The order of thoughts within a budget.
        confidence: The share that an answer needs among those that compete with it to be sure. Each
            of its steps is more likely than not besides: at 0.95 and below p > ½, above that the
            odds of every step rise with those of the confidence, p > 0.84 at 0.99, and at 1 only
            what is certain is sure.

    Raises:
        ParameterError: If the confidence is no fraction above 0.

    Examples:
        >>> from isinglass.thinking import Mind, RuleMemory, Thinker, Vocabulary
        >>> family = Vocabulary(["mother", "grandmother"])
        >>> memory = RuleMemory(family, ["mother(X,Z), mother(Z,Y) -> grandmother(X,Y)"])
        >>> mind = Mind.from_tuples([("mother", "Ann", "Bea"), ("mother", "Bea", "Cleo")], family)
        >>> reply = Thinker(memory).think(mind, ("grandmother", "Ann", "?"))
        >>> print(reply.answers[0].proof)
        grandmother(Ann,Cleo)   by mother(X,Z), mother(Z,Y) -> grandmother(X,Y)
          mother(Ann,Bea)   given
          mother(Bea,Cleo)   given
    """

    rules: RuleMemory
    guide: Guide = field(default_factory=TowardQuery)
    confidence: float = 0.95

    def __post_init__(self) -> None:
        check_kind("rules", self.rules, RuleMemory, "a RuleMemory")
        confidence = check_fraction("confidence", self.confidence)
        object.__setattr__(self, "confidence", confidence)
        if confidence == 0:
            raise ParameterError("confidence = 0", "Give a share above 0: at 0 anything is sure")
        if not isinstance(self.guide, Guide):
            raise ParameterError(
                f"the guide {self.guide!r}", "Give a Guide, such as BreadthFirst()"
            )

    def settle(self, mind: Mind, *, depth: int | None = None) -> Mind:
        """Asserts all that is forced: the conclusions of certain rules, until nothing is new.

        Args:
            mind: The minds.
            depth: How many rounds at most; None is until nothing is new.

        Raises:
            DomainError: If the mind speaks another vocabulary than the rules.
            ParameterError: If the mind is none, or the depth no count.
        """
        if depth is not None:
            check_count("depth", depth, 0)
        graph = self._graph(mind, depth)
        weights = self.rules.log_weights().to(graph.rules.device)
        forced = (graph.values(weights) >= math.log(self.confidence)) & ~graph.given
        batch, subject, other, relation = (column[forced] for column in graph.rows())
        width = int(torch.bincount(batch, minlength=1).max())
        rows = mind.rows.new_zeros(len(mind), width, 3)
        held = mind.held.new_zeros(len(mind), width)
        start = torch.searchsorted(batch, batch)  # rows are sorted by mind
        place = torch.arange(len(batch), device=batch.device) - start
        rows[batch, place] = torch.stack([relation, subject, other], -1)
        held[batch, place] = True
        return mind.with_asserted(rows, held)

    def think(
        self,
        mind: Mind,
        query: Sequence[str] | Sequence[Sequence[str]],
        *,
        budget: int | None = None,
        temperature: float = 0.0,
        chains: int = 1,
        consuming: bool = False,
        generator: Generator | None = None,
    ) -> Reply | list[Reply]:
        """Answers one question of each mind.

        What rests on givens that contradict each other, by the exclusive relations of the
        vocabulary, is never sure, and the reply says which do. Contradictions are looked for in all
        derivations; within a budget, where these are too many, among its thoughts.

        Args:
            mind: What is given.
            query: A proposition with ``"?"`` for what is asked, ``("?", "Ann", "Bob")``; or one for
                each mind.
            budget: How many thoughts each mind may have; None weighs all derivations at once.
            temperature: T at least 0. Without a budget answers have free energies at T; with one,
                thoughts are drawn at T, the hotter the more diverse.
            chains: How many times each mind thinks on its own within a budget; of answers of all
                chains the one of lowest energy is kept.
            consuming: Whether premises are spent by the thought that uses them, within a budget.
            generator: Where draws at T > 0 come from.

        Returns:
            A :class:`Reply`; a list of them where several minds or questions were given.

        Raises:
            DomainError: If relation or entity is unknown, or the vocabularies differ.
            ShapeError: If there is not one question for each mind.
            ParameterError: If mind or question is none, a budget, temperature or number of chains
                cannot be, or a rule was written about an entity of the mind.
            IntractableError: If there are too many derivations, or their sum does not converge.
        """
        temperature = check_at_least_zero("temperature", temperature)
        check_count("chains", chains)
        check_flag("consuming", consuming)
        check_generator(generator)
        self._check(mind)
        words = check_several("query", query, QUESTION)
        one = not words or isinstance(words[0], str)
        listed = [words] * len(mind) if one else words
        queries = [tuple(map(str, check_several("query", asked, QUESTION))) for asked in listed]
        if len(queries) != len(mind):
            raise ShapeError(f"{len(queries)} questions for {len(mind)} minds", "Give one for each")
        asked = self._numbers(mind, queries)
        if budget is None:
            if chains > 1 or consuming:
                raise ParameterError(
                    "chains or consuming thoughts without a budget", "Give a budget of thoughts"
                )
            derived = from_graph(self._graph(mind), self.rules, mind, temperature)
        else:
            check_count("budget", budget, 0)
            search = Search(
                _repeated(mind, chains),
                self.rules.table(),
                self.rules.log_weights().to(mind.rows.device),
                asked.repeat_interleave(chains, 0),
                self.guide,
                temperature,
                consuming,
                generator,
            )
            # Who asks for an entity may have several right answers.
            several = any(ANYTHING in asked[1:] for asked in queries)
            search.run(budget, enough=None if several else -math.log(self.confidence))
            derived = from_search(search, self.rules, mind, chains)
        replies = self._replies(derived, queries, asked, budget=budget is not None)
        return replies[0] if one and len(replies) == 1 else replies

    def contradictions(self, mind: Mind) -> list[list[Contradiction]]:
        """Finds what each mind cannot hold together, the one of fewest given propositions first.

        Two propositions exclude each other if the vocabulary says so; only certain rules count.

        Raises:
            DomainError: If the mind speaks another vocabulary than the rules.
        """
        derived = from_graph(self._graph(mind), self.rules, mind, 0.0)
        return [
            [
                Contradiction(derived.proof(first), derived.proof(second))
                for first, second in clashes
            ]
            for clashes in self._clashes(derived)
        ]

    def _clashes(self, derived: Derived) -> list[list[tuple[int, int]]]:
        table = exclusions(self.rules.vocabulary, derived.mind.vocabulary)
        return derived.clashing(table, -math.log(self.confidence))

    def _whole(self, derived: Derived) -> Derived:
        """Returns all derivations, or those within a budget where all are too many."""
        try:
            return from_graph(self._graph(derived.mind), self.rules, derived.mind, 0.0)
        except IntractableError:
            return derived

    def _graph(self, mind: Mind, depth: int | None = None) -> DerivationGraph:
        self._check(mind)
        return DerivationGraph.of(mind, self.rules.table(), depth)

    def _check(self, mind: Mind) -> None:
        check_kind("mind", mind, Mind, "a Mind: Mind.from_tuples(facts, rules.vocabulary)")
        same = mind.vocabulary.relations == self.rules.vocabulary.relations
        if not same or mind.vocabulary.arities != self.rules.vocabulary.arities:
            raise ParameterError(
                f"a mind of the relations {', '.join(mind.vocabulary.relations[:5])}, rules of "
                f"{', '.join(self.rules.vocabulary.relations[:5])}",
                "Make the mind with the vocabulary of the rules: Mind.from_tuples(facts, "
                "rules.vocabulary)",
            )
        for names in mind.names if self.rules.written else ():
            if met := self.rules.written.intersection(names):
                raise ParameterError(
                    f"{min(met)} in a rule, and among the facts",
                    "Names in rules are variables and stand for anyone: write X, Y, Z",
                )

    def _numbers(self, mind: Mind, queries: Sequence[Proposition]) -> Int[Tensor, "B 3"]:
        """Returns relation, subject and object of each question, −1 where open."""
        rows = []
        for batch, query in enumerate(queries):
            relation = query[0] if query else ""
            if relation != ANYTHING:
                self.rules.vocabulary.check(query)
            elif len(query) not in (2, 3):
                raise ShapeError(f"the question {query}", 'Write ("?", "Ann", "Bob")')
            numbers = [-1 if name == ANYTHING else mind.number(batch, name) for name in query[1:]]
            index = -1 if relation == ANYTHING else self.rules.vocabulary.index(relation)
            rows.append([index, numbers[0], numbers[-1]])
        return torch.tensor(rows, dtype=torch.long, device=mind.rows.device).reshape(-1, 3)

    def _replies(
        self, derived: Derived, queries: Sequence[Proposition], asked: Tensor, *, budget: bool
    ) -> list[Reply]:
        exclusive = exclusions(self.rules.vocabulary, derived.mind.vocabulary)
        clashes: list[list[tuple[int, int]]] = [[] for _ in queries]
        whole = derived
        if bool(exclusive.any()):
            whole = self._whole(derived) if budget else derived
            clashes = self._clashes(whole)
        spoiled = {
            int(whole.codes[leaf])
            for each in clashes
            for two in each
            for leaf in whole.resting(two)
        }
        judge = Judge(derived, exclusive, spoiled, self.confidence).judge
        found: list[list[int]] = [[] for _ in queries]
        for place in derived.matching(asked).tolist():
            found[derived.row(place)[0]].append(place)
        thoughts = derived.thoughts.tolist()
        replies = []
        for batch, query in enumerate(queries):
            unary = len(query) == 2
            kept = [p for p in found[batch] if not unary or derived.row(p)[1] == derived.row(p)[2]]
            kept = derived.cheapest(kept)
            rivals: dict[tuple[int, ...], list[int]] = {}
            for place in kept:  # relations of the same entities compete
                rivals.setdefault(derived.row(place)[1:3], []).append(place)
            answers = []
            for place in kept:
                said = judge(place, rivals[derived.row(place)[1:3]])
                proposition = derived.mind.proposition(*derived.row(place, relation_first=True))
                answers.append(
                    Answer(
                        proposition, derived.energies[place], said.share, said.sure,
                        said.contradicted, derived, place,
                    )
                )  # fmt: skip
            replies.append(
                Reply(query, tuple(answers), thoughts[batch], whole, tuple(clashes[batch]))
            )
        return replies


def _repeated(mind: Mind, chains: int) -> Mind:
    """Returns each mind as often as it thinks on its own."""
    return replace(
        mind,
        rows=mind.rows.repeat_interleave(chains, 0),
        held=mind.held.repeat_interleave(chains, 0),
        marks=mind.marks.repeat_interleave(chains, 0),
        names=tuple(names for names in mind.names for _ in range(chains)),
    )


def _words(query: Proposition) -> str:
    return f"{query[0]}({','.join(query[1:])})"
