"""A mind: a batched set of propositions, each given, asserted or open."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

import torch
from torch import Tensor

from isinglass._support.several import check_several
from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import check_device, check_kind, check_tensor
from isinglass._support.wording import shown
from isinglass.errors import DomainError, FileError, ParameterError, ShapeError
from isinglass.io.atomic import atomic_write
from isinglass.thinking._csv import read_lines
from isinglass.thinking.vocabulary import ANYTHING, EXAMPLE, Proposition, Vocabulary

__all__ = ["Mark", "Mind"]

COLUMNS = ("relation", "subject", "object")


class Mark(IntEnum):
    """What a proposition is in a mind: given from outside, asserted by thought, or asked."""

    GIVEN = 0
    ASSERTED = 1
    OPEN = 2


@dataclass(frozen=True)
class Mind:
    """Sets of propositions side by side, short-term memories of a thinker; order never matters.

    Reference: Zaheer et al. 2017, arXiv:1703.06114 (functions of sets).

    Attributes:
        vocabulary: The relations.
        rows: Relation, subject and object of each proposition, ``(B, M, 3)``; subject and object
            are the same where a relation takes one argument.
        held: Which rows are propositions, ``(B, M)``; the others are padding.
        marks: A :class:`Mark` for each row, ``(B, M)``.
        names: The entities of each mind, by number.

    Examples:
        >>> mind = Mind.from_tuples([("mother", "Ann", "Bea"), ("mother", "Bea", "Cleo")])
        >>> mind.to_tuples()
        [[('mother', 'Ann', 'Bea'), ('mother', 'Bea', 'Cleo')]]
        >>> mind.values().shape  # one mind, three entities, one relation
        torch.Size([1, 3, 3, 1])
    """

    vocabulary: Vocabulary
    rows: Int[Tensor, "B M 3"]
    held: Bool[Tensor, "B M"]
    marks: Int[Tensor, "B M"]
    names: tuple[tuple[str, ...], ...]

    @classmethod
    def from_tuples(
        cls,
        facts: Iterable[Sequence[str]],
        vocabulary: Vocabulary | None = None,
        *,
        asked: Iterable[Sequence[str]] = (),
    ) -> Mind:
        """Builds one mind from tuples.

        Args:
            facts: What is given, each a relation and its arguments; what stands twice counts once.
            vocabulary: The relations; None takes those that are spoken of.
            asked: What is open.

        Raises:
            DomainError: If a relation is unknown, or an entity has no name, or is called ``"?"``.
            ShapeError: If a proposition has the wrong number of arguments.
            ParameterError: If these are no propositions, or the vocabulary is none.
        """
        facts = check_several("facts", facts, EXAMPLE)
        asked = check_several("asked", asked, EXAMPLE)
        vocabulary = _checked(vocabulary) or Vocabulary.of([*facts, *asked])
        return cls.from_batches([facts], vocabulary, asked=[asked])

    @classmethod
    def from_batches(
        cls,
        facts: Sequence[Iterable[Sequence[str]]],
        vocabulary: Vocabulary | None = None,
        *,
        asked: Sequence[Iterable[Sequence[str]]] | None = None,
    ) -> Mind:
        """Makes a batch of minds, each from its own facts; arguments as in :meth:`from_tuples`.

        Raises:
            DomainError: If a relation is unknown, or an entity has no name, or is called ``"?"``.
            ShapeError: If a proposition has the wrong number of arguments, or the lists differ in
                length.
            ParameterError: If these are no lists of propositions, or the vocabulary is none.
        """
        given = [
            check_several("the facts of a mind", mind, EXAMPLE)
            for mind in check_several("facts", facts, f"for each mind {EXAMPLE}")
        ]
        opened = [
            check_several("what is asked of a mind", mind, EXAMPLE)
            for mind in check_several("asked", asked or [[]] * len(given), f"for each {EXAMPLE}")
        ]
        if len(opened) != len(given):
            raise ShapeError(
                f"{len(given)} minds and {len(opened)} lists of what is open", "Give one for each"
            )
        words = _checked(vocabulary) or Vocabulary.of(p for m in [*given, *opened] for p in m)
        minds = [_numbered(*mind, words) for mind in zip(given, opened, strict=True)]
        width = max((len(rows) for rows, _, _ in minds), default=0)
        rows = [row + [(0, 0, 0)] * (width - len(row)) for row, _, _ in minds]
        marks = [mark + [0] * (width - len(mark)) for _, mark, _ in minds]
        held = [[i < len(row) for i in range(width)] for row, _, _ in minds]
        return cls(
            words,
            torch.tensor(rows, dtype=torch.long).reshape(len(minds), width, 3),
            torch.tensor(held, dtype=torch.bool).reshape(len(minds), width),
            torch.tensor(marks, dtype=torch.long).reshape(len(minds), width),
            tuple(names for _, _, names in minds),
        )

    @classmethod
    def from_dicts(
        cls, facts: Iterable[Mapping[str, str]], vocabulary: Vocabulary | None = None
    ) -> Mind:
        """Makes one mind from dictionaries.

        Args:
            facts: Each with the keys relation, subject and, where there are two arguments, object.
            vocabulary: The relations; None takes those that are spoken of.

        Raises:
            DomainError: If a key is missing or a value is empty.
            ParameterError: If these are no dictionaries.
        """
        example = 'dictionaries: [{"relation": "mother", "subject": "Ann", "object": "Bob"}]'
        listed = check_several("facts", facts, example)
        for fact in listed:
            check_kind("a fact", fact, Mapping, f"a list of {example}")
        return cls.from_tuples([_from_dict(fact) for fact in listed], vocabulary)

    @classmethod
    def from_csv(cls, path: str | Path, vocabulary: Vocabulary | None = None) -> Mind:
        """Reads one mind from a table with the columns relation, subject, object.

        Raises:
            FileError: If the file cannot be read, lacks a column or has a gap; the line is named.
        """
        return cls.from_tuples(read_propositions(path), vocabulary)

    def __len__(self) -> int:
        """Counts the minds of the batch."""
        return len(self.rows)

    @property
    def entities(self) -> int:
        """How many entities the mind with most of them has."""
        return max((len(names) for names in self.names), default=0)

    def values(self, dtype: torch.dtype = torch.float64) -> Float[Tensor, "B n n R"]:
        """Returns log p of every proposition (x, y, r): 0 where it is held and not open, or −∞.

        Raises:
            ParameterError: If the dtype is none of numbers with a point.
        """
        check_kind("dtype", dtype, torch.dtype, "torch.float64")
        if not dtype.is_floating_point:
            raise ParameterError(f"dtype = {dtype}, which has no −∞", "Give torch.float64")
        known = self.held & (self.marks != Mark.OPEN)
        batch, _ = known.nonzero(as_tuple=True)
        relation, subject, other = self.rows[known].unbind(-1)
        size = (len(self), self.entities, self.entities, len(self.vocabulary))
        values = torch.full(size, -torch.inf, dtype=dtype, device=self.rows.device)
        values[batch, subject, other, relation] = 0.0
        return values

    def to_tuples(self, mark: Mark | None = None) -> list[list[Proposition]]:
        """Returns the propositions of every mind in alphabetical order.

        Those that say what a named entity is are left out.

        Args:
            mark: Which; None is what is given and what is asserted.

        Raises:
            ParameterError: If there is no such mark.
        """
        if mark is not None and not (isinstance(mark, int) and mark in tuple(Mark)):
            raise ParameterError(
                f"mark = {shown(mark)[:60]}", f"Give one of {', '.join(Mark.__members__)}"
            )
        wanted = self.held & (self.marks != Mark.OPEN if mark is None else self.marks == mark)
        return [
            sorted(
                self.proposition(b, *row)
                for row, keep in zip(rows, kept, strict=True)
                if keep and not self.vocabulary.relations[row[0]].startswith("=")
            )
            for b, (rows, kept) in enumerate(zip(self.rows.tolist(), wanted.tolist(), strict=True))
        ]

    def to_dicts(self, mark: Mark | None = None) -> list[list[dict[str, str]]]:
        """Returns :meth:`to_tuples` as dictionaries, for :meth:`from_dicts`."""
        return [
            [dict(zip(COLUMNS, fact, strict=False)) for fact in mind]
            for mind in self.to_tuples(mark)
        ]

    def to_csv(self, path: str | Path, mark: Mark | None = None) -> None:
        """Writes a single mind as a table, for :meth:`from_csv`.

        Raises:
            ShapeError: If there are several minds.
            FileError: If the file cannot be written.
        """
        if len(self) != 1:
            raise ShapeError(f"{len(self)} minds", "Write one at a time: mind[i].to_csv(...)")
        with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows([*fact, ""][:3] for fact in self.to_tuples(mark)[0])

    def __getitem__(self, index: int) -> Mind:
        """Returns one mind as a batch of its own."""
        index = range(len(self))[index]
        part = slice(index, index + 1)
        return replace(
            self,
            rows=self.rows[part],
            held=self.held[part],
            marks=self.marks[part],
            names=self.names[part],
        )

    def proposition(self, batch: int, relation: int, subject: int, other: int) -> Proposition:
        """Returns a proposition of mind ``batch`` in words."""
        names, word = self.names[batch], self.vocabulary.relations[relation]
        if self.vocabulary.arities[relation] == 1:
            return (word, names[subject])
        return (word, names[subject], names[other])

    def number(self, batch: int, entity: str) -> int:
        """Returns the number of an entity of mind ``batch``.

        Raises:
            DomainError: If the mind does not speak of it.
        """
        try:
            return self.names[batch].index(entity)
        except ValueError:
            raise DomainError(
                f"the unknown entity {entity!r}", "Ask of entities that the facts speak of"
            ) from None

    def with_asserted(
        self, rows: Int[Tensor, "B K 3"], held: Bool[Tensor, "B K"] | None = None
    ) -> Mind:
        """Returns the minds with more propositions, marked as asserted.

        Args:
            rows: Relation, subject, object, ``(B, K, 3)``.
            held: Which of them are propositions; None is all.

        Raises:
            DomainError: If they are no tensors, or of a number that the mind does not know.
            ShapeError: If there are not rows of three for each mind.
        """
        check_tensor("rows", rows)
        if rows.ndim != 3 or rows.shape[::2] != (len(self), 3):
            raise ShapeError(f"rows of shape {tuple(rows.shape)}", f"Give ({len(self)}, K, 3)")
        if held is not None:
            check_tensor("held", held)
            if held.shape != rows.shape[:2] or held.dtype != torch.bool:
                found = f"held of shape {tuple(held.shape)} and dtype {held.dtype}"
                raise ShapeError(found, f"Give booleans of shape {tuple(rows.shape[:2])}")
        most = rows.new_tensor([len(self.vocabulary), self.entities, self.entities])
        if rows.is_floating_point() or bool(((rows < 0) | (rows >= most.clamp_min(1))).any()):
            raise DomainError("rows of numbers that are none", "Number relations and entities")
        held = rows.new_ones(rows.shape[:2], dtype=torch.bool) if held is None else held
        return replace(
            self,
            rows=torch.cat([self.rows, rows], 1),
            held=torch.cat([self.held, held], 1),
            marks=torch.cat(
                [self.marks, torch.full_like(held, Mark.ASSERTED, dtype=torch.long)], 1
            ),
        )

    def to(self, device: torch.device | str) -> Mind:
        """Moves the minds to a device.

        Raises:
            ParameterError: If there is no such device.
        """
        check_device(device)
        return replace(
            self,
            rows=self.rows.to(device),
            held=self.held.to(device),
            marks=self.marks.to(device),
        )


def read_propositions(path: str | Path) -> list[Proposition]:
    """Reads the propositions of a table with the columns relation, subject, object.

    Raises:
        FileError: If the file cannot be read, lacks a column or has a gap; the line is named.
    """
    what = f"reading {path}"
    facts: list[Proposition] = []
    first: dict[str, tuple[int, int]] = {}
    for number, line in read_lines(path, [COLUMNS, COLUMNS[:2]]):
        try:
            fact = _from_dict(line)
        except DomainError as error:
            raise FileError(f"line {number}: {error.found}", error.remedy, what) from error
        if ANYTHING in fact:
            raise FileError(
                f"line {number}: the fact {','.join(fact)}, where ? stands for what is asked",
                "Name what is meant, or ask for it",
                what,
            )
        arity, where = first.setdefault(fact[0], (len(fact) - 1, number))
        if arity != len(fact) - 1:
            raise FileError(
                f"line {number}: {fact[0]!r} of {len(fact) - 1} arguments, of {arity} in line "
                f"{where}",
                "Fill the gap, or give each relation one number of arguments",
                what,
            )
        facts.append(fact)
    return facts


def _checked(vocabulary: Vocabulary | None) -> Vocabulary | None:
    if vocabulary is not None:
        check_kind("vocabulary", vocabulary, Vocabulary, 'Vocabulary(["mother"]), or None')
    return vocabulary


def _from_dict(fact: Mapping[str, str]) -> Proposition:
    relation, subject, other = (_cell(fact.get(key)) for key in COLUMNS)
    if not relation or not subject:
        raise DomainError(
            f"a proposition without {'relation' if not relation else 'subject'}: {dict(fact)}",
            "Fill the gap, or leave the line out",
        )
    return (relation, subject, other) if other else (relation, subject)


def _cell(value: object) -> str:
    """Returns a value as text, empty where it is missing, as NaN is in tables of pandas."""
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if missing else str(value).strip()


def _numbered(
    given: list[Sequence[str]], asked: list[Sequence[str]], vocabulary: Vocabulary
) -> tuple[list[tuple[int, int, int]], list[int], tuple[str, ...]]:
    """Returns rows, marks and names of one mind; a proposition that stands twice is one row."""
    names: dict[str, int] = {}
    rows: dict[tuple[int, int, int], int] = {}
    for mark, propositions in ((Mark.GIVEN, given), (Mark.OPEN, asked)):
        for proposition in propositions:
            relation, subject, other = vocabulary.check(proposition)
            if ANYTHING in (subject, other):
                raise DomainError(
                    f"the proposition {tuple(proposition)}, where ? stands for what is asked",
                    "Name what is meant, or ask for it: Thinker.think(mind, query)",
                )
            row = (relation, names.setdefault(subject, len(names)), 0)
            rows.setdefault((*row[:2], names.setdefault(other, len(names))), mark)
    for name in vocabulary.named:
        if name in names:
            rows.setdefault((vocabulary.index(f"={name}"), names[name], names[name]), Mark.GIVEN)
    return list(rows), [int(mark) for mark in rows.values()], tuple(names)
