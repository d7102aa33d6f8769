"""What can be said: relations with the number of their arguments, and which exclude each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from isinglass._support.several import check_several
from isinglass._support.wording import shown
from isinglass.errors import DomainError, ParameterError, ShapeError

__all__ = ["ANYTHING", "EXAMPLE", "Proposition", "Vocabulary"]

#: A relation and its one or two arguments: ``("mother", "Ann", "Bob")``, ``("red", "ball")``.
Proposition = tuple[str, ...]
#: Stands for what is asked.
ANYTHING = "?"
#: What errors propose where several propositions are wanted.
EXAMPLE = 'a list of propositions: [("mother", "Ann", "Bob")]'


@dataclass(frozen=True)
class Vocabulary:
    """The relations that propositions are made of; entities are exchangeable unless named.

    Args:
        relations: Names of relations of two arguments, or names with their number of arguments, 1
            or 2.
        named: Entities that rules may speak of. Each brings a relation ``"=name"`` of one argument
            that is given of it in every mind: ``=Rome(Y), enemy(X,Y) -> foe(X)``.
        exclusive: Groups of relations of which at most one holds of the same arguments.

    Raises:
        ParameterError: If a name stands twice, is empty or ``"?"``, an arity is neither 1 nor 2, or
            an exclusive group has no two members.
        DomainError: If an exclusive group speaks of an unknown relation.

    Examples:
        >>> family = Vocabulary(["mother", "father"], exclusive=[["mother", "father"]])
        >>> family.index("father"), len(family)
        (1, 2)
        >>> Vocabulary({"red": 1, "left of": 2}).arity("red")
        1
    """

    relations: tuple[str, ...]
    arities: tuple[int, ...]
    named: tuple[str, ...]
    exclusive: tuple[tuple[str, ...], ...]

    def __init__(
        self,
        relations: Sequence[str] | Mapping[str, int],
        named: Sequence[str] = (),
        exclusive: Iterable[Sequence[str]] = (),
    ) -> None:
        words = check_several("relations", relations, 'names of relations: ["mother", "father"]')
        named = check_several("named", named, 'names of entities: ["Rome"]')
        names = [*map(_checked_name, words), *(f"={_checked_name(name)}" for name in named)]
        counts = [*(relations.values() if isinstance(relations, Mapping) else [2] * len(words))]
        for name, arity in zip(names, [*counts, *[1] * len(named)], strict=True):
            if names.count(name) > 1:
                raise ParameterError(f"the name {name!r}, empty or twice", "Name each thing once")
            if not isinstance(arity, int) or isinstance(arity, bool) or arity not in (1, 2):
                raise ParameterError(
                    f"{name!r} of {shown(arity)} arguments",
                    "Give each relation one argument or two",
                )
        if not names:
            raise ParameterError("no relation", "Give at least one")
        object.__setattr__(self, "relations", tuple(names))
        object.__setattr__(self, "arities", (*counts, *[1] * len(named)))
        object.__setattr__(self, "named", tuple(named))
        example = 'groups of relations: [["mother", "father"]]'
        groups = [
            tuple(check_several("an exclusive group", group, example))
            for group in check_several("exclusive", exclusive, example)
        ]
        object.__setattr__(self, "exclusive", tuple(groups))
        for group in groups:
            if len({self.index(name) for name in group}) < 2:
                raise ParameterError(f"the exclusive group {group}", "Name two relations or more")

    def __len__(self) -> int:
        """Counts the relations, those of named entities among them."""
        return len(self.relations)

    def index(self, relation: str) -> int:
        """Returns the number of a relation.

        Raises:
            DomainError: If there is no such relation.
        """
        try:
            return self.relations.index(relation)
        except ValueError:
            near = ", ".join(self.relations[:8]) + (", ..." if len(self) > 8 else "")
            raise DomainError(f"the unknown relation {relation!r}", f"Known are {near}") from None

    def arity(self, relation: str) -> int:
        """Returns how many arguments a relation takes, 1 or 2.

        Raises:
            DomainError: If there is no such relation.
        """
        return self.arities[self.index(relation)]

    def excludes(self, first: int, second: int) -> bool:
        """Tells whether two relations, by number, cannot both hold of the same arguments."""
        names = {self.relations[first], self.relations[second]}
        return len(names) == 2 and any(names <= set(group) for group in self.exclusive)

    def check(self, proposition: Sequence[str]) -> tuple[int, str, str]:
        """Returns the relation's number, the subject and the object.

        The object is the subject again where there is only one argument.

        Raises:
            DomainError: If the relation is unknown, or an argument is missing or empty.
            ShapeError: If the number of arguments is not the relation's.
        """
        if not isinstance(proposition, Sequence) or isinstance(proposition, str) or not proposition:
            raise DomainError(
                f"the proposition {shown(proposition)[:60]}", 'Write ("mother", "Ann", "Bob")'
            )
        relation, *arguments = proposition
        index = self.index(relation)
        if len(arguments) != self.arities[index]:
            raise ShapeError(
                f"{relation!r} with {len(arguments)} arguments",
                f"It takes {self.arities[index]}",
            )
        for argument in arguments:
            if not isinstance(argument, str) or not argument.strip():
                raise DomainError(
                    f"{tuple(proposition)!r} with the argument {argument!r}",
                    "Name every entity by text that is not empty",
                )
        return index, arguments[0], arguments[-1]

    @classmethod
    def of(cls, propositions: Iterable[Sequence[str]]) -> Vocabulary:
        """Returns the relations that propositions speak of, in alphabetical order.

        Raises:
            DomainError: If there is none, or one is no relation with its arguments.
            ShapeError: If a relation has one argument here and two there.
        """
        arities: dict[str, int] = {}
        for proposition in check_several("propositions", propositions, EXAMPLE):
            if (
                not isinstance(proposition, Sequence)
                or isinstance(proposition, str)
                or len(proposition) not in (2, 3)
                or not isinstance(proposition[0], str)
            ):
                raise DomainError(
                    f"the proposition {shown(proposition)[:60]}",
                    'Write a relation and one argument or two: ("mother", "Ann", "Bob")',
                )
            relation, *arguments = proposition
            if arities.setdefault(relation, len(arguments)) != len(arguments):
                raise ShapeError(
                    f"{relation!r} with {arities[relation]} and with {len(arguments)} arguments",
                    "Give each relation one number of arguments",
                )
        if not arities:
            raise DomainError("no proposition", "Give at least one, or a vocabulary")
        return cls({name: arities[name] for name in sorted(arities)})


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise ParameterError(
            f"the name {shown(name)[:60]}, empty or twice", "Name each thing once, by text"
        )
    if name == ANYTHING:
        raise ParameterError("the name '?', which stands for what is asked", "Give another")
    return name
