r"""What one unit is: a convex log-partition function of its input field.

A layer of units receives a field ``I`` and takes a state ``s`` with probability
proportional to ``exp((I·s − U(s))/T)``. Three functions of the field say everything:

    A_T(I)  = T log Σ_s exp((I·s − U(s))/T)     log-partition (an integral for continuous s)
    mean    = ∂A_T/∂I                           the mean activation
    sample  ~ exp((I·s − U(s) − A_T(I))/T)      a draw

As T → 0 the mean and the draw become the same thing: sign, step, identity, arg-max
(Krotov & Hopfield 2021, arXiv:2008.06996, where A is the Lagrangian of a layer).

All kinds take a field of shape ``(*batch, size)``. ``log_partition`` returns the layer's total,
``(*batch,)``; ``mean`` and ``sample`` return states, ``(*batch, size)``. Temperature is in the
units of the energy.
"""

from isinglass.units.base import Unit
from isinglass.units.binary import Bernoulli, Spin
from isinglass.units.categorical import Categorical, Multinomial
from isinglass.units.composite import Mixed
from isinglass.units.gaussian import Gaussian, RectifiedGaussian

__all__ = [
    "Bernoulli",
    "Categorical",
    "Gaussian",
    "Mixed",
    "Multinomial",
    "RectifiedGaussian",
    "Spin",
    "Unit",
]
