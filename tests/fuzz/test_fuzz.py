"""Malformed calls of everything public end in a named error, or in a right answer.

A share of them runs each time, 4,000 with the slow tests: none of those may end otherwise. A case
that fails is made again by its seed and its number: ``malformed(calls(), seed, count)``.
"""

import numpy as np
import pytest
import torch

import isinglass as ig
from isinglass.envs import Blockers
from isinglass.errors import DomainError, IsinglassError
from isinglass.integrations.sklearn import HopfieldBoltzmannImputer
from tests.fuzz import agents, commands, energies, estimators, layers
from tests.fuzz.harness import Call, fault, faults

ROOMS = [(energies, 300, 2000), (estimators, 200, 800), (layers, 250, 800), (agents, 120, 400)]

pytestmark = [
    pytest.mark.usefixtures("unannotated"),
    pytest.mark.filterwarnings("ignore"),  # odd numbers are warned of
]


@pytest.mark.parametrize(
    ("room", "few", "_"), ROOMS, ids=lambda room: getattr(room, "__name__", "")
)
def test_malformed_calls(room, few, _):
    calls = room.calls()
    assert [fault(call, call.arguments) for call in calls] == [None] * len(calls)
    assert not faults(calls, 0, few)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("room", "_", "many"), ROOMS, ids=lambda room: getattr(room, "__name__", "")
)
def test_many_malformed_calls(room, _, many):
    """None ends in a raw error: what another seed finds is to be mended."""
    assert not faults(room.calls(), 1, many)


ROWS = energies.REALS
MACHINE = ig.HopfieldBoltzmann(ig.Gaussian(6), 3)
FOUND = {
    "mean": lambda: ig.DenseClassifier(5, 3, 4, degree=2, mean=1e40),
    "a scale": lambda: ig.learning.expectation_maximization(MACHINE, ROWS, scale=ROWS[:1]),
    "temperature": lambda: ig.impute(MACHINE, ROWS, ROWS > 0, steps=1, temperature=1e-40),
    "weights": lambda: MACHINE.conditional(1e30 * ROWS, ROWS > -9).sample(),
    "bias": lambda: ig.BoltzmannMachine(ig.Spin(6), bias=ROWS[0].to(torch.complex64)),
    "the bias": lambda: ig.BoltzmannMachine(ig.Spin(6), bias=ROWS[0].to("meta")),
    "a mask": lambda: ig.nn.stochastic_attention(
        ROWS, ROWS, ROWS, mask=torch.ones(5, 5, dtype=torch.bool, device="meta")
    ),
    "missing_values": lambda: HopfieldBoltzmannImputer(missing_values=np.ones(2)).fit(ROWS.numpy()),
    "seed": lambda: ig.learning.Likelihood(seed=np.nan),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_other_seeds_have_found(name):
    with pytest.raises(IsinglassError, match=name):
        FOUND[name]()


def test_what_other_seeds_have_found_and_is_no_error():
    assert Blockers(rows=np.int64(4), columns=np.int64(5)).reset(seed=0)[0].dtype == np.int8
    assert ig.DenseMemory(ROWS.sign().to("meta"), 3)(ROWS.sign().to("meta")).shape == (5,)


@pytest.mark.parametrize("number", range(11))
def test_malformed_commands(tmp_path, monkeypatch, capsys, number):
    monkeypatch.chdir(tmp_path)
    assert commands.fault(tmp_path, 0, number, capsys) is None


@pytest.mark.slow
def test_many_malformed_commands(tmp_path, monkeypatch, capsys):
    for number in range(110):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        assert commands.fault(folder, 1, number, capsys) is None


def _raw(x):
    return float(x[0]) / 0


def _named(x):
    raise DomainError("x", "Give y")


@pytest.mark.parametrize(
    ("function", "found"),
    [(_raw, "ZeroDivisionError"), (lambda x: x * torch.nan, "NaN"), (lambda x: {"y": [np.nan]},
    "NaN"),
     (_named, None), (lambda x: x, None)],
)  # fmt: skip
def test_faults_are_found(function, found):
    """The judge tells raw errors and NaN from named errors and numbers."""
    said = fault(Call("function", function, {}), {"x": torch.ones(2)})
    assert said is None if found is None else said is not None and found in said
