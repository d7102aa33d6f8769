"""What the evidence of ground states calls exact is so, and a run says what it found."""

import networkx as nx
import numpy as np
import pytest
import torch

pytest.importorskip("benchmarks", reason="the harness is in the repository alone")

from benchmarks.evidence import coverage, ground_states
from benchmarks.evidence.ground_states import Problem, enumerated, glass, highs, transfer

import isinglass as ig


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("normal", [True, False])
@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (3, 3)])
def test_the_transfer_minimum_is_the_least_energy(periodic, normal, shape):
    for seed in range(5):
        machine = glass(shape, periodic, normal, seed)
        bonds = machine.couplings.bonds().detach().double().numpy()  # pyright: ignore[reportCallIssue]
        with torch.no_grad():
            least = float(machine(machine.unit.enumerate_states().float()).min())
        assert abs(transfer(bonds, periodic) - least) < 1e-4
        assert abs(enumerated(machine) - least) < 1e-4


def test_the_proved_cut_is_the_largest():
    for seed in range(3):
        graph = nx.random_regular_graph(3, 10, seed=seed)
        machine = ground_states.cut(graph)
        with torch.no_grad():
            least = float(machine(ig.Bernoulli(10).enumerate_states().float()).min())
        assert abs(highs(graph) - least) < 1e-6


def test_a_run_stops_where_the_least_energy_is_met(monkeypatch):
    monkeypatch.setattr(
        ground_states, "problem", lambda *_: Problem(glass((3, 3), True, False, 0), -np.inf)
    )
    record = ground_states.run("SK 9", "descent", 0, 0.05)
    assert record["hit"] is None
    assert record["seconds"] >= 0.05
    least = enumerated(glass((3, 3), True, False, 0))
    assert abs(record["mean"] - least) < 1e-5
    monkeypatch.setattr(
        ground_states, "problem", lambda *_: Problem(glass((3, 3), True, False, 0), least)
    )
    record = ground_states.run("SK 9", "population", 0, 100)
    assert record["hit"] is not None
    assert record["calls"] < 100
    text = ground_states.as_table([record]), ground_states.law([record])
    assert text[0].row_count == 1


def test_coverage_counts(monkeypatch):
    record = {"task": "a", "method": "default", "seed": 0, "exact": 1.0, "seconds": 1.0}
    good = {"mean": 1.1, "error": 0.08, "held": True, "doubts": []}
    table = coverage.as_table([record | good, record | {"mean": None}])
    cells = [next(iter(column.cells)) for column in table.columns]
    assert cells[:7] == ["a", "2", "1", "0", "0 of 1", "1 of 1", "1 of 1"]
