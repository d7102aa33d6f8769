"""What the energy of the world says of some columns, given others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_features, check_generator, check_tensor
from isinglass.distributions import PatternMixture
from isinglass.errors import ParameterError
from isinglass.world.columns import NAMES, REAL, WorldColumns

__all__ = ["WorldConditional"]


@dataclass(frozen=True)
class WorldConditional:
    """The exact distribution of columns of a transition given others, one row a question.

    Attributes:
        columns: What a transition is made of.
        mixture: The conditioned mixture of stored patterns.
        scales: The width of every real number.
        given: The names of the columns that are given.

    Examples:
        >>> from isinglass import Categorical
        >>> from isinglass.world import WorldEnergy
        >>> world = WorldEnergy(WorldColumns(Categorical(3), Categorical(2)))
        >>> world.store([0, 0, 1], [1, 1, 1], [0.0, 0.0, 1.0], [1, 2, 2], [False, False, True])
        >>> world.conditional(state=[0], action=[1]).probs("next_state").round(decimals=3)
        tensor([[0.0000, 0.5000, 0.5000]], dtype=torch.float64)
        >>> world.conditional(next_state=[2]).mean("reward").round(decimals=3)
        tensor([0.5000], dtype=torch.float64)
    """

    columns: WorldColumns
    mixture: PatternMixture
    scales: Mapping[int, float]
    given: tuple[str, ...]

    @property
    def log_evidence(self) -> Float[Tensor, " B"]:
        """log p of what is given, whose patterns are normalized."""
        return self.mixture.value().reshape(-1)

    @property
    def weights(self) -> Float[Tensor, "B N"]:
        """p(μ | given) of every stored pattern."""
        return self.mixture.log_weights().exp()

    def probs(self, name: str) -> Tensor | list[Tensor]:
        """Computes the probabilities of the choices of a column, ``(B, choices)``.

        Returns:
            One tensor, or a list of them where the column has several choices.

        Raises:
            ParameterError: If the column has real numbers, or there is none of that name.
        """
        choices = self.columns.choices(name)
        if REAL in choices:
            raise ParameterError(f"probabilities of the real column {name}", "Ask for its mean")
        groups = self.columns.unit.split(self._means())[self.columns.place(name)]
        found = [group[:, :count] for group, count in zip(groups, choices, strict=True)]
        return found[0] if len(found) == 1 else found

    def mean(self, name: str) -> Float[Tensor, "B *k"]:
        """Computes the mean of a column's numbers: of a bit the probability of 1.

        Raises:
            ParameterError: If a number is a choice of more than two, or no such column is there.
        """
        place = self.columns.place(name) if name in NAMES else slice(0)
        numbers = []
        groups = self.columns.unit.split(self._means())[place]
        for where, group, count in zip(
            range(place.start or 0, place.stop), groups, self.columns.choices(name), strict=True
        ):
            if count > 2:
                raise ParameterError(f"the mean of choices of {name}", "Ask for its probs")
            numbers.append(group[:, 0] * self.scales[where] if count == REAL else group[:, 1])
        mean = torch.stack(numbers, -1)
        return mean[:, 0] if mean.shape[1] == 1 else mean

    def sample(self, generator: Generator | None = None) -> dict[str, Tensor]:
        """Draws a transition for each row, what is given staying as it is."""
        check_generator(generator)
        return self.decode(self.mixture.sample(generator))

    def decode(self, state: Float[Tensor, "B d"]) -> dict[str, Tensor]:
        """Returns states of the joint units as values by column.

        Raises:
            ShapeError: If they are of another width.
        """
        check_tensor("state", state)
        check_features(state, self.columns.unit.size)
        numbers = []
        sizes = [n for name in NAMES for n in self.columns.choices(name)]
        for place, (group, count) in enumerate(
            zip(self.columns.unit.split(state), sizes, strict=True)
        ):
            real = group[:, 0] * self.scales[place] if count == REAL else group.argmax(-1)
            numbers.append(real.to(state.dtype))
        rows = torch.stack(numbers, -1)
        return {
            name: self.columns.decode(name, rows[:, self.columns.place(name)]) for name in NAMES
        }

    def _means(self) -> Tensor:
        mean = self.mixture.mean()
        return mean if mean.ndim == 2 else mean.unsqueeze(0)
