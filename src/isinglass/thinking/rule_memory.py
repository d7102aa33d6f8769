"""Long-term memory: rules as stored patterns of one energy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from isinglass._support.several import check_several
from isinglass._support.typing import Float, Int
from isinglass._support.validation import (
    check_above_zero,
    check_at_least_zero,
    check_count,
    check_features,
    check_generator,
    check_kind,
    check_tensor,
)
from isinglass._support.wording import shown
from isinglass.core.capabilities import Serializable
from isinglass.core.numbers import Numbered
from isinglass.distributions import PatternMixture
from isinglass.errors import ParameterError, ShapeError
from isinglass.thinking.derivation_graph import DerivationGraph, RuleTable
from isinglass.thinking.mind import Mind
from isinglass.thinking.rule import VARIABLES, Form, Rule, checked_atom
from isinglass.thinking.vocabulary import Vocabulary
from isinglass.units import Categorical, Mixed, Unit

__all__ = ["RuleMemory", "StoredRule"]

MOST_USES = 1e100

#: How two variables are written as one number; the last is that of a premise that is not there.
PAIRS = [(first, second) for first in range(3) for second in range(3)]
ABSENT = len(PAIRS)
#: What errors propose.
PREMISES = 'a list of premises, ["mother(X,Z), aunt(Z,Y)"]'


@dataclass(frozen=True)
class StoredRule:
    """A rule of a memory with what it weighs.

    Examples:
        >>> print(StoredRule(Rule.compose("a", "a", "b"), 1.0, 0.6667, 0.69))
         0.6667   +0.69      1.00  a(X,Z), a(Z,Y) -> b(X,Y)

    Attributes:
        rule: The rule.
        count: How often it was stored, or used in what was learned from.
        probability: p(conclusion | premises).
        log_odds: Logarithm of p/(1 − p).
    """

    rule: Rule
    count: float
    probability: float
    log_odds: float

    def __str__(self) -> str:
        return f"{self.probability:7.4f} {self.log_odds:+7.2f} {self.count:9.2f}  {self.rule}"


class RuleMemory(Numbered, Serializable):
    r"""Rules as stored patterns of an energy over one-hot groups; storing one is learning it.

        E(r₁, r₂, r₃) = −log Σ_μ count_μ exp(λ [r₁ = r₁μ] + λ [r₂ = r₂μ] + λ [r₃ = r₃μ])

    with a group for the variables that each relation binds too. A thought is the exact conditional
    p(r₃ | r₁, r₂); the free energy of two premises says whether they are known.

    Reference: Hebb 1949; Ramsauer et al. 2020, arXiv:2008.02217 (one pattern a state).

    Args:
        vocabulary: The relations.
        rules: What is stored from the start, as :meth:`store` takes it.
        sharpness: λ > 0, how much more likely a relation that fits is than one that does not.
        doubt: What is added to the counts of all rules of the same premises, for what is not known
            of them: a rule that was seldom seen costs energy.

    Raises:
        DomainError: If a rule speaks of an unknown relation.
        ParameterError: If a rule is none, or λ is not above zero.

    Examples:
        >>> family = Vocabulary(["mother", "brother", "grandmother", "uncle"])
        >>> memory = RuleMemory(family, ["mother(X,Z), mother(Z,Y) -> grandmother(X,Y)"])
        >>> memory.store(Rule.compose("mother", "brother", "uncle"))
        >>> asked = ["mother(X,Z), brother(Z,Y)", "uncle(X,Z), uncle(Z,Y)"]
        >>> known, unknown = memory.log_prob(asked)
        >>> bool(known > -1), bool(unknown < -10)
        (True, True)
    """

    numbers: ClassVar[tuple[str, ...]] = ("sharpness", "doubt")
    codes: Tensor
    counts: Tensor

    def __init__(
        self,
        vocabulary: Vocabulary,
        rules: Iterable[Rule | str] = (),
        *,
        sharpness: float = 12.0,
        doubt: float = 0.5,
    ) -> None:
        super().__init__()
        check_kind("vocabulary", vocabulary, Vocabulary, 'Vocabulary(["mother", "grandmother"])')
        self.vocabulary = vocabulary
        #: Names of variables in stored rules that may have been meant for entities, not saved.
        self.written: frozenset[str] = frozenset()
        self.sharpness = check_above_zero("sharpness", sharpness)
        self.doubt = check_at_least_zero("doubt", doubt)
        relations = len(vocabulary)
        sizes = (relations, ABSENT, relations + 1, ABSENT + 1, relations, 2)
        # A group of one component, as of a single relation, has nothing to choose.
        self.unit = Mixed([Categorical(max(size, 2)) for size in sizes])
        self.register_buffer("codes", torch.zeros(0, 6, dtype=torch.long))
        self.register_buffer("counts", torch.zeros(0, dtype=torch.float64))
        self.store(rules)

    @property
    def layers(self) -> tuple[Unit, ...]:
        """Six one-hot groups: relation and variables of both premises and of the conclusion."""
        return (self.unit,)

    def __len__(self) -> int:
        """Counts the stored rules."""
        return len(self.codes)

    def store(self, rules: Rule | str | Iterable[Rule | str], count: float = math.inf) -> None:
        """Stores rules; one that is there already counts for more.

        Names in a rule are variables and stand for anyone. A rule about an entity says so by its
        relation, ``=Ann(X), mother(X,Y) -> ...``, where the vocabulary names it.

        Args:
            rules: A rule, as :class:`Rule` or as text, or several.
            count: How much each weighs beside others of the same premises; infinite, it is certain:
                the rule has probability 1, and changes no other rule's.

        Raises:
            DomainError: If a rule speaks of an unknown relation.
            ParameterError: If a rule is none, the count is not above zero, or a variable has the
                name of an entity that the vocabulary names.
        """
        listed = _listed(rules)
        codes, count = self._encode(listed), _checked_count(count)
        written = {name for rule in listed for name in rule.written} - set(VARIABLES)
        if met := written.intersection(self.vocabulary.named):
            name = min(met)
            raise ParameterError(
                f"{name} as a variable of a rule, and an entity of the vocabulary",
                f"Names in rules stand for anyone: write X, Y, Z, and ={name}(X) where X is {name}",
            )
        self.written |= written
        counts = torch.full((len(codes),), count, dtype=torch.float64)
        self.put(torch.cat([self.codes, codes]), torch.cat([self.counts, counts.to(self.counts)]))

    def forget(self, rules: Rule | str | Iterable[Rule | str]) -> None:
        """Forgets rules, whatever they count.

        Raises:
            ParameterError: If one is not stored.
        """
        gone = self._encode(_listed(rules))
        same = (self.codes.unsqueeze(1) == gone).all(-1)
        if not bool(same.any(0).all()):
            missing = gone[~same.any(0)][0]
            raise ParameterError(
                f"the rule '{self._decode(missing.tolist())}', which is not stored",
                "See rules() for those that are",
            )
        kept = ~same.any(1)
        self.codes, self.counts = self.codes[kept], self.counts[kept]

    def put(self, codes: Int[Tensor, "N 6"], counts: Float[Tensor, " N"]) -> None:
        """Replaces all that is stored; counts of equal rules are summed.

        Args:
            codes: Relation and variables of each premise and of the conclusion, by number.
            counts: What each weighs, above zero.

        Raises:
            ParameterError: If one is beyond 10¹⁰⁰ and not infinite: sums would overflow.
            ShapeError: If there are not six numbers and a count for each rule.
            DomainError: If they are no tensors.
        """
        check_tensor("codes", codes)
        check_tensor("counts", counts)
        if codes.ndim != 2 or codes.shape[1] != 6 or counts.shape != codes.shape[:1]:
            raise ShapeError(
                f"codes of shape {tuple(codes.shape)}, counts of shape {tuple(counts.shape)}",
                "Give (N, 6) and (N,)",
            )
        if bool((counts.isfinite() & (counts > MOST_USES)).any()):
            raise ParameterError(
                f"a count of {float(counts[counts.isfinite()].max()):.3g}",
                f"Give counts of at most {MOST_USES:.0e}, or infinity for what is certain",
            )
        # Sorted by form, so that rules of one form are a slice.
        order = [1, 3, 5, 0, 2, 4]
        unique, place = torch.unique(codes[:, order], dim=0, return_inverse=True)
        back = torch.tensor(order, device=codes.device).argsort()
        self.codes = unique[:, back]
        self.counts = counts.new_zeros(len(unique)).index_add(0, place, counts)

    def rules(self) -> list[StoredRule]:
        """Returns the rules with their weights, the heaviest first."""
        log_weights = self.log_weights()
        odds = log_weights - torch.log(-torch.expm1(log_weights))  # ∞ of what is certain
        rows = zip(
            self.codes.tolist(),
            self.counts.tolist(),
            log_weights.exp().tolist(),
            odds.tolist(),
            strict=True,
        )
        found = [StoredRule(self._decode(code), *weights) for code, *weights in rows]
        return sorted(found, key=lambda stored: (-stored.count, str(stored.rule)))

    def rule(self, row: int) -> Rule:
        """Returns the rule of a row of the table.

        Raises:
            ParameterError: If there is no such row.
        """
        if check_count("row", row, 0) >= len(self):
            raise ParameterError(f"row {row} of {len(self)} rules", "Count from 0")
        return self._decode(self.codes[row].tolist())

    def mixture(self) -> PatternMixture:
        """Returns the distribution of rules: a mixture with a pattern for each that is stored.

        Raises:
            ParameterError: If none is stored.
        """
        if not len(self):
            raise ParameterError("a memory without rules", "Store one first")
        # In a draw, where conclusions compete, a certain rule weighs as much as the heaviest.
        finite = self.counts[self.counts.isfinite()]
        most = float(finite.max()) if len(finite) else 1.0
        weights = self.counts.clamp(max=max(most, 1.0)).log()
        return PatternMixture(self.unit, weights, self.sharpness * self.state(self.codes))

    def state(self, codes: Int[Tensor, "N 6"]) -> Float[Tensor, "N d"]:
        """Returns rules as states of the energy, one one-hot group after another."""
        groups = [
            one_hot(column, part.size)
            for column, part in zip(codes.unbind(-1), self.unit.parts, strict=True)
        ]
        return torch.cat(groups, -1).to(self.counts.dtype)

    def forward(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Computes E of a rule: minus the log of its weight, but for a constant."""
        check_features(state, self.unit.size)
        return -self.mixture().score(state)

    def log_prob(self, premises: Sequence[str | Sequence[Sequence[str]]]) -> Float[Tensor, " K"]:
        """Computes log p(premises), by which premises that no rule speaks of are told.

        Args:
            premises: Each one or two atoms with the variables of the rule they belong to, X and Y
                those of its conclusion: ``"mother(X,Z), brother(Z,Y)"``.

        Raises:
            DomainError: If a relation is unknown.
        """
        state, observed = self._premises(premises)
        mixture = self.mixture()
        return mixture.condition(state, observed).value() - mixture.value()

    def conclude(self, premises: Sequence[str | Sequence[Sequence[str]]]) -> Float[Tensor, "K R"]:
        """Computes p(r₃ | premises) of every relation, a thought's own distribution."""
        state, observed = self._premises(premises)
        mean = self.mixture().condition(state, observed).mean()
        return self.unit.split(mean)[4][:, : len(self.vocabulary)]

    def sample(
        self,
        premises: Sequence[str | Sequence[Sequence[str]]],
        generator: Generator | None = None,
    ) -> list[str]:
        """Draws the relation that is concluded from each pair of premises.

        Raises:
            DomainError: If a relation is unknown.
            ParameterError: If the generator is none of torch.
        """
        check_generator(generator)
        drawn = torch.multinomial(self.conclude(premises), 1, generator=generator)
        return [self.vocabulary.relations[index] for index in drawn[:, 0].tolist()]

    def log_weights(self) -> Float[Tensor, " N"]:
        """Computes w = log count/(total + doubt) of every stored rule, in the order of the table.

        It depends on rules of the same premises alone: another rule changes no bit of it. What is
        certain has w = 0, and takes nothing from the others.
        """
        certain = self.counts.isinf()
        counts = self.counts.masked_fill(certain, 0.0)
        place = torch.unique(self.codes[:, :4], dim=0, return_inverse=True)[1]
        total = counts.new_zeros(len(self.codes)).index_add(0, place, counts)
        weights = self.counts.log() - (total + self.doubt)[place].log()
        return weights.masked_fill(certain, 0.0)

    def table(self) -> RuleTable:
        """Returns the rules as arrays, for derivations."""
        forms, sizes = torch.unique_consecutive(self.codes[:, [1, 3, 5]], dim=0, return_counts=True)
        ends = sizes.cumsum(0).tolist()
        relations = self.codes[:, [0, 2, 4]].clone()
        relations[self.codes[:, 3] == ABSENT, 1] = -1
        slices = zip(forms.tolist(), [0, *ends[:-1]], ends, strict=False)
        return RuleTable(
            self.vocabulary,
            relations,
            tuple((_form(*form), begin, end) for form, begin, end in slices),
        )

    def support(self, mind: Mind) -> Float[Tensor, "B n n R"]:
        """Computes the energy of every candidate proposition (x, y, r), one thought ahead.

            E(p) = −log Σ_{rules μ, bindings} p_μ,    ∞ where no rule leads to p

        Raises:
            IntractableError: If rules could be used in more ways than memory holds.
            ParameterError: If the mind is none.
        """
        check_kind("mind", mind, Mind, "a Mind: Mind.from_tuples(facts, memory.vocabulary)")
        graph = DerivationGraph.of(mind, self.table(), depth=1)
        steps = self.log_weights().to(graph.rules.device)[graph.rules]
        total = steps.new_zeros(len(graph.codes)).index_add(0, graph.conclusions, steps.exp())
        energies = total.new_full((int(torch.tensor(graph.shape).prod()),), torch.inf)
        energies[graph.codes] = -total.log()
        return energies.reshape(graph.shape)

    def config(self) -> dict[str, Any]:
        """Returns the vocabulary, the number of rules and λ."""
        words = self.vocabulary
        plain = {
            name: arity
            for name, arity in zip(words.relations, words.arities, strict=True)
            if not name.startswith("=")
        }
        return {
            "relations": plain,
            "named": list(words.named),
            "exclusive": [list(group) for group in words.exclusive],
            "rules": len(self),
            "sharpness": self.sharpness,
            "doubt": self.doubt,
        }

    def description(self) -> dict[str, Any]:
        """Returns the configuration without the number of rules, which their codes show."""
        return {name: value for name, value in super().description().items() if name != "rules"}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RuleMemory:
        """Returns a memory of the same shape, its rules to be loaded."""
        words = Vocabulary(config["relations"], config["named"], config["exclusive"])
        memory = cls(words, sharpness=config["sharpness"], doubt=config["doubt"])
        memory.codes = torch.zeros(config["rules"], 6, dtype=torch.long)
        memory.counts = torch.ones(config["rules"], dtype=torch.float64)
        return memory

    def _encode(self, rules: Iterable[Rule]) -> Tensor:
        codes = []
        for rule in rules:
            first, second, last, form = rule.codes(self.vocabulary)
            absent = form[1] is None
            codes.append(
                (
                    first,
                    PAIRS.index(form[0]),
                    len(self.vocabulary) if absent else second,
                    ABSENT if form[1] is None else PAIRS.index(form[1]),
                    last,
                    PAIRS.index(form[2]),
                )
            )
        return torch.tensor(codes, dtype=torch.long, device=self.codes.device).reshape(-1, 6)

    def _decode(self, code: Sequence[int]) -> Rule:
        form = _form(code[1], code[3], code[5])
        return Rule.decode((code[0], code[2], code[4]), form, self.vocabulary)

    def _premises(self, premises: Sequence[str | Sequence[Sequence[str]]]) -> tuple[Tensor, Tensor]:
        """Returns states with the premises in place, and which components they fix."""
        codes = []
        for given in check_several("premises", premises, PREMISES):
            if isinstance(given, str):
                atoms = Rule.atoms(given)
            else:
                found = check_several("the premises of a rule", given, PREMISES)
                atoms = [checked_atom(atom) for atom in found]
            if not 1 <= len(atoms) <= 2:
                raise ParameterError(f"the premises {given!r}", 'Write "mother(X,Z), aunt(Z,Y)"')
            row = []
            for atom in sorted(atoms, key=lambda atom: (atom[1:], atom[0])):
                relation, *bound = self.vocabulary.check(atom)
                if not set(bound) <= set(VARIABLES):
                    raise ParameterError(
                        f"the variables {bound}", "Use X, Y, Z: X and Y are those of the conclusion"
                    )
                row += [relation, PAIRS.index(tuple(map(VARIABLES.index, bound)))]  # pyright: ignore[reportArgumentType]
            codes.append([*row, *([len(self.vocabulary), ABSENT] * (2 - len(atoms))), 0, 0])
        state = self.state(
            torch.tensor(codes, dtype=torch.long, device=self.codes.device).reshape(-1, 6)
        )
        observed = torch.arange(self.unit.size, device=state.device)
        observed = observed < sum(part.size for part in self.unit.parts[:4])
        return state, observed


def _listed(rules: Rule | str | Iterable[Rule | str]) -> list[Rule]:
    """Returns one rule or several.

    Raises:
        ParameterError: If one is none.
    """
    remedy = "a Rule, or text: aunt(X,Z), son(Z,Y) -> son(X,Y)"
    one = isinstance(rules, Rule | str)
    listed = []
    for given in [rules] if one else check_several("rules", rules, f"{remedy}, or a list of them"):
        if not isinstance(given, Rule | str):
            raise ParameterError(f"the rule {shown(given)[:60]}", f"Give {remedy}")
        listed.append(Rule.parse(given) if isinstance(given, str) else given)
    return listed


def _checked_count(count: float) -> float:
    if isinstance(count, float) and count == math.inf:
        return math.inf
    try:
        return check_above_zero("count", count)
    except ParameterError as error:
        remedy = f"Give a number above zero, of at most {MOST_USES:.0e}, or math.inf for certain"
        raise ParameterError(error.found, remedy) from error


def _form(first: int, second: int, last: int) -> Form:
    return PAIRS[first], None if second == ABSENT else PAIRS[second], PAIRS[last]
