"""Link prediction: rules with learned weights, read off the facts of one graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy, one_hot

from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import check_above_zero, check_count, check_fraction
from isinglass.errors import DomainError, ParameterError
from isinglass.thinking.fact_graph import FactGraph
from isinglass.thinking.weighted_rule import Explanation, Reason, WeightedRule

__all__ = ["LinkPredictor"]

#: Which argument of a fact is asked, by its column.
OBJECT, SUBJECT = 2, 1
RATE = 0.05


class LinkPredictor:
    r"""Predictor of missing facts by rules with learned weights, a log-linear model of a graph.

    Its energy of a proposition adds up the rules whose premises hold in the graph:

        E(r(x,y)) = −Σ_b w_br log(1 + n_b(x,y)) − a_r log(1 + n_r(·,y)) − c_r log(1 + n_r(x,·))
                    − d_r [x = y]

    n_b(x,y) is the number of ways in which the premises b of a rule b → r(X,Y) are bound: q(X,Y),
    q(Y,X), and p(X,Z), q(Z,Y) in every direction, with entities that differ. n_r(·,y) and n_r(x,·)
    are the other facts of the relation about y and about x. What the rules weigh is learned from
    the graph alone by the Boltzmann rule: each fact is asked twice, for its object and for its
    subject, as if it was unknown, and weights follow the uses of rules with the answer clamped
    minus those with the answer free,

        ∂ log p(y | r, x) / ∂w_br = f_b(x,y) − Σ_y' p(y' | r, x) f_b(x,y'),      f = log(1 + n)

    where y' runs over the entities that are not known to be answers too. A normal prior holds the
    weights near 0, and learning stops when facts that are held out are predicted best. A negative
    weight is evidence against: "who is the mother is not the aunt".

    Reference: Lao & Cohen 2010, doi:10.1007/s10994-010-5205-8 (paths as features); Richardson &
    Domingos 2006, doi:10.1007/s10994-006-5833-1 (weighted rules); Ackley et al. 1985.

    Args:
        deviation: Standard deviation of the normal prior of the weights.
        least_support: Rules of two premises are taken up if these hold at so many facts of some
            relation.
        held_out: Fraction of the facts that are held out to know when to stop, where ``fit`` is
            given none. They stay in the graph; only their answers are not learned.
        rounds: How many steps of learning at most.
        patience: After how many steps without a better prediction learning stops.

    Raises:
        ParameterError: If an argument is out of range.

    Examples:
        >>> mothers = [("mother", f"m{i}", f"c{i}") for i in range(30)]
        >>> facts = mothers + [("child", child, mother) for _, mother, child in mothers[:29]]
        >>> predictor = LinkPredictor().fit(facts)
        >>> predictor.predict("child", "c29")
        'm29'
        >>> str(predictor.rules("child", most=1)[0].rule)
        'mother(Y,X) -> child(X,Y)'
    """

    def __init__(
        self,
        *,
        deviation: float = 0.7,
        least_support: int = 2,
        held_out: float = 0.1,
        rounds: int = 300,
        patience: int = 30,
    ) -> None:
        self.deviation = check_above_zero("deviation", deviation)
        self.least_support = check_count("least_support", least_support)
        self.held_out = check_fraction("held_out", held_out)
        self.rounds = check_count("rounds", rounds)
        self.patience = check_count("patience", patience)
        self._graph: FactGraph | None = None

    def fit(
        self,
        triples: Iterable[Sequence[str]],
        held_out: Iterable[Sequence[str]] = (),
        *,
        generator: Generator | None = None,
    ) -> LinkPredictor:
        """Learns the weights of all rules.

        Args:
            triples: The graph, propositions of two arguments: relation, subject, object.
            held_out: Facts that are not part of the graph, to know when to stop; none takes a
                fraction of the graph, drawn at random.
            generator: Source of that randomness; None is seed 0.

        Raises:
            DomainError: If there are no facts, or one is no relation with two arguments; if what is
                held out speaks of an unknown relation or entity.
            IntractableError: If the graph is too large.
        """
        graph = FactGraph.of(triples, self.least_support)
        checked, known = graph.number(held_out), graph.known.clone()
        known[tuple(checked.T)] = True
        inside, learned = not len(checked), graph.facts
        if inside:
            generator = generator or Generator().manual_seed(0)
            order = torch.randperm(len(learned), generator=generator)
            count = int(self.held_out * len(learned))
            learned, checked = learned[order[count:]], learned[order[:count]]
        sides = (OBJECT, SUBJECT)
        questions = [_Questions.of(graph, learned, side, graph.known) for side in sides]
        checks = [
            _Questions.of(graph, checked, side, known, inside=inside)
            for side in sides
            if len(checked)
        ]
        self._weights, self._biases = self._learn(graph, questions, checks)
        self._table = _table(graph, self._weights, self._biases)
        self._graph = graph
        return self

    def _learn(
        self, graph: FactGraph, questions: list[_Questions], checks: list[_Questions]
    ) -> tuple[Tensor, Tensor]:
        """Returns weights ``(K, R)`` and biases ``(3, R)`` at the best round."""
        weights = torch.zeros(len(graph.counts), len(graph.vocabulary))
        biases = torch.zeros(3, len(graph.vocabulary))
        asked = sum(len(side.facts) for side in questions)
        prior = 1 / (asked * self.deviation**2)
        optimizer = torch.optim.Adam([weights, biases], lr=RATE)
        best, found, waited = torch.inf, (weights, biases), 0
        for _ in range(self.rounds):
            table = _table(graph, weights, biases)
            if checks:
                loss = sum(side.loss(table, weights, biases) for side in checks)
                waited = 0 if loss < best else waited + 1
                if loss < best:
                    best, found = loss, (weights.clone(), biases.clone())
                if waited == self.patience:
                    break
            slopes = _contrast(graph, questions, table, weights, biases)
            weights.grad, biases.grad = (
                slope / asked + prior * value
                for slope, value in zip(slopes, (weights, biases), strict=True)
            )
            # That a fact follows from itself is no rule.
            weights.grad.diagonal().zero_()
            optimizer.step()
        return found

    def energy(self, triples: Iterable[Sequence[str]]) -> Float[Tensor, " T"]:
        """Computes the energy E of propositions, known or not.

        Raises:
            DomainError: If one speaks of an unknown relation or entity.
            ParameterError: If nothing was learned yet.
        """
        relation, subject, other = self._fitted.number(triples).unbind(-1)
        return -self._table[relation, subject, other]

    def rank(
        self, relation: str, subject: str | None = None, other: str | None = None
    ) -> list[tuple[str, float]]:
        """Ranks the answers to a question that are not known yet, with their probabilities.

        Args:
            relation: r.
            subject: x, to ask r(x,?).
            other: y, to ask r(?,y).

        Raises:
            DomainError: If relation or entity is unknown.
            ParameterError: If not just one entity is given, or nothing was learned yet.
        """
        graph = self._fitted
        if (subject is None) == (other is None):
            raise ParameterError(
                f"the question {relation}({subject or '?'}, {other or '?'})",
                "Give the subject or the object, and leave the other out",
            )
        index = graph.vocabulary.index(relation)
        if subject is not None:
            place = (index, graph.entity(subject))
        else:
            place = (index, slice(None), graph.entity(str(other)))
        logits = self._table[place].masked_fill(graph.known[place], -torch.inf)
        probability, order = logits.softmax(-1).sort(descending=True, stable=True)
        new = int((~graph.known[place]).sum())
        return [
            (graph.names[entity], value)
            for entity, value in zip(order[:new].tolist(), probability[:new].tolist(), strict=True)
        ]

    def predict(
        self,
        relation: str,
        subject: str | None = None,
        other: str | None = None,
        *,
        least: float = 0.0,
    ) -> str | None:
        """Returns the most probable new answer, None where it is less probable than ``least``.

        Args:
            relation: r.
            subject: x, to ask r(x,?).
            other: y, to ask r(?,y).
            least: Probability below which it is unsure; 0 always answers if something is open.

        Raises:
            DomainError: If relation or entity is unknown.
            ParameterError: If not just one entity is given, or nothing was learned yet.
        """
        ranked = self.rank(relation, subject, other)
        return ranked[0][0] if ranked and ranked[0][1] >= least else None

    def ranks(
        self, triples: Iterable[Sequence[str]], known: Iterable[Sequence[str]] = ()
    ) -> Float[Tensor, "T 2"]:
        """Computes the filtered rank of each fact's object, and of its subject, ``(T, 2)``.

        Other answers that are in the graph, among the triples or known do not compete. Ties count
        half.

        Reference: Bordes et al. 2013, "Translating embeddings" (the filtered setting).

        Args:
            triples: Facts to be ranked.
            known: Facts that are true too.

        Raises:
            DomainError: If one speaks of an unknown relation or entity.
            ParameterError: If nothing was learned yet.
        """
        graph = self._fitted
        facts, truth = graph.number(triples), graph.known.clone()
        truth[tuple(torch.cat([facts, graph.number(known)]).T)] = True
        return torch.stack(
            [
                _ranks(_rows(self._table, facts, side), _others(truth, facts, side), facts[:, side])
                for side in (OBJECT, SUBJECT)
            ],
            -1,
        )

    def score(self, triples: Iterable[Sequence[str]], known: Iterable[Sequence[str]] = ()) -> float:
        """Computes the filtered mean reciprocal rank of facts, over both questions about each.

        Args:
            triples: Facts to be ranked.
            known: Facts that are true too.

        Raises:
            DomainError: If one speaks of an unknown relation or entity, or there is none.
            ParameterError: If nothing was learned yet.
        """
        ranks = self.ranks(triples, known)
        if not len(ranks):
            raise DomainError("no fact", "Give at least one to be ranked")
        return float((1 / ranks).mean())

    def rules(self, relation: str | None = None, *, most: int = 20) -> list[WeightedRule]:
        """Returns the rules that weigh most, for and against, strongest first.

        Args:
            relation: What they conclude; None is all relations.
            most: How many at most.

        Raises:
            DomainError: If the relation is unknown.
            ParameterError: If nothing was learned yet.
        """
        graph = self._fitted
        strength = self._weights.abs()
        if relation is not None:
            column = torch.arange(len(graph.vocabulary)) == graph.vocabulary.index(relation)
            strength = strength * column
        best, place = strength.flatten().topk(min(check_count("most", most), strength.numel()))
        chosen = place[best > 0].tolist()
        return [self._rule(*divmod(index, len(graph.vocabulary))) for index in chosen]

    def _rule(self, body: int, relation: int) -> WeightedRule:
        counts = self._fitted.counts
        return WeightedRule(
            self._fitted.rule(body, relation),
            float(self._weights[body, relation]),
            int(counts.support[body, relation]),
            int(counts.bound_places()[body]),
        )

    def explain(self, triple: Sequence[str], *, most: int = 5) -> Explanation:
        """Says which rules speak for and against a proposition, with the facts that bind them.

        Args:
            triple: Relation, subject, object; known or not.
            most: How many rules at most, strongest first.

        Raises:
            DomainError: If it speaks of an unknown relation or entity.
            ParameterError: If nothing was learned yet.
        """
        graph = self._fitted
        relation, subject, other = graph.number([triple])[0].tolist()
        body, count = graph.counts.at(subject, other)
        share = self._weights[body, relation] * count.log1p()
        order = share.abs().argsort(descending=True, stable=True)[: check_count("most", most)]
        reasons = tuple(
            Reason(self._rule(b, relation), c, s, graph.bindings(b, subject, other))
            for b, c, s in zip(
                body[order].tolist(), count[order].tolist(), share[order].tolist(), strict=True
            )
            if s
        )
        energy = -float(self._table[relation, subject, other])
        of_rules = float(share.sum())
        known = bool(graph.known[relation, subject, other])
        return Explanation(tuple(triple), energy, -energy - of_rules, known, reasons)

    @property
    def _fitted(self) -> FactGraph:
        if self._graph is None:
            raise ParameterError("a predictor that has learned nothing", "Call fit(triples) first")
        return self._graph


@dataclass(frozen=True)
class _Questions:
    """Facts with one argument asked, as if they were unknown."""

    facts: Int[Tensor, "T 3"]
    side: int
    #: Other answers that are known, which compete with none.
    others: Bool[Tensor, "T n"]
    #: Where, by which rule and by how much less f is without the fact itself.
    places: Int[Tensor, " M"]
    uses: Int[Tensor, " M"]
    changes: Float[Tensor, " M"]
    #: How much less the log-frequency of the answer is without it.
    own: Float[Tensor, " T"]

    @classmethod
    def of(
        cls, graph: FactGraph, facts: Tensor, side: int, known: Tensor, *, inside: bool = True
    ) -> _Questions:
        """Makes questions from facts inside or outside of the graph."""
        within = facts if inside else facts[:0]
        places, body, count = graph.counts.using(within, side)
        frequency = graph.frequencies[OBJECT - side, facts[:, 0], facts[:, side]]
        own = frequency.log1p() - (frequency - int(inside)).log1p()
        return cls(
            facts,
            side,
            _others(known, facts, side),
            places,
            body * len(graph.vocabulary) + facts[places // len(graph.names), 0],
            count.log1p() - count.log(),
            own,
        )

    def logits(self, table: Tensor, weights: Tensor, biases: Tensor) -> Float[Tensor, "T n"]:
        """Computes −E of every answer in the graph without the fact, −∞ for the others known."""
        rows = _rows(table, self.facts, self.side)
        away = -self.changes * weights.flatten()[self.uses]
        rows = rows.flatten().index_add(0, self.places, away).view_as(rows)
        own = -self.own * biases[OBJECT - self.side, self.facts[:, 0]]
        rows = rows.scatter_add(1, self.facts[:, [self.side]], own[:, None])
        return rows.masked_fill(self.others, -torch.inf)

    def loss(self, table: Tensor, weights: Tensor, biases: Tensor) -> float:
        """Computes the mean of −log p of the answers."""
        return float(cross_entropy(self.logits(table, weights, biases), self.facts[:, self.side]))


def _contrast(
    graph: FactGraph, questions: list[_Questions], table: Tensor, weights: Tensor, biases: Tensor
) -> tuple[Tensor, Tensor]:
    """Computes uses free minus clamped of every rule ``(K, R)``, and of every bias ``(3, R)``."""
    n, frequencies = len(graph.names), graph.frequencies.log1p()
    slopes, uses, of_biases = torch.zeros_like(table), torch.zeros_like(weights), []
    for side in questions:
        relation, answer = side.facts[:, 0], side.facts[:, side.side]
        free = side.logits(table, weights, biases).softmax(-1)
        gap = free - one_hot(answer, n)
        given = relation * n + side.facts[:, SUBJECT + OBJECT - side.side]
        summed = torch.zeros(len(weights.T) * n, n).index_add(0, given, gap).view_as(table)
        slopes += summed if side.side == OBJECT else summed.mT
        away = side.changes * gap.flatten()[side.places]
        uses.view(-1).index_add_(0, side.uses, -away)
        own = side.own * gap.gather(1, answer[:, None])[:, 0]
        of_biases.append(torch.zeros(len(weights.T)).index_add(0, relation, -own))
    of_biases[0] += (slopes.sum(1) * frequencies[0]).sum(-1)
    of_biases[1] += (slopes.sum(2) * frequencies[1]).sum(-1)
    of_biases.append(slopes.diagonal(dim1=1, dim2=2).sum(-1))
    return graph.at_bodies(slopes) + uses, torch.stack(of_biases)


def _table(graph: FactGraph, weights: Tensor, biases: Tensor) -> Float[Tensor, "R n n"]:
    """Computes −E of every proposition."""
    frequencies = biases[:2, :, None] * graph.frequencies.log1p()
    table = graph.at_pairs(weights) + frequencies[0, :, None] + frequencies[1, :, :, None]
    table.diagonal(dim1=1, dim2=2).add_(biases[2, :, None])
    return table


def _rows(table: Tensor, facts: Tensor, side: int) -> Tensor:
    """Returns what a table has for every answer to the question about each fact, ``(T, n)``."""
    relation, subject, other = facts.unbind(-1)
    return table[relation, subject] if side == OBJECT else table[relation, :, other]


def _others(known: Tensor, facts: Tensor, side: int) -> Bool[Tensor, "T n"]:
    return _rows(known, facts, side).scatter(1, facts[:, [side]], False)


def _ranks(logits: Tensor, others: Tensor, answers: Tensor) -> Float[Tensor, " T"]:
    """Returns ranks of the answers, a tie with each as half a place."""
    logits = logits.masked_fill(others, -torch.inf)
    own = logits.gather(1, answers[:, None])
    return (1.0 + (logits > own).sum(-1)) + ((logits == own).sum(-1) - 1) / 2
