"""The Krotov–Hopfield classifier, a dense memory of inputs and labels; its feed-forward twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import logsigmoid

from isinglass._support.typing import Float
from isinglass._support.validation import (
    check_count,
    check_deviation,
    check_features,
    check_generator,
    check_number,
    check_operand,
    check_positive,
    check_tensor,
    check_weight,
    values_visible,
)
from isinglass.core.capabilities import Serializable
from isinglass.energies.hopfield.interactions import Interaction, interaction_of
from isinglass.errors import DomainError, ShapeError

__all__ = ["DenseClassifier", "FeedForwardTwin"]


class DenseClassifier(Serializable):
    r"""A dense memory of inputs v and label units c: E(v, c) = −Σ_μ F(ξ_μ·v + Σ_α ξ_μα c_α).

    The inputs are clamped, every label unit starts at −1, and each is updated once by the energy
    difference of its two states, the others held:

        c_α = tanh(E(c_α = −1) − E(c_α = +1)) = tanh(Σ_μ [F(o_μ + 2ξ_μα) − F(o_μ)])
        o_μ = Σ_i ξ_μi v_i − Σ_γ ξ_μγ

    That is the mean of a spin at T = ½. The paper's tanh(β Σ_μ […]), β = 1/sⁿ, is
    ``interaction=Power(n, scale=s)``. The memories are learned by back-propagation through the
    update: ``classifier.loss(inputs, targets).mean().backward()``.

    Reference: Krotov & Hopfield 2016, arXiv:1606.01164, section 4.

    Args:
        inputs: Number of inputs, by custom each in [−1, 1].
        labels: Number of label units.
        memories: K, how many memories are learned.
        degree: n, the power; 3 unless given.
        rectified: Whether the power is zero below zero; it is unless told otherwise.
        interaction: F: ``"power"``, ``"exp"``, or an
            :class:`~isinglass.energies.hopfield.interactions.Interaction`.
        mean: Mean of the initial memories.
        std: Their standard deviation; the paper's are −0.3 and 0.3.
        generator: Source of the initial memories; None is torch's global one.

    Raises:
        ParameterError: If a count is not a whole number above 0, ``mean`` is not finite, ``std``
            is negative, or as in :class:`~isinglass.energies.hopfield.dense.DenseMemory`.

    Examples:
        >>> from isinglass.energies import Power
        >>> classifier = DenseClassifier(784, 10, memories=50, interaction=Power(3, scale=2.0))
        >>> images, digits = torch.rand(32, 784) * 2 - 1, torch.randint(10, (32,))
        >>> classifier.loss(images, digits).mean().backward()
        >>> classifier.labels(images).shape
        torch.Size([32, 10])
    """

    adopts: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"interaction": Interaction.from_config}

    def __init__(
        self,
        inputs: int,
        labels: int,
        memories: int,
        degree: int | None = None,
        *,
        rectified: bool | None = None,
        interaction: Interaction | str = "power",
        mean: float = 0.0,
        std: float = 0.02,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        self.sizes = (check_count("inputs", inputs), check_count("labels", labels))
        count = check_count("memories", memories)
        self.interaction = interaction_of(interaction, degree, rectified)
        mean, std = check_number("mean", mean), check_deviation("std", std)
        check_weight("abs(mean)", abs(mean))
        start = torch.full((count, sum(self.sizes)), mean)
        check_generator(generator)
        if std > 0:
            start.normal_(mean, std, generator=generator)
        self.memories = nn.Parameter(start)

    def forward(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
        """Computes E(v, c) of inputs and labels side by side."""
        check_features(state, sum(self.sizes))
        check_operand(state, self.memories)
        return self.interaction.energy(state @ self.memories.mT)

    def grad(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Computes ∂E/∂(v, c) = −Σ_μ ξ_μ F′(ξ_μ·(v, c))."""
        return -self.interaction.slope(state @ self.memories.mT) @ self.memories

    def label_field(self, inputs: Float[Tensor, "*batch v"]) -> Float[Tensor, "*batch labels"]:
        """Computes ½ (E(c_α = −1) − E(c_α = +1)) for every label unit, all the others at −1.

        Args:
            inputs: ``(*batch, inputs)``.

        Raises:
            ShapeError: If the number of inputs is wrong.
            DomainError: If they are no tensor of floating dtype.
        """
        check_features(inputs, self.sizes[0])
        check_operand(inputs, self.memories)
        from_inputs, from_labels = self.memories.split(self.sizes, -1)
        silent = inputs @ from_inputs.mT - from_labels.sum(-1)
        before = self.interaction.energy(silent)
        after = self.interaction.energy(silent.unsqueeze(-2) + 2 * from_labels.mT)
        return (before.unsqueeze(-1) - after) / 2

    def labels(self, inputs: Float[Tensor, "*batch v"]) -> Float[Tensor, "*batch labels"]:
        """Computes the label units after one update from −1, each in (−1, 1): the largest answers.

        Raises:
            ShapeError: If the number of inputs is wrong.
            DomainError: If they are no tensor of floating dtype.
        """
        return (2 * self.label_field(inputs)).tanh()

    def loss(
        self,
        inputs: Float[Tensor, "*batch v"],
        targets: Tensor,
        exponent: float | None = None,
    ) -> Float[Tensor, "*batch"]:
        """Computes how far the label units are from +1 for the right label, −1 for the others.

        Args:
            inputs: ``(*batch, inputs)``.
            targets: ``(*batch,)``, the number of the right label.
            exponent: 2m of the paper's Σ_α |c_α − t_α|^2m. None is −Σ_α log p(c_α = t_α), the
                log-likelihood of the label spins, whose gradient does not vanish where a unit is
                saturated on the wrong side.

        Returns:
            One loss a row.

        Raises:
            ShapeError: If the number of inputs is wrong, or targets are not one a row.
            DomainError: If inputs are no tensor of floating dtype, or targets no labels of int64.
            ParameterError: If ``exponent`` is not above zero.
        """
        self._check_targets(inputs, targets)
        sign = torch.full((self.sizes[1],) * 2, -1.0).fill_diagonal_(1.0).to(inputs)[targets]
        if exponent is None:
            return -logsigmoid(4 * sign * self.label_field(inputs)).sum(-1)
        exponent = check_positive("exponent", exponent)
        return (self.labels(inputs) - sign).abs().pow(exponent).sum(-1)

    def twin(self) -> FeedForwardTwin:
        """Returns the feed-forward net with the same memories: equal to first order."""
        return FeedForwardTwin(self)

    def check_state(self, state: Float[Tensor, "*batch size"]) -> None:
        """Refuses what is not a finite vector of inputs and labels.

        Raises:
            ShapeError: If the number of features is wrong.
            DomainError: If a value is not finite, or the dtype not a floating one.
        """
        check_features(state, sum(self.sizes))
        super().check_state(state)

    def extra_repr(self) -> str:
        """Shows the sizes and the interaction."""
        inputs, labels = self.sizes
        return (
            f"{inputs} inputs, {labels} labels, {len(self.memories)} memories, {self.interaction}"
        )

    def config(self) -> dict[str, Any]:
        """Returns sizes and interaction as JSON values."""
        inputs, labels = self.sizes
        return {
            "inputs": inputs,
            "labels": labels,
            "memories": len(self.memories),
            "interaction": self.interaction.config(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DenseClassifier:
        """Returns a classifier of the same shape, its memories zero: nothing is drawn."""
        settings: dict[str, Any] = config | {
            "interaction": Interaction.from_config(config["interaction"])
        }
        return cls(**settings, std=0.0)

    def _check_targets(self, inputs: Tensor, targets: Tensor) -> None:
        check_features(inputs, self.sizes[0])
        check_tensor("targets", targets)
        if targets.shape != inputs.shape[:-1]:
            raise ShapeError(
                f"targets of shape {tuple(targets.shape)} for inputs of {tuple(inputs.shape)}",
                "Give one target a row",
            )
        if targets.dtype != torch.int64:
            raise DomainError(f"targets of {targets.dtype}", "Number the labels: targets.long()")
        if values_visible(targets) and bool(((targets < 0) | (targets >= self.sizes[1])).any()):
            raise DomainError(
                f"targets from {int(targets.min())} to {int(targets.max())}",
                f"Number the labels from 0 to {self.sizes[1] - 1}",
            )


class FeedForwardTwin(nn.Module):
    """One hidden layer, h = F′(ξv), c = tanh(2 Σ_μ ξ_μα h_μ), on a classifier's own memories.

    The energy difference is the slope of E gathered along the way of a label unit from −1 to +1,
    E(c_α = −1) − E(c_α = +1) = ∫ (−∂E/∂c_α) dc_α over [−1, 1], all the other labels at −1. The
    twin takes that slope where all labels are 0, −∂E/∂c_α = Σ_μ ξ_μα F′(ξ_μ·v), as if it were the
    same all the way: exact to first order in the label weights ξ_μα. For F(z) = z² it is exact but
    for a constant a label, −4 Σ_μ ξ_μα Σ_{γ≠α} ξ_μγ. Degree 2, rectified, is a layer of ReLUs.

    Reference: Krotov & Hopfield 2016, arXiv:1606.01164, section 4 (the duality).

    Args:
        classifier: Whose memories are shared: learning one is learning the other.

    Examples:
        >>> classifier = DenseClassifier(20, 3, memories=8, degree=2)
        >>> classifier.memories.data[:, 20:] *= 1e-3  # small label weights
        >>> v = torch.randn(5, 20)
        >>> bool((classifier.labels(v) / classifier.twin()(v) - 1).abs().max() < 0.1)
        True
    """

    def __init__(self, classifier: DenseClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, inputs: Float[Tensor, "*batch v"]) -> Float[Tensor, "*batch labels"]:
        """Computes the label units, each in (−1, 1)."""
        check_features(inputs, self.classifier.sizes[0])
        check_operand(inputs, self.classifier.memories)
        from_inputs, from_labels = self.classifier.memories.split(self.classifier.sizes, -1)
        hidden = self.classifier.interaction.slope(inputs @ from_inputs.mT)
        return (2 * hidden @ from_labels).tanh()
