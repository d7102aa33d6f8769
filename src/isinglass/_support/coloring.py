"""Colors of a graph: classes of units that do not touch, which can be drawn together."""

from __future__ import annotations

from collections import deque
from itertools import count

__all__ = ["color_greedily"]


def color_greedily(neighbors: list[list[int]]) -> list[list[int]]:
    """Colors each unit as none of its neighbors is, walking the graph in breadth.

    A graph that can do with two colors gets two.
    """
    color = [-1] * len(neighbors)
    for start in range(len(color)):
        queue = deque([start])
        while queue:
            unit = queue.popleft()
            if color[unit] >= 0:
                continue
            taken = {color[other] for other in neighbors[unit]}
            color[unit] = next(free for free in count() if free not in taken)
            queue.extend(other for other in neighbors[unit] if color[other] < 0)
    classes: list[list[int]] = [[] for _ in range(max(color) + 1)]
    for unit, number in enumerate(color):
        classes[number].append(unit)
    return classes
