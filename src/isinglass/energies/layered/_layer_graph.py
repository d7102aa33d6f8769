"""The graph of layers: how far each lies from the visible one, and which are drawn together."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

from isinglass.errors import ParameterError
from isinglass.units import Unit

__all__ = ["check_layers", "colors", "outward", "read_couplings"]

Pairs = Sequence[tuple[int, int]]


def outward(count: int, couplings: Pairs) -> list[int]:
    """Lists the layers that layer 0 reaches, itself first, then by distance in couplings.

    Examples:
        >>> outward(5, [(0, 2), (2, 1), (3, 4)])
        [0, 2, 1]
    """
    found = [0]
    for layer in found:  # which grows meanwhile
        near = {a + b - layer for a, b in couplings if layer in (a, b)}
        found += sorted(near - set(found))
    return [layer for layer in found if layer < count]


def colors(count: int, couplings: Pairs) -> list[list[int]]:
    """Colors the layers: sets of which no two touch, layer 0 in the first.

    Greedy, outward from layer 0: two sets wherever two will do, such as for a chain, whose layers
    of even and of odd number then take turns.

    Examples:
        >>> colors(4, [(0, 1), (1, 2), (2, 3)])
        [[0, 2], [1, 3]]
        >>> colors(3, [(0, 1), (1, 2), (0, 2)])
        [[0], [1], [2]]
    """
    reached = outward(count, couplings)
    sets: list[list[int]] = []
    for layer in [*reached, *(a for a in range(count) if a not in reached)]:
        near = {a + b - layer for a, b in couplings if layer in (a, b)}
        free = [together for together in sets if not near & set(together)]
        if not free:
            sets.append([])
        (free or sets[-1:])[0].append(layer)
    return sets


def check_layers(layers: Sequence[Unit]) -> None:
    """Refuses what is no list of layers of units, or an empty one.

    Raises:
        ParameterError: If it is one of these.
    """
    listed = isinstance(layers, list | tuple)
    if not (listed and layers and all(isinstance(layer, Unit) for layer in layers)):
        raise ParameterError(
            f"layers {layers}",
            "Give at least one layer, each a unit such as Bernoulli(64)",
        )


def read_couplings(couplings: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Returns pairs of numbers of layers.

    Raises:
        ParameterError: If they are none.
    """
    try:
        return tuple((index(first), index(second)) for first, second in couplings)
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"couplings {str(couplings)[:60]}", "Give pairs of layers, such as [(0, 1)]"
        ) from error
