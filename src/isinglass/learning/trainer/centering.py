"""Centered gradients: learning that does not care where zero is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from isinglass._support.typing import Float
from isinglass.energies import Harmonium

__all__ = ["centered_step", "layer_means"]

FEW = 200  # rows, whose hidden means are offsets good enough to start from


@contextmanager
def centered_step(machine: Harmonium, offsets: list[Tensor]) -> Iterator[None]:
    r"""Makes the optimizer's step inside the block one of the centered machine.

        E(s) = Σ_a U(s_a) − b̃_a·s_a − Σ_{(a,b)} (s_b − μ_b)ᵀ W_ab (s_a − μ_a)

    is, but for a constant, the same machine with b_a = b̃_a − Σ W μ of its neighbors.
    In (W, b̃) the gradient is

        ∇W_ab − ∇b_b μ_aᵀ − μ_b ∇b_aᵀ   and   ∇b_a

    Weights are given this gradient, and after the step the biases follow the weights,
    b_a ← b_a − Σ ΔW μ, whatever the optimizer. Any offsets are right, as the machine stays the
    same; with those halfway between the means of data and model the step is the enhanced
    gradient, which does not change when bits are flipped in data and machine alike.

    Reference: Melchior, Fischer & Wiskott 2016, "How to center deep Boltzmann machines", JMLR 17;
    Cho, Raiko & Ilin 2013, doi:10.1162/NECO_a_00397.

    Args:
        machine: Whose weights' ``grad`` are changed in place. A weight is left out if it, or the
            bias of a layer that it joins, has none: what is frozen stays.
        offsets: μ, one tensor a layer.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Bernoulli(2), ig.Bernoulli(1), scale=0.0)
        >>> optimizer = torch.optim.SGD(rbm.parameters(), lr=1.0)
        >>> rbm.free_energy(torch.ones(1, 2)).sum().backward()
        >>> with centered_step(rbm, [torch.ones(2), torch.full((1,), 0.5)]):
        ...     optimizer.step()
        >>> rbm.weight.detach()  # the data are where they are expected: half of plain 0.5 … −0.5
        tensor([[-0.5000, -0.5000]])
    """
    slopes = [bias.grad for bias in machine.biases]
    moved: list[tuple[int, int, Tensor, Tensor]] = []
    with torch.no_grad():
        for (first, second), weight in zip(machine.couplings, machine.weights, strict=True):
            below, above = slopes[first], slopes[second]
            if weight.grad is not None and below is not None and above is not None:
                left = torch.stack([above, offsets[second]], 1)
                weight.grad.addmm_(left, torch.stack([offsets[first], below]), alpha=-1)
                moved.append((first, second, weight, weight.clone()))
    yield
    with torch.no_grad():
        for first, second, weight, before in moved:
            change = before.sub_(weight)
            machine.biases[first].addmv_(change.mT, offsets[second])
            machine.biases[second].addmv_(change, offsets[first])


@torch.no_grad()
def layer_means(
    machine: Harmonium, batch: Float[Tensor, "batch d"], chains: Float[Tensor, "chains size"] | None
) -> list[Tensor]:
    """Computes the mean state μ of every layer, halfway between data and model.

    The gradient of a bias is T⁻¹ times how much larger its mean is in the model than on data,
    so one of the two means gives the other: that of the chains, if there are any, else that of
    the data, hidden layers at their means given the visible one (for large batches given an even
    choice of rows: any offsets are right).
    """
    data = chains is None
    half = machine.temperature / (2 if data else -2)
    if data:
        few = batch[:: -(-len(batch) // FEW)]
        state = machine.mean_sweep(machine.extend(few), machine.temperature)
        means = [batch.mean(0), *(part.mean(0) for part in machine.split(state)[1:])]
    else:
        means = list(machine.split(chains.mean(0)))
    return [
        mean if bias.grad is None else mean.add_(bias.grad, alpha=half)
        for mean, bias in zip(means, machine.biases, strict=True)
    ]
