"""All derivations from a set of propositions, as one graph, and their energies at any T."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import (
    check_count,
    check_kind,
    check_temperature,
    check_tensor,
)
from isinglass.errors import IntractableError, ShapeError
from isinglass.thinking._codes import code_of, codes_of, matches, place_of, ranges, rows_of
from isinglass.thinking._estimate import Estimate
from isinglass.thinking.mind import Mind
from isinglass.thinking.rule import Form
from isinglass.thinking.vocabulary import Vocabulary
from isinglass.units.base import gumbel_like

__all__ = ["DerivationGraph", "RuleTable", "uses_of"]

#: More uses of rules than this are refused: they would not fit into memory.
MOST_USES = 2**26
#: From so many on it is told beforehand whether there will be too many: listing them takes long.
MANY_USES = 2**20
#: A sum over all derivations that is not final by then does not converge, or too slowly.
MOST_ROUNDS = 1000


@dataclass(frozen=True)
class RuleTable:
    """Rules as arrays, a row each, sorted by form.

    Attributes:
        vocabulary: The relations.
        relations: First premise, second premise (−1 if there is none), conclusion, ``(N, 3)``.
        forms: Which variables they bind, with the rows that do, first and one past the last.

    Examples:
        >>> from isinglass.thinking import RuleMemory, Vocabulary
        >>> memory = RuleMemory(Vocabulary(["a", "b"]), ["a(X,Z), a(Z,Y) -> b(X,Y)"])
        >>> memory.table().relations, memory.table().forms
        (tensor([[0, 0, 1]]), ((((0, 2), (2, 1), (0, 1)), 0, 1),))
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
        premises: Positions of the premises of each use, ``(E, 2)``; where there is no second, P,
            which has the value 0.
        rules: Row of the rule that is used, ``(E,)``.
        conclusions: Position of what is concluded, ``(E,)``, ascending.
        shape: B, n, n, R.

    Examples:
        >>> from isinglass.thinking import Mind, RuleMemory, Vocabulary
        >>> words = Vocabulary(["a", "b"], exclusive=[["a", "b"]])
        >>> memory = RuleMemory(words, ["a(X,Z), a(Z,Y) -> b(X,Y)"])
        >>> mind = Mind.from_tuples([("a", "1", "2"), ("a", "2", "3")], words)
        >>> graph = DerivationGraph.of(mind, memory.table())
        >>> graph.values(memory.log_weights()).exp()  # two are given, one is derived
        tensor([1., 1., 1.], dtype=torch.float64)
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
            IntractableError: If rules could be used in more ways than memory holds; this is told
                before they are listed.
            ParameterError: If mind or table is none, or the depth no count.
        """
        check_kind("mind", mind, Mind, "a Mind: Mind.from_tuples(facts, memory.vocabulary)")
        check_kind("table", table, RuleTable, "the table of a memory: memory.table()")
        if depth is not None:
            check_count("depth", depth, 0)
        given, shape = codes_of(mind)
        known = new = given
        old, uses, size, round_ = known[:0], [], 0, 0
        estimate = Estimate(table.relations, table.forms, shape, MOST_USES)
        while len(new) and (depth is None or round_ < depth):
            if size >= MANY_USES:
                rest = None if depth is None else depth - round_
                _check_uses(estimate(known, rest, size), mind)
            found = [use for form in table.forms for use in uses_of(old, new, form, table, shape)]
            size += sum(len(use) for use in found)
            _check_uses(size, mind)
            uses += found
            derived = torch.unique(torch.cat([known[:0], *(use[:, 3] for use in found)]))
            old, new = known, derived[place_of(derived, known) < 0]
            known = torch.cat([known, new]).sort().values
            round_ += 1
        use = torch.cat([known.new_zeros(0, 4), *uses])
        use = use[use[:, 3].argsort(stable=True)]
        premises = torch.searchsorted(known, use[:, 1:3].contiguous())
        premises = torch.where(use[:, 1:3] < 0, len(known), premises)
        return cls(
            known,
            place_of(known, given) >= 0,
            premises,
            use[:, 0],
            torch.searchsorted(known, use[:, 3].contiguous()),
            shape,
        )

    def values(
        self, log_weights: Float[Tensor, " N"], temperature: float = 0.0, depth: int | None = None
    ) -> Float[Tensor, " P"]:
        """Computes V of every proposition, log-probability at T = 1; differentiable in the weights.

        Args:
            log_weights: w of every rule, in the rows of the table.
            temperature: T at least 0.
            depth: How deep derivations are at most; None is no limit.

        Raises:
            IntractableError: If the sum over all does not converge, since rules lead in circles.
            ParameterError: If the temperature is below zero, or the depth no count.
            ShapeError: If there is no weight for each rule.
        """
        return self.values_of_uses(self._per_use(log_weights), temperature, depth)

    def values_of_uses(
        self, weights: Float[Tensor, " E"], temperature: float = 0.0, depth: int | None = None
    ) -> Float[Tensor, " P"]:
        """Computes V as :meth:`values` does, with a weight of its own for every use of a rule.

        Raises:
            IntractableError: If the sum over all does not converge, since rules lead in circles.
        """
        temperature = check_temperature(temperature)
        if depth is not None:
            check_count("depth", depth)
        check_tensor("weights", weights)
        if weights.shape != self.rules.shape:
            raise ShapeError(
                f"weights of shape {tuple(weights.shape)} for {len(self.rules)} uses of rules",
                "Give one for each use",
            )
        value, _, converged = self._solve(weights, temperature, depth or MOST_ROUNDS)
        if depth is None and not converged:
            raise IntractableError(
                f"a sum over derivations that does not converge at T = {temperature}",
                "Rules lead in circles: use a lower temperature, 0 for the best derivation",
            )
        return value

    def best(self, log_weights: Float[Tensor, " N"]) -> tuple[Tensor, Tensor]:
        """Computes V at T = 0 and the last step of a derivation that has it.

        Args:
            log_weights: w of every rule, in the rows of the table.

        Returns:
            V, ``(P,)``, and rule and positions of the premises, ``(P, 3)``, −1 where there is none.
        """
        weights = self._per_use(log_weights).detach()
        value, rank, _ = self._solve(weights, 0.0, len(self.codes) + 1)
        padded, early = torch.cat([value, value.new_zeros(1)]), torch.cat([rank, rank.new_zeros(1)])
        first, second = self.premises.unbind(-1)
        reached = padded[first] + padded[second] + weights == value[self.conclusions]
        # A step whose premises were final before leads back to what is given, never in a circle.
        reached &= torch.maximum(early[first], early[second]) < rank[self.conclusions]
        use = torch.arange(len(self.rules), device=rank.device).masked_fill(
            ~reached, len(self.rules)
        )
        last = torch.full_like(rank, len(self.rules)).scatter_reduce(
            0, self.conclusions, use, "amin"
        )
        step = torch.full((len(self.codes), 3), -1, device=rank.device)
        derived = last < len(self.rules)
        chosen = last[derived]
        premises = self.premises[chosen]
        step[derived, 0] = self.rules[chosen]
        step[derived, 1:] = premises.masked_fill(premises == len(self.codes), -1)
        return value, step

    def _per_use(self, log_weights: Tensor) -> Tensor:
        """Returns the weight of the rule of each use."""
        check_tensor("log_weights", log_weights)
        most = int(self.rules.max()) + 1 if len(self.rules) else 0
        if log_weights.ndim != 1 or len(log_weights) < most:
            raise ShapeError(
                f"log_weights of shape {tuple(log_weights.shape)} for {most} rules or more",
                "Give one weight a rule, such as memory.log_weights()",
            )
        return log_weights[self.rules]

    def _solve(
        self, weights: Tensor, temperature: float, most_rounds: int
    ) -> tuple[Tensor, Tensor, bool]:
        """Returns V, the round in which each value became what it is, and whether all are final."""
        start = torch.where(self.given, 0.0, -torch.inf).to(weights)
        value, (first, second) = start, self.premises.unbind(-1)
        rank = torch.zeros_like(self.codes)
        slack = 1e-13 * (1 + temperature) if temperature > 0 else 0.0
        for round_ in range(1, most_rounds + 1):
            padded = torch.cat([value, value.new_zeros(1)])
            step = padded[first] + padded[second] + weights
            new = _join(start, step, self.conclusions, temperature)
            change = (new - value).detach().abs().nan_to_num(nan=0.0)  # −∞ stays −∞
            value = new
            moved = change > slack * (1 + value.detach().abs())
            if not bool(moved.any()):
                return value, rank, True
            rank = rank.masked_fill(moved, round_)
        return value, rank, False

    def toward(self, targets: Int[Tensor, " K"]) -> DerivationGraph:
        """Returns the graph without the uses that lead to none of some propositions."""
        wanted = torch.zeros(len(self.codes) + 1, dtype=torch.bool, device=self.codes.device)
        wanted[targets] = True
        while True:
            kept = wanted[self.conclusions]
            before = int(wanted.sum())
            wanted[self.premises[kept].flatten()] = True
            if int(wanted.sum()) == before:
                break
        return self.only(kept)

    def only(self, kept: Bool[Tensor, " E"]) -> DerivationGraph:
        """Returns the graph with some of the uses of rules alone."""
        return replace(
            self,
            premises=self.premises[kept],
            rules=self.rules[kept],
            conclusions=self.conclusions[kept],
        )

    def sample(
        self,
        targets: Int[Tensor, " K"],
        log_weights: Float[Tensor, " N"],
        value: Float[Tensor, " P"],
        generator: Generator | None = None,
    ) -> tuple[Int[Tensor, " U"], Int[Tensor, " U"]]:
        """Draws one derivation of each target from p ∝ exp(−energy), from the top down.

        Args:
            targets: Positions of propositions that can be derived.
            log_weights: w of every rule.
            value: V at T = 1 with these weights.
            generator: Where the draws come from.

        Returns:
            Which rules are used, and for which of the targets.
        """
        padded = torch.cat([value, value.new_zeros(1)])
        logits = log_weights[self.rules] + padded[self.premises].sum(-1)
        begin = torch.searchsorted(self.conclusions, torch.arange(len(self.codes) + 1).to(targets))
        open_, row = targets, torch.arange(len(targets), device=targets.device)
        rules, rows = [], []
        while len(open_):
            which, use = ranges(begin[open_], begin[open_ + 1] - begin[open_])
            drawn = logits[use] + gumbel_like(logits[use], generator)
            # That it is given competes with what derives it.
            given = torch.where(self.given[open_], 0.0, -torch.inf).to(drawn)
            given = given + gumbel_like(given, generator)
            best = given.scatter_reduce(0, which, drawn, "amax")
            chosen = drawn == best[which]
            use, row = use[chosen], row[which[chosen]]
            rules.append(self.rules[use])
            rows.append(row)
            real = self.premises[use] < len(self.codes)
            open_, row = self.premises[use][real], row.unsqueeze(-1).expand_as(real)[real]
        return torch.cat([*rules, self.rules[:0]]), torch.cat([*rows, self.rules[:0]])

    def locate(self, codes: Int[Tensor, "*K"]) -> Int[Tensor, "*K"]:
        """Returns the positions of propositions, −1 where they cannot be derived."""
        return place_of(codes, self.codes)

    def rows(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns mind, subject, object, relation of every proposition."""
        return rows_of(self.codes, self.shape)


def _check_uses(size: int, mind: Mind) -> None:
    if size > MOST_USES:
        raise IntractableError(
            f"{size:,} uses of rules or more in {len(mind)} minds, where {MOST_USES:,} fit into "
            "memory",
            "Think about fewer facts or minds at a time, with fewer rules, or within a budget",
        )


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


def uses_of(
    old: Tensor,
    new: Tensor,
    form: tuple[Form, int, int],
    table: RuleTable,
    shape: tuple[int, int, int, int],
) -> list[Tensor]:
    """Returns the uses of rules of one form that have a new premise.

    Each is a row (rule, premise, premise, conclusion) of codes, −1 for no second premise.
    """
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
    wanted = torch.zeros(count, dtype=torch.bool, device=codes.device)
    wanted[relations] = True
    return codes[wanted[codes % count] & (alike if bound[0] == bound[1] else ~alike)]


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
    one, other = matches(*keys)
    return torch.stack([left[one], right[other]], -1)


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
    which, rule = matches(key, keys)
    batch = match[which, 0] // count // n**2
    subject, other = (entity[variable][apart][which] for variable in last)
    concluded = code_of(batch, subject, other, relations[rule, 2], shape)
    return torch.stack([rule + begin, match[which, 0], match[which, 1], concluded], -1)
