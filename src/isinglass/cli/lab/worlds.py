"""The room with a world: two chambers, what was met there, and a plan for every goal."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isinglass._support.typing import Float, Int
from isinglass.cli.lab.asking import whole
from isinglass.cli.lab.page import pack
from isinglass.errors import DomainError, ParameterError
from isinglass.units import Categorical
from isinglass.world import WorldColumns, WorldEnergy

__all__ = ["DISCOUNT", "MET", "WORLD", "answer_plan", "arrivals", "explored", "plan", "world_data"]

#: Cells; # is a wall.
WORLD = (
    "....#....",
    "....#....",
    ".........",
    "....#....",
    "##.###.##",
    "....#....",
    "....#....",
)
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left
MET = (50, 150, 600)  # transitions met
DISCOUNT = 0.95


def arrivals() -> Int[Tensor, "S 4"]:
    """Returns where each move leads from each cell, into a wall nowhere; walls stay walls."""
    high, wide = len(WORLD), len(WORLD[0])
    after = torch.arange(high * wide).unsqueeze(-1).repeat(1, len(MOVES))
    for cell in free_cells():
        for move, (down, right) in enumerate(MOVES):
            y, x = cell // wide + down, cell % wide + right
            if 0 <= y < high and 0 <= x < wide and WORLD[y][x] != "#":
                after[cell, move] = y * wide + x
    return after


def free_cells() -> list[int]:
    """Returns the cells that are no walls."""
    return [cell for cell, mark in enumerate("".join(WORLD)) if mark != "#"]


@cache
def explored(met: int, relative: bool) -> WorldEnergy:
    """Returns a world in which so many moves were met, drawn uniformly.

    Args:
        met: How many.
        relative: Whether cells share what is met.
    """
    generator = torch.Generator().manual_seed(0)
    free, after = torch.tensor(free_cells()), arrivals()
    state = free[torch.randint(len(free), (met,), generator=generator)]
    action = torch.randint(len(MOVES), (met,), generator=generator)
    columns = WorldColumns(Categorical(len(after)), Categorical(len(MOVES)))
    world = WorldEnergy(columns, relative=relative)
    nothing = torch.zeros(met)
    world.store(state, action, nothing.double(), after[state, action], nothing.bool())
    return world


def plan(met: int, relative: bool, goal: int) -> Float[Tensor, "S 4"]:
    """Returns Q(s, a) where arriving at the goal is worth 1, −1 of what is refused."""
    world = explored(met, relative)
    try:
        q = world.plan(goal=goal, discount=DISCOUNT).q
    except DomainError:  # nothing that is known leads there
        return world.rows.new_full((len(arrivals()), len(MOVES)), -1.0)
    return torch.where(q.isfinite(), q, -1.0)


def answer_plan(asked: dict[str, object]) -> np.ndarray:
    """Plans for a visitor: what was ``met``, whether it is ``shared``, and the ``goal``.

    Raises:
        ParameterError: If the goal is no free cell, or anything else out of bounds.
    """
    met, goal = MET[whole(asked, "met", 0, len(MET) - 1)], whole(asked, "goal", 0, 10_000)
    if goal not in free_cells():
        raise ParameterError(f"goal = {goal}", "Give a cell that is no wall")
    return _numbers(met, whole(asked, "shared", 0, 1) == 1, goal)


def world_data(live: bool) -> dict[str, Any]:
    """Returns the world, what was met in it, and, where Python is not to be asked, all plans."""
    data: dict[str, Any] = {
        "rows": list(WORLD),
        "goals": free_cells(),
        "arrivals": pack(arrivals().numpy().astype(np.uint8).ravel()),
        "met": list(MET),
        "visits": [
            pack(explored(met, False).model().visits.clamp_max(255).byte().numpy()) for met in MET
        ],
    }
    if not live:
        data["plans"] = [
            [pack(np.concatenate([_numbers(met, shared, goal) for goal in free_cells()]))
             for met in MET]
            for shared in (False, True)
        ]  # fmt: skip
    return data


def _numbers(met: int, shared: bool, goal: int) -> np.ndarray:
    return plan(met, shared, goal).float().numpy().ravel()
