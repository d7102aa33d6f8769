"""scikit-learn's mixture and the machine: the same density, both ways."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture

import isinglass as ig
from isinglass.errors import IntractableError, ParameterError
from isinglass.integrations.sklearn import from_gaussian_mixture, to_gaussian_mixture
from tests.cases import double, hopfield_boltzmann
from tests.seeds import SEED, seeded

COVARIANCES = {
    "spherical": lambda count, size, v: np.full(count, v),
    "tied": lambda count, size, v: v * np.eye(size),
    "diag": lambda count, size, v: np.full((count, size), v),
    "full": lambda count, size, v: np.stack([v * np.eye(size)] * count),
}
FACTORS = {
    "spherical": lambda c: c**-0.5, "diag": lambda c: c**-0.5,
    "tied": lambda c: np.linalg.inv(np.linalg.cholesky(c)).T,
    "full": lambda c: np.stack([np.linalg.inv(np.linalg.cholesky(one)).T for one in c]),
}  # fmt: skip


def mixture_of(kind: str, variance: float = 0.6) -> GaussianMixture:
    covariances = COVARIANCES[kind](3, 2, variance)
    mixture = GaussianMixture(3, covariance_type=kind)
    vars(mixture).update(
        weights_=np.array([0.5, 0.3, 0.2]), means_=double(3, 2).numpy(),
        covariances_=covariances, precisions_cholesky_=FACTORS[kind](covariances),
    )  # fmt: skip
    return mixture


@pytest.mark.parametrize("kind", COVARIANCES)
def test_a_mixture_is_a_machine(kind):
    mixture, v = mixture_of(kind), double(20, 2, seed=1)
    machine = from_gaussian_mixture(mixture)
    scores = machine.log_prob(v).detach().numpy()
    np.testing.assert_allclose(scores, mixture.score_samples(v.numpy()), atol=1e-10, rtol=0)
    free = machine.free_energy(v).detach().numpy()
    volume = np.log(2 * np.pi * 0.6)
    expected = -0.6 * (mixture.score_samples(v.numpy()) + volume)
    np.testing.assert_allclose(free, expected, atol=1e-10, rtol=0)
    back = to_gaussian_mixture(machine)
    np.testing.assert_allclose(back.weights_, mixture.weights_, atol=1e-12)
    np.testing.assert_allclose(back.means_, mixture.means_, atol=1e-12)
    np.testing.assert_allclose(back.covariances_, 0.6)


def test_a_machine_is_a_mixture():
    machine, v = hopfield_boltzmann(ig.Gaussian(3), memories=4, beta=1.4), double(20, 3, seed=1)
    mixture = to_gaussian_mixture(machine)
    scores = torch.from_numpy(mixture.score_samples(v.numpy()))
    torch.testing.assert_close(scores, machine.log_prob(v).detach(), atol=1e-10, rtol=0)
    read = machine.mixture().responsibilities(v).detach().numpy()
    np.testing.assert_allclose(mixture.predict_proba(v.numpy()), read, atol=1e-10)
    assert mixture.sample(5)[0].shape == (5, 3)
    back = from_gaussian_mixture(mixture)
    torch.testing.assert_close(back.log_prob(v), machine.log_prob(v), atol=1e-10, rtol=0)
    # b went into the patterns; free energies differ by a constant, which log_prob takes off.
    gap = (back.free_energy(v) - machine.free_energy(v)).detach()
    torch.testing.assert_close(gap, gap[:1].expand(20), atol=1e-10, rtol=0)


def test_scikit_learn_goes_on_from_a_machine():
    machine = hopfield_boltzmann(ig.Gaussian(2))
    mixture = to_gaussian_mixture(machine).set_params(warm_start=True, max_iter=50)
    data = machine.sample(500, generator=seeded(0)).numpy()
    before = mixture.score(data)
    assert mixture.fit(data).score(data) >= before


def test_what_cannot_be_converted():
    data = double(50, 2).numpy()
    with pytest.raises(ParameterError, match="before fit"):
        from_gaussian_mixture(GaussianMixture())
    with pytest.raises(NotFittedError):
        GaussianMixture().predict(data)
    for kind in COVARIANCES:
        fitted = GaussianMixture(2, covariance_type=kind, random_state=SEED).fit(data)
        with pytest.raises(IntractableError, match="learn_beta=True"):
            from_gaussian_mixture(fitted)
    for machine in (
        hopfield_boltzmann(ig.Spin(3)),
        hopfield_boltzmann(ig.Gaussian(3), groups=2),
        hopfield_boltzmann(ig.Gaussian(3), draws=2),
    ):
        with pytest.raises(IntractableError):
            to_gaussian_mixture(machine)
