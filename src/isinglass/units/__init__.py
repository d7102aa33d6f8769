r"""What one unit is: a convex log-partition function of its input field.

An area of units receives a field ``I`` and takes a state ``s`` with probability
proportional to ``exp((I·s − U(s))/T)``. Three functions of the field say everything:

    A_T(I)  = T log Σ_s exp((I·s − U(s))/T)     log-partition (an integral for continuous s)
    mean    = ∂A_T/∂I                           the mean activation
    sample  ~ exp((I·s − U(s) − A_T(I))/T)      a draw

As T → 0 the mean and the draw become the same thing: sign, step, identity, arg-max
(Krotov & Hopfield 2021, arXiv:2008.06996, where A is the Lagrangian of a layer).

All kinds take a field of shape ``(*batch, size)``. ``log_partition`` returns the area's total,
``(*batch,)``; ``mean`` and ``sample`` return states, ``(*batch, size)``. Temperature is in the
units of the energy.
"""

from isinglass.units.continuous import Gaussian, ReLU
from isinglass.units.mixed import Mixed
from isinglass.units.one_hot import AveragedOneHot, OneHot
from isinglass.units.two_state import Bit, Spin
from isinglass.units.unit import Unit

__all__ = ["AveragedOneHot", "Bit", "Gaussian", "Mixed", "OneHot", "ReLU", "Spin", "Unit"]
