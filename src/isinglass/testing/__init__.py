"""The laws that every unit, energy and kernel keeps; run them on your own.

Each function returns nothing and raises :class:`LawViolation` with the numbers that disagree.
"""

from isinglass.testing.energy_laws import (
    check_free_energy,
    check_gradient,
    check_posterior_gradient,
    check_round_trip,
)
from isinglass.testing.kernel_laws import (
    check_batch_invariance,
    check_mean_field,
    check_monotone,
    check_stationary,
    check_stationary_density,
)
from isinglass.testing.law import LawViolation
from isinglass.testing.unit_laws import check_unit

__all__ = [
    "LawViolation",
    "check_batch_invariance",
    "check_free_energy",
    "check_gradient",
    "check_mean_field",
    "check_monotone",
    "check_posterior_gradient",
    "check_round_trip",
    "check_stationary",
    "check_stationary_density",
    "check_unit",
]
