"""The two halves of an even torus, drawn in bytes: the fast way through Ising grids."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float, Int

__all__ = ["Checkerboard"]

#: What a random byte can say.
CODES = 256


class Checkerboard:
    r"""Block Gibbs on a torus of even sides where all bonds are alike, and all fields.

    A unit's conditional depends only on n, the number of its 2d neighbors that are high: p_n.
    With U uniform and p_n rising in n, "high if U < p_n" is "high if n ≥ c" for

        c = #{k : U ≥ p_k},   P(c = k) = p_k − p_{k−1}

    whose distribution is the same in all states. So each c is a random byte, compared with 2d + 1
    numbers; the few bytes that are left over, as 256 P(c) are no whole numbers, are drawn anew in
    float64, which makes the distribution exact. Units of one color lie together, a byte each, and
    neighbors are sums of shifted halves.

    Args:
        shape: The sides, all even.
        states: The lower and the upper state of a unit, whole numbers.
        coupling: J of every bond.
        field: b of every unit.
        temperature: T > 0.
        device: Where states are.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        states: tuple[float, float],
        coupling: float,
        field: float,
        temperature: float,
        device: torch.device,
    ) -> None:
        self.shape = shape
        self.half = math.prod(shape) // 2
        self.low, self.span = int(states[0]), int(states[1] - states[0])
        self.degree = 2 * len(shape)
        self.rises = coupling >= 0
        # p_n must rise in n for one cut to do for all n: where J < 0, count the low neighbors.
        near = torch.arange(self.degree + 1, dtype=torch.float64)
        if not self.rises:
            near = near.flip(0)
        fields = coupling * (self.low * self.degree + self.span * near) + field
        high = torch.sigmoid(self.span * fields / temperature)
        mass = CODES * torch.diff(high, prepend=high.new_zeros(1), append=high.new_ones(1))
        # Bytes below ΣP(c ≤ k) are decided at once; the fractions share what bytes are over.
        whole = mass.floor()
        self.codes = [self._row(int(code), device) for code in whole.cumsum(0)[:-1] if code < CODES]
        used = int(whole.sum())
        self.spare = self._row(used, device) if used < CODES else None
        self.left_over = (mass - whole).cumsum(0).to(device)
        odd = torch.ones(shape[:-1]).nonzero().sum(-1) % 2  # coordinates of the row, added up
        self.odd = -odd.to(device, torch.int8).reshape(*shape[:-1], 1)

    def _row(self, code: int, device: torch.device) -> Tensor:
        """Bytes are compared many times faster with a row of bytes than with one number."""
        return torch.full((self.half,), code, dtype=torch.uint8, device=device)

    def pack(self, state: Float[Tensor, "batch size"]) -> list[Int[Tensor, "batch *half"]]:
        """Splits states into both colors, 1 where a unit is high."""
        high = (state - self.low).to(torch.int8).clamp_max(1)
        first, second = high.reshape(len(state), *self.shape[:-1], self.shape[-1] // 2, 2).unbind(
            -1
        )
        return [self._either(first, second), self._either(second, first)]

    def unpack(
        self, halves: list[Int[Tensor, "batch *half"]], dtype: torch.dtype
    ) -> Float[Tensor, "batch size"]:
        """Joins both colors to one state."""
        one, other = halves
        pairs = torch.stack([self._either(one, other), self._either(other, one)], -1)
        return (pairs.flatten(1) * self.span + self.low).to(dtype)

    def sweep(
        self, halves: list[Int[Tensor, "batch *half"]], generator: Generator | None
    ) -> list[Int[Tensor, "batch *half"]]:
        """Draws one color given the other, then the other given the new one."""
        one, other = halves
        one = self._draw(other, other.roll(1, -1), other.roll(-1, -1), generator)
        other = self._draw(one, one.roll(-1, -1), one.roll(1, -1), generator)
        return [one, other]

    def _draw(
        self, other: Tensor, even: Tensor, odd: Tensor, generator: Generator | None
    ) -> Tensor:
        """One color given the other, and the other's second neighbors in even and odd rows."""
        # int8 holds a count of up to 127 neighbors, and a pass moves an eighth of float64.
        near = other + self._either(even, odd)
        for axis in range(1, other.ndim - 1):
            near += other.roll(1, axis)
            near += other.roll(-1, axis)
        if not self.rises:
            near = self.degree - near
        return (near >= self._cuts(near, generator)).view(torch.int8)

    def _cuts(self, near: Tensor, generator: Generator | None) -> Tensor:
        """c of every unit of one color."""
        count = near.numel()
        words = torch.empty(-(-count // 8), dtype=torch.int64, device=near.device)
        # All 64 bits: eight bytes a word, where float32 numbers would cost four bytes a unit.
        words.random_(-(2**63), None, generator=generator)
        codes = words.view(torch.uint8)[:count].view(count // self.half, self.half)
        cut = torch.zeros_like(codes, dtype=torch.int8)
        for code in self.codes:
            cut += (codes >= code).view(torch.int8)
        if self.spare is not None:
            places = (codes >= self.spare).flatten().nonzero()[:, 0]
            again = torch.rand(
                len(places), dtype=torch.float64, device=near.device, generator=generator
            )
            drawn = torch.searchsorted(self.left_over, again * self.left_over[-1], right=True)
            cut.view(-1)[places] = drawn.to(torch.int8)
        return cut.view(near.shape)

    def _either(self, even: Tensor, odd: Tensor) -> Tensor:
        """The one in rows whose coordinates add up to an even number, the other elsewhere."""
        # The mask is 0 or −1, all bits: three passes over bytes, many times faster than where.
        return even ^ ((even ^ odd) & self.odd)
