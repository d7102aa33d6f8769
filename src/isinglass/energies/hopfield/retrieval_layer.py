"""A memory as a layer: what comes in asks it, what it recalls comes out."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from isinglass._support.typing import Float
from isinglass._support.validation import check_count, check_finite, check_values
from isinglass.core.numbers import Numbered
from isinglass.energies.hopfield.continuous import ContinuousHopfield
from isinglass.errors import ParameterError

__all__ = ["RetrievalLayer"]


class RetrievalLayer(Numbered, nn.Module):
    r"""Attention to a memory's patterns, which stay the memory's own.

        ξ = query(x),   ξ ← Xᵀp(ξ)  (steps − 1 times, then)   output = Xᵀp(ξ)  or  Vᵀp(ξ)

    With ``steps=1`` it is an attention head whose keys are the patterns, and whose values are the
    patterns too, or V. The memory is part of the module: moving, saving and training the module
    move, save and train the memory, and other modules made from it see the same patterns.
    Patterns given as an ``nn.Parameter`` learn through it.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217.

    Args:
        memory: A memory with association weights, such as :class:`ModernHopfield`.
        query: Brings what comes in to the patterns' d features; None takes it as it is.
        values: ``(N, e)``, one a pattern, read out instead of the patterns. An ``nn.Parameter``
            is learned; of a plain tensor a copy is kept.
        steps: How many times the memory is asked.

    Raises:
        ParameterError: If ``memory`` has no association weights, ``query`` is no module, or
            ``steps`` is not a whole number of at least one.
        ShapeError: If there is not one value a pattern.
        DomainError: If a value is not finite, or dtype or device is not the patterns'.

    Examples:
        >>> import torch, isinglass as ig
        >>> memory = ig.ModernHopfield(torch.nn.Parameter(torch.eye(3)), beta=4.0)
        >>> layer = memory.attend(torch.nn.Linear(5, 3))
        >>> layer(torch.randn(2, 7, 5)).shape
        torch.Size([2, 7, 3])
        >>> layer.memory.patterns is memory.patterns
        True
    """

    numbers: ClassVar[tuple[str, ...]] = ("steps",)
    values: Tensor | None

    def __init__(
        self,
        memory: ContinuousHopfield,
        query: nn.Module | None = None,
        *,
        values: Tensor | None = None,
        steps: int = 1,
    ) -> None:
        super().__init__()
        if not isinstance(memory, ContinuousHopfield):
            raise ParameterError(
                f"a memory of type {type(memory).__name__}, which has no association weights",
                "Give a ModernHopfield, SparseHopfield or SubsetHopfield",
            )
        if query is not None and not isinstance(query, nn.Module):
            raise ParameterError(
                f"a query of type {type(query).__name__}", "Give a module, or None"
            )
        self.memory = memory
        self.query = query
        self.steps = check_count("steps", steps)
        if values is not None:
            check_values(values, memory.patterns)
            check_finite("the values", values)
        if values is None or isinstance(values, nn.Parameter):
            self.register_parameter("values", values)
        else:
            self.register_buffer("values", values.detach().clone())

    def forward(self, x: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch e"]:
        """Recalls from the memory, with the query of ``x`` as cue.

        Raises:
            ShapeError: If the query has not the patterns' number of features.
            DomainError: If it is not floating.
        """
        state = x if self.query is None else self.query(x)
        for _ in range(self.steps - 1):
            state = self.memory.cccp_update(state)
        if self.values is None:
            return self.memory.cccp_update(state)
        return self.memory.read(state, self.values)

    def extra_repr(self) -> str:
        """Shows the number of steps."""
        return f"steps={self.steps}"
