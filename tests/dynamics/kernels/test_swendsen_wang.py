"""Clusters: the exact distribution, and how much sooner a ferromagnet forgets."""

import pytest
import torch

import isinglass as ig
from isinglass.dynamics._clusters import components
from isinglass.errors import IntractableError
from isinglass.testing import check_stationary
from tests.cases import double, spins
from tests.energies.pairwise.machines import MACHINES, machine
from tests.seeds import seeded

TWO_STATES = [name for name in MACHINES if machine(name).unit.two_states is not None]


@pytest.mark.parametrize("name", TWO_STATES)
@pytest.mark.parametrize("temperature", [0.7, 2.0])
def test_the_exact_distribution_is_kept(name, temperature, generator):
    energy = machine(name)
    states = energy.unit.enumerate_states()
    with torch.no_grad():
        weights = -energy(states) / temperature
    check_stationary(
        ig.SwendsenWang(), energy, states, weights, temperature, generator, samples=20_000
    )


def plain_components(nodes: int, edges: list[list[int]]) -> list[int]:
    """The least number that can be reached, by walking."""
    near = {node: {node} for node in range(nodes)}
    for one, other in edges:
        near[one].add(other)
        near[other].add(one)
    found = list(range(nodes))
    for _ in range(nodes):
        found = [min(found[other] for other in near[node]) for node in range(nodes)]
    return found


@pytest.mark.parametrize("count", [0, 10, 30, 60, 200])
def test_components_are_those_of_a_walk(count):
    edges = torch.randint(60, (count, 2), generator=seeded(count))
    assert components(60, edges).tolist() == plain_components(60, edges.tolist())


def test_a_long_chain_is_one_component():
    order = torch.randperm(500, generator=seeded())
    assert not components(500, torch.stack([order[:-1], order[1:]], -1)).any()


def test_it_forgets_at_the_critical_point_where_single_spins_remember(generator):
    ising = ig.BoltzmannMachine.ising(24, 24)
    start = torch.ones(60, 576)
    means = [
        ig.run(kernel, ising, start, steps=15, temperature=2.27, generator=generator)
        .mean(-1).mean().abs()
        for kernel in (ig.SwendsenWang(), ig.BlockGibbs())
    ]  # fmt: skip
    # Signs of 60 forgotten runs average to at most 5/√60 of magnetizations below one.
    assert means[0] < 0.65 < means[1]


def test_what_is_not_pairs_of_two_states_is_refused():
    for energy, state in (
        (ig.RBM(ig.Bernoulli(3), ig.Bernoulli(2)), torch.zeros(2, 5)),
        (ig.BoltzmannMachine.potts(2, 2, states=2), torch.eye(2).repeat(2, 4)),
        (ig.DenseMemory(spins(2, 4).float()), torch.ones(2, 4)),
    ):
        with pytest.raises(IntractableError, match="pairs"):
            ig.run(ig.SwendsenWang(), energy, state, steps=1, temperature=1.0)


def test_dtypes_stay():
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        energy = ig.BoltzmannMachine.ising(4, 4).to(dtype)
        found = ig.run(
            ig.SwendsenWang(), energy, double(3, 16).sign().to(dtype), steps=3, temperature=1.0
        )
        assert found.dtype == dtype
        assert (found.abs() == 1).all()
