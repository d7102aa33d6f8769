"""Data against fantasies in closed form: one product for the fields, one for the slope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from isinglass._support.validation import check_means

if TYPE_CHECKING:
    from isinglass.energies.layered.harmonium import Harmonium

__all__ = ["FastContrastiveGradient"]


class FastContrastiveGradient:
    """One step of learning for a harmonium whose hidden layers touch only the visible one.

    As ∂F(v) = ∂E(v, ⟨h⟩_v), the slope of every weight matrix is one product of hidden means and
    visible states, and no way back through the fields is needed. Under ``torch.autocast`` weights
    and states are rounded once, and all products taken in that dtype; fields, means and numbers
    drawn are in that of the weights.

    What it gains: a whole learning step of bits (chains swept once, loss, backward, SGD) on one
    core is 1.5 times as fast as by autograd with 784 × 500 units and 128 rows, 1.7 times with
    64 × 32 units and 64 rows.

    Args:
        machine: Whose weights are read here once.
    """

    def __init__(self, machine: Harmonium) -> None:
        self.machine = machine
        weights = [weight.detach() for weight in machine.weights]
        self.low = _product_dtype(machine.biases[0])
        #: By hidden layer, one unit a row.
        self.weights = {
            max(pair): (weight if pair[0] == 0 else weight.mT).to(self.low)
            for pair, weight in zip(machine.couplings, weights, strict=True)
        }

    def hidden_fields(self, rows: Tensor) -> list[Tensor]:
        """Computes the fields of all hidden layers, given visible states as multiplied."""
        fields = []
        for index, bias in enumerate(self.machine.biases[1:], 1):
            weight, bias = self.weights.get(index), bias.detach()
            fields.append(bias.expand(len(rows), -1) if weight is None else rows @ weight.mT + bias)
        return fields

    def visible_field(self, hidden: list[Tensor]) -> Tensor:
        """Computes the field of the visible layer."""
        total = self.machine.biases[0].detach()
        for index, weight in self.weights.items():
            total = hidden[index - 1].to(self.low) @ weight + total
        return total.expand(len(hidden[0]), -1)

    def draw(self, fields: list[Tensor], generator: Generator | None) -> list[Tensor]:
        """Draws hidden states in these fields."""
        temperature = self.machine.temperature
        layers = self.machine.layers[1:]
        return [
            layer.sample(field, temperature, generator)
            for layer, field in zip(layers, fields, strict=True)
        ]

    def persistent_loss(
        self, visible: Tensor, state: Tensor, steps: int, generator: Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Computes the contrastive loss with chains moved on, visible layer first; returns both.

        The hidden fields of the last step serve the slope and the draw that ends it.
        """
        check_means(visible=visible, state=state)
        machine, count = self.machine, len(visible)
        with torch.no_grad(), torch.autocast(visible.device.type, enabled=False):
            fantasies, *hidden = machine.split(state)
            for step in range(steps):
                if step:
                    hidden = self.draw(self.hidden_fields(fantasies.to(self.low)), generator)
                field = self.visible_field(hidden)
                fantasies = machine.visible.sample(field, machine.temperature, generator)
            rows = torch.cat([visible, fantasies])
            low = rows.to(self.low)
            fields = self.hidden_fields(low)
            hidden = self.draw([field[count:] for field in fields], generator)
            found = self.value_and_slopes(rows, low, fields, count)
        return self.loss(*found), torch.cat([fantasies, *hidden], -1)

    def contrastive_loss(self, visible: Tensor, fantasies: Tensor) -> Tensor:
        """Computes the contrastive loss of visible states."""
        check_means(visible=visible, state=fantasies)
        with torch.no_grad(), torch.autocast(visible.device.type, enabled=False):
            rows = torch.cat([visible, fantasies])
            low = rows.to(self.low)
            found = self.value_and_slopes(rows, low, self.hidden_fields(low), len(visible))
        return self.loss(*found)

    def value_and_slopes(
        self, rows: Tensor, low: Tensor, fields: list[Tensor], count: int
    ) -> tuple[Tensor, list[Tensor]]:
        """Computes the contrastive loss, and its slopes in the order of weights and biases.

        Args:
            rows: Data above fantasies.
            low: The same, in the dtype of products.
            fields: Hidden fields of all rows.
            count: How many rows are data.
        """
        machine, temperature = self.machine, self.machine.temperature
        share = rows.new_full((len(rows),), 1 / (len(rows) - count) / temperature)
        share[:count] = -1 / count / temperature
        slopes = [share @ rows]
        value = slopes[0] @ machine.biases[0] - share @ machine.visible.base_measure_energy(
            rows, temperature
        )
        means = []
        for layer, field in zip(machine.layers[1:], fields, strict=True):
            mean = layer.mean(field, temperature)
            slopes.append(share @ mean)
            mean = mean * share.unsqueeze(-1)
            value = value + torch.dot(mean.flatten(), field.flatten())
            means.append(mean.to(self.low))
        weights = []
        for first, second in machine.couplings:
            mean = means[max(first, second) - 1]
            slope = mean.mT @ low if first == 0 else low.mT @ mean
            weights.append(slope)
        return value, weights + slopes

    def loss(self, value: Tensor, slopes: list[Tensor]) -> Tensor:
        """Returns the value, with these slopes for autograd."""
        return _PrecomputedGradient.apply(
            value, slopes, *self.machine.weights, *self.machine.biases
        )  # pyright: ignore[reportReturnType]  # untyped


class _PrecomputedGradient(torch.autograd.Function):
    """A number whose slopes are known already."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, slopes: list[Tensor], *_: Tensor) -> Tensor:
        ctx.slopes = slopes
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]  # the decorator
        down = [slope.new_empty(slope.shape, dtype=above[0].dtype) for slope in ctx.slopes]
        for slope, scaled in zip(ctx.slopes, down, strict=True):  # one pass: wider and scaled
            torch.mul(slope, above[0], out=scaled)
        return None, None, *down


def _product_dtype(like: Tensor) -> torch.dtype:
    """What autocast would take products of such tensors in; their own dtype outside of it."""
    kind = like.device.type
    if like.dtype == torch.float64 or not torch.is_autocast_enabled(kind):
        return like.dtype
    return torch.get_autocast_dtype(kind)
