"""A rule with the weight that it was found to have, and what it says of one proposition."""

from __future__ import annotations

import math
from dataclasses import dataclass

from isinglass.thinking.rule import Rule
from isinglass.thinking.vocabulary import Proposition

__all__ = ["Explanation", "Reason", "WeightedRule"]


@dataclass(frozen=True)
class WeightedRule:
    """A rule, its learned weight, and how often it holds in the facts it was learned from.

    The weight is what the rule adds beside all others; the log-odds are those of the rule alone,
    log (s + ½)/(b − s + ½).

    Attributes:
        rule: Premises and conclusion.
        weight: What it takes off the energy of its conclusion, times log(1 + bindings); negative
            speaks against.
        support: s, at how many pairs of entities premises and conclusion hold.
        bound: b, at how many the premises hold.

    Examples:
        >>> print(WeightedRule(Rule.parse("a(X,Y) -> b(X,Y)"), 1.5, support=9, bound=10))
        +1.50  a(X,Y) -> b(X,Y)  (9 of 10, log-odds +1.8)
    """

    rule: Rule
    weight: float
    support: int
    bound: int

    @property
    def log_odds(self) -> float:
        """The log-odds of the conclusion where the premises hold, in nats."""
        return math.log((self.support + 0.5) / (self.bound - self.support + 0.5))

    def __str__(self) -> str:
        return (
            f"{self.weight:+.2f}  {self.rule}  "
            f"({self.support} of {self.bound}, log-odds {self.log_odds:+.1f})"
        )


@dataclass(frozen=True)
class Reason:
    """A rule that speaks for or against a proposition, and the facts by which it does.

    Attributes:
        rule: The rule.
        bindings: How many ways its premises hold.
        share: What it takes off the energy.
        facts: The premises of each binding.

    Examples:
        >>> rule = WeightedRule(Rule.parse("a(X,Y) -> b(X,Y)"), 1.5, support=9, bound=10)
        >>> print(Reason(rule, 1, 1.04, ((("a", "1", "2"),),)))
        +1.04  a(X,Y) -> b(X,Y)
                 a(1, 2)
    """

    rule: WeightedRule
    bindings: int
    share: float
    facts: tuple[tuple[Proposition, ...], ...]

    def __str__(self) -> str:
        shown = "; ".join(
            ", ".join(f"{atom[0]}({', '.join(atom[1:])})" for atom in facts)
            for facts in self.facts[:3]
        )
        more = f"; {self.bindings - 3} more" if self.bindings > 3 else ""
        return f"{self.share:+.2f}  {self.rule.rule}\n         {shown}{more}"


@dataclass(frozen=True)
class Explanation:
    """Why a proposition has its energy: E = −bias − the shares of all rules.

    Attributes:
        proposition: What is explained.
        energy: E.
        bias: What speaks for it before any rule: how many facts there are about its two entities.
        known: Whether it is in the graph; no rule uses it then to conclude it.
        reasons: The rules that say most, strongest first.

    Examples:
        >>> print(Explanation(("b", "1", "2"), -0.5, 0.5, known=False, reasons=()))
        b(1, 2): energy -0.50
        +0.50  bias
    """

    proposition: Proposition
    energy: float
    bias: float
    known: bool
    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        relation, *arguments = self.proposition
        known = ", known" if self.known else ""
        head = f"{relation}({', '.join(arguments)}): energy {self.energy:.2f}{known}"
        return "\n".join([head, *map(str, self.reasons), f"{self.bias:+.2f}  bias"])
