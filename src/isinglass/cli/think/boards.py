"""Boards of ``isinglass think --puzzle``: read from text, made at random, as propositions."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Generator, Tensor

from isinglass.errors import FileError, ParameterError
from isinglass.thinking._csv import read_text

__all__ = ["block_of", "make_boards", "propositions", "read_boards", "written"]

#: Sides of boards: a line of fewer than 10 cells is a row, of more a whole board.
SIDES = range(2, 10)
#: What people draw between cells.
LINES = str.maketrans("", "", " \t|")


def read_boards(path: Path, *, solved: bool = False) -> Tensor:
    """Reads boards, ``(n, side, side)`` of digits, 0 where empty.

    Args:
        path: A text: all cells of a board in one line, or its rows one below another.
        solved: Whether no cell may be empty.

    Raises:
        FileError: If the file cannot be read or holds something else; the line is named.
    """
    what, uneven = f"reading {path}", "Give each board as many rows as cells a row"
    boards: list[list[int]] = []
    rows: list[list[int]] = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        cells = line.translate(LINES)
        if not cells.strip("-+="):
            continue
        try:
            side, digits = _digits(cells, solved)
        except FileError as error:
            raise FileError(f"line {number}: {error.found}", error.remedy, what) from error
        whole = len(cells) == side**2
        if rows and (whole or len(rows[0]) != side):
            found = f"line {number}: a board of {len(rows)} rows of {len(rows[0])} before"
            raise FileError(found, uneven, what)
        rows += [digits[at : at + side] for at in range(0, len(digits), side)]
        if len(rows) == side:
            boards.append([cell for row in rows for cell in row])
            rows = []
    if rows:
        raise FileError(f"a last board of {len(rows)} rows of {len(rows[0])}", uneven, what)
    if not boards:
        raise FileError("no board in it", "Give one or more", what)
    sides = sorted({math.isqrt(len(board)) for board in boards})
    if len(sides) > 1:
        found = f"boards of sides {' and '.join(map(str, sides))}"
        raise FileError(found, "Give boards of one size in a file", what)
    return torch.tensor(boards).reshape(-1, sides[0], sides[0])


def _digits(cells: str, solved: bool) -> tuple[int, list[int]]:
    """Returns the side of the board that a line belongs to, and its digits."""
    side = len(cells) if len(cells) in SIDES else math.isqrt(len(cells))
    if side not in SIDES or len(cells) not in (side, side**2):
        raise FileError(
            f"{len(cells)} cells",
            "Give all cells of a board in one line, such as 81, or its rows one below another; "
            ". or 0 is empty",
        )
    allowed = "0123456789"[solved : side + 1] + ("" if solved else ".")
    if odd := set(cells) - set(allowed):
        raise FileError(
            f"{min(odd)!r} in a {'solved ' if solved else ''}board of side {side}",
            f"Write the digits 1 to {side}" + ("" if solved else ", . or 0 where empty"),
        )
    return side, [0 if cell == "." else int(cell) for cell in cells]


def block_of(side: int) -> tuple[int, int]:
    """Returns height and width of the blocks of a usual Sudoku.

    Raises:
        ParameterError: If there is none of that side.
    """
    high = max(factor for factor in range(1, math.isqrt(side) + 1) if side % factor == 0)
    if high == 1:
        raise ParameterError(
            f"--puzzle of side {side} without --learn, and no usual Sudoku has that side",
            "Give solved boards: --learn solved.txt",
        )
    return high, side // high


def make_boards(side: int, count: int, generator: Generator) -> Tensor:
    """Makes solved Sudokus, ``(count, side, side)``: one board, all that may be permuted permuted.

    Rows within bands, bands, columns within stacks, stacks and digits change places at random, and
    where blocks are squares rows and columns do.
    """
    high, wide = block_of(side)
    at = torch.arange(side)
    board = (wide * (at % high)[:, None] + at[:, None] // high + at) % side

    def order(size: int, of: int) -> Tensor:
        """Permutes within groups of a size and the groups, ``(count, side)``."""
        groups = torch.rand(count, of, generator=generator).argsort(1)
        inside = torch.rand(count, of, size, generator=generator).argsort(2)
        return (groups[..., None] * size + inside).flatten(1)

    rows, columns = order(high, side // high), order(wide, side // wide)
    digits = torch.rand(count, side, generator=generator).argsort(1)
    places = board[rows[:, :, None], columns[:, None, :]]
    boards = digits.gather(1, places.flatten(1)).reshape(-1, side, side) + 1
    if high == wide:
        turned = torch.rand(count, generator=generator) < 0.5
        boards = torch.where(turned[:, None, None], boards.mT, boards)
    return boards


def propositions(boards: Tensor) -> Tensor:
    """Returns "this cell has this digit" of boards, ``(n, side³)``, 1 where true."""
    return torch.nn.functional.one_hot(boards, boards.shape[-1] + 1)[..., 1:].flatten(1)


def written(unit: int, side: int) -> str:
    """Writes a proposition: ``row 1 column 3 is 5``."""
    cell, digit = divmod(unit, side)
    return f"row {cell // side + 1} column {cell % side + 1} is {digit + 1}"
