"""Link prediction: rules with learned weights, read off the facts of one graph."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Generator, Tensor

from isinglass._support.several import check_several
from isinglass._support.typing import Float
from isinglass._support.validation import (
    check_above_zero,
    check_count,
    check_fraction,
    check_generator,
    check_positive,
)
from isinglass.errors import DomainError, ParameterError
from isinglass.thinking.graphs.fact_graph import FactGraph
from isinglass.thinking.graphs.link_likelihood import (
    BIASES,
    OBJECT,
    SUBJECT,
    Questions,
    maximize,
    other_answers,
    table_rows,
)
from isinglass.thinking.graphs.weighted_rule import Explanation, Reason, WeightedRule

__all__ = ["LinkPredictor"]


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

    where y' runs over the entities that are not known to be answers too. An answer that is asked
    for may also be somebody else, of whom the graph says nothing: no rule speaks for it and none
    against, so it competes with E = −c_r log(1 + n_r(x,·)). A normal prior holds the
    weights near 0; it is widened, from the optimum at one width to that at the next, as long as
    facts that are held out are predicted better. Each optimum is the only one. A negative weight is
    evidence against: "who is the mother is not the aunt".

    Reference: Lao & Cohen 2010, doi:10.1007/s10994-010-5205-8 (paths as features); Richardson &
    Domingos 2006, doi:10.1007/s10994-006-5833-1 (weighted rules); Ackley et al. 1985.

    Args:
        deviations: Standard deviations of the normal prior that are tried, narrow to wide.
        least_support: Rules of two premises are taken up if these hold at so many facts of some
            relation.
        held_out: Fraction of the facts that are held out to choose the width, where ``fit`` is
            given none. They stay in the graph, and are learned too once it is chosen.
        steps: How many steps of L-BFGS at most are taken to each optimum.

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
        deviations: Sequence[float] = (0.1, 0.2, 0.4, 0.8),
        least_support: int = 2,
        held_out: float = 0.1,
        steps: int = 60,
    ) -> None:
        self.deviations = sorted(
            _checked_width(width)
            for width in check_several("deviations", deviations, "widths: (0.1, 0.2, 0.4)")
        )
        if not self.deviations:
            raise ParameterError("no deviations", "Give at least one")
        self.least_support = check_count("least_support", least_support)
        self.held_out = check_fraction("held_out", held_out)
        self.steps = check_count("steps", steps)
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
            held_out: Facts that are not part of the graph, to choose the width of the prior; none
                takes a fraction of the graph, drawn at random.
            generator: Source of that randomness; None is seed 0.

        Raises:
            DomainError: If there are no facts, or one is no relation with two arguments; if what is
                held out speaks of an unknown relation or entity.
            IntractableError: If the graph is too large.
            ParameterError: If the facts are none, or the generator is none of torch.
        """
        check_generator(generator)
        graph = FactGraph.of(triples, self.least_support)
        checked, known = graph.number(held_out), graph.known.clone()
        known[tuple(checked.T)] = True
        inside, learned = not len(checked), graph.facts
        if inside:
            generator = generator or Generator().manual_seed(0)
            order = torch.randperm(len(learned), generator=generator)
            count = min(math.ceil(self.held_out * len(learned)), len(learned) - 1)
            learned, checked = learned[order[count:]], learned[order[:count]]
        self._weights, self.deviation = self._widen(
            graph,
            Questions.both(graph, learned, graph.known),
            Questions.both(graph, checked, known, inside=inside),
        )
        if inside:
            questions = Questions.both(graph, graph.facts, graph.known)
            self._weights = maximize(graph, questions, self._weights, self.deviation, self.steps)
        self._table = graph.table(self._weights)
        self._graph = graph
        return self

    def _widen(
        self,
        graph: FactGraph,
        questions: tuple[Questions, Questions],
        checks: tuple[Questions, Questions],
    ) -> tuple[Tensor, float]:
        """Returns weights ``(K + 3, R)`` and width at which the checks are most likely."""
        weights = torch.zeros(len(graph.counts) + BIASES, len(graph.vocabulary))
        found, width, best = weights, self.deviations[0], torch.inf
        for deviation in self.deviations:
            weights = maximize(graph, questions, weights, deviation, self.steps)
            table = graph.table(weights)
            loss = float(sum(side.contrast(table, weights)[0] for side in checks))
            if loss >= best:
                break
            found, width, best = weights, deviation, loss
        return found, width

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

        What the probabilities lack of 1 is that of somebody else, of whom the graph says nothing:
        where no rule and no fact of the relation speaks for the only candidate, it has at most ½.

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
            side, entity = SUBJECT, graph.entity(subject)
            place = (index, entity)
        else:
            side, entity = OBJECT, graph.entity(other)
            place = (index, slice(None), entity)
        logits = self._table[place].masked_fill(graph.known[place], -torch.inf)
        # What the entity asked about has in common with every answer, somebody else among them.
        often = graph.frequencies[OBJECT - side, index, entity].log1p()
        somebody = self._weights[OBJECT - side - BIASES, index] * often
        shares = torch.cat([logits, somebody[None]]).softmax(-1)[:-1]
        probability, order = shares.sort(descending=True, stable=True)
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
        """Returns the most probable new answer, or None, unsure.

        It is unsure where no rule speaks for that answer, or it is less probable than ``least``.

        Args:
            relation: r.
            subject: x, to ask r(x,?).
            other: y, to ask r(?,y).
            least: Probability below which it is unsure, from 0 to 1.

        Raises:
            DomainError: If relation or entity is unknown.
            ParameterError: If not just one entity is given, ``least`` is no fraction, or nothing
                was learned yet.
        """
        least = check_fraction("least", least)
        ranked = self.rank(relation, subject, other)
        if not ranked or ranked[0][1] < least:
            return None
        best = ranked[0][0]
        triple = (relation, best if subject is None else subject, best if other is None else other)
        _, _, share = self._shares(*self._fitted.number([triple])[0].tolist())
        return best if bool((share > 0).any()) else None

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
                _ranks(
                    table_rows(self._table, facts, side),
                    other_answers(truth, facts, side),
                    facts[:, side],
                )
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
        strength = self._weights[:-BIASES].abs()
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
        body, count, share = self._shares(relation, subject, other)
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

    def _shares(self, relation: int, subject: int, other: int) -> tuple[Tensor, Tensor, Tensor]:
        """Returns what is bound at a proposition, in how many ways, and what it takes off E."""
        body, count = self._fitted.counts.at(subject, other)
        return body, count, self._weights[body, relation] * count.log1p()

    @property
    def _fitted(self) -> FactGraph:
        if self._graph is None:
            raise ParameterError("a predictor that has learned nothing", "Call fit(triples) first")
        return self._graph


def _checked_width(width: float) -> float:
    """Returns a standard deviation whose square can divide.

    Raises:
        ParameterError: If it is none.
    """
    width = check_above_zero("deviations", width)
    check_positive("deviations, squared", width * width)
    return width


def _ranks(logits: Tensor, others: Tensor, answers: Tensor) -> Float[Tensor, " T"]:
    """Returns ranks of the answers, a tie with each as half a place."""
    logits = logits.masked_fill(others, -torch.inf)
    own = logits.gather(1, answers[:, None])
    return (1.0 + (logits > own).sum(-1)) + ((logits == own).sum(-1) - 1) / 2
