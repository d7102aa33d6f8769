"""Areas of units joined by couplings: the one graph behind Hopfield nets and Boltzmann machines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Generator, Tensor, nn

from isinglass._shapes import Bool, Float
from isinglass.checks import check_features, check_finite, check_like, check_temperature
from isinglass.dynamics import BlockGibbs
from isinglass.energies.graph import colours
from isinglass.energies.harmonium_contrast import StarContrast
from isinglass.energies.harmonium_path import HarmoniumPath
from isinglass.energies.harmonium_sum import check_normalisable, fewest_states, sum_states
from isinglass.energy import Energy
from isinglass.errors import IntractableError, ParameterError
from isinglass.path import Path
from isinglass.units import Mixed, Unit

__all__ = ["Harmonium", "Marginal"]


class Harmonium(Energy):
    r"""Areas of units, joined pairwise: E(s) = Σ_a [U(s_a) − b_a·s_a] − Σ_{(a,b)} s_bᵀ W_ab s_a.

    A state is one tensor, the areas side by side in the last dimension; area 0 is the visible
    one. Summing the others out, where they do not touch each other, leaves the free energy

        F_T(v) = U(v) − b·v − Σ_h A_T(c_h + W_h v)

    and the kind of the hidden units picks the network: Gaussian, a classical Hopfield net;
    one-hot, a modern one; bits, a restricted Boltzmann machine.

    Reference: Smolensky 1986 (harmonium); Krotov & Hopfield 2021, arXiv:2008.06996.

    Args:
        areas: The kind and size of each area, visible first.
        couplings: Pairs of areas that are joined; each gets a weight matrix of shape
            ``(size of the second, size of the first)``.
        scale: Standard deviation of the initial weights; biases start at zero.
        generator: Source of the initial weights; None is torch's global one.

    Raises:
        ParameterError: If there is no area, an area is not a unit, or a coupling names an area
            that does not exist, joins one to itself or is named twice.

    Examples:
        >>> import isinglass as ig
        >>> deep = Harmonium([ig.Bit(4), ig.Bit(3), ig.Bit(2)], [(0, 1), (1, 2)])
        >>> deep(torch.zeros(5, 9)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        areas: Sequence[Unit],
        couplings: Sequence[tuple[int, int]] = ((0, 1),),
        *,
        scale: float = 0.01,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        _check_areas(type(self).__name__, areas)
        self._areas = tuple(areas)
        self.couplings = tuple((int(a), int(b)) for a, b in couplings)
        for first, second in self.couplings:
            if not (0 <= first < len(areas) and 0 <= second < len(areas)) or first == second:
                raise ParameterError(
                    type(self).__name__,
                    f"coupling ({first}, {second}) among {len(areas)} areas",
                    "Join two different areas, numbered from 0",
                )
        if len({frozenset(pair) for pair in self.couplings}) < len(self.couplings):
            raise ParameterError(
                type(self).__name__, f"couplings {self.couplings}", "Name each pair once"
            )
        first, *others = colours(len(areas), self.couplings)
        self._order = (*chain.from_iterable(others), *first[1:], 0)
        self.weights = nn.ParameterList(
            scale * torch.randn(areas[b].size, areas[a].size, generator=generator)
            for a, b in self.couplings
        )
        self.biases = nn.ParameterList(torch.zeros(area.size) for area in areas)

    @property
    def areas(self) -> tuple[Unit, ...]:
        """The areas, visible first."""
        return self._areas

    @property
    def visible(self) -> Unit:
        """Area 0."""
        return self.areas[0]

    @property
    def temperature(self) -> float:
        """T at which the machine's own quantities are stated unless another is given."""
        return 1.0

    def split(self, state: Tensor) -> tuple[Tensor, ...]:
        """Views of the areas, of states or of masks."""
        return state.split([area.size for area in self.areas], -1)

    def extend(self, visible: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch size"]:
        """A joint state with this visible part and all else zero, for a sweep to fill."""
        hidden = sum(area.size for area in self.areas[1:])
        return torch.cat([visible, visible.new_zeros(*visible.shape[:-1], hidden)], -1)

    def visible_part(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch d"]:
        """Area 0 of a joint state."""
        return state[..., : self.visible.size]

    def default_sampler(self) -> BlockGibbs:
        """Block Gibbs, exact at every temperature."""
        return BlockGibbs()

    def forward(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
        """E(s) of all areas together."""
        return self.energy_at(state, self.temperature)

    def energy_at(
        self, state: Float[Tensor, "*batch size"], temperature: float
    ) -> Float[Tensor, "*batch"]:
        """E(s), with the multiplicities that averaged one-hot units have at this temperature."""
        parts = self.split(state)
        total = -self._agreement(parts)
        for area, part in zip(self.areas, parts, strict=True):
            total = total + area.base_energy(part, temperature)
        return total

    def _agreement(self, parts: Sequence[Tensor]) -> Tensor:
        """Σ_a b_a·s_a + Σ_{(a,b)} s_bᵀ W_ab s_a."""
        total = torch.zeros_like(parts[0][..., 0])
        for bias, part in zip(self.biases, parts, strict=True):
            total = total + part @ bias
        for (first, second), weight in zip(self.couplings, self.weights, strict=True):
            total = total + ((parts[first] @ weight.mT) * parts[second]).sum(-1)
        return total

    def _field(self, parts: Sequence[Tensor], index: int) -> Tensor:
        """The input field of one area: its bias plus what its neighbours send."""
        total: Tensor = self.biases[index]
        for (first, second), weight in zip(self.couplings, self.weights, strict=True):
            if index == second:
                total = total + parts[first] @ weight.mT
            elif index == first:
                total = total + parts[second] @ weight
        return total.expand(*parts[index].shape)

    def enumerate_states(self, temperature: float | None = None) -> Float[Tensor, "states size"]:
        """Every joint state, one a row, in float64; the first area changes slowest.

        Raises:
            IntractableError: If an area has infinitely many states, or too many.
        """
        temperature = self.temperature if temperature is None else temperature
        return Mixed(self.areas).enumerate_states(temperature)

    def mean_sweep(
        self, state: Float[Tensor, "*batch size"], temperature: float
    ) -> Float[Tensor, "*batch size"]:
        """Give every area its mean given the others, in :attr:`order`: recall, a forward pass.

        At T = 0 a unit whose field is zero keeps its value. The mean-field free energy never
        rises.
        """
        return self._sweep(state, temperature, lambda area, field: area.mean(field, temperature))

    def sweep(
        self,
        state: Float[Tensor, "*batch size"],
        temperature: float,
        generator: Generator | None = None,
    ) -> Float[Tensor, "*batch size"]:
        """Draw every area given the others, in :attr:`order`: block Gibbs, exact at every T."""
        return self._sweep(
            state, temperature, lambda area, field: area.sample(field, temperature, generator)
        )

    def clamped_sweep(
        self,
        state: Float[Tensor, "*batch size"],
        observed: Bool[Tensor, "*batch size"],
        temperature: float,
        generator: Generator | None = None,
    ) -> Float[Tensor, "*batch size"]:
        """A :meth:`sweep` in which observed units, of any area, keep their values."""
        return self._sweep(
            state,
            temperature,
            lambda area, field: area.sample(field, temperature, generator),
            self.split(observed),
        )

    @property
    def order(self) -> tuple[int, ...]:
        """The areas in the order of a sweep, those of one colour together, the visible one last.

        Areas of a colour do not touch, so that drawing them in turn is drawing them at once: in
        a chain all of odd number, then all of even number.
        """
        return self._order

    def _sweep(
        self,
        state: Tensor,
        temperature: float,
        update: Callable[[Unit, Tensor], Tensor],
        observed: Sequence[Tensor] | None = None,
    ) -> Tensor:
        check_temperature(f"{type(self).__name__}.sweep", temperature)
        parts = list(self.split(state))
        for index in self.order:
            area, field = self.areas[index], self._field(parts, index)
            new = area.settle(field, parts[index]) if temperature == 0 else update(area, field)
            if observed is not None:
                new = torch.where(observed[index], parts[index], new)
            parts[index] = new
        return torch.cat(parts, -1)

    def mean_field_energy(
        self, state: Float[Tensor, "*batch size"], temperature: float
    ) -> Float[Tensor, "*batch"]:
        """The mean-field free energy of the means that follow from the current fields.

            G = −Σ_a b_a·m_a − Σ_{(a,b)} m_bᵀ W m_a + Σ_a [I_a·m_a − A_T(I_a)],  m_a = ∂A_T(I_a)

        where the bracket, the Legendre dual of A, is energy minus T times entropy of the area.
        The state given here holds fields I_a, not means.
        """
        fields = self.split(state)
        means = [a.mean(i, temperature) for a, i in zip(self.areas, fields, strict=True)]
        total = -self._agreement(means)
        for area, field, mean in zip(self.areas, fields, means, strict=True):
            total = total + (field * mean).sum(-1) - area.log_partition(field, temperature)
        return total

    def conditional_field(
        self, state: Float[Tensor, "*batch size"], index: int
    ) -> Float[Tensor, "*batch area"]:
        """The field of area ``index`` given the rest; its unit's three functions do what remains.

        Examples:
            >>> import isinglass as ig
            >>> rbm = ig.RBM(ig.Bit(3), ig.Bit(2))
            >>> field = rbm.conditional_field(torch.ones(4, 5), 1)
            >>> rbm.areas[1].mean(field, 1.0).shape  # P(h = 1 | v)
            torch.Size([4, 2])
        """
        return self._field(self.split(state), index)

    def free_energy(
        self, visible: Float[Tensor, "*batch d"], temperature: float | None = None
    ) -> Float[Tensor, "*batch"]:
        """F_T(v) = U(v) − b·v − Σ_h A_T(c_h + W_h v), hidden areas summed out.

        Args:
            visible: Visible states, ``(*batch, d)``.
            temperature: T; None is the machine's own.

        Raises:
            ShapeError: If the visible states have the wrong number of features.
            DomainError: If they are not states of the visible units.
            IntractableError: If hidden areas are joined to each other.
        """
        operation = f"{type(self).__name__}.free_energy"
        self.visible.check(operation, visible)
        check_like(operation, visible, self.biases[0])
        return self.marginal(temperature)(visible)

    def marginal(self, temperature: float | None = None) -> Marginal:
        """The free energy at one temperature as an energy of the visible units alone.

        Raises:
            IntractableError: If hidden areas are joined to each other.
            ParameterError: If the temperature is negative or not finite.
        """
        return Marginal(self, self.temperature if temperature is None else temperature)

    def exact_log_partition(self, temperature: float | None = None) -> Tensor:
        """log Z at T: the fewest areas enumerated, the others summed out; differentiable.

        Raises:
            IntractableError: If more than 2²² states are left, or Z is infinite.
            ParameterError: If the temperature is not above zero.
        """
        return sum_states(self, temperature)

    def log_states_summed(self) -> float:
        """Log of how many states are left to enumerate for log Z."""
        return fewest_states(self, self.temperature)[1]

    def path(
        self, temperature: float | None = None, data: Float[Tensor, "n d"] | None = None
    ) -> Path:
        """From units by themselves to the machine, by scaling the fields that they feel.

        Raises:
            DomainError: If the data are not visible states.
            IntractableError: If Z is infinite.
        """
        check_normalisable(f"{type(self).__name__}.path", self)
        return HarmoniumPath(self, temperature, data)

    def contrast(
        self, visible: Float[Tensor, "batch d"], state: Float[Tensor, "chains size"]
    ) -> Float[Tensor, ""]:
        """(⟨data energy⟩ − ⟨fantasy energy⟩)/T; its gradient is that of −log p(data), in nats.

        Where hidden areas touch only the visible one, data and fantasies share one product, and
        ∂F(v) = ∂E(v, ⟨h⟩_v) spares the way back: the value is that of −b·v − Σ_h I·⟨h⟩_v + U(v).
        """
        if not self._is_star:
            return super().contrast(visible, state)
        return StarContrast(self).between(visible, self.visible_part(state))

    def persistent_contrast(
        self,
        visible: Float[Tensor, "batch d"],
        state: Float[Tensor, "chains size"],
        steps: int = 1,
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "chains size"]]:
        """The contrast with chains moved on by block Gibbs, and where they are now.

        Where hidden areas touch only the visible one, a step draws that first, so that the hidden
        fields at its end serve the gradient too.
        """
        if not self._is_star:
            return super().persistent_contrast(visible, state, steps, generator)
        return StarContrast(self).moved(visible, state, steps, generator)

    @property
    def _is_star(self) -> bool:
        """Whether hidden areas touch only the visible one."""
        return len(self.areas) > 1 and all(0 in pair for pair in self.couplings)

    def check_state(self, operation: str, state: Float[Tensor, "*batch size"]) -> None:
        """Refuse joint states of the wrong size or outside their units' states.

        Hidden areas may start at zero, as :meth:`extend` leaves them, whatever their kind.

        Raises:
            ShapeError: If the number of features is wrong.
            DomainError: If a value is not finite or not a state of its unit.
        """
        check_features(operation, state, sum(area.size for area in self.areas))
        check_finite(operation, "the state", state)
        check_like(operation, state, self.biases[0])
        parts = self.split(state)
        self.visible.check(operation, parts[0])
        for area, part in zip(self.areas[1:], parts[1:], strict=True):
            filled = (part != 0).any(-1)
            if bool(filled.any()):
                area.check(operation, part[filled])

    def check_visible(self, operation: str, visible: Float[Tensor, "*batch d"]) -> None:
        """Refuse what is no state of the visible units.

        Raises:
            ShapeError: If the number of features is wrong.
            DomainError: If a value is not finite or not a state of its unit.
        """
        self.visible.check(operation, visible)
        check_like(operation, visible, self.biases[0])

    def config(self) -> dict[str, Any]:
        """Areas and couplings."""
        return {
            "areas": [area.config() for area in self.areas],
            "couplings": [list(pair) for pair in self.couplings],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Harmonium:
        """A harmonium of the same graph."""
        areas = [Unit.from_config(area) for area in config["areas"]]
        return cls(areas, [tuple(pair) for pair in config["couplings"]])


def _check_areas(name: str, areas: Sequence[Unit]) -> None:
    wrong = [area for area in areas if not isinstance(area, Unit)]
    if wrong or not areas:
        raise ParameterError(
            name, f"areas {list(areas)}", "Give at least one area, each a unit such as Bit(64)"
        )


class Marginal(Energy):
    """F_T(v) of a harmonium as an energy of its visible units; shares the harmonium's weights.

    Its concave–convex step, hidden means at T then visible units settled, never raises F_T.

    Args:
        harmonium: A machine whose hidden areas do not touch each other.
        temperature: T at which they are summed out.

    Raises:
        IntractableError: If hidden areas are joined to each other.
        ParameterError: If the temperature is negative or not finite.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Bit(4), ig.Bit(3))
        >>> rbm.marginal(temperature=1.0).grad(torch.zeros(2, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(self, harmonium: Harmonium, temperature: float = 1.0) -> None:
        super().__init__()
        joined = [pair for pair in harmonium.couplings if 0 not in pair]
        if joined:
            raise IntractableError(
                f"{type(harmonium).__name__}.free_energy",
                f"hidden areas {joined} are joined to each other",
                "Sample the joint state with BlockGibbs instead",
            )
        self.harmonium = harmonium
        name = f"{type(harmonium).__name__}.free_energy"
        self._temperature = check_temperature(name, temperature)
        for area in harmonium.areas:
            area.check_temperature(self.temperature)

    @property
    def temperature(self) -> float:
        """T at which the hidden areas are summed out."""
        return self._temperature

    @property
    def areas(self) -> tuple[Unit, ...]:
        """The visible units alone."""
        return (self.harmonium.visible,)

    def _hidden_fields(self, visible: Tensor) -> list[Tensor]:
        parts = self.harmonium.split(self.harmonium.extend(visible))
        return [self.harmonium._field(parts, index) for index in range(1, len(parts))]

    def forward(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """F_T(v)."""
        visible, *hidden = self.harmonium.areas
        total = visible.base_energy(state, self.temperature) - state @ self.harmonium.biases[0]
        for area, field in zip(hidden, self._hidden_fields(state), strict=True):
            total = total - area.log_partition(field, self.temperature)
        return total

    def cccp_update(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """v ← settle(b + Σ_h W_hᵀ mean_T(c_h + W_h v)).

        Raises:
            IntractableError: If the visible units are averages of several draws.
        """
        visible, *hidden = self.harmonium.areas
        if visible.has_multiplicity:
            raise IntractableError(
                "Marginal.cccp_update",
                f"{visible} has an energy of its own that depends on the temperature",
                "Use visible units of a single draw",
            )
        means = [
            area.mean(field, self.temperature)
            for area, field in zip(hidden, self._hidden_fields(state), strict=True)
        ]
        return visible.settle(self.harmonium._field([state, *means], 0), state)

    def check_state(self, operation: str, state: Float[Tensor, "*batch d"]) -> None:
        """Refuse what is not a state of the visible units.

        Raises:
            ShapeError: If the number of features is wrong.
            DomainError: If a value is not finite or not a state of its unit.
        """
        self.harmonium.visible.check(operation, state)
        check_like(operation, state, self.harmonium.biases[0])

    def config(self) -> dict[str, Any]:
        """Not saved by itself.

        Raises:
            IntractableError: Always: the harmonium is what is saved.
        """
        raise IntractableError(
            "saving a Marginal",
            "it shares the weights of a harmonium",
            "Save marginal.harmonium, and call marginal() on it after loading",
        )
