"""The graph of areas: how far each lies from the visible one, and which are drawn together."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["colours", "outward"]

Pairs = Sequence[tuple[int, int]]


def outward(count: int, couplings: Pairs) -> list[int]:
    """The areas that area 0 reaches, itself first, then by how many couplings away they are.

    Examples:
        >>> outward(5, [(0, 2), (2, 1), (3, 4)])
        [0, 2, 1]
    """
    found = [0]
    for area in found:  # which grows meanwhile
        near = {a + b - area for a, b in couplings if area in (a, b)}
        found += sorted(near - set(found))
    return [area for area in found if area < count]


def colours(count: int, couplings: Pairs) -> list[list[int]]:
    """The areas in as many sets as it takes for no two of a set to touch; area 0 in the first.

    Greedy, outward from area 0: two sets wherever two will do, such as for a chain, whose areas
    of even and of odd number then take turns.

    Examples:
        >>> colours(4, [(0, 1), (1, 2), (2, 3)])
        [[0, 2], [1, 3]]
        >>> colours(3, [(0, 1), (1, 2), (0, 2)])
        [[0], [1], [2]]
    """
    reached = outward(count, couplings)
    sets: list[list[int]] = []
    for area in [*reached, *(a for a in range(count) if a not in reached)]:
        near = {a + b - area for a, b in couplings if area in (a, b)}
        free = [together for together in sets if not near & set(together)]
        if not free:
            sets.append([])
        (free or sets[-1:])[0].append(area)
    return sets
