"""All derivations from a set of propositions, as one graph, and their energies at any T."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isinglass._support.typing import Float, Int
from isinglass.errors import IntractableError
from isinglass.thinking.mind import Mark, Mind
from isinglass.thinking.rule import Form
from isinglass.thinking.vocabulary import Vocabulary

__all__ = ["DerivationGraph", "RuleTable"]

#: More uses of rules than this are refused: they would not fit into memory.
MOST_USES = 2**26


@dataclass(frozen=True)
class RuleTable:
    """Rules as arrays, a row each, sorted by form.

    Attributes:
        vocabulary: The relations.
        relations: First premise, second premise (−1 if there is none), conclusion, ``(N, 3)``.
        forms: Which variables they bind, with the rows that do, first and one past the last.
    """

    vocabulary: Vocabulary
    relations: Int[Tensor, "N 3"]
    forms: tuple[tuple[Form, int, int], ...]


@dataclass(frozen=True)
class DerivationGraph:
    r"""The propositions that can be derived in a batch of minds, and every use of a rule.

    A use is an edge from its premises to its conclusion. The free energy −V of a proposition sums
    over all derivations that end in it, a soft Bellman recursion:

        V(p) = T log[ [p is given] + Σ_{uses u of p} exp((w_u + V(premise₁) + V(premise₂))/T) ]

    T → 0 is the best derivation, T = 1 the sum. What has no derivation has no row.

    Reference: Goodman 1999, "Semiring parsing", doi:10.1162/089120199561; Knuth 1977,
    doi:10.1016/0020-0190(77)90002-3 (the best derivation).

    Attributes:
        codes: Each proposition as one number ((b·n + x)·n + y)·R + r, ascending, ``(P,)``.
        given: Which are given.
        premises: Positions of the premises of each use, ``(E, 2)``; P, a row of value 0, where there
            is no second.
        rules: Row of the rule that is used, ``(E,)``.
        conclusions: Position of what is concluded, ``(E,)``, ascending.
        shape: B, n, n, R.
    """

    codes: Int[Tensor, " P"]
    given: Tensor
    premises: Int[Tensor, "E 2"]
    rules: Int[Tensor, " E"]
    conclusions: Int[Tensor, " E"]
    shape: tuple[int, int, int, int]

    @classmethod
    def of(cls, mind: Mind, table: RuleTable, depth: int | None = None) -> DerivationGraph:
        """Builds the graph by rounds, each joining what is new with all that is known.

        Args:
            mind: What is given or asserted.
            table: The rules.
            depth: How many rounds at most; None is until nothing is new.

        Raises:
            IntractableError: If rules could be used in more ways than memory holds.
        """
        shape = (len(mind), mind.entities, mind.entities, len(mind.vocabulary))
        kept = mind.held & (mind.marks != Mark.OPEN)
        batch = kept.nonzero()[:, 0]
        relation, subject, other = mind.rows[kept].unbind(-1)
        known = new = torch.unique(_code(batch, subject, other, relation, shape))
        given, uses, size, round_ = known, [], 0, 0
        while len(new) and (depth is None or round_ < depth):
            old = known[~torch.isin(known, new, assume_unique=True)]
            found = [use for form in table.forms for use in _uses(old, new, form, table, shape)]
            size += sum(len(use) for use in found)
            if size > MOST_USES:
                raise IntractableError(
                    f"more than {MOST_USES:,} uses of rules in {len(mind)} minds",
                    "Think about fewer minds at a time, with fewer rules, or within a budget",
                )
            uses += found
            derived = torch.unique(torch.cat([known[:0], *(use[:, 3] for use in found)]))
            new = derived[~torch.isin(derived, known, assume_unique=True)]
            known = torch.cat([known, new]).sort().values
            round_ += 1
        use = torch.cat([known.new_zeros(0, 4), *uses])
        use = use[use[:, 3].argsort(stable=True)]
        first, second = (torch.searchsorted(known, column) for column in use[:, 1:3].unbind(-1))
        second = torch.where(use[:, 2] < 0, len(known), second)
        return cls(
            known,
            torch.isin(known, given, assume_unique=True),
            torch.stack([first, second], -1),
            use[:, 0],
            torch.searchsorted(known, use[:, 3].contiguous()),
            shape,
        )

    def values(
        self, log_weights: Float[Tensor, " N"], temperature: float = 0.0, most_rounds: int = 200
    ) -> Float[Tensor, " P"]:
        """Computes V of every proposition, log-probability at T = 1; differentiable in the weights.

        Args:
            log_weights: w of every rule, in the rows of the table.
            temperature: T at least 0.
            most_rounds: How many times the recursion is applied before it is given up.

        Raises:
            IntractableError: If the sum does not converge, since rules lead in circles.
        """
        weights = log_weights[self.rules]
        start = torch.where(self.given, 0.0, -torch.inf).to(log_weights.dtype)
        value, (first, second) = start, self.premises.unbind(-1)
        for _ in range(most_rounds):
            padded = torch.cat([value, value.new_zeros(1)])
            step = padded[first] + padded[second] + weights
            new = _join(start, step, self.conclusions, temperature)
            slack = 1e-13 * (1 + temperature) if temperature > 0 else 0.0
            change = (new - value).detach().abs().nan_to_num(nan=0.0)  # −∞ stays −∞
            value = new
            if not bool((change > slack * (1 + value.detach().abs())).any()):
                return value
        raise IntractableError(
            f"a sum over derivations that does not converge at T = {temperature}",
            "Rules lead in circles: use a lower temperature, 0 for the best derivation",
        )

    def locate(self, codes: Int[Tensor, " K"]) -> Int[Tensor, " K"]:
        """Returns the positions of propositions, −1 where they cannot be derived."""
        if not len(self.codes):
            return torch.full_like(codes, -1)
        place = torch.searchsorted(self.codes, codes).clamp(max=len(self.codes) - 1)
        return torch.where(self.codes[place] == codes, place, -1)

    def rows(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns mind, subject, object, relation of every proposition."""
        _, n, _, count = self.shape
        pair, relation = self.codes // count, self.codes % count
        return pair // (n * n), pair // n % n, pair % n, relation


def _code(
    batch: Tensor, subject: Tensor, other: Tensor, relation: Tensor, shape: tuple[int, ...]
) -> Tensor:
    _, n, _, count = shape
    return ((batch * n + subject) * n + other) * count + relation


def _join(start: Tensor, step: Tensor, conclusions: Tensor, temperature: float) -> Tensor:
    """Returns max(start, step of every use) at T = 0, T log of the sum of exponentials above it."""
    best = start.scatter_reduce(0, conclusions, step, "amax")
    if temperature == 0:
        return best
    pivot = best.detach()
    pivot = torch.where(pivot == -torch.inf, 0.0, pivot)
    total = ((start - pivot) / temperature).exp()
    total = total.index_add(0, conclusions, ((step - pivot[conclusions]) / temperature).exp())
    safe = torch.where(total > 0, total, 1.0)  # so that no slope of what is −∞ is NaN
    return torch.where(total > 0, pivot + temperature * safe.log(), -torch.inf)


def _uses(
    old: Tensor,
    new: Tensor,
    form: tuple[Form, int, int],
    table: RuleTable,
    shape: tuple[int, int, int, int],
) -> list[Tensor]:
    """Returns the uses of rules of one form with a new premise, rows of (rule, premise, premise,
    conclusion), the propositions by their codes."""
    (first, second, _), begin, end = form
    relations = table.relations[begin:end]
    left_new = _matching(new, first, relations[:, 0], shape)
    if second is None:
        match = torch.stack([left_new, torch.full_like(left_new, -1)], -1)
        return [_conclude(match, form, relations, shape)]
    left_old = _matching(old, first, relations[:, 0], shape)
    right_new = _matching(new, second, relations[:, 1], shape)
    right_all = torch.cat([_matching(old, second, relations[:, 1], shape), right_new])
    return [
        _conclude(_bind(left, right, first, second, shape), form, relations, shape)
        for left, right in ((left_new, right_all), (left_old, right_new))
    ]


def _matching(
    codes: Tensor, bound: tuple[int, int], relations: Tensor, shape: tuple[int, int, int, int]
) -> Tensor:
    """Returns the propositions that can be such a premise: right relation, right kind of pair."""
    _, n, _, count = shape
    pair = codes // count
    alike = pair // n % n == pair % n
    wanted = alike if bound[0] == bound[1] else ~alike
    return codes[wanted & torch.isin(codes % count, relations)]


def _bind(
    left: Tensor,
    right: Tensor,
    first: tuple[int, int],
    second: tuple[int, int],
    shape: tuple[int, int, int, int],
) -> Tensor:
    """Returns the pairs of premises that agree on the variables they share, ``(K, 2)``."""
    shared = sorted(set(first) & set(second))
    keys = []
    for codes, bound in ((left, first), (right, second)):
        pair = codes // shape[3]
        key = pair // shape[1] ** 2
        for variable in shared:
            key = key * shape[1] + _argument(pair, bound.index(variable), shape[1])
        keys.append(key)
    order = keys[1].argsort()
    ranked = keys[1][order]
    begin = torch.searchsorted(ranked, keys[0])
    count = torch.searchsorted(ranked, keys[0], right=True) - begin
    if int(count.sum()) > MOST_USES:
        raise IntractableError(
            f"{int(count.sum()):,} pairs of premises",
            "Think about fewer or smaller minds at a time",
        )
    which = torch.repeat_interleave(torch.arange(len(left), device=left.device), count)
    offset = torch.arange(len(which), device=left.device) - (count.cumsum(0) - count)[which]
    return torch.stack([left[which], right[order[begin[which] + offset]]], -1)


def _argument(pair: Tensor, place: int, n: int) -> Tensor:
    return pair // n % n if place == 0 else pair % n


def _conclude(
    match: Tensor,
    form: tuple[Form, int, int],
    relations: Tensor,
    shape: tuple[int, int, int, int],
) -> Tensor:
    """Returns one row for each rule that fits a pair of premises: rule, both premises, conclusion.

    Variables are never the same entity.
    """
    (first, second, last), begin, _ = form
    _, n, _, count = shape
    entity: dict[int, Tensor] = {}
    for column, bound in ((0, first), (1, second)):
        for place, variable in enumerate(bound or ()):
            entity.setdefault(variable, _argument(match[:, column] // count, place, n))
    apart = torch.ones(len(match), dtype=torch.bool, device=match.device)
    for one in entity:
        for other in entity:
            if one < other:
                apart &= entity[one] != entity[other]
    match = match[apart]
    second_relation = (
        match[:, 1] % count if second is not None else match.new_full((len(match),), -1)
    )
    key = (match[:, 0] % count) * (count + 1) + second_relation + 1
    keys = relations[:, 0] * (count + 1) + relations[:, 1] + 1
    order = keys.argsort(stable=True)
    start = torch.searchsorted(keys[order], key)
    fitting = torch.searchsorted(keys[order], key, right=True) - start
    which = torch.repeat_interleave(torch.arange(len(match), device=match.device), fitting)
    offset = torch.arange(len(which), device=match.device) - (fitting.cumsum(0) - fitting)[which]
    rule = order[start[which] + offset]
    batch = match[which, 0] // count // n**2
    subject, other = (entity[variable][apart][which] for variable in last)
    concluded = _code(batch, subject, other, relations[rule, 2], shape)
    return torch.stack([rule + begin, match[which, 0], match[which, 1], concluded], -1)
