"""How much memories hold: the theory as functions, and the same by simulation."""

from isinglass.analysis.capacity.classical import (
    critical_load,
    gardner_load,
    one_step_error,
    perfect_recall_patterns,
    projection_stability,
    retrieval_overlap,
    separable_probability,
)
from isinglass.analysis.capacity.dense import (
    dense_critical_load,
    dense_one_step_error,
    dense_perfect_recall_patterns,
    exponential_recall_patterns,
)
from isinglass.analysis.capacity.modern import (
    StorageCapacity,
    basin_radius,
    contraction_beta,
    exact_retrieval_radius,
    fixed_point_error_bound,
    jacobian_bound,
    retrieval_error_bound,
    separation,
    storage_capacity,
)
from isinglass.analysis.capacity.simulation import (
    Estimate,
    large_size_limit,
    simulate_one_step_error,
    simulate_overlaps,
)

__all__ = [
    "Estimate",
    "StorageCapacity",
    "basin_radius",
    "contraction_beta",
    "critical_load",
    "dense_critical_load",
    "dense_one_step_error",
    "dense_perfect_recall_patterns",
    "exact_retrieval_radius",
    "exponential_recall_patterns",
    "fixed_point_error_bound",
    "gardner_load",
    "jacobian_bound",
    "large_size_limit",
    "one_step_error",
    "perfect_recall_patterns",
    "projection_stability",
    "retrieval_error_bound",
    "retrieval_overlap",
    "separable_probability",
    "separation",
    "simulate_one_step_error",
    "simulate_overlaps",
    "storage_capacity",
]
