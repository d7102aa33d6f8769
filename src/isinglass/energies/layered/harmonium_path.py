"""The way from independent units to layers joined by couplings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_positive, check_rows
from isinglass.core.path import AnnealingPath
from isinglass.errors import IntractableError
from isinglass.units import Unit

if TYPE_CHECKING:
    from isinglass.energies.layered.harmonium import Harmonium

__all__ = ["HarmoniumPath", "layers_to_sum_out"]


class HarmoniumPath(AnnealingPath):
    r"""From units by themselves to a harmonium, by scaling the fields that they feel.

        log w_λ(s) = [λ (Σ_a b_a·s_a + Σ_{(a,b)} s_bᵀ W_ab s_a) + (1−λ) Σ_a b⁰_a·s_a − Σ_a U(s_a)]/T

    so that the field of a layer at λ is (1−λ) b⁰ + λ I, with I its field in the model. Layers that
    do not touch each other, as large together as they can be, are summed out of the weights:
    of two layers the larger one, of a deep machine every other one. What is left fluctuates less.

    The base fields b⁰ give every layer the mean that it has on the data. Without data they are
    those of a mean-field sweep from units that feel nothing, which favors no mode of the machine.

    Reference: Salakhutdinov & Murray 2008, doi:10.1145/1390156.1390266.

    Args:
        harmonium: Its distribution stands at λ = 1; parameters are looked at when they are used.
        temperature: T > 0; None is the machine's own.
        data: Visible states, ``(n, d)``.
        summed: Layers to sum out, no two of them touching; None chooses.

    Raises:
        ParameterError: If the temperature is not above zero.
        DomainError: If the data are not visible states.

    Examples:
        >>> import isinglass as ig
        >>> path = HarmoniumPath(ig.RBM(ig.Bernoulli(6), ig.Bernoulli(4)))
        >>> state = path.draw_base(3, torch.Generator().manual_seed(0))
        >>> path.log_weight(state, torch.tensor([0.0, 0.5, 1.0])).shape
        torch.Size([3])
    """

    reversible: ClassVar[bool] = True

    def __init__(
        self,
        harmonium: Harmonium,
        temperature: float | None = None,
        data: Float[Tensor, "n d"] | None = None,
        *,
        summed: Sequence[int] | None = None,
    ) -> None:
        temperature = harmonium.temperature if temperature is None else temperature
        self.temperature = check_positive("temperature", temperature)
        for layer in harmonium.layers:
            layer.check_temperature(temperature)
        self.harmonium = harmonium
        self.summed = layers_to_sum_out(harmonium, _size) if summed is None else list(summed)
        self.kept = [i for i in range(len(harmonium.layers)) if i not in self.summed]
        self._touching = any(a in self.kept and b in self.kept for a, b in harmonium.couplings)
        with torch.no_grad():
            if data is None:
                self.base = self._fields_alone()
            else:
                check_rows(data)
                harmonium.visible.check(data)
                self.base = self._fields_of(data)

    @property
    def base_log_partition(self) -> Tensor:
        """log Z at λ = 0, Σ_a A_T(b⁰_a)/T."""
        total = torch.zeros((), dtype=torch.float64)
        for layer, field in zip(self.harmonium.layers, self.base, strict=True):
            total = total + layer.log_partition(field.double(), self.temperature).cpu()
        return total / self.temperature

    def draw_base(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draws every layer by itself, in its base field."""
        parts = [
            layer.sample(field.expand(count, -1), self.temperature, generator)
            for layer, field in zip(self.harmonium.layers, self.base, strict=True)
        ]
        return torch.cat(parts, -1)

    def log_weight(self, state: Tensor, lambda_: Tensor) -> Tensor:
        """Computes log w_λ of the layers that are kept."""
        parts = self.harmonium.split(state)
        total = self._leaning(parts, lambda_) + self._sum_out(self._fields(parts), lambda_)
        for index in self.kept:
            layer = self.harmonium.layers[index]
            total = total - layer.base_measure_energy(parts[index], self.temperature)
        return total / self.temperature

    def log_ratio(self, state: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """Computes the difference of log weights, without what is the same at both levels."""
        parts = self.harmonium.split(state)
        return self._ratio(parts, self._fields(parts), start, end)

    def transition(
        self, state: Tensor, lambda_: Tensor, generator: Generator | None = None
    ) -> Tensor:
        """Draws what is summed out, then every layer that is kept, given its neighbors."""
        parts = list(self.harmonium.split(state))
        return self._move(parts, self._fields(parts), lambda_, generator)

    def advance(
        self, state: Tensor, start: Tensor, end: Tensor, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns ratio and move, from the same fields."""
        parts = self.harmonium.split(state)
        fields = self._fields(parts)
        ratio = self._ratio(parts, fields, start, end)
        return self._move(list(parts), fields, end, generator), ratio

    def prepare(self, state: Tensor, generator: Generator | None = None) -> Tensor:
        """Draws the hidden layers in turn, given the rest."""
        parts = list(self.harmonium.split(state))
        for index in range(1, len(parts)):
            field = self.harmonium._field(parts, index)
            layer = self.harmonium.layers[index]
            parts[index] = layer.sample(field, self.temperature, generator)
        return torch.cat(parts, -1)

    def _fields(self, parts: list[Tensor] | tuple[Tensor, ...]) -> dict[int, Tensor]:
        """The fields of what is summed out, in the model."""
        return {index: self.harmonium._field(parts, index) for index in self.summed}

    def _at(self, field: Tensor, index: int, lambda_: Tensor) -> Tensor:
        """The field that a layer feels at λ, given that in the model."""
        return torch.lerp(self.base[index], field, lambda_.to(field.dtype).unsqueeze(-1))

    def _leaning(self, parts: tuple[Tensor, ...], lambda_: Tensor) -> Tensor:
        """How much the kept layers agree with their fields, at λ."""
        model, base = torch.zeros_like(parts[0][..., 0]), torch.zeros_like(parts[0][..., 0])
        for index in self.kept:
            model = model + parts[index] @ self.harmonium.biases[index]
            base = base + parts[index] @ self.base[index]
        for (first, second), weight in zip(
            self.harmonium.couplings, self.harmonium.weights, strict=True
        ):
            if first in self.kept and second in self.kept:
                model = model + ((parts[first] @ weight.mT) * parts[second]).sum(-1)
        return torch.lerp(base, model, lambda_.to(model.dtype))

    def _sum_out(self, fields: dict[int, Tensor], lambda_: Tensor) -> Tensor | float:
        """Σ A_T of the layers summed out, in their fields at λ."""
        layers, temperature = self.harmonium.layers, self.temperature
        return sum(
            layers[index].log_partition(self._at(field, index, lambda_), temperature)
            for index, field in fields.items()
        )

    def _ratio(
        self, parts: tuple[Tensor, ...], fields: dict[int, Tensor], start: Tensor, end: Tensor
    ) -> Tensor:
        leaning = self._leaning(parts, end) - self._leaning(parts, start)
        summed = self._sum_out(fields, end) - self._sum_out(fields, start)
        return (leaning + summed) / self.temperature

    def _move(
        self,
        parts: list[Tensor],
        fields: dict[int, Tensor],
        lambda_: Tensor,
        generator: Generator | None,
    ) -> Tensor:
        layers, temperature = self.harmonium.layers, self.temperature
        for index, field in fields.items():
            field = self._at(field, index, lambda_)
            parts[index] = layers[index].sample(field, temperature, generator)
        for index in self._order(generator):
            field = self._at(self.harmonium._field(parts, index), index, lambda_)
            parts[index] = layers[index].sample(field, temperature, generator)
        return torch.cat(parts, -1)

    def _order(self, generator: Generator | None) -> list[int]:
        """Draws layers that touch one way or the other at random: a sweep that is reversible."""
        if not self._touching:
            return self.kept
        device = None if generator is None else generator.device
        forward = bool(torch.rand((), generator=generator, device=device) < 0.5)
        return self.kept if forward else self.kept[::-1]

    def _fields_alone(self) -> list[Tensor]:
        """One mean-field sweep, all layers at once, from units that feel nothing."""
        layers = self.harmonium.layers
        means = [
            layer.mean(torch.zeros_like(bias), self.temperature)
            for layer, bias in zip(layers, self.harmonium.biases, strict=True)
        ]
        return [self.harmonium._field(means, index) for index in range(len(layers))]

    def _fields_of(self, data: Tensor) -> list[Tensor]:
        """Fields in which every layer has, to itself, the mean that it has on the data."""
        parts = list(self.harmonium.split(self.harmonium.extend(data)))
        fields = []
        for index, layer in enumerate(self.harmonium.layers):
            felt = self.harmonium._field(parts, index)
            if index:
                parts[index] = layer.mean(felt, self.temperature)
            free = layer.mean(torch.zeros_like(felt[0]), self.temperature)
            # One more row, of units that feel nothing, keeps means off their edges.
            mean = (parts[index].sum(0) + free) / (len(data) + 1)
            try:
                fields.append(layer.natural_parameter(mean, self.temperature))
            except IntractableError:
                fields.append(felt.mean(0))
        return fields


def _size(layer: Unit) -> float:
    return layer.size


def layers_to_sum_out(harmonium: Harmonium, worth: Callable[[Unit], float]) -> list[int]:
    """Chooses the layers, no two of them touching, that are worth most together."""
    neighbors = {
        index: {a + b - index for a, b in harmonium.couplings if index in (a, b)}
        for index in range(len(harmonium.layers))
    }

    def value(chosen: frozenset[int]) -> float:
        return sum(worth(harmonium.layers[index]) for index in chosen)

    def best(free: frozenset[int]) -> frozenset[int]:
        if not free:
            return free
        first = min(free)
        taken = best(free - {first} - neighbors[first]) | {first}
        if not neighbors[first] & free:
            return taken
        return max(taken, best(free - {first}), key=value)

    return sorted(best(frozenset(neighbors)))
