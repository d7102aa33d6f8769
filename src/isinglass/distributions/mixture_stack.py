"""Several mixtures side by side, each in coordinates of its own: one bigger mixture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float, Int
from isinglass.distributions.covariance_mixture import CovarianceMixture
from isinglass.distributions.mixed_rows import MixedRows
from isinglass.distributions.yeo_johnson import YeoJohnson

__all__ = ["MixtureStack", "StackMember", "transformed"]

#: Nodes of the Gauss–Hermite rule.
NODES = 9
#: Most numbers of rows × memories × columns held at once.
BLOCK = 1 << 21


def transformed(transform: YeoJohnson, rows: MixedRows) -> MixedRows:
    """Transforms the known numbers of rows."""
    numbers = torch.where(rows.known, transform(rows.numbers), 0.0)
    return MixedRows(numbers, rows.known, rows.names)


@dataclass(frozen=True)
class StackMember:
    r"""A mixture of transformed numbers z = T(x): p(x) = p(z) Π_j T′_j(x_j).

    Args:
        transform: T.
        mixture: The mixture of z and of names.

    Examples:
        >>> one = torch.ones(1).double()
        >>> mixture = CovarianceMixture(0 * one, 0 * one[None], one[None])
        >>> member = StackMember(YeoJohnson(one, one, 2 * one), mixture)
        >>> member.log_joint(MixedRows.of(one[:, None])).exp()  # N(1; 1, 2²)
        tensor([[0.1995]], dtype=torch.float64)
    """

    transform: YeoJohnson
    mixture: CovarianceMixture

    def log_slope(self, rows: MixedRows) -> Float[Tensor, " n"]:
        """Computes Σ_j log T′_j of the known numbers of each row."""
        return torch.where(rows.known, self.transform.log_slope(rows.numbers), 0.0).sum(1)

    def log_joint(self, rows: MixedRows) -> Float[Tensor, "n K"]:
        """Computes log π_k p(x_o, c_o | k)."""
        found = self.mixture.log_joint(transformed(self.transform, rows))
        return found + self.log_slope(rows).unsqueeze(1)

    def log_prob(self, rows: MixedRows) -> Float[Tensor, " n"]:
        """Computes log p of what is known of each row."""
        return self.log_joint(rows).logsumexp(1)

    def means(self, rows: MixedRows) -> tuple[Float[Tensor, "n K"], Float[Tensor, "K c"]]:
        """Computes log-joints, and E[T⁻¹(z)] of each unknown number under each memory.

        By Gauss–Hermite with nine nodes; unknown numbers are those of ``(~known).nonzero()``.
        """
        found = self.mixture.expect(transformed(self.transform, rows))
        row, column = (~rows.known).nonzero(as_tuple=True)
        mean, deviation = found.numbers[:, row, column], found.variances()[:, row, column].sqrt()
        log_joint = found.log_joint + self.log_slope(rows).unsqueeze(1)
        return log_joint, self.expected(mean, deviation, column)

    def expected(self, mean: Tensor, deviation: Tensor, column: Tensor) -> Tensor:
        """Computes E[T⁻¹(z)] of normal z, the last axis cells of these columns."""
        transform = YeoJohnson(*(value[column] for value in vars(self.transform).values()))
        if transform.plain:
            return transform.inverse(mean)
        total = torch.zeros_like(mean)
        for node, weight in zip(*_rule(), strict=True):
            total += weight * transform.inverse(mean + node * deviation)
        return total


@dataclass(frozen=True)
class MixtureStack:
    r"""Mixtures p_m weighted: p(x) = Σ_m w_m p_m(x), itself one mixture of all their memories.

    Any marginal, conditional, mean and draw is closed, as a member's.

    Reference: Wolpert 1992, doi:10.1016/S0893-6080(05)80023-1; Smyth & Wolpert 1999,
    doi:10.1023/A:1007511322260 (densities).

    Args:
        log_weights: log w, ``(M,)``.
        members: The mixtures.

    Examples:
        >>> one = torch.ones(1).double()
        >>> mixture = CovarianceMixture(0 * one, 0 * one[None], one[None])
        >>> member = StackMember(YeoJohnson.identity(0 * one, one), mixture)
        >>> stack = MixtureStack(torch.tensor([0.5, 0.5]).double().log(), (member, member))
        >>> rows = MixedRows.of(one[None])
        >>> torch.allclose(stack.log_prob(rows), member.log_prob(rows))
        True
    """

    log_weights: Float[Tensor, " M"]
    members: tuple[StackMember, ...]

    @property
    def memories(self) -> int:
        """The number of memories of all members."""
        return sum(member.mixture.memories for member in self.members)

    def log_joint(self, rows: MixedRows) -> Float[Tensor, "n N"]:
        """Computes log w_m π_k p(x_o, c_o | m, k) of each row under each memory."""
        return self._in_blocks(rows, self._log_joint)[0]

    def log_prob(self, rows: MixedRows) -> Float[Tensor, " n"]:
        """Computes log p of what is known of each row; 0 where nothing is."""
        return self.log_joint(rows).logsumexp(1)

    def means(self, rows: MixedRows) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n m"]]:
        """Computes the mean of each unknown number and the shares of unknown names.

        Returns:
            Numbers, and one-hot names or their probabilities; what is known stays.
        """
        numbers, names = self._in_blocks(rows, self._means)
        return numbers, names

    def draw(
        self, rows: MixedRows, *, generator: Generator
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n m"]]:
        """Draws what is unknown of each row given what is known, once."""
        numbers, names, _ = self._in_blocks(rows, partial(self._draw, generator=generator))
        return numbers, names

    def sample(
        self, count: int, *, generator: Generator
    ) -> tuple[Float[Tensor, "count d"], Float[Tensor, "count m"], Int[Tensor, " count"]]:
        """Draws fresh rows: numbers, names one-hot, and the memory of each."""
        mixture = self.members[0].mixture
        nothing = mixture.means.new_zeros(count, mixture.means.shape[1])
        rows = MixedRows(nothing, nothing.bool(), nothing.new_zeros(count, sum(mixture.widths)))
        numbers, names, memory = self._in_blocks(rows, partial(self._draw, generator=generator))
        return numbers, names, memory

    def middles(self, rows: MixedRows) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n m"]]:
        """Finds the middle of the likeliest memory of each row: medians, and likeliest names."""
        numbers, names = self._in_blocks(rows, self._middles)
        return numbers, names

    def moments(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Computes the weights ``(N,)``, means and variances ``(N, d)`` and names of memories."""
        found: list[tuple[Tensor, ...]] = []
        for log_weight, member in zip(self.log_weights, self.members, strict=True):
            mixture = member.mixture
            diagonal = (
                mixture.covariances if mixture.diagonal
                else mixture.covariances.diagonal(dim1=-2, dim2=-1)
            )  # fmt: skip
            deviation = diagonal.sqrt().expand_as(mixture.means)
            columns = torch.arange(mixture.means.shape[1])
            mean = member.expected(mixture.means, deviation, columns)
            square = torch.zeros_like(mean)
            for node, weight in zip(*_rule(), strict=True):
                away = member.transform.inverse(mixture.means + node * deviation) - mean
                square += weight * away.square()
            weights = (log_weight + mixture.log_weights).exp()
            found.append((weights, mean, square, mixture.names.exp()))
        weights, mean, square, names = map(torch.cat, zip(*found, strict=True))
        return weights, mean, square, names

    def _log_joint(self, rows: MixedRows) -> tuple[Tensor]:
        return (
            torch.cat(
                [
                    log_weight + member.log_joint(rows)
                    for log_weight, member in zip(self.log_weights, self.members, strict=True)
                ],
                1,
            ),
        )

    def _means(self, rows: MixedRows) -> tuple[Tensor, Tensor]:
        joints, cells, names = [], [], []
        for log_weight, member in zip(self.log_weights, self.members, strict=True):
            log_joint, mean = member.means(rows)
            joints.append(log_weight + log_joint)
            cells.append(mean)
            names.append(member.mixture.names.exp())
        shares = torch.cat(joints, 1).softmax(1)
        row, column = (~rows.known).nonzero(as_tuple=True)
        numbers = rows.numbers.clone()
        numbers[row, column] = (shares[row].T * torch.cat(cells)).sum(0)
        return numbers, self._known_names(rows, shares @ torch.cat(names))

    def _draw(self, rows: MixedRows, *, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        shares = self._log_joint(rows)[0].softmax(1)
        memory = torch.multinomial(shares, 1, generator=generator).squeeze(1)
        numbers, names = rows.numbers.clone(), rows.names.clone()
        first = 0
        for member in self.members:
            count = member.mixture.memories
            own = ((memory >= first) & (memory < first + count)).nonzero().squeeze(1)
            part = rows.take(own)
            values, drawn = member.mixture.draw(
                transformed(member.transform, part), memory[own] - first, generator=generator
            )
            numbers[own] = torch.where(part.known, part.numbers, member.transform.inverse(values))
            names[own] = drawn
            first += count
        return numbers, names, memory

    def _middles(self, rows: MixedRows) -> tuple[Tensor, Tensor]:
        joints, cells, names = [], [], []
        row, column = (~rows.known).nonzero(as_tuple=True)
        for log_weight, member in zip(self.log_weights, self.members, strict=True):
            found = member.mixture.expect(transformed(member.transform, rows))
            joint = log_weight + found.log_joint + member.log_slope(rows).unsqueeze(1)
            joints.append(joint)
            transform = YeoJohnson(*(value[column] for value in vars(member.transform).values()))
            cells.append(transform.inverse(found.numbers[:, row, column]))
            names.append(member.mixture.names)
        best = torch.cat(joints, 1).argmax(1)
        numbers = rows.numbers.clone()
        numbers[row, column] = torch.cat(cells)[best[row], torch.arange(len(row))]
        return numbers, self._known_names(rows, torch.cat(names).exp()[best])

    def _known_names(self, rows: MixedRows, shares: Tensor) -> Tensor:
        """Puts the names that are known in the place of their probabilities."""
        widths = self.members[0].mixture.widths
        if not widths:
            return shares
        pairs = zip(rows.names.split(widths, 1), shares.split(widths, 1), strict=True)
        return torch.cat(
            [torch.where(seen.any(1, keepdim=True), seen, share) for seen, share in pairs], 1
        )

    def _in_blocks(
        self, rows: MixedRows, what: Callable[[MixedRows], tuple[Tensor, ...]]
    ) -> tuple[Tensor, ...]:
        """Does something for rows a block at a time, and joins what it gives."""
        size = max(64, BLOCK // max(1, self.memories * max(1, rows.numbers.shape[1])))
        return tuple(map(torch.cat, zip(*map(what, rows.blocks(size)), strict=True)))


def _rule() -> tuple[list[float], list[float]]:
    """Returns nodes and weights of a standard normal distribution."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return nodes.tolist(), (weights / weights.sum()).tolist()
