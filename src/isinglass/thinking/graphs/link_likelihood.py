"""The likelihood of the facts of a graph under weighted rules, each asked as if it was unknown."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from isinglass._support.typing import Bool, Float, Int
from isinglass.thinking.graphs.fact_graph import FactGraph

__all__ = ["BIASES", "OBJECT", "SUBJECT", "Questions", "maximize", "other_answers", "table_rows"]

#: Which argument of a fact is asked, by its column.
OBJECT, SUBJECT = 2, 1
#: Below the weights of the bodies stand those of log(1 + n_r(·,y)), log(1 + n_r(x,·)) and [x = y].
BIASES = 3


@dataclass(frozen=True)
class Questions:
    """Facts with one argument asked, in the graph without the fact.

    Attributes:
        facts: Relation, subject, object, ``(T, 3)``.
        side: Which is asked, ``OBJECT`` or ``SUBJECT``.
        others: Other answers that are known, which do not compete, ``(T, n)``.
        places: Question and candidate t·n + c where the graph without the fact has one binding
            less, ``(M,)``.
        uses: Body and relation b·R + r of the rule that it binds, ``(M,)``.
        changes: How much less f is, ``(M,)``.
        own: How much less log(1 + frequency) of the answer is, ``(T,)``.
    """

    facts: Int[Tensor, "T 3"]
    side: int
    others: Bool[Tensor, "T n"]
    places: Int[Tensor, " M"]
    uses: Int[Tensor, " M"]
    changes: Float[Tensor, " M"]
    own: Float[Tensor, " T"]

    @classmethod
    def both(
        cls,
        graph: FactGraph,
        facts: Int[Tensor, "T 3"],
        known: Bool[Tensor, "R n n"],
        *,
        inside: bool = True,
    ) -> tuple[Questions, Questions]:
        """Asks each fact for its object and for its subject.

        Args:
            graph: The graph.
            facts: Relation, subject, object.
            known: What is true.
            inside: Whether the facts are in the graph.
        """
        found = []
        for side in (OBJECT, SUBJECT):
            places, body, count = graph.counts.using(facts if inside else facts[:0], side)
            frequency = graph.frequencies[OBJECT - side, facts[:, 0], facts[:, side]]
            uses = body * len(graph.vocabulary) + facts[places // len(graph.names), 0]
            changes = count.log1p() - count.log()
            own = frequency.log1p() - (frequency - int(inside)).log1p()
            others = other_answers(known, facts, side)
            found.append(cls(facts, side, others, places, uses, changes, own))
        return found[0], found[1]

    def logits(
        self, table: Float[Tensor, "R n n"], weights: Float[Tensor, "K R"]
    ) -> Float[Tensor, "T n"]:
        """Computes −E of every answer, −∞ for the others that are known.

        Args:
            table: −E of every proposition in the whole graph.
            weights: Those of the table, biases below.
        """
        rows = table_rows(table, self.facts, self.side)
        away = -self.changes * weights.flatten()[self.uses]
        rows = rows.flatten().index_add(0, self.places, away).view_as(rows)
        own = -self.own * weights[OBJECT - self.side - BIASES, self.facts[:, 0]]
        rows = rows.scatter_add(1, self.facts[:, [self.side]], own[:, None])
        return rows.masked_fill(self.others, -torch.inf)

    def contrast(
        self, table: Float[Tensor, "R n n"], weights: Float[Tensor, "K R"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Computes −Σ log p of the answers and how uses differ, the answer free minus clamped.

        Args:
            table: −E of every proposition in the whole graph.
            weights: Those of the table, biases below.

        Returns:
            The sum; the difference of every proposition ``(R, n, n)``; of every weight, as far as
            the facts themselves are concerned, ``(K, R)``.
        """
        logits = self.logits(table, weights)
        relation, answer = self.facts[:, 0], self.facts[:, self.side]
        n, relations = logits.shape[-1], len(table)
        gap = logits.softmax(-1) - one_hot(answer, n)
        asked = relation * n + self.facts[:, SUBJECT + OBJECT - self.side]
        slopes = table.new_zeros(relations * n, n).index_add(0, asked, gap).view_as(table)
        uses = torch.zeros_like(weights)
        away = -self.changes * gap.flatten()[self.places]
        uses.view(-1).index_add_(0, self.uses, away)
        own = -self.own * gap.gather(1, answer[:, None])[:, 0]
        uses[OBJECT - self.side - BIASES].index_add_(0, relation, own)
        loss = cross_entropy(logits, answer, reduction="sum")
        return loss, slopes if self.side == OBJECT else slopes.mT, uses


def maximize(
    graph: FactGraph,
    questions: tuple[Questions, Questions],
    start: Float[Tensor, "K R"],
    deviation: float,
    steps: int,
) -> Float[Tensor, "K R"]:
    """Climbs the posterior of the weights, which has one maximum, by L-BFGS.

    Reference: Liu & Nocedal 1989, doi:10.1007/BF01589116.

    Args:
        graph: The graph.
        questions: Which facts are learned.
        start: Weights and biases to start from.
        deviation: Standard deviation of the normal prior.
        steps: How many at most.
    """
    weights = start.clone()
    asked = sum(len(side.facts) for side in questions)
    prior = 1 / (asked * deviation**2)
    optimizer = torch.optim.LBFGS([weights], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        table = graph.table(weights)
        parts = [side.contrast(table, weights) for side in questions]
        slopes = graph.slopes(parts[0][1] + parts[1][1]) + parts[0][2] + parts[1][2]
        # That a fact follows from itself is no rule.
        slopes.diagonal().zero_()
        weights.grad = slopes / asked + prior * weights
        return (parts[0][0] + parts[1][0]) / asked + prior / 2 * weights.square().sum()

    optimizer.step(closure)
    return weights.detach()


def table_rows(table: Tensor, facts: Int[Tensor, "T 3"], side: int) -> Tensor:
    """Returns what a table ``(R, n, n)`` has for every answer to each fact's question, ``(T, n)``.

    Args:
        table: One number for each proposition.
        facts: Relation, subject, object.
        side: Which is asked.
    """
    relation, subject, other = facts.unbind(-1)
    return table[relation, subject] if side == OBJECT else table[relation, :, other]


def other_answers(
    known: Bool[Tensor, "R n n"], facts: Int[Tensor, "T 3"], side: int
) -> Bool[Tensor, "T n"]:
    """Returns which other answers to each fact's question are known."""
    return table_rows(known, facts, side).scatter(1, facts[:, [side]], False)
