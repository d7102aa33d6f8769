"""QUBO, Ising and Max-Cut, in and out: the energy of every state, and files."""

import math

import numpy as np
import pytest
import scipy.sparse
import torch

import isinglass as ig
from isinglass.energies import (
    DenseCouplings,
    SparseCouplings,
    from_ising,
    from_qubo,
    max_cut,
    read_gset,
    read_qubo,
    to_ising,
    to_qubo,
)
from isinglass.errors import DomainError, FileError, IntractableError, ParameterError, ShapeError
from tests.cases import spins
from tests.energies.pairwise.machines import MACHINES, machine
from tests.seeds import numpy_seeded

TWO_STATES = [name for name in MACHINES if machine(name).unit.two_states is not None]


def whole_numbers(size: int, share: float = 1.0, seed: int = 0) -> np.ndarray:
    """A matrix of small whole numbers, which sums do not round: not symmetric, with a diagonal."""
    rng = numpy_seeded(seed)
    return rng.integers(-9, 10, (size, size)) * (rng.random((size, size)) < share)


def value(qubo: dict, state: torch.Tensor) -> float:
    """The plain double sum."""
    return sum(q * float(state[i]) * float(state[j]) for (i, j), q in qubo.items())


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_energies_are_those_of_the_form_to_the_bit(share):
    matrix = whole_numbers(7, share)
    listed = {(i, j): float(q) for (i, j), q in np.ndenumerate(matrix) if q}
    states = ig.Bernoulli(7).enumerate_states()
    wanted = torch.tensor([value(listed, state) for state in states]).double()
    given = [
        listed, matrix, torch.tensor(matrix), torch.tensor(matrix).float(),
        scipy.sparse.csr_array(matrix), scipy.sparse.coo_matrix(matrix),
    ]  # fmt: skip
    for qubo in given:
        built = from_qubo(qubo, size=7)
        kind = DenseCouplings if share == 1.0 else SparseCouplings
        assert isinstance(built.couplings, kind)
        with torch.no_grad():
            assert torch.equal(built(states), wanted)
        back, offset = to_qubo(built)
        assert offset == 0
        assert torch.equal(torch.tensor([value(back, state) for state in states]).double(), wanted)


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_ising_problems_have_the_signs_of_dimod(share):
    fields = whole_numbers(6)[0]
    matrix = whole_numbers(6, share, seed=1) * (1 - np.eye(6, dtype=int))
    listed = {(i, j): float(q) for (i, j), q in np.ndenumerate(matrix) if q}
    states = ig.Spin(6).enumerate_states()
    wanted = states @ torch.tensor(fields).double() + torch.tensor(
        [value(listed, state) for state in states]
    )
    for h, coupling in (
        (dict(enumerate(fields.tolist())), listed), (fields.tolist(), matrix),
        (torch.tensor(fields), torch.tensor(matrix)), (fields, scipy.sparse.csc_array(matrix)),
    ):  # fmt: skip
        with torch.no_grad():
            assert torch.equal(from_ising(h, coupling)(states), wanted)
    h, coupling, offset = to_ising(from_ising(fields, matrix))
    assert offset == 0
    found = [value(coupling, s) + sum(h[i] * float(s[i]) for i in h) for s in states]
    assert torch.equal(torch.tensor(found).double(), wanted)


@pytest.mark.parametrize("name", TWO_STATES)
def test_every_machine_of_two_states_can_be_written_so(name):
    energy = machine(name).double()
    states = energy.unit.enumerate_states()
    low, high = energy.unit.two_states or (0.0, 1.0)
    bits = (states - low) / (high - low)
    qubo, offset = to_qubo(energy)
    h, coupling, constant = to_ising(energy)
    assert list(h) == list(range(energy.unit.size))
    with torch.no_grad():
        wanted = energy(states)
        found = torch.tensor([value(qubo, x) + offset for x in bits])
        torch.testing.assert_close(found.double(), wanted)
        again = torch.tensor(
            [
                value(coupling, s) + sum(h[i] * float(s[i]) for i in h) + constant
                for s in 2 * bits - 1
            ]
        )
        torch.testing.assert_close(again.double(), wanted)
        torch.testing.assert_close(from_qubo(qubo)(bits) + offset, wanted)
        torch.testing.assert_close(from_ising(h, coupling)(2 * bits - 1) + constant, wanted)


def test_bits_and_spins_of_whole_numbers_are_exact_both_ways():
    built = from_qubo(whole_numbers(6))
    h, coupling, offset = to_ising(built)
    states = ig.Bernoulli(6).enumerate_states()
    with torch.no_grad():
        assert torch.equal(built(states), from_ising(h, coupling)(2 * states - 1) + offset)
    memory = ig.ClassicalHopfield(spins(3, 6))
    qubo, offset = to_qubo(memory)
    torch.testing.assert_close(from_qubo(qubo)(states) + offset, memory(2 * states - 1))


def test_the_energy_is_minus_the_cut():
    rng = numpy_seeded(3)
    edges = [(i, j) for i in range(7) for j in range(i) if rng.random() < 0.5] + [(2, 2), (0, 1)]
    weights = rng.integers(-3, 4, len(edges)).astype(float)
    states = ig.Bernoulli(7).enumerate_states()
    cuts = [
        sum(w for (i, j), w in zip(edges, weights, strict=True) if state[i] != state[j])
        for state in states
    ]
    with torch.no_grad():
        found = max_cut(edges, weights, size=7)(states)
        assert torch.equal(found, -torch.tensor(cuts).double())
        plain = max_cut(edges)(states)
    counts = [sum(bool(state[i] != state[j]) for i, j in edges) for state in states]
    assert torch.equal(plain, -torch.tensor(counts).double())


def test_the_best_cut_of_an_even_ring_is_all_of_it():
    ring = max_cut([(i, (i + 1) % 10) for i in range(10)])
    assert ig.minimize(ring, runs=20, sweeps=100).energy == -10


def test_files_are_read(tmp_path):
    matrix = np.triu(whole_numbers(5))
    path = tmp_path / "problem.qubo"
    lines = [f"{i} {j} {q}" for (i, j), q in np.ndenumerate(matrix) if q]
    own = np.count_nonzero(matrix.diagonal())
    head = f"c a problem\np qubo 0 5 {own} {len(lines) - own}\n\n"
    path.write_text(head + "\nc more\n".join(lines))
    states = ig.Bernoulli(5).enumerate_states()
    with torch.no_grad():
        assert torch.equal(read_qubo(path)(states), from_qubo(matrix)(states))
    path.write_text("5 3\n1 2 1\n2 5 -1\n3 4\n")
    with torch.no_grad():
        wanted = max_cut([(0, 1), (1, 4), (2, 3)], [1.0, -1.0, 1.0])
        assert torch.equal(read_gset(path)(states), wanted(states))
    assert read_gset(path, dtype=torch.float32).bias.dtype == torch.float32


@pytest.mark.parametrize(
    ("read", "text", "match"),
    [
        (read_qubo, "0 0 1\n", "line 1 of"),
        (read_qubo, "p qubo 0 2 1 1\n0 2 1\n", "line 2 of.*2 bits"),
        (read_qubo, "p qubo 0 2 1 1\n0 1\n", "line 2 of"),
        (read_qubo, "p qubo 0 2 1 1\n0 0.5 1\n", "line 2 of"),
        (read_qubo, "p qubo 0 2 1 1\n0 1 much\n", "line 2 of.*numbers"),
        (read_qubo, "p qubo 0 2 1 1\n0 1 nan\n", "line 2 of.*numbers"),
        (read_qubo, "p qubo 0 2 1 1\np qubo 0 2 1 1\n", "line 2 of"),
        (read_qubo, "c nothing\n", "no line p"),
        (read_gset, "", "begin with two"),
        (read_gset, "3 2\n1 2 1\n", "1 edges of 2"),
        (read_gset, "3 1\n0 2 1\n", "line 2 of.*numbered from 1"),
        (read_gset, "3 1\n1 4 1\n", "line 2 of"),
        (read_gset, "3 1\n1 2 3 4\n", "line 2 of"),
    ],
)
def test_wrong_files_are_refused_by_line(read, text, match, tmp_path):
    path = tmp_path / "wrong.txt"
    path.write_text(text)
    with pytest.raises(FileError, match=match):
        read(path)
    with pytest.raises(FileError, match="cannot be read"):
        read(tmp_path / "absent.txt")


def test_bad_input(unannotated):
    wrong = [
        (ParameterError, "from 0", lambda: from_qubo({("a", "b"): 1.0})),
        (ParameterError, "from 0", lambda: from_qubo({(0, -1): 1.0})),
        (ParameterError, "from 0", lambda: from_qubo({(0, True): 1.0})),
        (ParameterError, "from 0", lambda: from_qubo({0: 1.0})),
        (ParameterError, "5' of 3", lambda: from_qubo({(0, 5): 1.0}, size=3)),
        (DomainError, "finite", lambda: from_qubo({(0, 1): math.nan})),
        (ShapeError, "square", lambda: from_qubo(np.ones((2, 3)))),
        (ShapeError, "square", lambda: from_qubo(torch.ones(3))),
        (ShapeError, "square", lambda: from_qubo("qubo")),
        (ShapeError, "as many rows", lambda: from_qubo(np.ones((2, 2)), size=3)),
        (ParameterError, "itself", lambda: from_ising([0.0, 0.0], {(1, 1): 2.0})),
        (ShapeError, "as many rows", lambda: from_ising([0.0], np.zeros((2, 2)))),
        (ParameterError, "of 2", lambda: from_ising([0.0, 0.0], {(0, 2): 2.0})),
        (DomainError, "h = inf", lambda: from_ising([math.inf], {})),
        (ShapeError, "one for each edge", lambda: max_cut([(0, 1)], [1.0, 2.0])),
        (IntractableError, "two-state", lambda: to_qubo(ig.BoltzmannMachine.potts(2, 2, states=3))),
        (IntractableError, "two-state", lambda: to_ising(ig.RBM(ig.Spin(2), ig.Spin(2)))),
    ]
    for error, match, call in wrong:
        with pytest.raises(error, match=match):
            call()


def test_a_file_that_was_cut_off_is_refused(tmp_path):
    (tmp_path / "cut.qubo").write_text("p qubo 0 2 1 1\n0 0 1\n")
    with pytest.raises(FileError, match="1 bits and 0 couplers, and promises 1 and 1"):
        read_qubo(tmp_path / "cut.qubo")


def test_numbers_beyond_the_precision_are_refused():
    with pytest.raises(DomainError, match=r"beyond torch\.float32"):
        from_qubo({(0, 0): -1e200, (0, 1): 1.0}, dtype=torch.float32)
    with pytest.raises(DomainError, match="floating dtype"):
        from_qubo({(0, 0): 1.0}, dtype=torch.int32)


@pytest.mark.usefixtures("unannotated")
def test_weights_within_edges_are_refused():
    with pytest.raises(ShapeError, match="weights="):
        max_cut([(0, 1, 2.5)])
