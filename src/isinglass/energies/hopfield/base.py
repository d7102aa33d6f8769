"""What every associative memory shares: stored patterns, recall by descending."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from isinglass._support.typing import Float
from isinglass._support.validation import ROWS, check_like, check_patterns
from isinglass.core.capabilities import Serializable
from isinglass.dynamics import CCCP, Kernel, Recall, recall
from isinglass.units import Gaussian, Unit

__all__ = ["Memory"]


class Memory(Serializable):
    """An energy with stored patterns, one a row, that completes a cue by descending.

    Args:
        patterns: ``(N, d)``, one pattern a row. An ``nn.Parameter`` is learned with the rest of
            a network; of a plain tensor a copy is kept as a buffer.
        kind: The kind of the units that states are made of.
        copy: Whether a plain tensor is copied; False keeps it itself, as one that lies in a file
            must be (:func:`isinglass.io.map_patterns`), and trusts nobody to change it.

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not finite, or not a state of the units.

    Examples:
        >>> from isinglass.core import ConcaveConvex
        >>> class Nearest(ConcaveConvex, Memory):
        ...     "E(v) = ½ min_μ |v − x_μ|², the nearest pattern's bowl."
        ...     def forward(self, state):
        ...         return torch.cdist(state, self.patterns).square().amin(-1) / 2
        ...     def cccp_update(self, state):
        ...         return self.patterns[torch.cdist(state, self.patterns).argmin(-1)]
        >>> Nearest(torch.eye(2)).recall(torch.tensor([[0.6, 0.5]])).state
        tensor([[1., 0.]])
    """

    patterns: Tensor
    default_kernel: ClassVar[type[Kernel]] = CCCP

    def __init__(self, patterns: Tensor, kind: type[Unit] = Gaussian, *, copy: bool = True) -> None:
        super().__init__()
        check_patterns(patterns)
        self.unit = kind(patterns.shape[-1])
        for block in patterns.split(ROWS):
            self.unit.check_legal(block)
        if isinstance(patterns, nn.Parameter):
            self.patterns = patterns
        else:
            patterns = patterns.detach()
            if copy:  # row by row, as a file gives it back: another layout may be rounded otherwise
                patterns = patterns.clone(memory_format=torch.contiguous_format)
            self.register_buffer("patterns", patterns)

    @property
    def layers(self) -> tuple[Unit, ...]:
        """One layer, the whole state."""
        return (self.unit,)

    def recall(
        self,
        cues: Float[Tensor, "*batch d"],
        *,
        kernel: Kernel | None = None,
        max_steps: int | None = None,
        tolerance: float | None = None,
        trace: bool = False,
    ) -> Recall:
        """Descends from each cue; see :func:`isinglass.dynamics.recall`, whose arguments these are.

        Args:
            cues: ``(*batch, d)``, or a single ``(d,)``.
            kernel: How to descend; None is the memory's own rule.
            max_steps: Most steps a row may take; None asks the kernel.
            tolerance: Largest change in one step that counts as rest; None follows the dtype.
            trace: Whether to record the energy after every step.

        Raises:
            ShapeError: If a cue has the wrong number of features, or there is none.
            DomainError: If a cue is not finite or not a state of the memory's units.
        """
        if kernel is None:
            kernel = self.default_kernel()
        return recall(self, cues, kernel, max_steps=max_steps, tolerance=tolerance, trace=trace)

    def check_state(self, state: Float[Tensor, "*batch d"]) -> None:
        """Refuses what is not a vector of d states of the units.

        Raises:
            ShapeError: If the number of features is wrong.
            DomainError: If a value is not finite or not a state of the units, or the dtype or
                device is not the patterns'.
        """
        self.unit.check(state)
        check_like(state, self.patterns)

    def extra_repr(self) -> str:
        """Shows the patterns, and whatever else the configuration holds."""
        rest = {name: value for name, value in self.config().items() if name != "patterns"}
        count, size = self.patterns.shape
        return f"{count} patterns of {size}" + "".join(f", {n}={v}" for n, v in rest.items())

    def config(self) -> dict[str, Any]:
        """Returns the shape of the patterns."""
        return {"patterns": list(self.patterns.shape)}

    def description(self) -> dict[str, Any]:
        """Returns the configuration without the shape of the patterns, which they show."""
        return {name: value for name, value in super().description().items() if name != "patterns"}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Memory:
        """Returns a memory of the same shape."""
        settings: dict[str, Any] = config | {"patterns": torch.ones(config["patterns"])}
        return cls(**settings)
