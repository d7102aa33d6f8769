"""Hetero-associative recall: find the key, read what goes with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from torch import Tensor, nn

from isinglass._support.registry import name_of, subclasses_by_name
from isinglass._support.typing import Bool, Float
from isinglass._support.validation import check_finite, check_values
from isinglass.core.capabilities import ConcaveConvex, Serializable
from isinglass.dynamics import Kernel, QuantizedCCCP, Recall
from isinglass.energies.hopfield.continuous import ContinuousHopfield
from isinglass.errors import FileError, ParameterError
from isinglass.units import Unit

__all__ = ["HeteroMemory", "HeteroRecall"]


@dataclass(frozen=True)
class HeteroRecall:
    """What a :class:`HeteroMemory` recalled, row by row.

    Attributes:
        values: Σ_μ p_μ value_μ, ``(*batch, e)``.
        recall: State, energy, steps, residual and convergence on the keys.
        weigh: What computes :attr:`weights`.

    Examples:
        >>> import torch, isinglass as ig
        >>> keys, values = torch.eye(2), torch.tensor([[5.0], [7.0]])
        >>> memory = HeteroMemory(ig.ModernHopfield(keys, beta=20.0), values)
        >>> found = memory.recall(torch.tensor([[0.9, 0.1]]))
        >>> found.values.round(decimals=3), found.weights.round(decimals=3), found.recall.converged
        (tensor([[5.]]), tensor([[1., 0.]]), tensor([True]))
    """

    values: Float[Tensor, "*batch e"]
    recall: Recall
    weigh: Callable[[], Tensor] = field(repr=False)

    @property
    def weights(self) -> Float[Tensor, "*batch N"]:
        """How much of each key is in the recalled one, p; computed when asked for."""
        return self.weigh()


class HeteroMemory(ConcaveConvex, Serializable):
    r"""Keys with values: recall descends on the keys, then reads with the association weights.

        ξ* = recall(cue),   p = p(Xξ*),   value = Σ_μ p_μ value_μ

    The energy is that of the keys, and ``memory.memory`` is what samples them. One
    look-up without recall, ``read``, is attention with keys
    and values of their own.

    Reference: Kosko 1988, doi:10.1109/21.87054 (hetero-association); Ramsauer et al. 2020,
    arXiv:2008.02217, Eq. 10; Millidge et al. 2022, arXiv:2202.04557 (projection to values).

    Args:
        memory: A memory of N keys: :class:`ModernHopfield`, :class:`SparseHopfield` or
            :class:`SubsetHopfield`.
        values: ``(N, e)``, one value a key, of any size e. An ``nn.Parameter`` is learned; of a
            plain tensor a copy is kept.

    Raises:
        ShapeError: If there is not one value a key.
        DomainError: If a value is not finite, or dtype or device is not the keys'.
        ParameterError: If ``memory`` has no association weights.

    Examples:
        >>> import torch, isinglass as ig
        >>> keys, values = torch.eye(3), torch.tensor([[10.0], [20.0], [30.0]])
        >>> memory = HeteroMemory(ig.ModernHopfield(keys, beta=20.0), values)
        >>> memory.recall(torch.tensor([[0.2, 0.9, 0.1]])).values.round(decimals=3)
        tensor([[20.]])
    """

    values: Tensor

    def __init__(self, memory: ContinuousHopfield, values: Tensor) -> None:
        super().__init__()
        if not isinstance(memory, ContinuousHopfield):
            raise ParameterError(
                f"a memory of type {type(memory).__name__}, which has no association weights",
                "Give the keys as a ModernHopfield, SparseHopfield or SubsetHopfield",
            )
        check_values(values, memory.patterns)
        check_finite("the values", values)
        self.memory = memory
        if isinstance(values, nn.Parameter):
            self.values = values
        else:
            self.register_buffer("values", values.detach().clone())

    @property
    def layers(self) -> tuple[Unit, ...]:
        """Unit kinds of the keys' memory."""
        return self.memory.layers

    @property
    def keys(self) -> Tensor:
        """The stored keys, ``(N, d)``."""
        return self.memory.patterns

    def recall(
        self,
        cues: Float[Tensor, "*batch d"],
        *,
        known: Bool[Tensor, "*mask d"] | None = None,
        kernel: Kernel | None = None,
        **settings: Any,
    ) -> HeteroRecall:
        """Recalls the key of each cue and reads its value.

        Args:
            cues: ``(*batch, d)``, or a single ``(d,)``.
            known: If given, True where a cell of the cue is known: keys are compared in those.
            kernel: How to descend on the keys; None is their own rule.
            **settings: What :meth:`Memory.recall` takes: ``max_steps``, ``tolerance``, ``trace``.

        Raises:
            ShapeError: If a cue has the wrong number of features, or there is none.
            DomainError: If a cue is not finite.
        """
        kernel = kernel or self.memory.choose_kernel(cues) if known is None else kernel
        found = self.memory.recall(cues, known=known, kernel=kernel, **settings)
        state = found.state if known is None else cues
        if isinstance(kernel, QuantizedCCCP):
            values = kernel.read(self.memory, state, self.values)
        else:
            values = self.memory.average(state, self.values, known)
        return HeteroRecall(values, found, partial(self.memory.association, state, known))

    def read(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch e"]:
        """Reads the value at this state by one look-up, differentiable."""
        return self.memory.read(state, self.values)

    def forward(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Computes E of the keys, one number a row."""
        return self.memory(state)

    def grad(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Computes ∂E/∂ξ of the keys."""
        return self.memory.grad(state)

    def cccp_update(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Takes the concave–convex step of the keys."""
        return self.memory.cccp_update(state)

    def check_state(self, state: Float[Tensor, "*batch d"]) -> None:
        """Refuses what is not a vector of the keys' size.

        Raises:
            ShapeError: If the number of features is wrong.
            DomainError: If a value is not finite, or dtype or device is not the keys'.
        """
        self.memory.check_state(state)

    def config(self) -> dict[str, Any]:
        """Returns the class and configuration of the keys' memory, and the size of a value."""
        keys = self.memory.config()
        return {"kind": name_of(type(self.memory)), "memory": keys, "size": self.values.shape[-1]}

    def description(self) -> dict[str, Any]:
        """Returns the class of the keys' memory, which describes itself."""
        return {"kind": name_of(type(self.memory))}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> HeteroMemory:
        """Returns a memory of the same shape.

        Raises:
            FileError: If the keys' memory is of a class that is not imported.
        """
        kind = subclasses_by_name(ContinuousHopfield).get(config["kind"])
        if kind is None:
            raise FileError(
                f"the memory kind {config['kind']!r} is not imported",
                "Import the module that defines it first",
            )
        memory = cast("ContinuousHopfield", kind.from_config(config["memory"]))
        return cls(memory, memory.patterns.new_zeros(len(memory.patterns), config["size"]))
