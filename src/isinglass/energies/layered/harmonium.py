"""Layers of units joined by couplings: the graph of Hopfield nets and Boltzmann machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from isinglass._support.random import noise
from isinglass._support.typing import Bool, Float
from isinglass._support.validation import (
    check_features,
    check_finite,
    check_like,
    check_temperature,
)
from isinglass.core.capabilities import Clampable, ConcaveConvex, Serializable, Tractable
from isinglass.core.numbers import Numbered
from isinglass.core.path import AnnealingPath
from isinglass.dynamics import BlockGibbs
from isinglass.energies.layered._fast_gradient import FastContrastiveGradient
from isinglass.energies.layered._layer_graph import check_layers, colors, read_couplings
from isinglass.energies.layered._partition import check_normalizable, fewest_states, sum_states
from isinglass.energies.layered.harmonium_path import HarmoniumPath
from isinglass.energies.sampling import Sampled
from isinglass.errors import IntractableError, ParameterError
from isinglass.units import Mixed, Unit

__all__ = ["Harmonium", "Marginal"]


class Harmonium(Sampled, Clampable, Tractable, Serializable):
    r"""Layers of units, joined pairwise: E(s) = Σ_a [U(s_a) − b_a·s_a] − Σ_{(a,b)} s_bᵀ W_ab s_a.

    A state is one tensor, the layers side by side in the last dimension; layer 0 is the visible
    one. Summing the others out, where they do not touch each other, leaves the free energy

        F_T(v) = U(v) − b·v − Σ_h A_T(c_h + W_h v)

    and the kind of the hidden units picks the network: Gaussian, a classical Hopfield net;
    one-hot, a modern one; bits, a restricted Boltzmann machine.

    Reference: Smolensky 1986 (harmonium); Krotov & Hopfield 2021, arXiv:2008.06996.

    Args:
        layers: The kind and size of each layer, visible first.
        couplings: Pairs of layers that are joined; each gets a weight matrix of shape
            ``(size of the second, size of the first)``.
        scale: Standard deviation of the initial weights; biases start at zero.
        generator: Source of the initial weights; None is torch's global one.

    Raises:
        ParameterError: If there is no layer, a layer is not a unit, or a coupling names a layer
            that does not exist, joins one to itself or is named twice.

    Examples:
        >>> import isinglass as ig
        >>> deep = Harmonium([ig.Bernoulli(4), ig.Bernoulli(3), ig.Bernoulli(2)], [(0, 1), (1, 2)])
        >>> deep(torch.zeros(5, 9)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        layers: Sequence[Unit],
        couplings: Sequence[tuple[int, int]] = ((0, 1),),
        *,
        scale: float = 0.01,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        check_layers(layers)
        self._layers = tuple(layers)
        self.couplings = read_couplings(couplings)
        for first, second in self.couplings:
            if not (0 <= first < len(layers) and 0 <= second < len(layers)) or first == second:
                found = f"coupling ({first}, {second}) among {len(layers)} layers"
                raise ParameterError(found, "Join two different layers, numbered from 0")
        if len({frozenset(pair) for pair in self.couplings}) < len(self.couplings):
            raise ParameterError(f"couplings {self.couplings}", "Name each pair once")
        first, *others = colors(len(layers), self.couplings)
        self._order = (*chain.from_iterable(others), *first[1:], 0)
        #: By layer: the couplings that end at it, by number, from where, and whether forward.
        self._incoming: list[list[tuple[int, int, bool]]] = [[] for _ in layers]
        for number, (a, b) in enumerate(self.couplings):
            self._incoming[a].append((number, b, False))
            self._incoming[b].append((number, a, True))
        self.weights = nn.ParameterList(
            noise(scale, layers[b].size, layers[a].size, generator) for a, b in self.couplings
        )
        self.biases = nn.ParameterList(torch.zeros(layer.size) for layer in layers)

    @property
    def layers(self) -> tuple[Unit, ...]:
        """The layers, visible first."""
        return self._layers

    @property
    def visible(self) -> Unit:
        """Unit kind of the visible layer, layer 0."""
        return self.layers[0]

    @property
    def temperature(self) -> float:
        """T at which the machine's own quantities are stated unless another is given."""
        return 1.0

    def split(self, state: Tensor) -> tuple[Tensor, ...]:
        """Views of the layers, of states or of masks."""
        return state.split([layer.size for layer in self.layers], -1)

    def extend(self, visible: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch size"]:
        """Returns a joint state with this visible part and all else zero, for a sweep to fill."""
        hidden = sum(layer.size for layer in self.layers[1:])
        return torch.cat([visible, visible.new_zeros(*visible.shape[:-1], hidden)], -1)

    def visible_part(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch d"]:
        """Returns layer 0 of a joint state."""
        return state[..., : self.visible.size]

    check_normalizable = check_normalizable  # pyright: ignore[reportAssignmentType]

    def default_sampler(self) -> BlockGibbs:
        """Returns block Gibbs, exact at every temperature."""
        return BlockGibbs()

    def forward(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
        """Computes E(s) of all layers together."""
        return self.energy_at(state, self.temperature)

    def energy_at(
        self, state: Float[Tensor, "*batch size"], temperature: float
    ) -> Float[Tensor, "*batch"]:
        """Computes E(s), with the multiplicities of Multinomial units at this temperature."""
        parts = self.split(state)
        total = -self._agreement(parts)
        for layer, part in zip(self.layers, parts, strict=True):
            total = total + layer.base_measure_energy(part, temperature)
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
        """The input field of one layer: its bias plus what its neighbors send."""
        total: Tensor = self.biases[index]
        for number, other, forward in self._incoming[index]:
            weight = self.weights[number]
            total = total + parts[other] @ (weight.mT if forward else weight)
        return total.expand(*parts[index].shape)

    def enumerate_states(self, temperature: float | None = None) -> Float[Tensor, "states size"]:
        """Lists every joint state, one a row, in float64; the first layer changes slowest.

        Raises:
            IntractableError: If a layer has infinitely many states, or too many.
        """
        temperature = self.temperature if temperature is None else temperature
        return Mixed(self.layers).enumerate_states(temperature)

    def mean_sweep(
        self, state: Float[Tensor, "*batch size"], temperature: float
    ) -> Float[Tensor, "*batch size"]:
        """Gives every layer its mean given the others, in :attr:`order`: recall, a forward pass.

        At T = 0 a unit whose field is zero keeps its value. The mean-field free energy never
        rises.
        """
        return self._sweep(state, temperature, lambda layer, field: layer.mean(field, temperature))

    def sweep(
        self,
        state: Float[Tensor, "*batch size"],
        temperature: float,
        generator: Generator | None = None,
    ) -> Float[Tensor, "*batch size"]:
        """Draws every layer given the others, in :attr:`order`: block Gibbs, exact at every T."""
        return self._sweep(
            state, temperature, lambda layer, field: layer.sample(field, temperature, generator)
        )

    def clamped_sweep(
        self,
        state: Float[Tensor, "*batch size"],
        observed: Bool[Tensor, "*batch size"],
        temperature: float,
        generator: Generator | None = None,
    ) -> Float[Tensor, "*batch size"]:
        """Draws as :meth:`sweep` does, but observed units, of any layer, keep their values."""
        return self._sweep(
            state,
            temperature,
            lambda layer, field: layer.sample(field, temperature, generator),
            self.split(observed),
        )

    @property
    def order(self) -> tuple[int, ...]:
        """The layers in the order of a sweep, those of one color together, the visible one last.

        Layers of a color do not touch, so that drawing them in turn is drawing them at once: in
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
        check_temperature(temperature)
        parts = list(self.split(state))
        for index in self.order:
            layer, field = self.layers[index], self._field(parts, index)
            new = (
                layer.argmax_state(field, parts[index])
                if temperature == 0
                else update(layer, field)
            )
            if observed is not None:
                new = torch.where(observed[index], parts[index], new)
            parts[index] = new
        return torch.cat(parts, -1)

    def mean_field_energy(
        self, state: Float[Tensor, "*batch size"], temperature: float
    ) -> Float[Tensor, "*batch"]:
        """Returns the mean-field free energy of the means that follow from the current fields.

            G = −Σ_a b_a·m_a − Σ_{(a,b)} m_bᵀ W m_a + Σ_a [I_a·m_a − A_T(I_a)],  m_a = ∂A_T(I_a)

        where the bracket, the Legendre dual of A, is energy minus T times entropy of the layer.
        The state given here holds fields I_a, not means.
        """
        fields = self.split(state)
        means = [a.mean(i, temperature) for a, i in zip(self.layers, fields, strict=True)]
        total = -self._agreement(means)
        for layer, field, mean in zip(self.layers, fields, means, strict=True):
            total = total + (field * mean).sum(-1) - layer.log_partition(field, temperature)
        return total

    def conditional_field(
        self, state: Float[Tensor, "*batch size"], index: int
    ) -> Float[Tensor, "*batch layer"]:
        """Computes the field of layer ``index`` given the rest; its unit's functions do the rest.

        Examples:
            >>> import isinglass as ig
            >>> rbm = ig.RBM(ig.Bernoulli(3), ig.Bernoulli(2))
            >>> field = rbm.conditional_field(torch.ones(4, 5), 1)
            >>> rbm.layers[1].mean(field, 1.0).shape  # P(h = 1 | v)
            torch.Size([4, 2])
        """
        return self._field(self.split(state), index)

    def free_energy(
        self, visible: Float[Tensor, "*batch d"], temperature: float | None = None
    ) -> Float[Tensor, "*batch"]:
        """Computes F_T(v) = U(v) − b·v − Σ_h A_T(c_h + W_h v), hidden layers summed out.

        Args:
            visible: Visible states, ``(*batch, d)``.
            temperature: T; None is the machine's own.

        Raises:
            ShapeError: If the visible states have the wrong number of features.
            DomainError: If they are not states of the visible units.
            IntractableError: If hidden layers are joined to each other.
        """
        self.visible.check(visible)
        check_like(visible, self.biases[0])
        return self.marginal(temperature)(visible)

    def marginal(self, temperature: float | None = None) -> Marginal:
        """Returns the free energy at one temperature as an energy of the visible units alone.

        Raises:
            IntractableError: If hidden layers are joined to each other.
            ParameterError: If the temperature is negative or not finite.
        """
        return Marginal(self, self.temperature if temperature is None else temperature)

    def exact_log_partition(self, temperature: float | None = None) -> Tensor:
        """Computes log Z at T: the fewest layers enumerated, the others summed out; differentiable.

        Raises:
            IntractableError: If more than 2²² states are left, or Z is infinite.
            ParameterError: If the temperature is not above zero.
        """
        return sum_states(self, temperature)

    def log_states_summed(self) -> float:
        """Returns the log of how many states are left to enumerate for log Z."""
        return fewest_states(self, self.temperature)[1]

    def path(
        self, temperature: float | None = None, data: Float[Tensor, "n d"] | None = None
    ) -> AnnealingPath:
        """Returns the path from units by themselves to the machine, by scaling their fields.

        Raises:
            DomainError: If the data are not visible states.
            IntractableError: If Z is infinite.
        """
        check_normalizable(self)
        return HarmoniumPath(self, temperature, data)

    def contrastive_loss(
        self, visible: Float[Tensor, "batch d"], state: Float[Tensor, "chains size"]
    ) -> Float[Tensor, ""]:
        """Computes (⟨positive phase⟩ − ⟨negative phase⟩)/T, with the gradient of −log p(data).

        Where hidden layers touch only the visible one, data and fantasies share one product, and
        ∂F(v) = ∂E(v, ⟨h⟩_v) spares the way back: the value is that of −b·v − Σ_h I·⟨h⟩_v + U(v).

        Raises:
            ShapeError: If there is no row of data, or no chain.
        """
        if not self._is_star:
            return super().contrastive_loss(visible, state)
        return FastContrastiveGradient(self).contrastive_loss(visible, self.visible_part(state))

    def persistent_contrastive_loss(
        self,
        visible: Float[Tensor, "batch d"],
        state: Float[Tensor, "chains size"],
        steps: int = 1,
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "chains size"]]:
        """Computes the contrastive loss, chains moved on by block Gibbs, and returns both.

        Where hidden layers touch only the visible one, a step draws that first, so that the hidden
        fields at its end serve the gradient too. Raises as :meth:`contrastive_loss` does.
        """
        if not self._is_star:
            return super().persistent_contrastive_loss(visible, state, steps, generator)
        return FastContrastiveGradient(self).persistent_loss(visible, state, steps, generator)

    @property
    def _sums_hidden(self) -> bool:
        return all(0 in pair for pair in self.couplings)

    @property
    def _is_star(self) -> bool:
        """Whether hidden layers touch only the visible one."""
        return len(self.layers) > 1 and self._sums_hidden

    def check_state(self, state: Float[Tensor, "*batch size"]) -> None:
        """Refuses joint states of the wrong size or outside their units' states.

        Hidden layers may start at zero, as :meth:`extend` leaves them, whatever their kind.

        Raises:
            ShapeError: If the number of features is wrong.
            DomainError: If a value is not finite or not a state of its unit.
        """
        check_features(state, sum(layer.size for layer in self.layers))
        check_finite("the state", state)
        check_like(state, self.biases[0])
        parts = self.split(state)
        self.visible.check(parts[0])
        for layer, part in zip(self.layers[1:], parts[1:], strict=True):
            if bool((filled := (part != 0).any(-1)).any()):
                layer.check(part[filled])

    def check_visible(self, visible: Float[Tensor, "*batch d"]) -> None:
        """Refuses what is no state of the visible units.

        Raises:
            ShapeError: If the number of features is wrong.
            DomainError: If a value is not finite or not a state of its unit.
        """
        self.visible.check(visible)
        check_like(visible, self.biases[0])

    def config(self) -> dict[str, Any]:
        """Returns the kinds of the layers and the pairs that are coupled."""
        return {
            "layers": [layer.config() for layer in self.layers],
            "couplings": [list(pair) for pair in self.couplings],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Harmonium:
        """Returns a harmonium of the same graph."""
        layers = [Unit.from_config(layer) for layer in config["layers"]]
        return cls(layers, [tuple(pair) for pair in config["couplings"]])


class Marginal(Numbered, ConcaveConvex):
    """F_T(v) of a harmonium as an energy of its visible units; shares the harmonium's weights.

    Its concave–convex step, hidden means at T then visible units settled, never raises F_T. It is
    not saved by itself: save ``marginal.harmonium``, and call ``marginal()`` after loading.

    Args:
        harmonium: A machine whose hidden layers do not touch each other.
        temperature: T at which they are summed out.

    Raises:
        IntractableError: If hidden layers are joined to each other.
        ParameterError: If the temperature is negative or not finite.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Bernoulli(4), ig.Bernoulli(3))
        >>> rbm.marginal(temperature=1.0).grad(torch.zeros(2, 4)).shape
        torch.Size([2, 4])
    """

    numbers: ClassVar[tuple[str, ...]] = ("temperature",)
    instead: ClassVar[Mapping[str, str]] = {
        "Serializable": "Save marginal.harmonium, and call marginal() on it after loading",
    }

    def __init__(self, harmonium: Harmonium, temperature: float = 1.0) -> None:
        super().__init__()
        joined = [pair for pair in harmonium.couplings if 0 not in pair]
        if joined:
            raise IntractableError(
                f"hidden layers {joined} are joined to each other",
                "Sample the joint state with BlockGibbs; to learn it, make it a DeepBoltzmann",
            )
        self.harmonium = harmonium
        self.temperature = temperature

    @property
    def temperature(self) -> float:
        """T at which the hidden layers are summed out; may be set anew."""
        return self._temperature

    @temperature.setter
    def temperature(self, temperature: float) -> None:
        self._temperature = check_temperature(temperature)
        for layer in self.harmonium.layers:
            layer.check_temperature(self._temperature)

    @property
    def layers(self) -> tuple[Unit, ...]:
        """The visible units alone."""
        return (self.harmonium.visible,)

    def _hidden_fields(self, visible: Tensor) -> list[Tensor]:
        parts = self.harmonium.split(self.harmonium.extend(visible))
        return [self.harmonium._field(parts, index) for index in range(1, len(parts))]

    def forward(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Computes F_T(v), one number a row."""
        visible, *hidden = self.harmonium.layers
        total = (
            visible.base_measure_energy(state, self.temperature) - state @ self.harmonium.biases[0]
        )
        for layer, field in zip(hidden, self._hidden_fields(state), strict=True):
            total = total - layer.log_partition(field, self.temperature)
        return total

    def cccp_update(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Takes one concave–convex step, v ← argmax_state(b + Σ_h W_hᵀ mean_T(c_h + W_h v)).

        Raises:
            IntractableError: If the visible units are averages of several draws.
        """
        visible, *hidden = self.harmonium.layers
        if visible.has_multiplicity:
            raise IntractableError(
                f"{visible} has an energy of its own that depends on the temperature",
                "Use visible units of a single draw",
            )
        means = [
            layer.mean(field, self.temperature)
            for layer, field in zip(hidden, self._hidden_fields(state), strict=True)
        ]
        return visible.argmax_state(self.harmonium._field([state, *means], 0), state)

    def check_state(self, state: Float[Tensor, "*batch d"]) -> None:
        """Refuses what is not a state of the visible units.

        Raises:
            ShapeError: If the number of features is wrong.
            DomainError: If a value is not finite or not a state of its unit.
        """
        self.harmonium.visible.check(state)
        check_like(state, self.harmonium.biases[0])
