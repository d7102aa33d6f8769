"""Deep machines layer by layer: a stack of restricted Boltzmann machines, learned from below."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Generator, Tensor, nn

from isinglass._support.typing import Float
from isinglass._support.validation import check_like, check_rows
from isinglass.energies import RBM, DeepBoltzmann
from isinglass.errors import ParameterError
from isinglass.learning.fit import fit
from isinglass.learning.objectives.base import Objective
from isinglass.learning.trainer.evaluation import Likelihood
from isinglass.learning.trainer.history import FitReport
from isinglass.learning.trainer.loop import MakeOptimizer
from isinglass.units import Mixed, Unit

__all__ = ["greedy_pretraining"]


def greedy_pretraining(
    machine: DeepBoltzmann,
    data: Float[Tensor, "n d"],
    objective: Objective | None = None,
    *,
    epochs: int = 50,
    batch_size: int | None = None,
    optimizer: MakeOptimizer | None = None,
    score: Likelihood | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    generator: Generator | None = None,
) -> list[FitReport]:
    r"""Pre-trains a stack greedily, layer by layer as RBMs, each on the means of the one below.

    In the deep machine a hidden layer hears two neighbors, as a layer of an RBM it hears one. So
    each RBM is learned with twice the weight toward layers that will hear another one too,

        h₁ hears 2W₁v,  v hears W₁ᵀh₁       bottom: two copies of the visible layer
        h_l hears 2W_l h_{l−1} and the other way round       between: weights halved at the end
        h_L hears W_L h_{L−1},  h_{L−1} hears 2W_Lᵀh_L       top: two copies of the last layer

    and a layer between two RBMs takes the mean of the biases that they give it: half of each of
    the two models. Then fit the whole machine to the data: :func:`~isinglass.learning.fit`.

    Reference: Hinton, Osindero & Teh 2006, doi:10.1162/neco.2006.18.7.1527 (greedy learning);
    Salakhutdinov & Hinton 2009, "Deep Boltzmann machines", AISTATS (weights doubled and halved).

    Args:
        machine: A stack, each layer joined to the next; changed in place. Its parameters are where
            learning starts.
        data: ``(n, d)``, states of the visible units.
        objective: What each RBM learns by; None is as in :func:`~isinglass.learning.fit`.
        epochs: How often each RBM sees the data.
        batch_size: Examples in a step.
        optimizer: Makes the optimizer of each RBM.
        score: How each RBM is scored, and how often.
        checkpoint: A file for the state of learning; each layer adds its number to the name.
        resume: Whether to go on from those files, as far as they are there.
        progress: Whether to show a bar for each layer on a terminal.
        generator: Source of all that is random; None is torch's global one.

    Returns:
        How each layer went, from below.

    Raises:
        ParameterError: If the machine is no stack, or a setting is out of range.
        ShapeError: If the data are not rows, or have the wrong number of features.
        DomainError: If they are not states of the visible units.
        IsinglassError: As :func:`~isinglass.learning.fit`.

    Examples:
        >>> import isinglass as ig
        >>> generator = torch.Generator().manual_seed(0)
        >>> data = torch.eye(4).repeat(50, 1)
        >>> layers = [ig.Bernoulli(4), ig.Bernoulli(3), ig.Bernoulli(2)]
        >>> machine = ig.DeepBoltzmann(layers, generator=generator)
        >>> reports = greedy_pretraining(
        ...     machine, data, epochs=3, progress=False, generator=generator)
        >>> len(reports)
        2
    """
    pairs = getattr(machine, "couplings", ())
    stack = tuple((index, index + 1) for index in range(len(pairs)))
    if not isinstance(machine, DeepBoltzmann) or pairs != stack:
        raise ParameterError(
            f"a {type(machine).__name__} with couplings {list(pairs)}",
            "Give a DeepBoltzmann whose layers are joined each to the next; others learn by fit",
        )
    check_rows(data)
    machine.visible.check(data)
    check_like(data, machine.biases[0])
    reports = []
    heard = [torch.zeros_like(bias) for bias in machine.biases]
    for index, (below, above) in enumerate(_copies(len(stack))):
        layer = _layer(machine, index, below, above)
        reports.append(
            fit(
                layer, data.repeat(1, below), objective, epochs=epochs, batch_size=batch_size,
                optimizer=optimizer, centered=below == above, score=score,
                resume=resume, progress=progress,
                checkpoint=None if checkpoint is None else _number(checkpoint, index),
                generator=generator,
            )
        )  # fmt: skip
        weight, *biases = (value.detach() for value in layer.parameters())
        machine.weights[index].data.copy_(weight / _twice(machine, index))
        for total, bias in zip(heard[index : index + 2], biases, strict=True):
            total += bias
        data = _draw(machine.layers[index + 1], layer, data.repeat(1, below), generator)
    for index, (bias, found) in enumerate(zip(machine.biases, heard, strict=True)):
        bias.data.copy_(found / (2 if 0 < index < len(stack) else 1))
    return reports


class _Copied(RBM):
    """An RBM of several copies of a layer, all with the same weights and biases."""

    def __init__(self, visible: Unit, hidden: Unit, below: int, above: int) -> None:
        super().__init__(visible, hidden, generator=Generator())
        self.copies = (below, above)

    @property
    def layers(self) -> tuple[Unit, ...]:
        """The copies side by side."""
        pairs = zip(self._layers, self.copies, strict=True)
        return tuple(Mixed([layer] * count) for layer, count in pairs)

    @property
    def weights(self) -> list[Tensor]:
        """One matrix for all pairs of copies."""
        below, above = self.copies
        return [weight.repeat(above, below) for weight in self._own("weights")]

    @property
    def biases(self) -> list[Tensor]:
        """One bias for all copies of a layer."""
        pairs = zip(self._own("biases"), self.copies, strict=True)
        return [bias.repeat(count) for bias, count in pairs]

    def _own(self, name: str) -> nn.ParameterList:
        """What is learned, once: the module behind the property of that name."""
        return cast("nn.ParameterList", self._modules[name])


def _layer(machine: DeepBoltzmann, index: int, below: int, above: int) -> RBM:
    """The RBM of layers ``index`` and the next, whose parameters start at the machine's."""
    visible, hidden = machine.layers[index : index + 2]
    if below == above:
        layer = RBM(visible, hidden, generator=Generator())
    else:
        layer = _Copied(visible, hidden, below, above)
    layer.to(machine.weights[index])
    start = [machine.weights[index] * _twice(machine, index), *machine.biases[index : index + 2]]
    for own, value in zip(layer.parameters(), start, strict=True):
        own.data.copy_(value.detach())
    return layer


def _twice(machine: DeepBoltzmann, index: int) -> int:
    """How many times its weight in the machine an RBM has: 2 between two others."""
    return 2 if 0 < index < len(machine.weights) - 1 else 1


@torch.no_grad()
def _draw(hidden: Unit, layer: RBM, data: Tensor, generator: Generator | None) -> Tensor:
    """The hidden layer once, given data in all copies of the visible one."""
    field = layer.conditional_field(layer.extend(data), 1)
    return hidden.sample(field[..., : hidden.size], layer.temperature, generator)


def _copies(layers: int) -> list[tuple[int, int]]:
    """How many copies each layer has below and above."""
    if layers == 1:
        return [(1, 1)]
    return [(2, 1), *[(1, 1)] * (layers - 2), (1, 2)]


def _number(path: str | Path, layer: int) -> Path:
    path = Path(path)
    return path.with_name(f"{path.stem}-{layer + 1}{path.suffix}")
