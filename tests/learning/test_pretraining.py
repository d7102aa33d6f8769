"""Layer by layer: what each layer is, how they are put together, and that it helps."""

from functools import partial

import pytest
import torch

import isinglass as ig
from isinglass.errors import DomainError, FileError, ParameterError, ShapeError
from isinglass.learning import (
    ContrastiveDivergence,
    ExactGradient,
    Likelihood,
    fit,
    greedy_pretraining,
)
from isinglass.learning.pretraining import _Copied
from tests.cases import double, randomized
from tests.seeds import seeded

STILL = partial(torch.optim.SGD, lr=0.0)


def stack(*sizes: int, seed: int = 0) -> ig.DeepBoltzmann:
    machine = randomized(ig.DeepBoltzmann([ig.Bernoulli(size) for size in sizes]), seed=seed)
    assert isinstance(machine, ig.DeepBoltzmann)
    return machine


@pytest.mark.parametrize("copies", [(1, 1), (2, 1), (1, 2)])
def test_a_layer_is_an_rbm_whose_copies_share_weights(copies):
    """The energy of every pair of copies, added up; a layer hears all copies of the other."""
    below, above = copies
    layer = _Copied(ig.Spin(3), ig.Bernoulli(2), below, above).double()
    for number, parameter in enumerate(layer.parameters()):
        parameter.data = double(*parameter.shape, seed=number)
    one = ig.RBM(ig.Spin(3), ig.Bernoulli(2)).double()
    weights = layer.state_dict()
    del weights["config"]  # units in parts, which a plain one has in one piece
    one.load_state_dict(weights)
    states = layer.enumerate_states()
    v, h = (
        part.unflatten(-1, (-1, n)) for part, n in zip(layer.split(states), (3, 2), strict=True)
    )
    expected = -(h @ one.weight @ v.mT).sum((-1, -2))
    expected = expected - (v @ one.biases[0]).sum(-1) - (h @ one.biases[1]).sum(-1)
    torch.testing.assert_close(layer(states), expected)
    weighing = double(len(states), seed=9)
    slopes = (torch.autograd.grad((found * weighing).sum(), list(energy.parameters()))
              for found, energy in ((layer(states), layer), (expected, one)))  # fmt: skip
    torch.testing.assert_close(*slopes)
    data = ig.Spin(3).enumerate_states()
    heard = layer.conditional_field(layer.extend(data.repeat(1, below)), 1)
    double_field = below * data @ one.weight.mT + one.biases[1]
    torch.testing.assert_close(heard, double_field.repeat(1, above))


@pytest.mark.parametrize("sizes", [(4, 3), (4, 3, 2), (4, 3, 3, 2), (3, 2, 3, 2, 2)])
def test_without_learning_the_machine_stays_as_it_was(sizes):
    """What is doubled is halved again."""
    machine = stack(*sizes)
    before = {name: value.clone() for name, value in machine.state_dict().items()}
    data = torch.ones(20, sizes[0]).double()
    reports = greedy_pretraining(machine, data, optimizer=STILL, epochs=1, progress=False)
    assert len(reports) == len(sizes) - 1
    for name, value in machine.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-14)


def test_of_two_layers_it_is_an_rbm():
    machine = stack(4, 3)
    rbm = ig.RBM(ig.Bernoulli(4), ig.Bernoulli(3)).double()
    rbm.load_state_dict(machine.state_dict())
    data = torch.eye(4).double().repeat(10, 1)
    for learn, energy in ((greedy_pretraining, machine), (fit, rbm)):
        generator = seeded(0)
        learn(energy, data, epochs=3, progress=False, generator=generator)
    for one, other in zip(machine.parameters(), rbm.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
def test_it_raises_the_likelihood_and_learning_together_goes_on(generator):
    prototypes = torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]).repeat(50, 1)
    noise = torch.rand(100, 6, generator=generator) < 0.1
    data = torch.where(noise, 1 - prototypes, prototypes)
    machine = ig.DeepBoltzmann(
        [ig.Bernoulli(6), ig.Bernoulli(4), ig.Bernoulli(3)], generator=generator
    )

    def bound() -> float:
        log_z = machine.exact_log_partition().detach()
        return float(machine.log_likelihood_bound(data, log_z).mean())

    quick = partial(torch.optim.SGD, lr=0.05, momentum=0.9)
    found = [bound()]
    settings = {"optimizer": quick, "progress": False, "generator": generator}
    settings["score"] = Likelihood(every=20)
    greedy_pretraining(machine, data, ContrastiveDivergence(3), epochs=40, **settings)
    found.append(bound())
    fit(machine, data, ExactGradient(), epochs=20, **settings)
    found.append(bound())
    assert abs(found[0] - 6 * torch.tensor(0.5).log()) < 0.01
    assert found[1] > found[0] + 0.5
    assert found[2] > max(found[1], -2.9)  # the data's own distribution has −2.64


def test_it_goes_on_from_its_checkpoints(tmp_path):
    data = torch.eye(4).repeat(10, 1)
    found = []
    for resume in (False, True):
        generator = seeded(0)
        machine = ig.DeepBoltzmann(
            [ig.Bernoulli(4), ig.Bernoulli(3), ig.Bernoulli(2)], generator=generator
        )
        greedy_pretraining(
            machine, data, epochs=2, progress=False, generator=generator,
            checkpoint=tmp_path / "run.ckpt", resume=resume,
        )  # fmt: skip
        found.append(machine.state_dict())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run-1.ckpt", "run-2.ckpt"]
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=0, atol=0)
    with pytest.raises(FileError):
        greedy_pretraining(machine, data, epochs=2, progress=False,
                           checkpoint=tmp_path / "run.ckpt")  # fmt: skip


def test_bad_input():
    ring = ig.DeepBoltzmann([ig.Bernoulli(2)] * 3, [(0, 1), (1, 2), (0, 2)])
    with pytest.raises(ParameterError, match="joined each to the next"):
        greedy_pretraining(ring, torch.ones(2, 2))
    machine = ig.DeepBoltzmann([ig.Bernoulli(2)] * 3)
    with pytest.raises(ShapeError, match=r"\(\*batch, 2\)"):
        greedy_pretraining(machine, torch.ones(2, 3))
    with pytest.raises(ShapeError, match="rows"):
        greedy_pretraining(machine, torch.ones(0, 2))
    with pytest.raises(DomainError, match="Bernoulli"):
        greedy_pretraining(machine, torch.full((2, 2), 0.5))
    with pytest.raises(ParameterError, match="epochs"):
        greedy_pretraining(machine, torch.ones(2, 2), epochs=0)
