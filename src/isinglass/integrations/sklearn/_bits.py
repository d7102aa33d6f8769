"""Learning of a restricted Boltzmann machine of bits, every gradient in closed form."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Generator, Tensor
from torch.nn.functional import logsigmoid, softplus

from isinglass._support.typing import Float
from isinglass.energies import RBM

__all__ = ["PersistentChains", "bits_of", "pseudo_likelihood"]

#: Of a new mean in the running mean of offsets: Melchior et al. 2016.
OFFSET_RATE = 0.01
#: Most numbers of rows × hidden units × sites looked at at once.
BLOCK = 1 << 22


class PersistentChains:
    r"""Persistent contrastive divergence of one step, with centered gradients and momentum.

        ∇W = ⟨h vᵀ⟩_data − ⟨h vᵀ⟩_chains − ∇c μ_vᵀ − μ_h ∇bᵀ

    the step of :func:`~isinglass.learning.fit` with ``PersistentCD(steps=1)``, without its
    generality: for one step on ten rows that is most of the time. Random numbers are drawn in
    single precision whatever the machine's, so that fits differ by rounding only.

    Args:
        machine: Changed in place.
        chains: How many; they start with all hidden units off.
        mean: ⟨v⟩ of the data, ``(d,)``, where offsets start.
        learning_rate: Step size.
        momentum: Share of the last step in the next one.
        centered: Whether gradients are centered; else μ is zero.
        generator: Source of randomness.
    """

    def __init__(
        self,
        machine: RBM,
        chains: int,
        mean: Float[Tensor, " d"],
        *,
        learning_rate: float,
        momentum: float,
        centered: bool,
        generator: Generator,
    ) -> None:
        self.machine, self.generator = machine, generator
        self.learning_rate, self.momentum, self.centered = learning_rate, momentum, centered
        weight, (visible, hidden) = machine.weight.detach(), machine.biases
        self._kept: Tensor | None = None
        self.hidden = weight.new_zeros(chains, len(weight))
        self.speed = torch.zeros_like(weight), torch.zeros_like(visible), torch.zeros_like(hidden)
        self.offsets = torch.zeros_like(mean), torch.zeros_like(hidden)
        if centered:
            self.offsets = mean.clone(), torch.sigmoid(weight @ mean + hidden.detach())

    @torch.no_grad()
    def run(self, batches: Iterable[Float[Tensor, "batch d"]]) -> None:
        """Takes a step up the likelihood for each batch of bits, the chains moved on before it."""
        # Fetched once, as a module is slow to ask; few large products, as each call has its price.
        weight, (b, c) = self.machine.weight.detach(), (x.detach() for x in self.machine.biases)
        (speed, speed_b, speed_c), (mean_v, mean_h) = self.speed, self.offsets
        rate, fall, chains = self.learning_rate, self.momentum, len(self.hidden)
        for data in batches:
            # Data, then fantasies; the rows are summed by what they count in gradients and means.
            below = torch.cat([data, self._draw(torch.addmm(b, self.hidden, weight).sigmoid_())])
            above = torch.addmm(c, below, weight.mT).sigmoid_()
            self.hidden = self._draw(above[len(data) :])
            counts = self._counts(len(data), chains)
            (slope_b, middle_v), (slope_c, middle_h) = counts @ below, counts @ above
            above *= counts[0].unsqueeze(1)
            if self.centered:
                mean_v.lerp_(middle_v, OFFSET_RATE)
                mean_h.lerp_(middle_h, OFFSET_RATE)
                above = torch.cat([above, torch.stack([slope_c, mean_h]).neg_()])
                below = torch.cat([below, torch.stack([mean_v, slope_b])])
            speed.addmm_(above.mT, below, beta=fall)
            speed_b.mul_(fall).add_(slope_b)
            speed_c.mul_(fall).add_(slope_c)
            weight.add_(speed, alpha=rate)
            b.add_(speed_b, alpha=rate)
            c.add_(speed_c, alpha=rate)
            if self.centered:  # the centered machine's own biases stay: these follow the weights
                b.addmv_(speed.mT, mean_h, alpha=-rate)
                c.addmv_(speed, mean_v, alpha=-rate)

    def _counts(self, batch: int, chains: int) -> Tensor:
        """Returns what data and fantasies count in a gradient and in a mean, ``(2, rows)``."""
        if self._kept is None or self._kept.shape[1] != batch + chains:
            signs = self.hidden.new_tensor([[1.0, -1.0], [0.5, 0.5]])
            sizes = torch.tensor([batch, chains])
            self._kept = (signs / sizes).repeat_interleave(sizes, 1)
        return self._kept

    def _draw(self, probability: Tensor) -> Tensor:
        uniform = torch.rand(probability.shape, dtype=torch.float32, generator=self.generator)
        return (uniform < probability).to(probability)


def bits_of(shades: Float[Tensor, "n d"], generator: Generator) -> Float[Tensor, "n d"]:
    """Draws a bit of each number between 0 and 1; numbers at an end are certain, and not drawn.

    Examples:
        >>> bits_of(torch.tensor([[0.0, 1.0, 1.0]]), torch.Generator())
        tensor([[0., 1., 1.]])
    """
    gray = (shades > 0) & (shades < 1)
    if not bool(gray.any()):
        return shades
    probability = shades[gray]
    uniform = torch.rand(probability.shape, dtype=torch.float32, generator=generator)
    return shades.masked_scatter(gray, (uniform < probability).to(shades))


@torch.no_grad()
def pseudo_likelihood(
    machine: RBM, bits: Float[Tensor, "n d"], site: Tensor | None = None
) -> Float[Tensor, " n"]:
    """Computes Σ_i log p(v_i | all others) of each row, by what hidden fields change with a bit.

    Args:
        machine: Of bits on both sides.
        bits: v.
        site: One unit a row, ``(n,)``, which then stands for all d; None is every unit.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Bernoulli(3), ig.Bernoulli(2), scale=0.0)
        >>> pseudo_likelihood(rbm, torch.ones(1, 3)).exp()  # three fair coins
        tensor([0.1250])
    """
    weight, (b, c) = machine.weight, machine.biases
    field = torch.addmm(c, bits, weight.mT)
    turn = 1 - 2 * bits
    if site is not None:
        turn = turn.gather(1, site.unsqueeze(1))
        rise = softplus(field + turn * weight.mT[site]) - softplus(field)
        return bits.shape[1] * logsigmoid(-turn.squeeze(1) * b[site] - rise.sum(1))
    total = torch.zeros_like(bits[:, 0])
    width = max(1, BLOCK // max(1, len(bits) * len(weight)))
    base = softplus(field).sum(1, keepdim=True)
    for place in range(0, bits.shape[1], width):
        part = slice(place, place + width)
        moved = field.unsqueeze(1) + turn[:, part].unsqueeze(-1) * weight.mT[part]
        rise = softplus(moved).sum(-1) - base
        total += logsigmoid(-turn[:, part] * b[part] - rise).sum(1)
    return total
