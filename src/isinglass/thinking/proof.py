"""A derivation to read: what follows from what, by which rule, as text, data or a picture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from isinglass._support.wording import shown
from isinglass.errors import ParameterError
from isinglass.io.atomic import atomic_write
from isinglass.thinking.rule import Rule
from isinglass.thinking.vocabulary import Proposition

__all__ = ["Proof"]

WIDTH, HEIGHT, GAP = 190, 64, 14
#: No character of XML 1.0, not even escaped.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Proof:
    """A proposition and what it was derived from: a tree whose leaves are given.

    Attributes:
        proposition: What is proved.
        energy: Sum of −log p over the rules that are used, each time one is.
        rule: The last rule; None if the proposition is given.
        premises: Proofs of the premises of that rule.

    Examples:
        >>> given = [Proof(("mother", "Ann", "Bea"), 0.0), Proof(("mother", "Bea", "Cleo"), 0.0)]
        >>> rule = Rule.compose("mother", "mother", "grandmother")
        >>> print(Proof(("grandmother", "Ann", "Cleo"), 0.0, rule, tuple(given)))
        grandmother(Ann,Cleo)   by mother(X,Z), mother(Z,Y) -> grandmother(X,Y)
          mother(Ann,Bea)   given
          mother(Bea,Cleo)   given
    """

    proposition: Proposition
    energy: float
    rule: Rule | None = None
    premises: tuple[Proof, ...] = ()

    def __str__(self) -> str:
        return "\n".join(
            f"{'  ' * depth}{node.words}   {'given' if node.rule is None else f'by {node.rule}'}"
            for depth, node in self.walk()
        )

    @property
    def words(self) -> str:
        """Writes the proposition as ``mother(Ann,Bea)``."""
        return f"{self.proposition[0]}({','.join(self.proposition[1:])})"

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Proof]]:
        """Yields every node with its depth, the conclusion first."""
        open_ = [(depth, self)]
        while open_:
            depth, node = open_.pop()
            yield depth, node
            open_ += [(depth + 1, premise) for premise in reversed(node.premises)]

    def given(self) -> list[Proposition]:
        """Returns the given propositions that it rests on, each once."""
        leaves: dict[Proposition, None] = {}
        seen, open_ = set[int](), list[Proof]([self])
        while open_:  # each branch once, however often it is used: a tree of them may have no end
            node = open_.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if node.rule is None:
                leaves[node.proposition] = None
            open_ += reversed(node.premises)
        return list(leaves)

    def thoughts(self) -> list[Proposition]:
        """Returns the derived propositions, each once, in an order in which they can be thought."""
        derived = [node.proposition for _, node in self.walk() if node.rule is not None]
        return list(dict.fromkeys(reversed(derived)))

    def to_dict(self) -> dict[str, Any]:
        """Returns the tree as plain data, for JSON."""
        return {
            "proposition": list(self.proposition),
            "energy": self.energy,
            "rule": None if self.rule is None else str(self.rule),
            "premises": [premise.to_dict() for premise in self.premises],
        }

    def to_dot(self) -> str:
        """Returns the tree in the language of Graphviz."""
        lines = ["digraph proof {", "  rankdir=BT; node [shape=box];"]
        names = {id(node): f"n{i}" for i, (_, node) in enumerate(self.walk())}
        for _, node in self.walk():
            label = node.words.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
            lines.append(f'  {names[id(node)]} [label="{label}"];')
            lines += [f"  {names[id(p)]} -> {names[id(node)]};" for p in node.premises]
        return "\n".join([*lines, "}"])

    def to_svg(self) -> str:
        """Returns the tree as a picture, the conclusion on top, what is given in gray."""
        nodes = list(self.walk())
        leaves, depths = sum(not node.premises for _, node in nodes), max(d for d, _ in nodes)
        width, height = leaves * (WIDTH + GAP) + GAP, (depths + 1) * HEIGHT + GAP
        lines: list[str] = []
        boxes: list[str] = []
        done: list[float] = []  # middles of subtrees whose conclusion is still to come, left on top
        right = width - GAP / 2
        for depth, node in reversed(nodes):
            count, y = len(node.premises), GAP + depth * HEIGHT
            middles = [done.pop() for _ in range(count)]
            if middles:
                x = (middles[0] + middles[-1]) / 2
            else:
                x, right = right - (WIDTH + GAP) / 2, right - WIDTH - GAP
            done.append(x)
            lines += [
                f'<path d="M{middle:.0f} {y + HEIGHT} L{x:.0f} {y + 36}" stroke="#888"/>'
                for middle in middles
            ]
            boxes.append(node._box(x, y))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="sans-serif" font-size="13">'
            f'<rect width="100%" height="100%" fill="white"/>{"".join(lines + boxes)}</svg>\n'
        )

    def _box(self, x: float, y: float) -> str:
        """Draws the proposition at a place, its rule as a tip."""
        fill = "#e4e6ea" if self.rule is None else "#cfe3ff"
        tip = "given" if self.rule is None else _safe(str(self.rule))
        return (
            f'<g><title>{tip}</title><rect x="{x - WIDTH / 2:.0f}" y="{y}" width="{WIDTH}" '
            f'height="36" rx="6" fill="{fill}" stroke="#667"/><text x="{x:.0f}" y="{y + 23}" '
            f'text-anchor="middle" textLength="{min(WIDTH - 12, 7 * len(self.words))}" '
            f'lengthAdjust="spacingAndGlyphs">{_safe(self.words)}</text></g>'
        )

    def draw(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes :meth:`to_svg` into a file, whose name ends in .svg.

        Raises:
            FileError: If the file exists and ``overwrite`` is false, or cannot be written.
            ParameterError: If it is of another kind by its name.
        """
        if not isinstance(path, str | Path) or Path(path).suffix.lower() != ".svg":
            raise ParameterError(f"path = {shown(path)[:60]}", 'Name a picture of SVG: "why.svg"')
        with atomic_write(path, overwrite=overwrite) as temporary:
            temporary.write_text(self.to_svg(), encoding="utf-8")


def _safe(text: str) -> str:
    """Returns a text as XML can hold it, a replacement character for what it cannot."""
    return escape(_NO_XML.sub("\ufffd", text))
