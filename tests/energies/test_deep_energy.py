"""Networks as energies."""

import math

import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import nn

import isinglass as ig
from isinglass.dynamics import HMC, MALA, Langevin, ReplicaExchange
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.learning import contrastive_loss
from tests.cases import Bumps, double
from tests.dynamics.test_gaussian_path import annealed


def network(size: int = 2) -> nn.Module:
    return nn.Sequential(nn.Linear(size, 8), nn.Softplus(), nn.Linear(8, 1)).double()


class Flat(nn.Module):
    """A module that gives one number a row, without a last dimension of one."""

    def forward(self, rows):
        return rows.cos().sum(-1)


@pytest.mark.parametrize("module", [network(), Flat()], ids=["(batch, 1)", "(batch,)"])
def test_the_energy_is_the_bowl_and_the_module(module):
    state = double(4, 5, 2)
    found = torch.stack([module(row).reshape(()) for row in state.reshape(-1, 1, 2)]).reshape(4, 5)
    bowl = state.square().sum(-1) / (2 * 1.5**2)
    torch.testing.assert_close(ig.DeepEnergy(module, 2, width=1.5)(state), found + bowl)
    torch.testing.assert_close(ig.DeepEnergy(module, 2, width=None)(state), found)
    torch.testing.assert_close(ig.DeepEnergy(module, 2)(state[0, 0]), (found + bowl * 9 / 16)[0, 0])


def test_it_maps():
    energy, state = ig.DeepEnergy(network(), 2), double(6, 2)
    torch.testing.assert_close(torch.vmap(energy)(state), energy(state))
    slopes = torch.vmap(torch.func.grad(energy))(state)
    torch.testing.assert_close(slopes, energy.grad(state))


def test_it_is_sampled_by_default_and_as_told():
    assert isinstance(ig.DeepEnergy(network(), 2).default_sampler(), HMC)
    energy = ig.DeepEnergy(network(), 2, sampler=MALA(0.3))
    assert isinstance(energy.default_sampler(), MALA)
    energy.sampler, _ = energy.sampler.warm_up(energy, double(20, 2), 1.0, steps=20)
    assert energy.default_sampler().step_size != 0.3
    state = ig.run(energy.default_sampler(), energy, double(9, 2), steps=2, temperature=1.0)
    assert state.isfinite().all()


def test_contrast_with_exact_samples_learns_a_gaussian(generator):
    """A linear module moves the bowl: E = ½|s|²/w² + a·s has mean −aw² and variance w²."""
    energy = ig.DeepEnergy(nn.Linear(2, 1, bias=False), 2, width=1.0).double()
    data = double(4000, 2) + torch.tensor([1.0, -2.0])
    optimizer = torch.optim.SGD(energy.parameters(), lr=0.3)
    chains = data[:500]
    for _ in range(40):
        chains = ig.run(HMC(), energy, chains, steps=1, temperature=1.0, generator=generator)
        optimizer.zero_grad()
        contrastive_loss(energy, data, chains).backward()
        optimizer.step()
    weight = energy.module.weight.detach()[0]
    assert (weight + data.mean(0)).abs().max() < 0.2  # a learning rate of 0.3 on 500 chains


def test_its_path_begins_where_the_data_are():
    energy = Bumps(3)
    data = double(50, 3) * torch.tensor([0.1, 3.0, 0.0]) + 5
    path = energy.path(data=data)
    torch.testing.assert_close(path.mean, data.mean(0))
    torch.testing.assert_close(path.deviation[:2], data[:, :2].std(0, correction=0))
    assert float(path.deviation[2]) == 2.0  # a unit that does not vary: the bowl's
    bare = energy.path(temperature=0.25)
    assert bare.mean.tolist() == [0.0] * 3
    assert bare.deviation.tolist() == [1.0] * 3
    assert bare.temperature == 0.25
    assert bare.mean.dtype == torch.float64


def test_annealing_finds_its_log_z(generator):
    """Against the sum over a fine grid, in two dimensions."""
    energy = Bumps(2)
    line = torch.linspace(-14, 14, 281, dtype=torch.float64)
    with torch.no_grad():
        exact = -energy(torch.cartesian_prod(line, line))
    exact = float(torch.logsumexp(exact, 0)) + 2 * math.log(0.1)
    value, error = annealed(energy.path(), 400, 15, generator)
    assert error < 0.1
    assert abs(value - exact) < 5 * error


class Wells(nn.Module):
    """Two wells, ten standard deviations apart; the left one holds three quarters."""

    def forward(self, rows):
        weights = torch.tensor([0.75, 0.25], dtype=rows.dtype).log()
        centers = torch.tensor([-2.5, 2.5], dtype=rows.dtype)
        return -torch.logsumexp(weights - 2 * (rows - centers).square(), -1)


def test_exchange_goes_where_gradients_do_not(generator):
    energy = ig.DeepEnergy(Wells(), 1, width=None, sampler=HMC(0.5))
    start = torch.full((400, 1), 2.5).double()
    path = energy.path(data=torch.tensor([[-2.5], [2.5]]).double())
    exchange = ReplicaExchange(energy, 6, path=path, generator=generator)
    alone, traded = (
        ig.run(kernel, energy, start, steps=40, temperature=1.0, generator=generator)
        for kernel in (energy.default_sampler(), exchange)
    )
    assert (alone > 0).all()
    assert abs(float((traded < 0).double().mean()) - 0.75) < 5 * math.sqrt(0.75 * 0.25 / 400)


def test_saving_needs_a_name(tmp_path):
    energy, other = ig.DeepEnergy(network(), 2), ig.DeepEnergy(network(), 2)
    with pytest.raises(IntractableError, match=r"safetensors\.torch\.save_model.*subclass"):
        ig.save(energy, tmp_path / "energy.safetensors")
    assert not list(tmp_path.iterdir())
    state = double(5, 2)
    assert not torch.equal(energy(state), other(state))
    save_model(energy, str(tmp_path / "tensors.safetensors"))  # what the error says works
    load_model(other, str(tmp_path / "tensors.safetensors"))
    assert torch.equal(energy(state), other(state))


def test_bad_input():
    with pytest.raises(ShapeError, match=r"Linear gave \(3, 4\) for 3 rows"):
        ig.DeepEnergy(nn.Linear(2, 4), 2)(torch.zeros(3, 2))
    energy = ig.DeepEnergy(network(), 2)
    with pytest.raises(ShapeError, match="expected"):
        ig.run(HMC(), energy, double(3, 4), steps=1, temperature=1.0)
    with pytest.raises(DomainError, match="float32"):
        ig.run(HMC(), energy, torch.zeros(3, 2), steps=1, temperature=1.0)
    with pytest.raises(DomainError, match="NaN"):
        energy.free_energy(torch.full((1, 2), math.nan).double())
    with pytest.raises(ShapeError, match="at least one example"):
        energy.path(data=double(0, 2))
    with pytest.raises(ShapeError, match="expected"):
        energy.path(data=double(4, 3))
    with pytest.raises(ParameterError, match="temperature"):
        energy.path(temperature=0.0)
    with pytest.raises(ParameterError, match="HMC or MALA"):
        ig.DeepEnergy(network(), 2, sampler=Langevin()).path()


def test_bad_settings(unannotated):
    for call in (
        lambda: ig.DeepEnergy(torch.tanh, 2),
        lambda: ig.DeepEnergy(network(), 0),
        lambda: ig.DeepEnergy(network(), 2, width=0.0),
        lambda: ig.DeepEnergy(network(), 2, width=-1.0),
        lambda: ig.DeepEnergy(network(), 2, sampler=HMC),
    ):
        with pytest.raises(ParameterError):
            call()
