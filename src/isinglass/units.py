r"""What one unit is: a convex log-partition function of its input field.

An area of units receives a field ``I`` and takes a state ``s`` with probability
proportional to ``exp((I·s − U(s))/T)``. Three functions of the field say everything:

    A_T(I)  = T log Σ_s exp((I·s − U(s))/T)     log-partition (an integral for continuous s)
    mean    = ∂A_T/∂I                           the mean activation
    sample  ~ exp((I·s − U(s) − A_T(I))/T)      a draw

As T → 0 the mean and the draw become the same thing: sign, step, identity, arg-max
(Krotov & Hopfield 2021, arXiv:2008.06996, where A is the Lagrangian of a layer).

All kinds take a field of shape ``(*batch, size)``. ``log_partition`` returns the area's total,
``(*batch,)``; ``mean`` and ``sample`` return states, ``(*batch, size)``. Temperature is in the
units of the energy.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import torch
from torch import Generator, Tensor

from isinglass._shapes import Bool, Float
from isinglass.checks import (
    check_count,
    check_features,
    check_finite,
    check_positive,
    values_visible,
)
from isinglass.errors import DomainError, FileError, IntractableError, ParameterError

__all__ = ["AveragedOneHot", "Bit", "Gaussian", "OneHot", "ReLU", "Spin", "Unit"]


@dataclass(frozen=True)
class Unit(ABC):
    """An area of units of one kind.

    A new kind gives ``log_partition``, ``mean`` and ``sample``; everything else is derived or
    has a default. Instances are immutable and hold no tensors, so they cost nothing to share.

    Args:
        size: Number of components of the area's state.

    Raises:
        ParameterError: If ``size`` is not a whole number of at least one.
    """

    size: int = 1

    def __post_init__(self) -> None:
        check_count(type(self).__name__, "size", self.size)

    @abstractmethod
    def log_partition(
        self, field: Float[Tensor, "*batch size"], temperature: float = 1.0
    ) -> Float[Tensor, "*batch"]:
        """A_T(I), summed over the area."""

    @abstractmethod
    def mean(
        self, field: Float[Tensor, "*batch size"], temperature: float = 1.0
    ) -> Float[Tensor, "*batch size"]:
        """∂A_T/∂I, the mean state; the exact limit at ``temperature=0``."""

    @abstractmethod
    def sample(
        self,
        field: Float[Tensor, "*batch size"],
        temperature: float = 1.0,
        generator: Generator | None = None,
    ) -> Float[Tensor, "*batch size"]:
        """A state drawn from exp((I·s − U(s) − A_T(I))/T)."""

    def base_energy(
        self, state: Float[Tensor, "*batch size"], temperature: float = 1.0
    ) -> Float[Tensor, "*batch"]:
        """U(s), the energy the area has without any field; zero unless the kind says otherwise."""
        return state.new_zeros(state.shape[:-1])

    def settle(
        self, field: Float[Tensor, "*batch size"], current: Float[Tensor, "*batch size"]
    ) -> Float[Tensor, "*batch size"]:
        """The state of least energy in this field; where two tie, the current one stays."""
        return self.mean(field, 0.0)

    def contains(self, state: Float[Tensor, "*batch size"]) -> Bool[Tensor, "*batch size"]:
        """Which components are states this kind can take (given that they are finite)."""
        return torch.ones_like(state, dtype=torch.bool)

    def natural_field(
        self, mean: Float[Tensor, "*batch size"], temperature: float = 1.0
    ) -> Float[Tensor, "*batch size"]:
        """The field whose mean state is ``mean``: the inverse of :meth:`mean`.

        Raises:
            IntractableError: If the kind has no closed-form inverse.
        """
        raise IntractableError(
            f"{type(self).__name__}.natural_field",
            "the mean of this kind has no closed-form inverse",
            "Use Spin, Bit, Gaussian or OneHot units, or fit by gradient",
        )

    def enumerate_states(self, temperature: float = 1.0) -> Float[Tensor, "states size"]:
        """Every state of the area, one a row, in float64; only draws of fixed β depend on T.

        Raises:
            IntractableError: If the kind has infinitely many states.
        """
        raise IntractableError(
            f"{type(self).__name__}.enumerate_states",
            "continuous units have infinitely many states",
            "Enumerate discrete units only, or integrate by quadrature",
        )

    @property
    def components(self) -> int:
        """How many components the state of one unit has: 1, or the states of a one-hot unit."""
        return 1

    def config(self) -> dict[str, Any]:
        """The unit as JSON values; :meth:`from_config` reads it back."""
        return {"kind": type(self).__name__, **asdict(self)}

    @staticmethod
    def from_config(config: dict[str, Any]) -> Unit:
        """The unit that :meth:`config` described, among the kinds already imported.

        Raises:
            FileError: If no such kind is imported.
        """
        kind = _unit_kinds(Unit).get(config["kind"])
        if kind is None:
            raise FileError(
                "Unit.from_config",
                f"the unit kind {config['kind']!r} is not imported",
                "Import the module that defines it first",
            )
        return kind(**{name: value for name, value in config.items() if name != "kind"})

    def check(
        self, operation: str, state: Tensor, observed: Bool[Tensor, "..."] | None = None
    ) -> None:
        """Refuse a state of the wrong size, with NaN or infinity, or outside this kind's states.

        Components where ``observed`` is given and false are not looked at.

        Raises:
            ShapeError: If the last dimension is not ``size``.
            DomainError: If a value is not finite or not a state of this kind.
        """
        check_features(operation, state, self.size)
        seen = state if observed is None else torch.where(observed, state, 0.0)
        check_finite(operation, "the state", seen)
        if not values_visible(state):
            return
        legal = self.contains(state)
        if observed is not None:
            legal = legal | ~observed
        if not bool(legal.all()):
            raise DomainError(
                operation,
                f"{int((~legal).sum())} of {state.numel()} values are not states of {self}, "
                f"e.g. {state[~legal][0].item():g}",
                self._remedy(),
            )

    def _remedy(self) -> str:
        return f"Give states that {type(self).__name__} units can take"


@dataclass(frozen=True)
class _TwoState(Unit):
    """Units with two states, ``low`` and ``high``, and no energy of their own."""

    low = 0.0
    high = 1.0

    def log_partition(
        self, field: Float[Tensor, "*batch size"], temperature: float = 1.0
    ) -> Float[Tensor, "*batch"]:
        """T Σ_i log(exp(low·I_i/T) + exp(high·I_i/T)); max(low·I, high·I) at T = 0."""
        best = torch.maximum(self.low * field, self.high * field)
        if temperature > 0:
            gap = (self.high - self.low) * field.abs()
            best = best + temperature * torch.log1p(torch.exp(-gap / temperature))
        return best.sum(-1)

    def mean(
        self, field: Float[Tensor, "*batch size"], temperature: float = 1.0
    ) -> Float[Tensor, "*batch size"]:
        """Low + (high − low) σ((high − low) I/T); the middle at I = 0."""
        return self.low + (self.high - self.low) * self._probability(field, temperature)

    def sample(
        self,
        field: Float[Tensor, "*batch size"],
        temperature: float = 1.0,
        generator: Generator | None = None,
    ) -> Float[Tensor, "*batch size"]:
        """High with probability σ((high − low) I/T), the Boltzmann rule; else low."""
        uniform = torch.rand(
            field.shape, dtype=field.dtype, device=field.device, generator=generator
        )
        is_high = uniform < self._probability(field, temperature)
        return self.low + (self.high - self.low) * is_high.to(field.dtype)

    def settle(
        self, field: Float[Tensor, "*batch size"], current: Float[Tensor, "*batch size"]
    ) -> Float[Tensor, "*batch size"]:
        """High where the field is above zero, low where below, unchanged at zero."""
        return torch.where(field == 0, current, self.mean(field, 0.0))

    def contains(self, state: Float[Tensor, "*batch size"]) -> Bool[Tensor, "*batch size"]:
        """Whether each value is ``low`` or ``high``."""
        return (state == self.low) | (state == self.high)

    def natural_field(
        self, mean: Float[Tensor, "*batch size"], temperature: float = 1.0
    ) -> Float[Tensor, "*batch size"]:
        """T/(high − low) · logit of the probability of ``high``."""
        span = self.high - self.low
        return temperature / span * torch.logit(((mean - self.low) / span).clamp(0.0, 1.0))

    def enumerate_states(self, temperature: float = 1.0) -> Float[Tensor, "states size"]:
        """All 2^size states."""
        if self.size > 24:
            raise IntractableError(
                f"{type(self).__name__}.enumerate_states",
                f"2^{self.size} states",
                "Enumerate at most 24 units, or sample",
            )
        return torch.cartesian_prod(
            *[torch.tensor([self.low, self.high], dtype=torch.float64)] * self.size
        ).reshape(-1, self.size)

    def _probability(self, field: Tensor, temperature: float) -> Tensor:
        if temperature == 0:
            return torch.heaviside(field, field.new_tensor(0.5))
        return torch.sigmoid((self.high - self.low) * field / temperature)

    def _remedy(self) -> str:
        middle = (self.low + self.high) / 2
        return (
            f"{type(self).__name__} units take {self.low:g} or {self.high:g}: threshold first, "
            f"torch.where(x > {middle:g}, {self.high:g}, {self.low:g}), or use Gaussian units"
        )


@dataclass(frozen=True)
class Spin(_TwoState):
    """Spins, s = ±1: A_T(I) = T log 2cosh(I/T), mean tanh(I/T).

    Reference: Hopfield 1982, doi:10.1073/pnas.79.8.2554.

    Args:
        size: Number of spins.

    Raises:
        ParameterError: If ``size`` is not a whole number of at least one.

    Example:
        >>> field = torch.tensor([0.5, -2.0])
        >>> Spin(2).mean(field, 0.0)
        tensor([ 1., -1.])
        >>> bool((Spin(2).mean(field, 1.0) - field.tanh()).abs().max() < 1e-6)
        True
    """

    low = -1.0
    high = 1.0


@dataclass(frozen=True)
class Bit(_TwoState):
    """Bits, s ∈ {0, 1}: A_T(I) = T softplus(I/T), mean σ(I/T), the Boltzmann rule.

    Reference: Ackley, Hinton & Sejnowski 1985, doi:10.1207/s15516709cog0901_7.

    Args:
        size: Number of bits.

    Raises:
        ParameterError: If ``size`` is not a whole number of at least one.

    Example:
        >>> Bit(3).mean(torch.tensor([-4.0, 0.0, 4.0]), 0.0)
        tensor([0.0000, 0.5000, 1.0000])
    """

    low = 0.0
    high = 1.0


@dataclass(frozen=True)
class Gaussian(Unit):
    """Real units with U(s) = s²/2: A_T(I) = I²/2 + (T/2) log 2πT, mean I, s ~ N(I, T).

    Reference: Krotov & Hopfield 2021, arXiv:2008.06996.

    Args:
        size: Number of real units.

    Raises:
        ParameterError: If ``size`` is not a whole number of at least one.

    Example:
        >>> Gaussian(2).sample(torch.tensor([1.0, -1.0]), temperature=0.0)
        tensor([ 1., -1.])
    """

    def log_partition(
        self, field: Float[Tensor, "*batch size"], temperature: float = 1.0
    ) -> Float[Tensor, "*batch"]:
        """Σ_i I_i²/2 + (T/2) log 2πT."""
        volume = temperature * math.log(2 * math.pi * temperature) if temperature > 0 else 0.0
        return field.square().sum(-1) / 2 + field.shape[-1] * volume / 2

    def mean(
        self, field: Float[Tensor, "*batch size"], temperature: float = 1.0
    ) -> Float[Tensor, "*batch size"]:
        """The field itself, at every temperature."""
        return field.clone()

    def sample(
        self,
        field: Float[Tensor, "*batch size"],
        temperature: float = 1.0,
        generator: Generator | None = None,
    ) -> Float[Tensor, "*batch size"]:
        """A draw from N(I, T)."""
        if temperature == 0:
            return field.clone()
        noise = torch.randn(
            field.shape, dtype=field.dtype, device=field.device, generator=generator
        )
        return field + math.sqrt(temperature) * noise

    def base_energy(
        self, state: Float[Tensor, "*batch size"], temperature: float = 1.0
    ) -> Float[Tensor, "*batch"]:
        """Σ_i s_i²/2."""
        return state.square().sum(-1) / 2

    def natural_field(
        self, mean: Float[Tensor, "*batch size"], temperature: float = 1.0
    ) -> Float[Tensor, "*batch size"]:
        """The mean itself."""
        return mean


@dataclass(frozen=True)
class ReLU(Gaussian):
    """Rectified units, s ≥ 0 with U(s) = s²/2: a Gaussian truncated at zero.

    With z = I/√T and the normal density φ and distribution Φ,

        A_T(I) = I²/2 + (T/2) log 2πT + T log Φ(z)  →  max(I, 0)²/2
        mean   = I + √T φ(z)/Φ(z)                   →  max(I, 0)

    Reference: Nair & Hinton 2010 (rectified units); Robert 1995, doi:10.1007/BF00143942
    (truncated normal).

    Args:
        size: Number of rectified units.

    Raises:
        ParameterError: If ``size`` is not a whole number of at least one.

    Example:
        >>> ReLU(2).mean(torch.tensor([1.0, -1.0]), temperature=0.0)
        tensor([1., 0.])
    """

    def log_partition(
        self, field: Float[Tensor, "*batch size"], temperature: float = 1.0
    ) -> Float[Tensor, "*batch"]:
        """Σ_i I_i²/2 + (T/2) log 2πT + T log Φ(I_i/√T)."""
        if temperature == 0:
            return field.clamp_min(0).square().sum(-1) / 2
        z = field / math.sqrt(temperature)
        # I²/2 + T log Φ cancels in the left tail; erfcx holds the difference in one piece there.
        left = torch.log(torch.special.erfcx(-z.clamp_max(0) / math.sqrt(2)) / 2)
        right = z.clamp_min(0).square() / 2 + torch.special.log_ndtr(z.clamp_min(0))
        volume = math.log(2 * math.pi * temperature) / 2
        return temperature * (torch.where(z < 0, left, right) + volume).sum(-1)

    def mean(
        self, field: Float[Tensor, "*batch size"], temperature: float = 1.0
    ) -> Float[Tensor, "*batch size"]:
        """I + √T φ(z)/Φ(z), by an asymptotic series far in the left tail."""
        if temperature == 0:
            return field.clamp_min(0)
        scale = math.sqrt(temperature)
        z = field / scale
        near = z.clamp_min(-50.0)
        hazard = math.sqrt(2 / math.pi) / torch.special.erfcx(-near / math.sqrt(2))
        inverse = 1 / z.clamp_max(-50.0).abs()
        far = inverse * (1 - inverse**2 * (2 - inverse**2 * (10 - 74 * inverse**2)))
        return scale * torch.where(z < -50.0, far, near + hazard)

    def sample(
        self,
        field: Float[Tensor, "*batch size"],
        temperature: float = 1.0,
        generator: Generator | None = None,
    ) -> Float[Tensor, "*batch size"]:
        """A draw from N(I, T) truncated to s ≥ 0, by inverting its distribution function."""
        if temperature == 0:
            return self.mean(field, 0.0)
        scale = math.sqrt(temperature)
        start = -field / scale  # the standard normal is cut off below here
        uniform = 1 - torch.rand(
            field.shape, dtype=field.dtype, device=field.device, generator=generator
        )
        body = -torch.special.ndtri(uniform * torch.special.ndtr(-start.clamp_max(2.0)))
        # In the tail log Φ(−x) = log u + log Φ(−start) is solved by Newton's rule, which is
        # monotone there because log Φ is concave; four steps reach float64 precision.
        tail_start = start.clamp_min(2.0)
        target = uniform.log() + torch.special.log_ndtr(-tail_start)
        tail = torch.sqrt(tail_start.square() - 2 * uniform.log())
        for _ in range(4):
            hazard = math.sqrt(2 / math.pi) / torch.special.erfcx(tail / math.sqrt(2))
            tail = tail + (torch.special.log_ndtr(-tail) - target) / hazard
        return scale * (torch.where(start < 2.0, body, tail) - start).clamp_min(0)

    def contains(self, state: Float[Tensor, "*batch size"]) -> Bool[Tensor, "*batch size"]:
        """Whether each value is zero or above."""
        return state >= 0

    def natural_field(
        self, mean: Float[Tensor, "*batch size"], temperature: float = 1.0
    ) -> Float[Tensor, "*batch size"]:
        """No closed form.

        Raises:
            IntractableError: Always.
        """
        return Unit.natural_field(self, mean, temperature)

    def _remedy(self) -> str:
        return "ReLU units take values of zero or above: clamp first, x.clamp_min(0)"


@dataclass(frozen=True)
class AveragedOneHot(Unit):
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
        draws: m, how many draws are averaged.
        size: Number of components, ``groups`` times the states of one group.
        beta: Inverse temperature inside the softmax, instead of ``draws``.
        groups: Independent softmax groups, side by side in the last dimension.

    Raises:
        ParameterError: If not exactly one of ``draws`` and ``beta`` is given, if either is not
            positive, or if ``groups`` does not divide ``size``.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> unit = AveragedOneHot(4, size=3)
        >>> state = unit.sample(torch.zeros(5, 3), 1.0, generator)
        >>> bool((state.sum(-1) == 1).all()), bool(((4 * state) % 1 == 0).all())
        (True, True)
    """

    size: int = 2
    draws: int | None = None
    beta: float | None = None
    groups: int = 1

    def __init__(
        self,
        draws: int | None = None,
        size: int = 2,
        *,
        beta: float | None = None,
        groups: int = 1,
    ) -> None:
        name = type(self).__name__
        if (draws is None) == (beta is None):
            raise ParameterError(
                name, f"draws = {draws} and beta = {beta}", "Give exactly one of draws and beta"
            )
        if draws is not None:
            check_count(name, "draws", draws)
        if beta is not None:
            beta = check_positive(name, "beta", beta)
        check_count(name, "size", size)
        check_count(name, "groups", groups)
        if size % groups:
            raise ParameterError(
                name, f"size = {size}, groups = {groups}", "Give a size that groups divides"
            )
        for field_name, value in (
            ("size", size), ("draws", draws), ("beta", beta), ("groups", groups)
        ):  # fmt: skip
            object.__setattr__(self, field_name, value)

    @property
    def components(self) -> int:
        """The states of one group."""
        return self.size // self.groups

    def sharpness(self, temperature: float) -> float:
        """β of the softmax at this temperature: infinite for a fixed number of draws at T = 0."""
        if self.beta is not None:
            return self.beta
        return 1 / (self.draws_at(temperature) * temperature) if temperature > 0 else math.inf

    def draws_at(self, temperature: float) -> float:
        """M at this temperature: 1/(βT) where β is fixed, infinite at T = 0.

        Raises:
            ParameterError: If 1/(βT) is not a whole number.
        """
        if self.draws is not None:
            return self.draws
        if temperature == 0 or self.beta is None:
            return math.inf
        exact = 1 / (self.beta * temperature)
        whole = max(1, round(exact))
        if abs(exact - whole) > 1e-6 * whole:
            raise ParameterError(
                type(self).__name__,
                f"temperature = {temperature}, which is 1/(mβ) for m = {exact:.6g}",
                f"Use T = 1/(mβ) with a whole m; the nearest is {1 / (whole * self.beta):.9g} "
                f"(m = {whole})",
            )
        return whole

    def log_partition(
        self, field: Float[Tensor, "*batch size"], temperature: float = 1.0
    ) -> Float[Tensor, "*batch"]:
        """Σ_groups lse_β(I); the largest component at β = ∞."""
        groups, beta = self._split(field), self.sharpness(temperature)
        if math.isinf(beta):
            return groups.amax(-1).sum(-1)
        return torch.logsumexp(beta * groups, -1).sum(-1) / beta

    def mean(
        self, field: Float[Tensor, "*batch size"], temperature: float = 1.0
    ) -> Float[Tensor, "*batch size"]:
        """softmax(βI) within each group; ties share equally at β = ∞."""
        groups, beta = self._split(field), self.sharpness(temperature)
        if math.isinf(beta):
            largest = (groups == groups.amax(-1, keepdim=True)).to(field.dtype)
            return (largest / largest.sum(-1, keepdim=True)).flatten(-2)
        return torch.softmax(beta * groups, -1).flatten(-2)

    def sample(
        self,
        field: Float[Tensor, "*batch size"],
        temperature: float = 1.0,
        generator: Generator | None = None,
    ) -> Float[Tensor, "*batch size"]:
        """Multinomial(m, softmax(βI))/m within each group."""
        draws = self.draws_at(temperature)
        attention = self.mean(field, temperature)
        if math.isinf(draws):
            return attention
        rows = self._split(attention).flatten(0, -2)
        counts = torch.zeros_like(rows)
        picked = torch.multinomial(rows, int(draws), replacement=True, generator=generator)
        counts.scatter_add_(-1, picked, torch.ones_like(picked, dtype=rows.dtype))
        return (counts / draws).reshape(field.shape)

    def base_energy(
        self, state: Float[Tensor, "*batch size"], temperature: float = 1.0
    ) -> Float[Tensor, "*batch"]:
        """−T log(m!/Π n_μ!), the multiplicity of the counts; β⁻¹ Σ s log s as m → ∞."""
        draws = self.draws_at(temperature)
        if math.isinf(draws):
            return torch.special.xlogy(state, state).sum(-1) / self.sharpness(temperature)
        multiplicity = self.groups * math.lgamma(draws + 1) - torch.lgamma(draws * state + 1).sum(
            -1
        )
        return -temperature * multiplicity

    def settle(
        self, field: Float[Tensor, "*batch size"], current: Float[Tensor, "*batch size"]
    ) -> Float[Tensor, "*batch size"]:
        """The arg-max (the softmax where β is fixed); a current state already best stays."""
        best = self.mean(field, 0.0)
        if self.beta is not None:
            return best
        attained = (self._split(field) * self._split(current)).sum(-1, keepdim=True)
        stays = attained >= self._split(field).amax(-1, keepdim=True)
        first = torch.zeros_like(self._split(best)).scatter_(
            -1, self._split(field).argmax(-1, keepdim=True), 1.0
        )
        return torch.where(stays, self._split(current), first).flatten(-2)

    def contains(self, state: Float[Tensor, "*batch size"]) -> Bool[Tensor, "*batch size"]:
        """Whether each group is non-negative, sums to one, and is in steps of 1/m."""
        groups = self._split(state)
        legal = (groups >= 0) & ((groups.sum(-1, keepdim=True) - 1).abs() < 1e-4)
        if self.draws is not None:
            counts = groups * self.draws
            legal &= (counts - counts.round()).abs() < 1e-3
        return legal.flatten(-2)

    def natural_field(
        self, mean: Float[Tensor, "*batch size"], temperature: float = 1.0
    ) -> Float[Tensor, "*batch size"]:
        """β⁻¹ log of the mean (a constant per group is free)."""
        return mean.log() / self.sharpness(temperature)

    def enumerate_states(self, temperature: float = 1.0) -> Float[Tensor, "states size"]:
        """Every way to share m draws among the states of each group.

        Raises:
            IntractableError: If m is infinite, as at T = 0 with β fixed.
        """
        draws = self.draws_at(temperature)
        if math.isinf(draws):
            return super().enumerate_states(temperature)
        one = [
            torch.tensor(counts, dtype=torch.float64) / draws
            for counts in _compositions(int(draws), self.components)
        ]
        return torch.stack([torch.cat(choice) for choice in product(one, repeat=self.groups)])

    def _split(self, values: Tensor) -> Tensor:
        return values.unflatten(-1, (self.groups, -1))

    def _remedy(self) -> str:
        return (
            "Each group of a one-hot area must be non-negative and sum to 1"
            + (f", in steps of 1/{self.draws}" if self.draws else "")
            + ": torch.nn.functional.one_hot(index, states)"
        )


class OneHot(AveragedOneHot):
    """Potts units, one of N: A_T(I) = T logsumexp(I/T), mean softmax(I/T).

    An :class:`AveragedOneHot` of a single draw.

    Reference: Potts 1952, doi:10.1017/S0305004100027419.

    Args:
        size: Number of components, ``groups`` times the states of one group.
        groups: Independent one-hot units, side by side in the last dimension.

    Raises:
        ParameterError: If either is not a whole number of at least one, or ``groups`` does not
            divide ``size``.

    Example:
        >>> OneHot(3).mean(torch.tensor([1.0, 3.0, 2.0]), temperature=0.0)
        tensor([0., 1., 0.])
    """

    def __init__(self, size: int = 2, groups: int = 1) -> None:
        super().__init__(1, size, groups=groups)

    def config(self) -> dict[str, Any]:
        """Size and groups."""
        return {"kind": type(self).__name__, "size": self.size, "groups": self.groups}


def _unit_kinds(base: type[Unit]) -> dict[str, type[Unit]]:
    found = {base.__name__: base}
    for kind in base.__subclasses__():
        found |= _unit_kinds(kind)
    return found


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ways to write ``total`` as an ordered sum of ``parts`` whole numbers."""
    if parts == 1:
        yield (total,)
        return
    for first in range(total, -1, -1):
        for rest in _compositions(total - first, parts - 1):
            yield (first, *rest)
