r"""How far apart two computations of one number may lie: eps times what is summed.

Of two computations of one number the library promises one of two things.

* **To the bit**: the same operations on operands of the same shapes; copies; files read back;
  draws from the same seed; sums of whole numbers that the dtype holds exactly, such as overlaps of
  spins and Hebb's couplings. These hold on every machine and need no tolerance.
* **To rounding**: whatever adds its terms in another order, such as a row alone and in a batch, one
  thread and two, a closed form and the sum it stands for. Processors differ in the order in which
  they add and in the last digit of exp, so such numbers agree within a bound, never to the bit.

The bound holds for every order of addition (Higham 2002, "Accuracy and Stability of Numerical
Algorithms", eq. 4.4): n numbers add up with an error of at most (n − 1) u Σ\|terms\|, where
u = eps/2; terms that are rounded themselves, such as products, make it n u Σ\|terms\|. Two
computations differ by twice that,

    |found − expected| ≤ n · eps · Σ|terms|

and where sums are summed again, n is the sum of their lengths.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from isinglass._support.typing import Float
from isinglass.core.energy import Energy
from isinglass.testing.property import FIVE_SIGMA

__all__ = ["IDENTITY", "energy_tolerance", "rounding", "sampling_error"]

#: Largest relative difference, in float64, of two formulas for the same number: what the theory
#: promises of its identities. It is 4.5 million eps, so exp and log may magnify rounding a million
#: times, and no wrong term is ever that small.
IDENTITY = 1e-9


def rounding(summed: Float[Tensor, "*shape"], terms: int) -> Float[Tensor, "*shape"]:
    r"""Bounds how far two sums of the same terms, in any order, lie apart: n · eps · Σ\|terms\|.

    Args:
        summed: Σ\|terms\|, the sum without signs, in the dtype in which it is computed.
        terms: n, how many additions lead to the sum, one after another.

    Returns:
        The bound, shaped as ``summed``.

    Examples:
        >>> rows = torch.randn(5, 1000)
        >>> forth, back = rows.sum(-1), rows.flip(-1).sum(-1)
        >>> bool(((forth - back).abs() <= rounding(rows.abs().sum(-1), 1000)).all())
        True
    """
    return terms * torch.finfo(summed.dtype).eps * summed.abs()


def sampling_error(
    variance: Float[Tensor, "*shape"], largest: Float[Tensor, "*shape"], count: int
) -> Float[Tensor, "*shape"]:
    r"""Bounds how far the mean of n independent draws lies from their expectation, at 5 σ.

    Bernstein's inequality, which holds where draws are rare events as well: where a spin turns over
    once in a million draws, five standard deviations are passed by the first that does.

        |mean − μ| ≤ √(2 L σ²/n) + L M/(3n),    L = ln(2/δ),

    δ = 6e-7 the chance of a normal number beyond five deviations.

    Args:
        variance: σ² of one draw.
        largest: M, the most that a draw lies off μ.
        count: n.

    Returns:
        The bound, shaped as ``variance``.

    Examples:
        >>> draws = torch.bernoulli(torch.full((10_000,), 1e-5))
        >>> bound = sampling_error(torch.tensor(1e-5), torch.tensor(1.0), 10_000)
        >>> bool((draws.mean() - 1e-5).abs() <= bound)
        True
    """
    rarity = math.log(2 / FIVE_SIGMA)
    return (2 * rarity * variance / count).sqrt() + rarity * largest / (3 * count)


@torch.no_grad()
def energy_tolerance(
    energy: Energy, state: Float[Tensor, "batch size"], *energies: Float[Tensor, " batch"]
) -> Float[Tensor, ""]:
    r"""Bounds how far two evaluations of E at the same states lie apart: one number for all.

    What E adds up is not seen from outside. The largest \|E\| among the states stands for
    Σ\|terms\|, or 1 if all are smaller: fair unless the terms cancel in every state. n is the
    size of the state plus the longest side of each tensor of the energy, since a product with a
    tensor sums over one of its sides.

    Args:
        energy: E.
        state: States, several of them so that not all of their energies are small by chance.
        energies: E at these states, or at others that are compared with them; E(state) unless
            given.

    Returns:
        The bound, in the units of E.

    Examples:
        >>> import isinglass as ig
        >>> memory = ig.ModernHopfield(torch.eye(3, dtype=torch.float64), beta=2.0)
        >>> bool(energy_tolerance(memory, torch.rand(4, 3, dtype=torch.float64)) < 1e-14)
        True
    """
    values = torch.cat([value.flatten() for value in energies or (energy(state),)])
    held = [*energy.parameters(), *energy.buffers()]
    terms = state.shape[-1] + sum(max(tensor.shape, default=1) for tensor in held)
    return rounding(values.abs().amax().clamp_min(1.0), terms)
