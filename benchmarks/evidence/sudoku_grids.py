"""Random Sudokus, drawn with the rules of the game, for those who learn without them."""

from __future__ import annotations

import random

import torch
from torch import Tensor

__all__ = ["full_grid", "one_hot", "rules"]


def full_grid(draw: random.Random, side: int = 9, block: tuple[int, int] = (3, 3)) -> list[int]:
    """Fills a grid with digits 1 … side, the cell with fewest choices first, at random.

    A block of one row as wide as the board adds nothing to the rows: a Latin square.
    """
    high, wide = block
    rows, columns, blocks = ([2**side - 1] * side for _ in range(3))
    grid = [0] * side**2
    cells = [divmod(cell, side) for cell in range(side**2)]
    place = [(r, c, r // high * (side // wide) + c // wide) for r, c in cells]

    def fill(left: list[int]) -> bool:
        if not left:
            return True
        choices = [rows[r] & columns[c] & blocks[b] for r, c, b in map(place.__getitem__, left)]
        best = min(range(len(left)), key=lambda k: choices[k].bit_count())
        cell = left[best]
        row, column, box = place[cell]
        bits = [digit for digit in range(side) if choices[best] >> digit & 1]
        for digit in draw.sample(bits, len(bits)):
            for free, at in ((rows, row), (columns, column), (blocks, box)):
                free[at] ^= 1 << digit
            grid[cell] = digit + 1
            if fill(left[:best] + left[best + 1 :]):
                return True
            for free, at in ((rows, row), (columns, column), (blocks, box)):
                free[at] ^= 1 << digit
        return False

    fill(draw.sample(range(side**2), side**2))
    return grid


def one_hot(grids: Tensor) -> Tensor:
    """Propositions "this cell has this digit" of grids with 0 for empty cells."""
    return torch.nn.functional.one_hot(grids, 10)[..., 1:].flatten(1)


def rules() -> list[list[int]]:
    """The groups of the game, to check answers with: digits of a cell, cells of a digit."""
    cells = torch.arange(81).view(9, 9)
    blocks = cells.view(3, 3, 3, 3).transpose(1, 2).reshape(9, 9)
    lines = torch.cat([cells, cells.mT, blocks])
    of_digits = lines[:, None, :] * 9 + torch.arange(9)[:, None]
    return torch.cat([torch.arange(729).view(81, 9), of_digits.flatten(0, 1)]).tolist()
