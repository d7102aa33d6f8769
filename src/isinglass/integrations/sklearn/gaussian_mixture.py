"""scikit-learn's Gaussian mixture and the Hopfield–Boltzmann machine that is the same density."""

from __future__ import annotations

import numpy as np
import torch

from isinglass._support.optional import require_extra
from isinglass.energies import HopfieldBoltzmann
from isinglass.errors import IntractableError, ParameterError
from isinglass.units import Gaussian

with require_extra("sklearn"):
    from sklearn.mixture import GaussianMixture

__all__ = ["from_gaussian_mixture", "to_gaussian_mixture"]


@torch.no_grad()
def from_gaussian_mixture(mixture: GaussianMixture) -> HopfieldBoltzmann:
    r"""Converts a fitted Gaussian mixture of one variance σ² to a machine, in float64.

        x_μ = mean of component μ,   β = 1/σ²,   b = 0,   c_μ = σ² log π_μ − ½|x_μ|²

    so that ``machine.log_prob(v)`` is ``mixture.score_samples(v)`` and F(v) = −σ² (log p(v) +
    (d/2) log 2πσ²).

    Args:
        mixture: Fitted, of any ``covariance_type``, every covariance the same σ² times identity.

    Raises:
        ParameterError: If the mixture is not fitted.
        IntractableError: If components differ in variance, or are not spheres.

    Examples:
        >>> from sklearn.mixture import GaussianMixture
        >>> data = np.random.default_rng(0).normal(size=(50, 1))
        >>> mixture = GaussianMixture(1, covariance_type="spherical").fit(data)
        >>> machine = from_gaussian_mixture(mixture)
        >>> found = machine.log_prob(torch.as_tensor(data)).detach()
        >>> np.allclose(found, mixture.score_samples(data), atol=1e-10)
        True
    """
    if not hasattr(mixture, "means_"):
        raise ParameterError(f"{mixture} before fit", "Call mixture.fit(data) first")
    means, weights = torch.tensor(mixture.means_).double(), torch.tensor(mixture.weights_).double()
    variance = _shared_variance(mixture)
    machine = HopfieldBoltzmann.from_patterns(Gaussian(means.shape[-1]), means, beta=1 / variance)
    log_weights = weights.clamp_min(torch.finfo(weights.dtype).tiny).log()
    machine.memory_bias.copy_(variance * log_weights - means.square().sum(-1) / 2)
    return machine


@torch.no_grad()
def to_gaussian_mixture(machine: HopfieldBoltzmann) -> GaussianMixture:
    r"""Converts a Gaussian machine of one group and one draw to a fitted mixture.

        mean of μ = x_μ + b,   σ² = T = 1/β,   π_μ = p(μ)

    Args:
        machine: The machine; its tensors are copied to float64.

    Returns:
        A mixture of ``covariance_type="spherical"`` that predicts, scores and samples as the
        machine does, and that ``warm_start=True`` goes on fitting from.

    Raises:
        IntractableError: If it has several groups or draws, or other visible units.

    Examples:
        >>> import isinglass as ig
        >>> machine = ig.HopfieldBoltzmann(ig.Gaussian(2), memories=3)
        >>> to_gaussian_mixture(machine).predict_proba(np.zeros((1, 2))).shape
        (1, 3)
    """
    if not machine.visible.is_gaussian:
        raise IntractableError(f"visible units {machine.visible}", "Use Gaussian units")
    found = machine.mixture()
    weights = found.log_weights().double().exp()
    mixture = GaussianMixture(len(weights), covariance_type="spherical")
    variances = np.full(len(weights), found.temperature)
    vars(mixture).update(
        weights_=(weights / weights.sum()).cpu().numpy(),
        means_=found.fields.double().cpu().numpy(),
        covariances_=variances,
        precisions_=1 / variances,
        precisions_cholesky_=variances**-0.5,
        n_features_in_=machine.visible.size,
        converged_=True,
        n_iter_=0,
        lower_bound_=-np.inf,
    )
    return mixture


def _shared_variance(mixture: GaussianMixture) -> float:
    """Returns σ², where every covariance is σ² times identity."""
    count, size = vars(mixture)["means_"].shape
    found = np.asarray(vars(mixture)["covariances_"], dtype=float)
    if mixture.covariance_type == "spherical":
        found = found[:, None, None] * np.eye(size)
    elif mixture.covariance_type == "diag":
        found = found[:, :, None] * np.eye(size)
    found = np.broadcast_to(found, (count, size, size))  # a tied one is shared
    variance = float(found[0, 0, 0])
    off = float(np.abs(found - variance * np.eye(size)).max())
    if off > 1e-10 * variance:
        raise IntractableError(
            f"covariances that differ from {variance:.3g} times the identity by up to {off:.3g}",
            "Fit one variance for all instead: seed_memories and "
            "expectation_maximization(machine, data, learn_beta=True)",
        )
    return variance
