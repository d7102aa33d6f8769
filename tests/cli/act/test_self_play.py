"""Runs against what the agent was before: the pool is in the checkpoints."""

import shutil
from threading import Event

import torch

from isinglass.agents import FreeEnergyQ
from isinglass.agents.seats.self_play import pools_of
from isinglass.cli.act.learner import Learner
from isinglass.cli.act.run import Request

SIZES = {"rows": "4", "columns": "5", "opponent": "self"}
REQUEST = Request(
    "isinglass/ConnectFour-v0", SIZES, 160, 80, 2, "auto", {"batch_size": "16"}, [], 0, 2, "cpu", 1
)


def run(folder):
    learner = Learner("FreeEnergyQ", folder, REQUEST, Event())
    learner.learn(lambda *_: None)
    pools = pools_of(learner.env)
    learner.close()
    weights = FreeEnergyQ.load(folder / "checkpoint-000000000160.zip", device="cpu").policy
    return weights.state_dict(), [pool.steps for pool in pools]


def test_a_run_that_is_resumed_meets_the_opponents_it_would_have_met(tmp_path):
    weights, steps = run(tmp_path / "whole")
    assert steps == [list(range(8, 161, 8))] * 2
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    for name in ("checkpoint-000000000160.zip", "result.json"):
        (tmp_path / "killed" / name).unlink()
    again, found = run(tmp_path / "killed")
    assert found == steps
    assert all(torch.equal(value, again[name]) for name, value in weights.items())
