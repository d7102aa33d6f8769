"""Connected components of many graphs at once."""

from __future__ import annotations

import torch
from torch import Tensor

from isinglass._support.typing import Int

__all__ = ["components"]


def components(nodes: int, edges: Int[Tensor, "edges 2"]) -> Int[Tensor, " nodes"]:
    """Labels each node by the least number in its component.

    Every node points to a lower one of its component; a round hooks what two ends of an edge point
    to onto the lower of both, and halves all ways. Rounds are few, of the order of log nodes.

    Reference: Zhang, Azad & Hu 2020, doi:10.1137/1.9781611976137.5 (FastSV).

    Examples:
        >>> components(5, torch.tensor([[1, 4], [3, 4]]))
        tensor([0, 1, 2, 1, 1])
    """
    parent = torch.arange(nodes, device=edges.device)
    ends = torch.cat([edges, edges.flip(-1)])
    one, other = ends[:, 0].contiguous(), ends[:, 1].contiguous()
    while True:
        above = parent[parent]
        lower = above[other]
        hooked = above.scatter_reduce(0, parent[one], lower, "amin")
        hooked.scatter_reduce_(0, one, lower, "amin")
        if torch.equal(hooked, parent):
            return parent
        parent = hooked
