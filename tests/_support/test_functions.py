"""Functions of users: whatever takes one refuses by name what does not take its arguments."""

from functools import partial

import numpy as np
import pytest
import torch

import isinglass as ig
from isinglass import learning
from isinglass._support.functions import check_takes
from isinglass.agents import FreeEnergySarsa
from isinglass.analysis.capacity import simulate_one_step_error, simulate_overlaps
from isinglass.dynamics import anneal, record
from isinglass.envs import LargeAction, TicTacToe
from isinglass.errors import ParameterError
from isinglass.nn import Hopfield, HopfieldEncoderLayer
from tests.agents.small import SMALL, small_agent
from tests.cases import hopfield_boltzmann
from tests.seeds import seeded

BITS = (torch.rand(8, 4, generator=seeded()) < 0.5).double()
RBM = ig.RBM(ig.Bernoulli(4), ig.Bernoulli(2), generator=seeded()).double()
PATH = RBM.path()

TAKE = {
    "learning_rate": lambda f: small_agent(learning_rate=f),
    "learning_rate of Sarsa": lambda f: FreeEnergySarsa(
        "MlpPolicy", LargeAction(**SMALL), device="cpu", learning_rate=f
    ),
    "loss": lambda f: small_agent(loss=f),
    "augment": lambda f: small_agent(replay_buffer_kwargs={"augment": f}),
    "constraint": lambda f: small_agent().predict(np.zeros(4), constraint=f),
    "progress": lambda f: ig.log_partition(RBM, method="ais", chains=2, levels=2, progress=f),
    "on_level": lambda f: anneal(PATH, PATH.draw_base(2), PATH.levels(3), on_level=f),
    "quantity": lambda f: record(
        ig.BlockGibbs(), RBM, RBM.extend(BITS), steps=1, temperature=1.0, quantity=f
    ),
    "on_epoch": lambda f: learning.fit(RBM, BITS, epochs=1, on_epoch=f),
    "optimizer": lambda f: learning.fit(RBM, BITS, epochs=1, optimizer=f),
    "scheduler": lambda f: learning.fit(RBM, BITS, epochs=1, scheduler=f),
    "on_step": lambda f: learning.expectation_maximization(
        hopfield_boltzmann(ig.Bernoulli(4)), BITS, steps=1, on_step=f
    ),
    "a player": lambda f: TicTacToe(opponent=f),
    "activation": lambda f: Hopfield(4, association_activation=f),
    "activation of a layer": lambda f: HopfieldEncoderLayer(Hopfield(4), 4, activation=f),
    "build": lambda f: simulate_one_step_error(f, 2, 4, trials=2, generator=seeded()),
    "build, to recall": lambda f: simulate_overlaps(f, 2, 4, trials=2, generator=seeded()),
}


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("name", TAKE)
@pytest.mark.parametrize(
    "function", [lambda: 1, lambda a, b, c, d: 1, lambda *, a: 1], ids=["none", "four", "named"]
)
def test_a_function_of_other_arguments_is_refused_by_name(name, function):
    with pytest.raises(ParameterError, match=name.split(",")[0].split(" of ")[0]):
        TAKE[name](function)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("name", ["learning_rate", "progress", "on_epoch", "on_step", "activation"])
def test_functions_that_take_them_are_called(name):
    called = []

    def noted(*arguments):
        called.append(arguments)
        return arguments[0] if name == "activation" else 0.01

    found = TAKE[name](noted)
    if name == "activation":
        found(torch.ones(1, 2, 4))
    assert called


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("returned", [None, "fast", float("nan"), -1.0, [0.1, 0.2]])
def test_a_schedule_that_gives_no_rate_is_refused_by_name(returned):
    with pytest.raises(ParameterError, match=r"learning_rate\(1\.0\) = "):
        small_agent(learning_rate=lambda progress: returned)


def test_what_does_not_say_what_it_takes_is_taken():
    """Functions of C, and some that are bound in part."""
    for function in (torch.relu, max, partial(pow, 2), torch.nn.ReLU(), str):
        check_takes("it", function, "one")
    with pytest.raises(ParameterError, match=r"it = 3\. Give a function of one and another"):
        check_takes("it", 3, "one", "another")
