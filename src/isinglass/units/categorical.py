"""Units with one of N states, and averages of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from isinglass._support.registry import name_of
from isinglass._support.typing import Bool, Float
from isinglass._support.validation import (
    MOST_COUNTED,
    check_count,
    check_positive,
    values_visible,
)
from isinglass.errors import ParameterError, ShapeError
from isinglass.units._multinomial import draw_counts
from isinglass.units.base import EDGE, Draw, Flags, PerRow, States, Unit, gumbel_like

__all__ = ["Categorical", "Multinomial"]

FEW_NUMBERS = 2**16  # masks times fields, below which they are formed: fewer calls


@dataclass(frozen=True)
class Multinomial(Unit):
    """The average of m draws from a softmax: s = n/m with counts n that sum to m.

        A_T(I) = lse_β(I) = β⁻¹ log Σ_μ exp(β I_μ),   β = 1/(mT)
        mean   = softmax(βI)
        sample ~ Multinomial(m, softmax(βI)) / m

    The two numbers that matter are tied, so one of ``draws`` and ``beta`` is given. With
    ``draws`` fixed, T → 0 is the arg-max. With ``beta`` fixed, T = 1/(mβ) sets the number of
    draws and T → 0 is infinitely many: the softmax itself, a Transformer's attention.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217 (the limit); Ota & Karakida 2023,
    arXiv:2212.04692 (m = 1).

    Args:
        size: Number of components, ``groups`` times the states of one group.
        draws: m, how many draws are averaged.
        beta: Inverse temperature inside the softmax, instead of ``draws``; a tensor of no
            dimension is differentiated through.
        groups: Independent softmax groups, side by side in the last dimension.

    Raises:
        ParameterError: If not exactly one of ``draws`` and ``beta`` is given, if either is not
            positive, or if ``groups`` does not divide ``size``.
        ShapeError: If ``beta`` is a tensor of any dimension.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> unit = Multinomial(3, draws=4)
        >>> state = unit.sample(torch.zeros(5, 3), 1.0, generator)
        >>> bool((state.sum(-1) == 1).all()), bool(((4 * state) % 1 == 0).all())
        (True, True)
    """

    size: int = 2
    draws: int | None = None
    beta: float | Tensor | None = None
    groups: int = 1

    def __init__(
        self,
        size: int = 2,
        *,
        draws: int | None = None,
        beta: float | Tensor | None = None,
        groups: int = 1,
    ) -> None:
        name = type(self).__name__
        if (draws is None) == (beta is None):
            raise ParameterError(
                f"draws = {draws} and beta = {beta}", "Give exactly one of draws and beta"
            )
        if draws is not None:
            check_count("draws", draws)
        if beta is not None:
            beta = _check_beta(name, beta)
        check_count("size", size)
        check_count("groups", groups)
        if size % groups:
            raise ParameterError(
                f"size = {size}, groups = {groups}", "Give a size that groups divides"
            )
        for field_name, value in (
            ("size", size), ("draws", draws), ("beta", beta), ("groups", groups)
        ):  # fmt: skip
            object.__setattr__(self, field_name, value)

    @property
    def components(self) -> int:
        """The states of one group."""
        return self.size // self.groups

    @property
    def pointwise(self) -> bool:
        """The components of a group go together."""
        return False

    def with_count(self, count: int) -> Multinomial:
        """Returns a layer of ``count`` such groups."""
        size = check_count("count", count) * self.components
        return Multinomial(size, draws=self.draws, beta=self.beta, groups=count)

    @property
    def bounded(self) -> bool:
        """Means lie between 0 and 1."""
        return True

    @property
    def has_multiplicity(self) -> bool:
        """Several draws can share their counts in many orders."""
        return self.draws != 1

    @property
    def has_base_measure_energy(self) -> bool:
        """The multiplicity of the counts is all there is."""
        return self.has_multiplicity

    def check_temperature(self, temperature: float) -> None:
        """Refuses every T but 1/(mβ) and 0 where β is fixed: no other has a distribution.

        Raises:
            ParameterError: If 1/(βT) is not a whole number.
        """
        self.draws_at(temperature)

    def sharpness(self, temperature: float) -> float | Tensor:
        """Returns β of the softmax at this T: infinite for a fixed number of draws at T = 0."""
        if self.beta is not None:
            return self.beta
        return 1 / (self.draws_at(temperature) * temperature) if temperature > 0 else math.inf

    def draws_at(self, temperature: float) -> float:
        """Returns the number of draws m at this T: 1/(βT) where β is fixed, infinite at T = 0.

        Raises:
            ParameterError: If 1/(βT) is not a whole number, or more than can be counted.
        """
        if self.draws is not None:
            return self.draws
        if temperature == 0 or self.beta is None:
            return math.inf
        beta = self.beta.item() if isinstance(self.beta, Tensor) else self.beta
        exact = 1 / (beta * temperature)
        if exact > MOST_COUNTED:
            raise ParameterError(
                f"temperature = {temperature}, which is 1/(mβ) for m = {exact:.6g}",
                "Use T = 0, which is the limit of many draws",
            )
        whole = max(1, round(exact))
        if abs(exact - whole) > 1e-6 * whole:
            raise ParameterError(
                f"temperature = {temperature}, which is 1/(mβ) for m = {exact:.6g}",
                f"Use T = 1/(mβ) with a whole m; the nearest is {1 / (whole * beta):.9g} "
                f"(m = {whole})",
            )
        return whole

    def log_partition(self, field: States, temperature: float = 1.0) -> PerRow:
        """Computes Σ_groups lse_β(I); the largest component at β = ∞."""
        groups, beta = self._split(field), self.sharpness(temperature)
        if _infinite(beta):
            return groups.amax(-1).sum(-1)
        return torch.logsumexp(beta * groups, -1).sum(-1) / beta

    def log_partition_over(
        self, fields: Float[Tensor, "M d"], allowed: Bool[Tensor, "*batch d"], temperature: float
    ) -> Float[Tensor, "*batch M"]:
        """Computes Σ_groups β⁻¹ log Σ_{i allowed} exp(βI_i); a group with nothing allowed counts 0.

        Weights exp(β(I_i − max I)) are summed by a matrix product, so that no array of masks times
        fields is formed; only where the sum is too small to be right is it taken anew.
        """
        beta = self.sharpness(temperature)
        masks, groups = self._split(allowed), self._split(fields)
        if _infinite(beta):
            best = groups.masked_fill(~masks.unsqueeze(-3), -torch.inf).amax(-1)
            return best.where(masks.any(-1).unsqueeze(-2), 0.0).sum(-1)
        logits = beta * groups  # (M, groups, states)
        if masks.numel() * len(fields) <= FEW_NUMBERS:
            return _log_sum(logits, masks.unsqueeze(-3)).sum(-1) / beta
        top = logits.amax(-1)
        weights = (logits - top.unsqueeze(-1)).exp()
        sums = torch.einsum("...gc,mgc->...gm", masks.to(fields), weights)
        kind = torch.finfo(fields.dtype)
        low = sums < kind.tiny / kind.eps
        logs = sums.clamp_min(kind.tiny).log() + top.mT
        if bool(low.any()):
            *row, group, field = low.nonzero(as_tuple=True)
            exact = _log_sum(logits[field, group], masks[(*row, group)])
            logs = logs.index_put((*row, group, field), exact)
        return logs.sum(-2) / beta

    def mean(self, field: States, temperature: float = 1.0) -> States:
        """Computes softmax(βI) within each group; ties share equally at β = ∞."""
        groups, beta = self._split(field), self.sharpness(temperature)
        if _infinite(beta):
            largest = (groups == groups.amax(-1, keepdim=True)).to(field.dtype)
            return self._join(largest / largest.sum(-1, keepdim=True))
        return self._join(torch.softmax(beta * groups, -1))

    def sample(
        self,
        field: States,
        temperature: float = 1.0,
        generator: Generator | None = None,
    ) -> States:
        """Draws counts n ~ Multinomial(m, softmax(βI)) within each group, and returns n/m."""
        draws = self.draws_at(temperature)
        attention = self.mean(field, temperature)
        if math.isinf(draws):
            return attention
        counts = draw_counts(self._split(attention), int(draws), generator)
        return self._join((counts / draws).to(field.dtype))

    def base_measure_energy(self, state: States, temperature: float = 1.0) -> PerRow:
        """Computes −T log(m!/Π n_μ!), the multiplicity of the counts; β⁻¹ Σ s log s as m → ∞."""
        draws = self.draws_at(temperature)
        if draws == 1:
            return state.new_zeros(state.shape[:-1])
        if math.isinf(draws):
            return torch.special.xlogy(state, state).sum(-1) / self.sharpness(temperature)
        # Draws are counted from the state itself, so that a group left at zero, as where it is
        # not observed, has no multiplicity.
        counts = draws * self._split(state)
        multiplicity = torch.lgamma(counts.sum(-1) + 1).sum(-1) - torch.lgamma(counts + 1).sum(
            (-2, -1)
        )
        return -temperature * multiplicity

    def argmax_state(self, field: States, current: States) -> States:
        """Returns the arg-max (the softmax where β is fixed); a legal state already best stays."""
        if self.beta is not None:
            return self.mean(field, 0.0)
        groups, held = self._split(field), self._split(current)
        at_best = (groups == groups.amax(-1, keepdim=True)) | (held == 0)
        stays = at_best.all(-1, keepdim=True) & self._split(self.contains(current)).all(
            -1, keepdim=True
        )
        first = torch.zeros_like(groups).scatter_(-1, groups.argmax(-1, keepdim=True), 1.0)
        return self._join(torch.where(stays, held, first))

    def contains(self, state: States) -> Flags:
        """Tells whether each group is non-negative, sums to one, and is in steps of 1/m."""
        groups = self._split(state)
        legal = (groups >= 0) & ((groups.sum(-1, keepdim=True) - 1).abs() < 1e-4)
        if self.draws is not None:
            counts = groups * self.draws
            legal &= (counts - counts.round()).abs() < 1e-3
        return self._join(legal)

    def natural_parameter(self, mean: States, temperature: float = 1.0) -> States:
        """Computes β⁻¹ log of the mean, at least −30/β (a constant per group is free)."""
        return mean.clamp_min(0.0).log().clamp_min(-EDGE) / self.sharpness(temperature)

    def state_count(self, temperature: float = 1.0) -> float:
        """Counts the ways to share m draws among N, (m + N − 1 choose m) in every group."""
        draws = self.draws_at(temperature)
        if math.isinf(draws):
            return math.inf
        return math.comb(int(draws) + self.components - 1, int(draws)) ** self.groups

    def enumerate_states(self, temperature: float = 1.0) -> Float[Tensor, "states size"]:
        """Lists every way to share m draws among the states of each group.

        Raises:
            IntractableError: If m is infinite, as at T = 0 with β fixed.
        """
        draws = self.draws_at(temperature)
        if math.isinf(draws):
            return super().enumerate_states(temperature)
        one = torch.eye(self.components, dtype=torch.float64)
        if draws > 1:
            counts = list(_compositions(int(draws), self.components))
            one = torch.tensor(counts, dtype=torch.float64) / draws
        choices = torch.cartesian_prod(*[torch.arange(len(one))] * self.groups)
        return one[choices.reshape(-1, self.groups)].flatten(-2)

    def config(self) -> dict[str, Any]:
        """Returns size, draws, β as a number, and groups."""
        beta = self.beta.item() if isinstance(self.beta, Tensor) else self.beta
        return {
            "kind": name_of(type(self)),
            "size": self.size,
            "draws": self.draws,
            "beta": beta,
            "groups": self.groups,
        }

    # A single group, that of every memory, is spared the calls into Python of (un)flatten.
    def _split(self, values: Tensor) -> Tensor:
        return values[..., None, :] if self.groups == 1 else values.unflatten(-1, (self.groups, -1))

    def _join(self, groups: Tensor) -> Tensor:
        return groups[..., 0, :] if self.groups == 1 else groups.flatten(-2)

    def _remedy(self) -> str:
        return (
            "Each group of a one-hot layer must be non-negative and sum to 1"
            + (f", in steps of 1/{self.draws}" if self.draws else "")
            + ": torch.nn.functional.one_hot(index, states)"
        )


class Categorical(Multinomial):
    """Potts units, one of N: A_T(I) = T logsumexp(I/T), mean softmax(I/T).

    A :class:`Multinomial` of a single draw.

    Reference: Potts 1952, doi:10.1017/S0305004100027419.

    Args:
        size: Number of components, ``groups`` times the states of one group.
        groups: Independent one-hot units, side by side in the last dimension.

    Raises:
        ParameterError: If either is not a whole number of at least one, or ``groups`` does not
            divide ``size``.

    Examples:
        >>> Categorical(3).mean(torch.tensor([1.0, 3.0, 2.0]), temperature=0.0)
        tensor([0., 1., 0.])
    """

    def __init__(self, size: int = 2, groups: int = 1) -> None:
        super().__init__(size, draws=1, groups=groups)

    def with_count(self, count: int) -> Categorical:
        """Returns a layer of ``count`` one-hot units."""
        return Categorical(check_count("count", count) * self.components, groups=count)

    def sampler(
        self, like: States, temperature: float = 1.0, generator: Generator | None = None
    ) -> Draw:
        """Returns the arg-max of every unit's field plus T times Gumbel noise."""
        if temperature == 0:
            return self.argmax_state
        noise = temperature * gumbel_like(like, generator)
        return lambda field, current: self.argmax_state(field + noise, current)

    def config(self) -> dict[str, Any]:
        """Returns size and groups as JSON values."""
        return {"kind": name_of(type(self)), "size": self.size, "groups": self.groups}


def _check_beta(name: str, beta: float | Tensor) -> float | Tensor:
    if not isinstance(beta, Tensor):
        return check_positive("beta", beta)
    if beta.ndim > 0:
        raise ShapeError(f"beta of shape {tuple(beta.shape)}", "Give one number", operation=name)
    if values_visible(beta):
        check_positive("beta", beta.item())
    return beta


def _log_sum(logits: Tensor, allowed: Tensor) -> Tensor:
    """log Σ_{i allowed} exp(I_i); 0 where nothing is."""
    some = allowed.any(-1)  # where nothing is, all is summed, so that no slope is NaN
    total = logits.masked_fill(~allowed & some.unsqueeze(-1), -torch.inf).logsumexp(-1)
    return torch.where(some, total, 0.0)


def _infinite(beta: float | Tensor) -> bool:
    return not isinstance(beta, Tensor) and math.isinf(beta)


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ways to write ``total`` as an ordered sum of ``parts`` whole numbers."""
    if parts == 1:
        yield (total,)
        return
    for first in range(total, -1, -1):
        for rest in _compositions(total - first, parts - 1):
            yield (first, *rest)
