"""What attention reads from and writes to: the residual stream, and the weights in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn

__all__ = ["ResidualStream"]

#: Called with W of each head, ``(H, D, e)``, or None where no weights were found.
Met = Callable[[Tensor | None], None]


class _Pending(NamedTuple):
    """A call whose output has not met the weights behind it yet."""

    output: Tensor
    met: Met


class ResidualStream:
    """Watches what the blocks of a model get, and which weights are given the output of a call.

    Args:
        model: The model.

    Examples:
        >>> import torch
        >>> ResidualStream(nn.Linear(2, 2)).squares("layer", torch.arange(2), torch.ones(1, 2), 2)
        nan
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._squares: dict[str, Tensor] = {}  # Σ over features of the square of what blocks get
        self._pending: _Pending | None = None

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Watches while the block runs."""
        handles = []
        for name, module in self._model.named_modules():
            if isinstance(module, nn.ModuleList):
                for number, block in enumerate(module):
                    note = self._note(f"{name}.{number}")
                    handles.append(block.register_forward_pre_hook(note, with_kwargs=True))
            if isinstance(getattr(module, "weight", None), Tensor) and module.weight.ndim == 2:
                handles.append(module.register_forward_pre_hook(self._meet_weights))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._squares.clear()
        self.finish()

    def expect(self, output: Tensor, met: Met) -> None:
        """Waits for the weights that are given an output, ``(b, L, H, e)``."""
        self._pending = _Pending(output, met)

    def finish(self, metric: Tensor | None = None) -> None:
        """Tells whoever waits that no weights were found, or which."""
        if self._pending is not None:
            met, self._pending = self._pending.met, None
            met(metric)

    def squares(self, name: str, rows: Tensor, valid: Tensor, length: int) -> float:
        """Returns Σ|x|² of the innermost block that a module lies in, over the queries that count.

        Args:
            name: The name of the module.
            rows: Which queries were looked at.
            valid: Which of them count, ``(b, R)``.
            length: How many queries there are.
        """
        inside = [block for block in self._squares if name.startswith(f"{block}.")]
        for block in sorted(inside, key=len, reverse=True):
            squares = self._squares[block]
            if squares.shape == (len(valid), length):
                return float(squares[:, rows][valid].sum())
        return float("nan")

    def _note(self, name: str) -> Callable[..., None]:
        def note(_: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
            given = (*args, options.get("hidden_states"))
            state = next((one for one in given if isinstance(one, Tensor) and one.ndim == 3), None)
            if state is not None and state.is_floating_point():
                self._squares[name] = state.detach().float().square().sum(-1)

        return note

    def _meet_weights(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Tells the weights that a head's output is multiplied with: the first to be given it."""
        pending = self._pending
        if pending is None or not args or not isinstance(args[0], Tensor):
            return
        given, (heads, size) = args[0], pending.output.shape[2:]
        if given.data_ptr() != pending.output.data_ptr() or given.shape[-1] != heads * size:
            return
        weight: Any = module.weight
        if type(module).__name__ == "Conv1D":  # of transformers: inputs come first
            weight = weight.mT
        if weight.shape[1] == heads * size:
            self.finish(weight.detach().unflatten(1, (heads, size)).transpose(0, 1))
