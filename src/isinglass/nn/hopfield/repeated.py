"""Blocks that are embedded more than once as they were the first time, and counted once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from isinglass._support.validation import check_kind, values_visible
from isinglass.errors import DomainError
from isinglass.nn.hopfield.streamed import Block

__all__ = ["RepeatedEmbedding", "modules_of"]

#: Rounding moves a mark by less, in bfloat16 too, and another mask of dropout by more.
NEAR = 0.01

Places = dict[tuple[nn.Module, str], Tensor]  # buffers of modules, by name
RandomStates = tuple[Tensor, Tensor | None]  # of torch's generators, of the CPU and of the device


class Mark(NamedTuple):
    """A number that is another one where patterns are others, and how far apart equal ones are."""

    place: float
    near: float

    @classmethod
    def of(cls, patterns: Tensor) -> Mark | None:
        """Looks at patterns; None where there is nothing to be seen."""
        if not (patterns.is_floating_point() and patterns.numel() and values_visible(patterns)):
            return None
        with torch.no_grad():
            flat = patterns.flatten().to(torch.promote_types(patterns.dtype, torch.float32))
            places = torch.linspace(-1, 1, len(flat), dtype=flat.dtype, device=flat.device)
            found = torch.stack([flat @ places, NEAR * torch.linalg.vector_norm(flat)])
            return cls(*found.tolist())


class _Seen(NamedTuple):
    """How a block was embedded the first time.

    Attributes:
        buffers: What it changed of the modules, as it was before.
        random: The states of torch's generators before, of the CPU and of the device.
        patterns: What stands for what came of it.
    """

    buffers: Places
    random: RandomStates | None
    patterns: Mark | None


class RepeatedEmbedding:
    """Embeds blocks, each as often as it is asked to, in one way.

    The second time a block has the running statistics and the random numbers of the first, and
    leaves both as they are: each block counts once, and a mask of dropout is one mask.

    Args:
        embed: Makes patterns of a block; None leaves it as it is.
        device: Of the patterns.
        passes: How often all blocks are gone over before the backward pass.
    """

    def __init__(
        self, embed: Callable[[Tensor], Tensor] | None, device: torch.device, passes: int
    ) -> None:
        self.embed = embed
        self.device = device
        self.redrawn = passes > 1  # within the backward pass torch's checkpoint puts them back
        self.repeated = embed is not None and (passes > 1 or torch.is_grad_enabled())
        self.learning = [
            module
            for root in (modules_of(embed) if self.repeated else ())
            for module in root.modules()
            if module.training
        ]
        self.seen: dict[int, _Seen] = {}

    def __call__(self, block: Block) -> Tensor:
        """Embeds a block.

        Raises:
            ParameterError: If what comes of it is no tensor.
            DomainError: If it is something else than the first time.
        """
        if not self.repeated:
            return self._embedded(block)
        before = self.seen.get(block.number)
        if before is None:
            return self._first(block)
        with self._as_before(before):
            patterns = self._embedded(block)
        self._check_same(block.number, before.patterns, Mark.of(patterns))
        return patterns

    def _embedded(self, block: Block) -> Tensor:
        patterns = block.given if self.embed is None else self.embed(block.given)
        check_kind(f"embed(block {block.number})", patterns, Tensor, "one that makes tensors")
        return patterns

    def _first(self, block: Block) -> Tensor:
        buffers = {
            (module, name): buffer.detach().clone()
            for module in self.learning
            for name, buffer in module._buffers.items()
            if buffer is not None
        }
        random = _random_states(self.device) if self.redrawn else None
        patterns = self._embedded(block)
        changed = {
            (module, name): old
            for (module, name), old in buffers.items()
            if not _equal(old, module._buffers.get(name))
        }
        self.seen[block.number] = _Seen(changed, random, Mark.of(patterns))
        return patterns

    @contextmanager
    def _as_before(self, seen: _Seen) -> Iterator[None]:
        # Other tensors for the while, not other values: autograd may hold those that are there.
        held = {(module, name): module._buffers[name] for module, name in seen.buffers}
        for (module, name), old in seen.buffers.items():
            module._buffers[name] = old.clone()
        try:
            with _drawn_from(seen.random, self.device):
                yield
        finally:
            for (module, name), buffer in held.items():
                module._buffers[name] = buffer

    def _check_same(self, number: int, first: Mark | None, found: Mark | None) -> None:
        if first is None or found is None or not abs(first.place - found.place) > first.near:
            return  # or NaN, in rows that are padding
        raise DomainError(
            f"embed gave other patterns of block {number} than when it was first asked",
            "Let it depend on the block and on torch's own random numbers alone, and leave its "
            "weights and its mode, train or eval, as they are until the backward pass",
            "HopfieldPooling.stream",  # which is not on the stack of a backward pass
        )


def modules_of(embed: Any) -> list[nn.Module]:
    """Finds the modules that a function embeds with.

    It may be one or a method of one, or name them: what a function refers to by name, and the
    functions of the same file that it refers to, are looked through.

    Args:
        embed: The function; None has none.

    Examples:
        >>> layer = nn.Linear(2, 3)
        >>> modules_of(lambda block: layer(block).relu())
        [Linear(in_features=2, out_features=3, bias=True)]
    """
    found: list[nn.Module] = []
    seen: dict[int, Any] = {}  # kept, so that nothing else gets the id of one
    file = _file_of(embed)
    waiting = [embed]
    while waiting:
        at = waiting.pop()
        if id(at) in seen:
            continue
        seen[id(at)] = at
        if isinstance(at, nn.Module):
            found.append(at)
        else:
            waiting.extend(_named_by(at, file))
    return found


def _named_by(at: Any, file: dict[str, Any] | None) -> Iterator[Any]:
    """What something that can be called refers to; of functions, those of one file alone."""
    if isinstance(at, list | tuple):
        yield from at
    elif isinstance(at, dict):
        yield from at.values()
    elif isinstance(at, partial):
        yield from (at.func, at.args, at.keywords)
    elif inspect.ismethod(at):
        owner = at.__self__
        yield from (at.__func__, owner if isinstance(owner, nn.Module) else _vars_of(owner))
    elif inspect.isfunction(at):
        bare = inspect.unwrap(at)  # of what decorates it, as torch.no_grad() does
        if bare.__globals__ is file:
            yield from (bare.__defaults__, bare.__kwdefaults__)
            with suppress(ValueError):  # a name that has nothing yet
                named = inspect.getclosurevars(bare)
                yield from (named.nonlocals, named.globals)
    elif callable(at) and not inspect.isclass(at):
        yield from (_vars_of(at), getattr(at.__call__, "__func__", None))


def _file_of(embed: Any) -> dict[str, Any] | None:
    """The globals of the file that a function is written in."""
    while isinstance(embed, partial):
        embed = embed.func
    if not (inspect.ismethod(embed) or inspect.isfunction(embed)):
        embed = getattr(embed, "__call__", embed)  # noqa: B004, its method is wanted
    bare = inspect.unwrap(getattr(embed, "__func__", embed))
    return getattr(bare, "__globals__", None)


def _vars_of(owner: Any) -> dict[str, Any]:
    """The attributes of an object, if it has any."""
    return getattr(owner, "__dict__", {})


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return torch.equal(one, other)


def _random_states(device: torch.device) -> RandomStates:
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return torch.get_rng_state(), cuda


@contextmanager
def _drawn_from(states: RandomStates | None, device: torch.device) -> Iterator[None]:
    """Draws as from these states, and puts back those of now."""
    if states is None:
        yield
        return
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.set_rng_state(states[0])
        if states[1] is not None:
            torch.cuda.set_rng_state(states[1], device)
        yield
