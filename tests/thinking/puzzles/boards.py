"""Latin squares and small Sudokus as propositions, for the tests of thinking."""

from itertools import product

import torch
from torch import Tensor

from isinglass.thinking import ConstraintNetwork


def groups_of(side: int, block: tuple[int, int] | None = None) -> list[tuple[int, ...]]:
    """The rules: a digit a cell, each digit once a row, a column and, if given, a block."""
    cells = list(product(range(side), range(side)))

    def unit(row: int, column: int, digit: int) -> int:
        return (row * side + column) * side + digit

    groups = [tuple(unit(r, c, d) for d in range(side)) for r, c in cells]
    groups += [tuple(unit(r, c, d) for c in range(side)) for r, d in cells]
    groups += [tuple(unit(r, c, d) for r in range(side)) for c, d in cells]
    if block is not None:
        high, wide = block
        kinds = {(r // high, c // wide) for r, c in cells}
        for where, digit in product(sorted(kinds), range(side)):
            inside = [(r, c) for r, c in cells if (r // high, c // wide) == where]
            groups.append(tuple(unit(r, c, digit) for r, c in inside))
    return sorted({tuple(sorted(group)) for group in groups})


def small_sudoku() -> ConstraintNetwork:
    """The 4 × 4 board."""
    return ConstraintNetwork(64, groups=groups_of(4, (2, 2)))


def every_solution(network: ConstraintNetwork, digits: int) -> Tensor:
    """All states of energy 0, cell by cell, each check by the energy's own pairs alone: slow."""
    excluded = torch.zeros(network.size, network.size, dtype=torch.bool)
    excluded[network.pairs[:, 0], network.pairs[:, 1]] = True
    excluded |= excluded.mT.clone()
    partial = torch.zeros(1, network.size, dtype=torch.bool)
    for cell in range(network.size // digits):
        choices = torch.arange(cell * digits, (cell + 1) * digits)
        longer = partial.repeat_interleave(digits, 0)
        units = choices.repeat(len(partial))
        fits = ~(longer & excluded[units]).any(1)
        longer[torch.arange(len(units)), units] = True
        partial = longer[fits]
    return partial


def givens(board: str, digits: int) -> Tensor:
    """One row of givens from a text of digits, with 0 or . for empty cells."""
    values = torch.tensor([0 if cell == "." else int(cell) for cell in board])
    return torch.nn.functional.one_hot(values, digits + 1)[:, 1:].flatten()[None]
