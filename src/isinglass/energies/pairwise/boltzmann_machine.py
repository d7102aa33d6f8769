"""The general Boltzmann machine: units of finitely many states, joined in any way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from isinglass._support.random import noise
from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import (
    check_count,
    check_features,
    check_finite,
    check_like,
    check_number,
    check_operand,
    check_positive,
    check_temperature,
    check_tensor,
)
from isinglass.core.capabilities import Clampable, Serializable, Tractable
from isinglass.dynamics import BlockGibbs
from isinglass.energies.pairwise._mean_field import mean_field_bound
from isinglass.energies.pairwise.boltzmann_path import BoltzmannPath
from isinglass.energies.pairwise.couplings import Couplings
from isinglass.energies.pairwise.dense_couplings import DenseCouplings
from isinglass.energies.pairwise.grid_couplings import GridCouplings
from isinglass.energies.sampling import Sampled
from isinglass.errors import IntractableError, ParameterError, ShapeError
from isinglass.units import Categorical, Spin, Unit
from isinglass.units.base import check_unit

__all__ = ["BoltzmannMachine"]

#: States of the hidden units that are summed over.
HIDDEN_STATES = 2**12


class BoltzmannMachine(Sampled, Clampable, Tractable, Serializable):
    r"""Boltzmann machine, units joined in any way: E(s) = U(s) − ½ sᵀWs − b·s, W_ii = 0.

    Spins with neighbors on a grid are the Ising model, one-hot units the Potts model, bits with
    any couplings the machine of Ackley, Hinton & Sejnowski. U is zero for these; Multinomial
    units have the multiplicity of their counts. Units that do not touch are drawn together (block
    Gibbs by colors); where all touch, a block is drawn as one after another by a few rounds. Some
    units may be hidden: they come last in a state, and F(v) = −T log Σ_h exp(−E/T) is a sum over
    them, or is bounded from above by mean field.

    Reference: Ackley, Hinton & Sejnowski 1985, doi:10.1207/s15516709cog0901_7; Geman & Geman
    1984, doi:10.1109/TPAMI.1984.4767596.

    Args:
        unit: Kind and size of all units together, of finitely many states each:
            :class:`~isinglass.Spin`, :class:`~isinglass.Bernoulli`,
            :class:`~isinglass.Categorical`, :class:`~isinglass.Multinomial` of fixed draws,
            :class:`~isinglass.Mixed` of these, or a kind of your own.
        couplings: W: a symmetric matrix with a zero diagonal, ``(size, size)``, or
            :class:`~isinglass.energies.Couplings` of another form; None is a matrix of small
            random weights.
        bias: b: one number a component, ``(size,)``, or those of one unit, ``(components,)``,
            which all share; None is zeros. Learned.
        hidden: How many units are hidden, the last ones.
        scale: Standard deviation of the random weights.
        generator: Source of the random weights; None is torch's global one.

    Raises:
        ParameterError: If the units have infinitely many states, the matrix is not symmetric or
            has a diagonal, or no unit is left visible.
        ShapeError: If couplings or bias do not fit the units.
        DomainError: If one of them is not finite.

    Examples:
        >>> import isinglass as ig
        >>> machine = BoltzmannMachine(ig.Spin(2), torch.tensor([[0.0, 1.5], [1.5, 0.0]]))
        >>> machine(torch.tensor([[1.0, 1.0], [1.0, -1.0]])).detach()
        tensor([-1.5000,  1.5000])
        >>> ising = BoltzmannMachine.ising(16, 16)
        >>> ig.run(ig.BlockGibbs(), ising, torch.ones(10, 256), steps=3, temperature=2.27).shape
        torch.Size([10, 256])
    """

    def __init__(
        self,
        unit: Unit,
        couplings: Couplings | Float[Tensor, "size size"] | None = None,
        bias: Float[Tensor, " biases"] | None = None,
        *,
        hidden: int = 0,
        scale: float = 0.01,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        check_unit(unit)
        if any(math.isinf(part.with_count(1).state_count(0.0)) for part in unit.parts):
            raise ParameterError(
                f"units {unit}, which have infinitely many states or no fixed number of them",
                "Give units of finitely many states: Spin, Bernoulli, Categorical, Multinomial of "
                "fixed draws, or Mixed of these",
            )
        self.unit = unit
        components = unit.widths[0] if len(set(unit.widths)) == 1 else unit.widths
        if couplings is None:
            couplings = DenseCouplings(unit.count, components)
            couplings.upper.data.copy_(noise(scale, unit.size, unit.size, generator))
        elif isinstance(couplings, Tensor):
            couplings = DenseCouplings.of(couplings, components)
        elif not isinstance(couplings, Couplings):
            raise ParameterError(
                f"couplings of type {type(couplings).__name__}", "Give a tensor or Couplings"
            )
        if couplings.widths != unit.widths:
            raise ShapeError(
                f"couplings of {couplings.units} units of {couplings.components} components for "
                f"{unit}",
                "Give couplings of as many units of this kind",
            )
        self.couplings = couplings
        like = next(couplings.parameters(), torch.zeros(()))
        bias = torch.zeros(unit.size).to(like) if bias is None else bias
        check_tensor("the bias", bias)
        if bias.shape not in {(unit.size,), (components,)}:
            shared = f", or {components} that all units share" if components in unit.widths else ""
            found = f"a bias of shape {tuple(bias.shape)} for {unit}"
            raise ShapeError(found, f"Give {unit.size} numbers{shared}")
        check_finite("the bias", bias)
        check_like(bias, like if bias.is_meta else bias, "the bias")  # any other is moved
        self.bias = nn.Parameter(bias.detach().to(like).clone())
        self.hidden = check_count("hidden", hidden, least=0)
        if hidden >= couplings.units:
            raise ParameterError(
                f"hidden = {hidden} of {couplings.units} units", "Leave some visible"
            )
        shown = couplings.units - hidden
        parts = range(shown), range(shown, couplings.units)
        self._layers = tuple(unit.select(units) for units in parts) if hidden else (unit,)

    @classmethod
    def ising(
        cls,
        *shape: int,
        coupling: float | Sequence[float] | Tensor = 1.0,
        field: float = 0.0,
        periodic: bool = True,
    ) -> BoltzmannMachine:
        """Builds the Ising model: E(s) = −Σ_{<xy>} J s_x s_y − B Σ_x s_x, s = ±1, on a grid.

        On the square lattice it orders below T_c = 2J/log(1 + √2) = 2.269 J.

        Reference: Ising 1925, doi:10.1007/BF02980577; Onsager 1944, doi:10.1103/PhysRev.65.117.

        Args:
            *shape: The sides: height and width, or more or fewer of them.
            coupling: J: one number, one for each axis, or one for each bond.
            field: B, on every spin.
            periodic: Whether the grid is closed to a torus.

        Raises:
            ParameterError: If a side is no whole number above zero.
            ShapeError: If couplings do not fit.

        Examples:
            >>> ising = BoltzmannMachine.ising(8, 8, coupling=0.5)
            >>> ising(torch.ones(64)).detach()  # two bonds a unit
            tensor(-64.)
        """
        couplings = GridCouplings(shape, coupling, periodic=periodic)
        return cls(Spin(couplings.size), couplings, torch.tensor([check_number("field", field)]))

    @classmethod
    def potts(
        cls,
        *shape: int,
        states: int,
        coupling: float | Sequence[float] | Tensor = 1.0,
        field: Sequence[float] | Tensor | None = None,
        periodic: bool = True,
    ) -> BoltzmannMachine:
        """Builds the Potts model: E(s) = −Σ_{<xy>} J δ(s_x, s_y) − Σ_x B(s_x), s = 1 … q.

        On the square lattice it orders below T_c = J/log(1 + √q).

        Reference: Potts 1952, doi:10.1017/S0305004100027419.

        Args:
            *shape: The sides: height and width, or more or fewer of them.
            states: q, how many states a unit has.
            coupling: J: one number, one for each axis, or one for each bond.
            field: B, one number a state; None is none.
            periodic: Whether the grid is closed to a torus.

        Raises:
            ParameterError: If a side or ``states`` is no whole number above zero.
            ShapeError: If couplings or field do not fit.

        Examples:
            >>> potts = BoltzmannMachine.potts(8, 8, states=3)
            >>> first = torch.tensor([1.0, 0.0, 0.0]).repeat(64)
            >>> potts(first).detach()
            tensor(-128.)
        """
        couplings = GridCouplings(shape, coupling, periodic=periodic, components=states)
        bias = torch.zeros(states) if field is None else torch.as_tensor(field, dtype=torch.float32)
        return cls(Categorical(couplings.size, groups=couplings.units), couplings, bias)

    @property
    def layers(self) -> tuple[Unit, ...]:
        """Visible units, and the hidden ones where there are some."""
        return self._layers

    @property
    def visible(self) -> Unit:
        """Unit kind of the visible units."""
        return self.layers[0]

    @property
    def weight(self) -> Float[Tensor, "size size"]:
        """W, as a matrix.

        Raises:
            IntractableError: If it has more than 8,192 rows.
        """
        return self.couplings.matrix()

    @property
    def biases(self) -> Float[Tensor, " size"]:
        """b of every component of the state."""
        if len(self.bias) == 1:
            return self.bias.expand(self.unit.size)  # a view, which tells that all are alike
        return self.bias.repeat(self.unit.size // len(self.bias))

    def forward(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
        """Computes E(s) = U(s) − ½ sᵀWs − b·s."""
        return self.energy_at(state, self.temperature)

    def energy_at(
        self, state: Float[Tensor, "*batch size"], temperature: float
    ) -> Float[Tensor, "*batch"]:
        """Computes E(s), with the multiplicities of Multinomial units at this temperature."""
        check_features(state, self.unit.size)
        check_operand(state, self.bias)
        pairs = -self.agreement(state)
        if not self.unit.has_base_measure_energy:
            return pairs
        return pairs + self.unit.base_measure_energy(state, temperature)

    def agreement(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
        """Returns ½ sᵀWs + b·s, what couplings and fields add to −E."""
        return ((self.couplings(state) / 2 + self.biases) * state).sum(-1)

    def grad(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Computes ∂E/∂s = ∂U/∂s − Ws − b."""
        if self.unit.has_base_measure_energy:
            return super().grad(state)
        return -self.local_field(state)

    def local_field(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Computes Ws + b, the field on every unit."""
        return self.couplings(state) + self.biases

    def moved_field(
        self,
        field: Float[Tensor, "batch size"],
        state: Float[Tensor, "batch size"],
        site: Int[Tensor, " batch"],
        change: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch size"]:
        """Corrects Ws + b after unit ``site`` of each row changed by ``change``."""
        return self.couplings.moved_field(field, site, change)

    def sweep(
        self,
        state: Float[Tensor, "*batch size"],
        temperature: float,
        generator: Generator | None = None,
        *,
        sweeps: int = 1,
    ) -> Float[Tensor, "*batch size"]:
        """Draws every unit given the others, once or several times: exact at every temperature.

        Args:
            state: Where to start, ``(*batch, size)``.
            temperature: T; zero is the deterministic update, which never raises E.
            generator: Source of randomness; None is torch's global one.
            sweeps: How often; large grids are packed into bytes but once for all of them.

        Raises:
            ParameterError: If the temperature is negative or ``sweeps`` no count.

        Examples:
            >>> ising = BoltzmannMachine.ising(4, 4)
            >>> start = torch.ones(5, 16)
            >>> start[:, :3] = -1.0
            >>> ising.sweep(start, 0.0).sum(-1)
            tensor([16., 16., 16., 16., 16.])
        """
        return self._sweep(state, temperature, generator, None, sweeps)

    def clamped_sweep(
        self,
        state: Float[Tensor, "*batch size"],
        observed: Bool[Tensor, "*batch size"],
        temperature: float,
        generator: Generator | None = None,
    ) -> Float[Tensor, "*batch size"]:
        """Draws as :meth:`sweep` does, but observed units keep their values.

        Examples:
            >>> ising = BoltzmannMachine.ising(4, 4)
            >>> held = (torch.arange(16) < 4).expand(5, -1)
            >>> start = torch.where(held, 1.0, -1.0)
            >>> bool((ising.clamped_sweep(start, held, 0.1)[:, :4] == 1).all())
            True
        """
        return self._sweep(state, temperature, generator, observed)

    @torch.no_grad()
    def _sweep(
        self,
        state: Tensor,
        temperature: float,
        generator: Generator | None,
        held: Tensor | None,
        sweeps: int = 1,
    ) -> Tensor:
        temperature = check_temperature(temperature)
        check_count("sweeps", sweeps)
        rows = state.reshape(-1, state.shape[-1])
        held = None if held is None else held.reshape(rows.shape)
        drawn = self.couplings.sweep(
            rows, self.unit, self.biases, temperature, generator, held=held, sweeps=sweeps
        )
        return drawn.reshape(state.shape)

    def extend(self, visible: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch size"]:
        """Returns a state of all units with this visible part, hidden ones at zero."""
        more = self.unit.size - self.visible.size
        return torch.cat([visible, visible.new_zeros(*visible.shape[:-1], more)], -1)

    def visible_part(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch d"]:
        """Returns the visible units, which come first."""
        return state[..., : self.visible.size]

    def free_energy(
        self, visible: Float[Tensor, "*batch d"], temperature: float | None = None
    ) -> Float[Tensor, "*batch"]:
        """Computes F_T(v) = −T log Σ_h exp(−E(v, h)/T), summed over all states of the hidden units.

        Args:
            visible: Visible states, ``(*batch, d)``.
            temperature: T > 0; None is 1.

        Raises:
            ShapeError: If the visible states have the wrong number of features.
            DomainError: If they are not states of the visible units.
            IntractableError: If the hidden units have more than 4,096 states.
            ParameterError: If the temperature is not above zero.
        """
        self.visible.check(visible)
        check_like(visible, self.bias)
        temperature = self._above_zero(temperature)
        if not self.hidden:
            return self.energy_at(visible, temperature)
        if not self._summable:
            raise IntractableError(
                f"{self.hidden} hidden units that may touch",
                "Bound it from above: positive_phase(visible)",
            )
        hidden, size = self.layers[1], self.visible.size
        states = hidden.enumerate_states(temperature).to(visible)
        start = self.extend(visible)
        alone = self.agreement(torch.cat([states.new_zeros(len(states), size), states], -1))
        alone = alone - hidden.base_measure_energy(states, temperature)
        felt = self.couplings(start)[..., size:]
        lowest = temperature * torch.logsumexp((felt @ states.mT + alone) / temperature, -1)
        own = self.visible.base_measure_energy(visible, temperature)
        return own - self.agreement(start) - lowest

    def _above_zero(self, temperature: float | None) -> float:
        asked = self.temperature if temperature is None else temperature
        return check_positive("temperature", asked)

    @property
    def _summable(self) -> bool:
        """Whether the hidden units have few enough states to sum over."""
        return self.layers[1].state_count(self.temperature) <= HIDDEN_STATES

    def positive_phase(self, visible: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Computes F(v); of more than 4,096 hidden states its mean-field bound from above.

            F(v) ≤ min_m E(v, m) − T S(m),   m = mean_T(b_h + W_hv v + W_hh m)

        Reference: Peterson & Anderson 1987, Complex Systems 1, 995; Salakhutdinov & Hinton 2009.
        """
        if not self.hidden or self._summable:
            return self.free_energy(visible)
        self.check_state(self.extend(visible))
        return mean_field_bound(self, visible)

    def negative_phase(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
        """Computes F(v), or E(v, h) where the hidden states are too many to sum over."""
        if not self.hidden or self._summable:
            return self.free_energy(self.visible_part(state))
        return self(state)

    def default_sampler(self) -> BlockGibbs:
        """Returns block Gibbs: a sweep a step."""
        return BlockGibbs()

    def exact_log_partition(self, temperature: float | None = None) -> Float[Tensor, ""]:
        """Computes log Z in float64: Kaufman's formula, transfer matrices, or enumeration.

        Differentiable in couplings and bias.

        Raises:
            IntractableError: If there are more than 2^24 states, or a layer across the grid has
                more than 2^12 (torus) or 2^20 (open).
            ParameterError: If the temperature is not above zero.

        Examples:
            >>> ising = BoltzmannMachine.ising(4, 8)
            >>> round(ising.exact_log_partition(2.27).item(), 2)
            30.47
        """
        temperature = self._above_zero(temperature)
        return self.couplings.log_partition(self.unit, self.biases, temperature)

    def path(
        self, temperature: float | None = None, data: Float[Tensor, "n d"] | None = None
    ) -> BoltzmannPath:
        """Returns the path from units without couplings, at the means of ``data`` if given.

        Without data a unit is given the field that it feels where all units feel none.

        Raises:
            ParameterError: If the temperature is not above zero.
        """
        temperature = self._above_zero(temperature)
        with torch.no_grad():
            base = self.local_field(self.unit.mean(0 * self.biases, temperature))
        if data is not None:
            self.check_visible(data)
            many = len(data)
            mean = (many * data.mean(0) + self.visible.mean(0 * data[0])) / (many + 1)  # off edges
            try:
                field = self.visible.natural_parameter(mean, temperature)
            except IntractableError:  # the field at these means will do: the path is exact anyway
                field = self.local_field(self.extend(mean))[: len(mean)].detach()
            base = torch.cat([field, base[len(field) :]])
        return BoltzmannPath(
            self.unit, self.couplings, self.biases.detach(), base, temperature, self.visible.size
        )

    def check_state(self, state: Float[Tensor, "*batch size"]) -> None:
        """Refuses what is not a state of the units; hidden ones may start at zero.

        Raises:
            ShapeError: If the number of features is wrong.
            DomainError: If a value is no state of the units, or dtype or device are others.
        """
        check_features(state, self.unit.size)
        check_like(state, self.bias)
        self.visible.check(self.visible_part(state))
        hidden = state[..., self.visible.size :]
        filled = (hidden != 0).any(-1)
        if self.hidden and bool(filled.any()):
            self.layers[1].check(hidden[filled])

    def check_visible(self, visible: Float[Tensor, "*batch d"]) -> None:
        """Refuses what is not a state of the visible units.

        Raises:
            ShapeError: If the number of features is wrong.
            DomainError: If a value is no state of the units, or dtype or device are others.
        """
        check_features(visible, self.visible.size)
        check_like(visible, self.bias)
        self.visible.check(visible)

    def extra_repr(self) -> str:
        """Shows the units, and how many of them are hidden."""
        return f"{self.unit}, hidden={self.hidden}"

    def config(self) -> dict[str, Any]:
        """Returns units, couplings, and the shape of the bias."""
        return self.description() | {"couplings": self.couplings.config(), "bias": len(self.bias)}

    def description(self) -> dict[str, Any]:
        """Returns units and how many are hidden; the couplings describe themselves."""
        return {"unit": self.unit.config(), "hidden": self.hidden}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BoltzmannMachine:
        """Returns a machine of the same shape."""
        unit = Unit.from_config(config["unit"])
        couplings = Couplings.from_config(config["couplings"])
        return cls(unit, couplings, torch.zeros(config["bias"]), hidden=config["hidden"])
