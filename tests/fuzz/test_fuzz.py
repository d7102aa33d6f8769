"""Malformed calls of everything public end in a named error, or in a right answer.

A share of them runs each time, 4,000 with the slow tests: none of those may end otherwise. A case
that fails is made again by its seed and its number: ``malformed(calls(), seed, count)``.
"""

from fractions import Fraction

import numpy as np
import pytest
import torch

import isinglass as ig
from isinglass import integrations
from isinglass.agents import FreeEnergySarsa, MaskLayout, SetExtractor
from isinglass.envs import Assignment, Blockers, Parity, tictactoe
from isinglass.errors import DomainError, IsinglassError
from isinglass.integrations.sklearn import HopfieldBoltzmannImputer
from isinglass.retrieval import Int8Index, streamed_lookup
from tests.agents.small import small_agent
from tests.fuzz import agents, commands, energies, estimators, layers, lookups, worlds
from tests.fuzz.harness import Call, fault, faults

ROOMS = [(energies, 300, 2000), (estimators, 200, 800), (layers, 250, 800), (agents, 120, 400)]
ROOMS += [(worlds, 150, 1500), (lookups, 150, 800)]

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


KEYS = lookups.KEYS
#: The same of agents, environments and look-ups, by what the error says.
FOUND |= {
    "info of type tuple": lambda: worlds.learned(worlds.Told, first_info=()),
    "cannot be taken in": lambda: worlds.learned(worlds.Told, ended=torch.zeros(0)),
    r"the last observation .* shape \(0,\)": lambda: worlds.learned(
        worlds.Told, observation=np.zeros(0, np.float32), ended=True
    ),
    "that cannot be taken in .*convert": lambda: worlds.learned(worlds.Told, observation="x"),
    "total_timesteps": lambda: small_agent().learn(2.5),
    "log_interval": lambda: small_agent().learn(5, log_interval=0),
    "callback": lambda: small_agent().learn(5, callback=3),
    "loss = .*class": lambda: small_agent(loss=torch.nn.MSELoss),
    "tensorboard_log": lambda: small_agent(tensorboard_log=3),
    "replay_buffer_class": lambda: small_agent(replay_buffer_class="x"),
    "optimize_memory_usage": lambda: small_agent(optimize_memory_usage="x"),
    "activation_fn": lambda: small_agent(policy_kwargs={"activation_fn": 3}),
    "policy_kwargs": lambda: FreeEnergySarsa("MlpPolicy", Parity(2), policy_kwargs=b"x"),
    "features_dim": lambda: SetExtractor(worlds.SETS, -1),
    "flat masks of shape": lambda: MaskLayout.of(worlds.SPACES[13]).joint(np.ones((2, 9))),
    "actions that are no array": lambda: Parity(2).reward_of([[1], [0, 1]]),
    "observations of datetime64": lambda: Assignment(1).best_reward(np.zeros(1, "M8[s]")),
    "render_mode": lambda: Blockers(render_mode=np.zeros(2)),
    "the moves": lambda: Blockers().step(np.array([1j, 0])),
    "seed = -1": lambda: tictactoe.env.play("random", 2, seed=-1),
    "known of torch.int64": lambda: streamed_lookup(KEYS, KEYS, 1.0, known=KEYS.long()),
    "known of shape": lambda: streamed_lookup(KEYS, KEYS, 1.0, known=KEYS[None] > 0),
    "keys without values": lambda: Int8Index(KEYS.to("meta")),
    "keys of type list": lambda: Int8Index(KEYS).fits(KEYS.tolist()),
    "options = ": lambda: integrations.hflayers_options([]),
    "layer of type": lambda: integrations.import_hflayers_state(3, {}),
    "state = ": lambda: integrations.import_hflayers_state(ig.nn.HopfieldPooling(4), None),
    "of shape ()": lambda: integrations.import_hflayers_state(
        ig.nn.HopfieldPooling(4), {"pooling_weights": torch.zeros(())}
    ),
}


@pytest.mark.parametrize("number", [2, 3, 14, 18])
def test_spaces_of_no_array(number):
    with pytest.raises(IsinglassError, match="the observation space"):
        worlds.in_space(number, worlds.SPACES.index(worlds.SEEN), number == 18)


def test_a_model_that_is_none():
    pytest.importorskip("transformers")
    with pytest.raises(IsinglassError, match="model = "), integrations.sampled_attention(3, 4):
        pass


@pytest.mark.parametrize("name", FOUND)
def test_what_other_seeds_have_found(name):
    with pytest.raises(IsinglassError, match=name):
        FOUND[name]()


def test_what_other_seeds_have_found_and_is_no_error():
    assert (
        small_agent().learn(10.0).num_timesteps == small_agent().learn(np.int64(10)).num_timesteps
    )
    assert worlds.learned(worlds.Told, cut=())
    assert streamed_lookup(KEYS, KEYS, 1.0, block=np.int64(7)).average.shape == KEYS.shape
    assert Int8Index(KEYS).lookup(KEYS, 1.0, tolerance=Fraction(1, 3)).average.shape == KEYS.shape
    assert MaskLayout.of(worlds.SPACES[13]).joint(np.ones((0, 3), bool)).shape == (0, 2)
    assert MaskLayout.of(worlds.SPACES[13]).joint(np.ones((1, 3))).all()
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
