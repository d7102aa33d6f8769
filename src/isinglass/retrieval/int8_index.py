"""Look-up by an 8-bit index: all scores in 8 bits, the few that matter in full precision."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from isinglass._support.precision import at_least_single, wide_enough
from isinglass._support.typing import Float
from isinglass._support.validation import (
    check_count,
    check_fraction,
    check_patterns,
    check_positive,
    check_tensor,
    is_hollow,
)
from isinglass.errors import DomainError
from isinglass.retrieval.chunked import Lookup, check_lookup, streamed_lookup

__all__ = ["Int8Index"]

BLOCK = 8192  # keys turned into codes together, and the fewest scored together
SCORES = 2**20  # (key, query) pairs scored together: 4 MiB, which caches hold
GROUP = 8  # keys of one scale, whose largest score stands for all of them in the bound
CELL = 256  # keys that are kept or omitted together
MASSES = 2**16  # (cell, query) pairs kept between two merges of the best cells
PAIRS = 64  # (query, cell) pairs scored exactly at a time
WIDEST = 2**31 // 127**2  # features whose 8-bit products still add up within 32 bits


class Int8Index:
    r"""Keys with an 8-bit copy of themselves, looked up many times faster than they are summed.

    All scores are first taken from the copy. The copy's error is bounded by

        |k_μ·q − k̂_μ·q̂| ≤ D = max_μ |k_μ − k̂_μ| |q| + max_μ |k̂_μ| |q − q̂|,

    so that the mass of the keys left out is at most Σ exp(β(k̂_μ·q̂ + D)). The cells of keys that
    carry the mass are summed in full precision; what is left out is bounded and reported. Where the
    bound is above the tolerance — small β, or a query that resembles no key — the query is
    summed over all keys instead.

    The copy takes a byte a number and a scale for eight keys (:attr:`nbytes`), is built once and
    belongs to the keys as they were then: build it anew after they change.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217 (the look-up); Jacob et al. 2018,
    arXiv:1712.05877 (8-bit products).

    Args:
        keys: ``(N, d)``, in memory or memory-mapped (:func:`map_patterns`).
        cells: How many cells of 256 keys a query may keep.

    Raises:
        ShapeError: If there is no key or the tensor is not a matrix.
        DomainError: If a value is not finite, or there are none.
        ParameterError: If ``cells`` is not a whole number of at least one.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> keys = torch.nn.functional.normalize(torch.randn(5000, 64, generator=generator), dim=-1)
        >>> found = Int8Index(keys).lookup(keys[:3], beta=50.0)
        >>> bool((found.average - keys[:3]).abs().max() < 1e-3)
        True
        >>> bool(found.omitted_mass_bound.max() < 1e-4)
        True
    """

    def __init__(self, keys: Float[Tensor, "N d"], *, cells: int = 16) -> None:
        check_patterns(keys)
        if is_hollow(keys):
            raise DomainError("keys without values, on the device 'meta'", "Give keys that have")
        self.keys = keys.detach()
        self.cells = check_count("cells", cells)
        # Whole cells, so that the scan needs no last one of another size, and features in eights,
        # which products of int8 ask for on GPUs.
        size = -len(keys) % CELL + len(keys), -keys.shape[1] % 8 + keys.shape[1]
        self._codes = torch.zeros(size, dtype=torch.int8, device=keys.device)
        self._scales = torch.ones(size[0] // GROUP, dtype=torch.float32, device=keys.device)
        for block, code, scale in self._blocks(self.keys):
            exact = _pad(block, code)
            scale.copy_(exact.abs().view(len(scale), -1).amax(-1) / 127)
            scale[scale == 0] = 1.0
            code.copy_((exact / _steps(scale, exact)).round_().clamp_(-127, 127))
        self._error, self._length = self._deviation(self.keys)

    def fits(self, keys: Float[Tensor, "N d"]) -> bool:
        """Tells whether the copy is one of these keys: none is further from it than its own were.

        Then the bounds hold for them. A look at all of them, for keys that were copied or loaded.

        Args:
            keys: ``(N, d)``.

        Raises:
            DomainError: If they are no dense tensor.
        """
        check_tensor("keys", keys)
        like = self.keys
        if keys.shape != like.shape or (keys.dtype, keys.device) != (like.dtype, like.device):
            return False
        return self._deviation(keys)[0] <= self._error

    def _blocks(self, keys: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Keys, their codes and their scales, block by block."""
        rows = (keys.detach().split(BLOCK), self._codes.split(BLOCK))
        return zip(*rows, self._scales.split(BLOCK // GROUP), strict=True)

    def _deviation(self, keys: Tensor) -> tuple[float, float]:
        """max |k − k̂| and max |k̂|."""
        error = length = 0.0
        for block, code, scale in self._blocks(keys):
            exact = _pad(block, code)
            copy = code.to(exact.dtype) * _steps(scale, exact)
            length = max(length, float(copy.norm(dim=-1).max()))
            error = max(error, float((exact - copy).norm(dim=-1).max()))
        # What float32 rounds off in products and norms of so many numbers is added.
        rounding = 2 * self._codes.shape[1] * torch.finfo(at_least_single(keys[:1]).dtype).eps
        return error + rounding * (error + length), length * (1 + rounding)

    @property
    def nbytes(self) -> int:
        """Size in bytes of the 8-bit copy."""
        return self._codes.nbytes + self._scales.nbytes

    def __repr__(self) -> str:
        count, size = self.keys.shape
        return (
            f"Int8Index({count} keys of {size}, {self.nbytes / 2**20:.1f} MiB for the 8-bit copy)"
        )

    @torch.no_grad()
    def lookup(
        self,
        queries: Float[Tensor, "*batch d"],
        beta: float,
        values: Float[Tensor, "N e"] | None = None,
        *,
        tolerance: float = 1e-4,
    ) -> Lookup:
        """Averages the values by softmax weight, Vᵀ softmax(βKq), bounding the mass left out.

        Args:
            queries: ``(*batch, d)``.
            beta: β > 0, inverse temperature of the softmax.
            values: ``(N, e)``; None is the keys themselves.
            tolerance: Largest mass, 0 to 1, that may be left out; a query above it is summed over
                all keys.

        Raises:
            ShapeError: If features or numbers of rows differ.
            DomainError: If dtypes or devices differ.
            ParameterError: If ``beta`` is not above zero, or ``tolerance`` not from 0 to 1.
        """
        values = check_lookup(queries, self.keys, values)
        beta = check_positive("beta", beta)
        tolerance = check_fraction("tolerance", tolerance)
        rows = queries.reshape(-1, queries.shape[-1])
        parts = [self._best_cells(part, beta, values, tolerance) for part in rows.split(BLOCK // 8)]
        average, log_partition, omitted_mass_bound = (
            torch.cat(part) for part in zip(*parts, strict=True)
        )
        wide = (~(omitted_mass_bound <= tolerance)).nonzero()[:, 0]
        if len(wide):
            whole = streamed_lookup(rows[wide], self.keys, beta, values)
            average[wide], log_partition[wide], omitted_mass_bound[wide] = whole
        batch = queries.shape[:-1]
        return Lookup(
            average.reshape(*batch, values.shape[-1]),
            log_partition.reshape(batch),
            omitted_mass_bound.reshape(batch),
        )

    def _best_cells(self, queries: Tensor, beta: float, values: Tensor, tolerance: float) -> Lookup:
        """Looks up by the best cells alone, whatever they leave out."""
        if self.keys.shape[1] > WIDEST:
            nothing = queries.new_ones(len(queries))
            return Lookup(queries.new_zeros(len(queries), values.shape[1]), nothing, nothing)
        exact = at_least_single(queries)
        code, scale, error = _round(exact)
        norm = exact.norm(dim=-1)
        slack = beta * (self._error * norm + self._length * error)
        # Rounding of the float32 scores themselves: d products of float32 add up, in any order,
        # to d·2⁻²⁴ of their sizes, which are at most |k| |q|; scales are a few products more.
        rounded = (exact.shape[-1] + 16) * 2.0**-24
        slack = slack + beta * norm * (self._length + self._error) * rounded
        cell, log_mass, rest = self._scan(code, beta * scale)
        sums = _Sums(exact, self.keys, values, beta)
        everyone = torch.arange(len(queries), device=queries.device)
        sums.add(everyone, cell[0])
        # From here on a cell is worth its sum only if what is left without it is too much: above a
        # quarter of the tolerance, and above half of what is left out in any case.
        allowed = torch.maximum(sums.log_mass() - slack + _log(tolerance / 4), rest - _log(2.0))
        beyond = _log_cumulated(log_mass)
        worth = beyond[:-1] > allowed
        sums.add(everyone.expand_as(worth)[worth], cell[1:][worth])
        log_left = torch.logaddexp(beyond[worth.sum(0), everyone], rest) + slack
        # omitted/(omitted + kept), rounded up.
        omitted_mass_bound = (torch.sigmoid(log_left - sums.log_mass()) * 1.001).clamp(max=1.0)
        return Lookup(
            sums.average().to(queries.dtype),
            (sums.log_mass() / beta).to(wide_enough(queries).dtype),
            omitted_mass_bound.to(queries.dtype),
        )

    def _scan(self, code: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best cells of each query, bounds of their log mass, and of all others together."""
        count = scale.shape[0]
        width = _columns(count, code.device)
        columns = torch.zeros(self._codes.shape[1], width, dtype=torch.int8, device=code.device)
        columns[: code.shape[1], :count] = code.mT
        best = scale.new_full((self.cells, count), -torch.inf)
        cell = torch.zeros(self.cells, count, dtype=torch.int64, device=code.device)
        rest = scale.new_full((count,), -torch.inf)
        found: list[Tensor] = []
        together = max(SCORES // width // BLOCK, 1) * BLOCK
        stride = max(MASSES // width // (together // CELL), 1)
        blocks = list(
            zip(self._codes.split(together), self._scales.split(together // GROUP), strict=True)
        )
        first = 0
        for number, (block, scales) in enumerate(blocks):
            scores = torch.ops.aten._int_mm(block, columns)
            if number == len(blocks) - 1:  # the padding scores below everyone
                scores[len(scores) - (len(self._codes) - len(self.keys)) :] = -(2**31)
            # The largest of a group stands for all eight, and is found among integers: one float
            # and one exp for eight scores.
            highest = scores.view(-1, GROUP, width).amax(1)[:, :count] * scale
            highest.mul_(scales.unsqueeze(1))
            highest = highest.unflatten(0, (-1, CELL // GROUP))
            top = highest.amax(1)
            mass = highest.sub_(top.unsqueeze(1)).exp_().sum(1)
            found.append(mass.log_().add_(top).add_(_log(GROUP)))
            # One topk for many blocks rather than for each; memory stays that of a few blocks
            # however many keys there are.
            if len(found) == stride or number == len(blocks) - 1:
                new = torch.cat([best, *found])
                names = torch.arange(first, first + len(new) - len(best), device=code.device)
                names = torch.cat([cell, names.unsqueeze(1).expand(-1, count)])
                first += len(new) - len(best)
                best, chosen = new.topk(self.cells, dim=0)
                cell = names.gather(0, chosen)
                others = new.scatter(0, chosen, -torch.inf).logsumexp(0)
                rest = torch.logaddexp(rest, others)
                found = []
        return cell, best, rest


def _columns(count: int, device: torch.device) -> int:
    """How many queries the product is told of: it is made for these, the others are zeros."""
    if device.type != "cpu":
        return max(-(-count // 8) * 8, 32)
    # A single one is a product of its own, read at the speed of memory.
    return 1 if count == 1 else max(-(-count // 16) * 16, 16)


def _pad(keys: Tensor, code: Tensor) -> Tensor:
    """Keys in at least float32, zeros where there is none."""
    rows, columns = (whole - part for whole, part in zip(code.shape, keys.shape, strict=True))
    return torch.nn.functional.pad(at_least_single(keys), (0, columns, 0, rows))


def _steps(scale: Tensor, like: Tensor) -> Tensor:
    """The scale of each key, whose group shares it."""
    return scale.to(like.dtype).repeat_interleave(GROUP).unsqueeze(-1)


class _Sums:
    """Sums of exp(β k·q) and exp(β k·q) v for each query, cell by cell, in full precision."""

    def __init__(self, queries: Tensor, keys: Tensor, values: Tensor, beta: float) -> None:
        self.queries, self.keys, self.values, self.beta = queries, keys, values, beta
        self.top = queries.new_full((len(queries),), -torch.inf)
        self.mass = torch.zeros_like(self.top)
        self.total = queries.new_zeros(len(queries), values.shape[1])

    def add(self, query: Tensor, cell: Tensor) -> None:
        """Add cell ``cell[i]`` to the sums of query ``query[i]``."""
        for who, which in zip(query.split(PAIRS), cell.split(PAIRS), strict=True):
            row = which.unsqueeze(1) * CELL + torch.arange(CELL, device=which.device)
            beyond = row >= len(self.keys)
            row = row.masked_fill(beyond, 0)
            keys = self.keys[row].to(self.queries.dtype)
            scores = self.beta * (keys @ self.queries[who].unsqueeze(-1)).squeeze(-1)
            scores = scores.masked_fill(beyond, -torch.inf)
            # As softmax does, but a part at a time: what is summed so far is scaled down whenever a
            # larger score turns up, so no exp overflows. Twice −inf, nothing yet, is NaN: 0.
            higher = self.top.scatter_reduce(0, who, scores.amax(-1), "amax")
            fade = (self.top - higher).exp().nan_to_num(0.0)
            weights = (scores - higher[who].unsqueeze(1)).exp()
            values = keys if self.values is self.keys else self.values[row].to(weights.dtype)
            self.mass = (self.mass * fade).index_add(0, who, weights.sum(-1))
            part = (weights.unsqueeze(1) @ values).squeeze(1)
            self.total = (self.total * fade.unsqueeze(1)).index_add(0, who, part)
            self.top = higher

    def log_mass(self) -> Tensor:
        return self.top + self.mass.log()

    def average(self) -> Tensor:
        return self.total / self.mass.unsqueeze(1)


def _round(queries: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """8-bit codes, the scale of each row, and how far each row is from its code."""
    scale = (queries.abs().amax(-1) / 127).clamp_min(torch.finfo(queries.dtype).tiny)
    code = (queries / scale.unsqueeze(-1)).round()
    error = (queries - code * scale.unsqueeze(-1)).norm(dim=-1)
    return code.to(torch.int8), scale, error


def _log_cumulated(log_mass: Tensor) -> Tensor:
    """log of the mass of all later ranks."""
    later = torch.cat([log_mass[1:], torch.full_like(log_mass[:1], -torch.inf)])
    return later.flip(0).logcumsumexp(0).flip(0)


def _log(number: float) -> float:
    return math.log(number) if number > 0 else -math.inf
