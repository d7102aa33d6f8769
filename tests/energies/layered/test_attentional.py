"""The attentional Boltzmann machine: everything about it is closed, and each closed form holds."""

import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

import isinglass as ig
from isinglass.errors import DomainError, ShapeError
from tests.cases import double

EXACT = {"atol": 1e-10, "rtol": 0.0}


def parameters(size: int, memories: int = 4):
    """W, b, c."""
    return double(memories, size), double(size, seed=1), double(memories, seed=2)


def energy(v, weight, b, c):
    """½|v − b|² − lse(Wv + c), as Ota and Karakida write it."""
    return (v - b).square().sum(-1) / 2 - torch.logsumexp(v @ weight.mT + c, -1)


def log_z(weight, b, c):
    """lse_μ(½|w_μ|² + b·w_μ + c_μ) + (d/2) log 2π."""
    reach = weight.square().sum(-1) / 2 + weight @ b + c
    return torch.logsumexp(reach, -1) + weight.shape[-1] / 2 * math.log(2 * math.pi)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_it_is_the_machine_up_to_a_constant(size):
    weight, b, c = parameters(size)
    machine, v = ig.HopfieldBoltzmann.attentional(weight, b, c), double(20, size, seed=3)
    assert (machine.groups, machine.draws, machine.beta) == (1, 1, 1.0)
    half = b.square().sum() / 2
    expected = energy(v, weight, b, c)
    torch.testing.assert_close(machine.free_energy(v).detach() + half, expected, **EXACT)
    value = machine.mixture().value().detach()
    torch.testing.assert_close(value - half, log_z(weight, b, c), **EXACT)
    density = -expected - log_z(weight, b, c)
    torch.testing.assert_close(machine.log_prob(v).detach(), density, **EXACT)


@pytest.mark.parametrize("size", [1, 2])
def test_log_z_is_the_integral(size):
    """The trapezoid rule on a smooth density that dies out is exact to rounding."""
    weight, b, c = parameters(size)
    line = torch.linspace(-14, 14, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(*[line] * size).reshape(-1, size)
    cell = size * math.log(28 / 400)
    found = torch.logsumexp(-energy(grid, weight, b, c), 0) + cell
    torch.testing.assert_close(found, log_z(weight, b, c), **EXACT)


def test_the_gradient_of_the_likelihood_is_attention_less_fantasy():
    weight, b, c = parameters(3)
    machine, v = ig.HopfieldBoltzmann.attentional(weight, b, c), double(30, 3, seed=3)
    machine.log_prob(v).mean().backward()
    read = torch.softmax(v @ weight.mT + c, -1)
    prior = torch.softmax(weight.square().sum(-1) / 2 + weight @ b + c, 0)
    moved = read.mT @ v / 30 - prior[:, None] * (weight + b)
    torch.testing.assert_close(machine.patterns.grad, moved, **EXACT)
    torch.testing.assert_close(machine.memory_bias.grad, read.mean(0) - prior, **EXACT)
    mean = prior @ (weight + b)
    torch.testing.assert_close(machine.visible_bias.grad, v.mean(0) - mean, **EXACT)


def test_it_is_a_gaussian_mixture():
    weight, b, c = parameters(3)
    machine, v = ig.HopfieldBoltzmann.attentional(weight, b, c), double(20, 3, seed=3)
    shares = torch.softmax(weight.square().sum(-1) / 2 + weight @ b + c, 0)
    normals = -(v[:, None] - (weight + b)).square().sum(-1) / 2 - 1.5 * math.log(2 * math.pi)
    by_hand = torch.logsumexp(shares.log() + normals, -1)
    torch.testing.assert_close(machine.log_prob(v).detach(), by_hand, **EXACT)
    mixture = GaussianMixture(4, covariance_type="spherical")
    vars(mixture).update(
        weights_=shares.numpy(), means_=(weight + b).numpy(),
        covariances_=np.ones(4), precisions_cholesky_=np.ones(4),
    )  # fmt: skip
    scores = torch.from_numpy(mixture.score_samples(v.numpy()))
    torch.testing.assert_close(machine.log_prob(v).detach(), scores, **EXACT)
    read = machine.mixture().responsibilities(v).detach()
    torch.testing.assert_close(read, torch.from_numpy(mixture.predict_proba(v.numpy())), **EXACT)


def test_the_score_is_a_hopfield_step_less_the_state():
    weight, b, c = parameters(3)
    machine, v = ig.HopfieldBoltzmann.attentional(weight, b, c), double(20, 3, seed=3)
    (score,) = torch.autograd.grad(machine.log_prob(v.requires_grad_()).sum(), v)
    step = machine.marginal().cccp_update(v.detach()).detach()
    torch.testing.assert_close(score, step - v.detach(), **EXACT)
    by_hand = b + torch.softmax(v.detach() @ weight.mT + c, -1) @ weight
    torch.testing.assert_close(step, by_hand, **EXACT)


def test_biases_are_zero_unless_given():
    machine = ig.HopfieldBoltzmann.attentional(double(4, 3))
    assert not machine.visible_bias.any()
    assert not machine.memory_bias.any()


def test_bad_input(unannotated):
    build = ig.HopfieldBoltzmann.attentional
    weight = torch.eye(3)
    for call in (
        lambda: build(torch.ones(3)),
        lambda: build(weight, torch.ones(2)),
        lambda: build(weight, None, torch.ones(4)),
        lambda: build(weight, torch.ones(1, 3)),
    ):
        with pytest.raises(ShapeError, match="attentional"):
            call()
    for arguments in (
        (weight * math.nan,), (weight, torch.full((3,), math.inf)),
        (weight, None, torch.full((3,), math.nan)),
    ):  # fmt: skip
        with pytest.raises(DomainError, match="attentional"):
            build(*arguments)
