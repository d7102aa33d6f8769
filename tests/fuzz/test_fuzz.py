"""Malformed calls of everything public end in a named error, or in a right answer.

A share of them runs each time, 4,000 with the slow tests: none of those may end otherwise. A case that fails is made again by its
seed and its number: ``malformed(calls(), seed, count)``.
"""

import numpy as np
import pytest
import torch

from isinglass.errors import DomainError
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
