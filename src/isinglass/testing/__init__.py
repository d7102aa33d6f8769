"""The properties that every unit, energy, kernel and path keeps; run them on your own.

Each function returns nothing and raises :class:`PropertyViolation` with the numbers that disagree.
How far numbers may disagree follows from the arithmetic: :mod:`isinglass.testing.tolerance`.
"""

from isinglass.testing.energies import (
    check_free_energy,
    check_gradient,
    check_posterior_gradient,
    check_round_trip,
)
from isinglass.testing.kernels import (
    check_batch_invariance,
    check_mean_field,
    check_monotone,
    check_stationary,
    check_stationary_density,
)
from isinglass.testing.paths import check_path
from isinglass.testing.property import PropertyViolation
from isinglass.testing.thinkers import check_exchangeable
from isinglass.testing.tolerance import IDENTITY, energy_tolerance, rounding, sampling_error
from isinglass.testing.units import check_unit

__all__ = [
    "IDENTITY",
    "PropertyViolation",
    "check_batch_invariance",
    "check_exchangeable",
    "check_free_energy",
    "check_gradient",
    "check_mean_field",
    "check_monotone",
    "check_path",
    "check_posterior_gradient",
    "check_round_trip",
    "check_stationary",
    "check_stationary_density",
    "check_unit",
    "energy_tolerance",
    "rounding",
    "sampling_error",
]
