"""The skeletons of a backup and of an energy of actions, as a reader would copy them."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from gymnasium import spaces

from isinglass.agents import Enumerated, FreeEnergyQ
from isinglass.agents.replay.transitions import Transitions
from isinglass.envs import LargeAction
from isinglass.errors import DomainError, ParameterError
from tests.agents.small import QUICK, SMALL, shaped_policy
from tests.seeds import SEED, numpy_seeded

FOLDER = Path(__file__).parents[2] / "docs/extend"


def load(name):
    """The file as a module; registered, since dataclasses look their module up."""
    spec = importlib.util.spec_from_file_location(f"extend_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


backup, action_energy = load("backup"), load("action_energy")
PARTS = spaces.MultiDiscrete([2, 3, 2])
SEEN = torch.linspace(-1, 1, 8).reshape(4, 2)


def test_targets_of_the_backup_average_to_the_expected_value():
    """r + γ Σ_a' π(a'|s') Q(s', a'): 5 standard errors of 4,000 draws."""
    policy = shaped_policy(PARTS, action_energy.FactorizedEnergy(), 0.6)
    rows, draws = SEEN[:1].expand(4_000, -1), 4_000
    zeros = torch.zeros(draws, 1)
    batch = Transitions(rows, zeros, rows, zeros, zeros + 1)
    with torch.no_grad():
        found = backup.ExpectedBackup().target(policy, batch, torch.full((draws,), 0.5))
        exact = Enumerated.of(policy.q_net_target(SEEN[:1], 0.6))
    mean = float((exact.log_probs().exp() * exact.scores).sum())
    error = float(found.std()) / draws**0.5
    assert abs(float(found.mean()) - (1 + 0.5 * mean)) < 5 * error


def test_the_distribution_agrees_with_enumeration():
    policy = shaped_policy(PARTS, action_energy.FactorizedEnergy(), 0.6)
    with torch.no_grad():
        distribution = policy.q_net(SEEN, 0.6)
        exact = Enumerated.of(distribution)
        torch.testing.assert_close(distribution.value(), exact.value())
        torch.testing.assert_close(distribution.score(distribution.mode()), exact.scores.amax(-1))
        mask = torch.tensor([1, 1, 1, 0, 0, 1, 1], dtype=torch.bool)
        masked, some = distribution.masked(mask), exact.masked(mask)
        torch.testing.assert_close(masked.value(), some.value())
        assert not masked.sample()[:, 3:5].any()
        state, observed = exact.mode(), torch.arange(7) < 2
        torch.testing.assert_close(
            distribution.condition(state, observed).value(),
            exact.condition(state, observed).value(),
        )
        with pytest.raises(DomainError, match="forbids every value"):
            distribution.masked(torch.arange(7) > 1)


def test_an_agent_learns_with_both():
    agent = FreeEnergyQ(
        "MlpPolicy",
        LargeAction(**SMALL | {"keys": 1}),  # one best action: independent bits can hold it
        energy=action_energy.FactorizedEnergy(),
        backup=backup.ExpectedBackup(),
        learning_rate=0.02,
        seed=SEED,
        **QUICK,
    ).learn(600)
    env = LargeAction(**SMALL | {"keys": 1})
    states = numpy_seeded(0).integers(0, 2, (50, 4))
    actions, _ = agent.predict(states, deterministic=True)
    assert env.reward_of(actions, states).mean() > 6.5  # random: 4 of 8, deviation 0.2 of the mean


def test_real_actions_have_no_independent_bits():
    with pytest.raises(ParameterError, match="actions of Gaussian"):
        shaped_policy(spaces.Box(-1, 1, (2,)), action_energy.FactorizedEnergy())
