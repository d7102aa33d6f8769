"""Bounds on rounding hold for every order of addition, and are not much wider than they must be."""

import pytest
import torch

import isinglass as ig
from isinglass.testing import energy_tolerance, rounding
from tests.cases import ENERGIES, double
from tests.other_machine import OtherMachine
from tests.seeds import seeded

MACHINES = range(1, 6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("terms", [3, 50, 500])
def test_no_order_of_addition_is_beyond_the_bound(dtype, terms, generator):
    rows = (double(200, terms) * double(200, terms, seed=1).exp()).to(dtype)
    bound, sums = rounding(rows.abs().sum(-1), terms), []
    for _ in range(10):
        total = torch.zeros_like(rows[:, 0])
        for term in torch.randperm(terms, generator=generator):
            total = total + rows[:, term]  # cumsum would add up float32 in float64
        sums.append(total)
    apart = torch.stack(sums).amax(0) - torch.stack(sums).amin(0)
    assert (apart <= bound).all()
    assert (apart > bound / (20 * terms**0.5)).any()  # errors of random sign grow as the root


@pytest.mark.parametrize("case", ENERGIES, ids=str)
def test_the_energy_of_a_row_is_that_in_a_batch_on_every_machine(case):
    energy, states = case.build(), case.states()
    with torch.no_grad():
        values = [energy(states)]
        for number in MACHINES:
            with OtherMachine(number):
                values += [energy(states), torch.stack([energy(state) for state in states])]
    found = torch.stack(values)
    bound = energy_tolerance(energy, states)
    assert (found.amax(0) - found.amin(0) <= bound).all()
    assert bound < 1e-11 * found.abs().amax().clamp_min(1.0)


def test_a_sum_of_whole_numbers_is_the_same_on_every_machine():
    patterns = double(7, 33).sign().float()
    expected = patterns @ patterns.mT, patterns.sum(), patterns.sum(0), (patterns > 0).sum(-1)
    for number in MACHINES:
        with OtherMachine(number):
            found = patterns @ patterns.mT, patterns.sum(), patterns.sum(0), (patterns > 0).sum(-1)
        assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


CALLS = {
    "product": lambda x: x @ x.mT,
    "vector": lambda x: x @ x[0],
    "batch": lambda x: torch.einsum("ij,kj->ik", x, x),
    "addmm": lambda x: torch.addmm(torch.ones(13), x, x.mT),
    "in place": lambda x: torch.ones(13, 13).addmm_(x, x.mT),
    "sum": lambda x: x.sum(-1),
    "all": lambda x: x.sum(),
    "softmax": lambda x: x.softmax(-1),
    "logsumexp": lambda x: x.logsumexp(0),
    "attention": lambda x: torch.nn.functional.scaled_dot_product_attention(
        x[None, None], x[None, None], x[None, None]
    ),
    "exp": torch.exp,
    "distance": lambda x: torch.cdist(x, x),
    "eigenvalues": lambda x: torch.linalg.eigvalsh(x @ x.mT + torch.eye(13)),
    "slope": lambda x: torch.func.grad(lambda y: (y @ x.mT).square().sum())(x),
    "vmap": lambda x: torch.vmap(lambda row: row @ x.mT)(x),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_made_up_machine_rounds_in_its_own_way_and_always_the_same(name):
    """Several operands: of one, the single number that is its sum may round alike in all orders."""
    call, several = CALLS[name], torch.randn(20, 13, 19, generator=seeded())
    found = []
    for number in MACHINES:
        with OtherMachine(number):
            found.append([call(x) for x in several])
            assert all(map(torch.equal, found[-1], map(call, several)))
    for one in found:
        torch.testing.assert_close(one, [call(x) for x in several], rtol=2e-4, atol=2e-4)
    assert not all(all(map(torch.equal, one, found[0])) for one in found)


def test_a_made_up_machine_does_not_round_a_row_alone_as_in_a_batch():
    memory, states = ig.ModernHopfield(double(9, 40), beta=1.0), double(6, 40, seed=1)
    with OtherMachine(1):
        together, alone = memory(states), torch.stack([memory(state) for state in states])
    assert not torch.equal(together, alone)
    assert ((together - alone).abs() <= energy_tolerance(memory, states)).all()
