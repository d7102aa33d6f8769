"""A rule: one or two premises and what follows from them, with variables for entities."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from isinglass._support.several import check_several
from isinglass._support.wording import shown
from isinglass.errors import ParameterError
from isinglass.thinking.vocabulary import Proposition, Vocabulary

__all__ = ["Form", "Rule", "checked_atom"]

#: Which variables each premise and the conclusion bind, X = 0, Y = 1, Z = 2; the second premise
#: is None in a rule of one.
Form = tuple[tuple[int, int], tuple[int, int] | None, tuple[int, int]]
VARIABLES = "XYZ"
WRITTEN, ATOM = (
    "mother(X,Z), mother(Z,Y) -> grandmother(X,Y)",
    'a relation and one or two variables: ("mother", "X", "Y")',
)
_ATOM = re.compile(r"\s*([^(),]+?)\s*\(([^()]*)\)\s*(,|$)")


@dataclass(frozen=True)
class Rule:
    """If its premises hold of some entities, its conclusion holds of them.

        premise₁, premise₂ → conclusion          variables stand for entities, each for another

    Reference: Muggleton & De Raedt 1994, doi:10.1016/0743-1066(94)90035-3; variables are bound
    under object identity (Esposito et al. 2001, doi:10.1007/3-540-44797-0_10): two of them are
    never the same entity.

    Args:
        premises: One or two, each a relation and its variables.
        conclusion: A relation and variables that stand in the premises.

    Attributes:
        premises: With the variables X, Y and Z, in an order that does not depend on theirs.
        conclusion: With the variables X and Y.
        written: The variables as they were given.

    Raises:
        ParameterError: If an atom is no relation with variables, in text; if there are more than
            two premises or three variables, if nothing joins the premises, or if the conclusion has
            a variable of its own.

    Examples:
        >>> Rule.parse("mother(X,Z), mother(Z,Y) -> grandmother(X,Y)")
        Rule('mother(X,Z), mother(Z,Y) -> grandmother(X,Y)')
        >>> Rule.compose("mother", "brother", "uncle")
        Rule('mother(X,Z), brother(Z,Y) -> uncle(X,Y)')
        >>> Rule.parse("a(P,Q) -> b(Q,P)")  # variables are named anew
        Rule('a(Y,X) -> b(X,Y)')
    """

    premises: tuple[Proposition, ...]
    conclusion: Proposition
    written: tuple[str, ...] = field(compare=False, repr=False)

    def __init__(self, premises: Sequence[Sequence[str]], conclusion: Sequence[str]) -> None:
        given = check_several("premises", premises, f"atoms, {ATOM}")
        atoms = [checked_atom(atom) for atom in (*given, conclusion)]
        if len(atoms) not in (2, 3) or any(len(atom) not in (2, 3) for atom in atoms):
            raise ParameterError(
                f"the rule {atoms}", "Give one or two premises, of one or two variables each"
            )
        names: dict[str, str] = {}
        # Those of the conclusion come first.
        for variable in (word for atom in reversed(atoms) for word in atom[1:]):
            if len(names) == len(VARIABLES) and variable not in names:
                raise ParameterError(f"the rule {atoms} of four variables", "Use at most three")
            names.setdefault(variable, VARIABLES[min(len(names), len(VARIABLES) - 1)])
        found = [set(atom[1:]) for atom in atoms]
        if not found[-1] <= set.union(*found[:-1]):
            raise ParameterError(
                f"the rule {atoms}, whose conclusion has a variable of its own",
                "Let every variable of the conclusion stand in a premise",
            )
        if len(atoms) == 3 and not found[0] & found[1]:
            raise ParameterError(
                f"the rule {atoms}, whose premises share no variable", "Let them share one"
            )
        renamed = [(atom[0], *(names[word] for word in atom[1:])) for atom in atoms]
        # XZ before ZY, whichever was written first: the premises are a set.
        body = sorted(renamed[:-1], key=lambda atom: (atom[1:], atom[0]))
        object.__setattr__(self, "premises", tuple(body))
        object.__setattr__(self, "conclusion", renamed[-1])
        written = (word for atom in atoms for word in atom[1:])
        object.__setattr__(self, "written", tuple(dict.fromkeys(written)))

    @classmethod
    def compose(cls, first: str, second: str, conclusion: str) -> Rule:
        """Returns the rule first(X,Z), second(Z,Y) → conclusion(X,Y)."""
        return cls([(first, "X", "Z"), (second, "Z", "Y")], (conclusion, "X", "Y"))

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Reads a rule as it is printed.

        Raises:
            ParameterError: If the text is no rule.
        """
        if not isinstance(text, str):
            raise ParameterError(f"the rule {shown(text)[:60]}", f"Write it as {WRITTEN}")
        body, arrow, head = text.replace("→", "->").partition("->")
        premises, conclusion = cls.atoms(body), cls.atoms(head)
        if not arrow or not premises or len(conclusion) != 1:
            raise ParameterError(f"the rule {text!r}", f"Write it as {WRITTEN}")
        return cls(premises, conclusion[0])

    @staticmethod
    def atoms(text: str) -> list[Proposition]:
        """Reads atoms such as ``mother(X,Z), aunt(Z,Y)``; returns none if the text is none."""
        found, end = [], 0
        while end < len(text.rstrip()):
            match = _ATOM.match(text, end)
            if match is None:
                return []
            found.append((match[1], *(word.strip() for word in match[2].split(","))))
            end = match.end()
        return found

    def codes(self, vocabulary: Vocabulary) -> tuple[int, int, int, Form]:
        """Returns the numbers of the three relations and the form.

        The number of a second premise that is not there is −1.

        Raises:
            DomainError: If a relation is unknown.
            ShapeError: If a relation is given the wrong number of variables.
        """
        numbers, bound = [], []
        for atom in (*self.premises, self.conclusion):
            index, first, second = vocabulary.check(atom)
            numbers.append(index)
            bound.append((VARIABLES.index(first), VARIABLES.index(second)))
        if len(numbers) == 2:
            return numbers[0], -1, numbers[1], (bound[0], None, bound[1])
        return numbers[0], numbers[1], numbers[2], (bound[0], bound[1], bound[2])

    @classmethod
    def decode(cls, relations: Sequence[int], form: Form, vocabulary: Vocabulary) -> Rule:
        """Returns the rule of :meth:`codes`."""
        atoms = []
        for index, bound in zip(relations, form, strict=True):
            if bound is not None:
                word, arity = vocabulary.relations[index], vocabulary.arities[index]
                atoms.append((word, *(VARIABLES[v] for v in bound[:arity])))
        return cls(atoms[:-1], atoms[-1])

    def __str__(self) -> str:
        body = ", ".join(_written(atom) for atom in self.premises)
        return f"{body} -> {_written(self.conclusion)}"

    def __repr__(self) -> str:
        return f"Rule('{self}')"


def checked_atom(atom: object) -> Proposition:
    """Returns a relation and its variables.

    Raises:
        ParameterError: If one is no text, or empty.
    """
    words = tuple(check_several("an atom", atom, ATOM))
    if not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise ParameterError(f"the atom {shown(words)[:60]}", f"Give {ATOM}")
    return words


def _written(atom: Proposition) -> str:
    return f"{atom[0]}({','.join(atom[1:])})"
