"""Energies are compared by transitions kept aside; the default stays unless another is better."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback

from isinglass.agents import (
    FreeEnergyQ,
    MixtureEnergy,
    PairwiseEnergy,
    RBMEnergy,
    candidate_energies,
    compare_energies,
)
from isinglass.agents.defaults import default_energy
from isinglass.agents.energy_selection import EnergyFit, _divided, untold_energies
from isinglass.envs import Assignment, LargeAction, Parity
from isinglass.errors import ParameterError
from tests.seeds import seeded


def collected(env, steps, **settings):
    agent = FreeEnergyQ("MlpPolicy", env, learning_starts=steps, seed=0, device="cpu", **settings)
    return agent.learn(steps)


def test_parts_are_apart_and_whole():
    agent = collected(LargeAction(state_bits=6, action_bits=12), 200)
    first, second = _divided(agent.replay_buffer, seeded(), None)
    assert (len(first.rewards), len(second.rewards)) == (150, 50)
    stored = np.hstack(
        [agent.replay_buffer.observations[:200, 0], agent.replay_buffer.actions[:200, 0]]
    )
    rows = torch.cat([torch.cat([p.observations, p.actions], -1) for p in (first, second)])
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, stored.tolist()))


def test_the_error_is_that_of_a_plain_loop():
    agent = collected(LargeAction(state_bits=4, action_bits=6), 400)
    agent.policy.seed(1)
    (fit,) = compare_energies(agent, [MixtureEnergy(4)])
    _, aside = _divided(agent.replay_buffer, torch.Generator().manual_seed(1), None)
    for found, seen, action, reward in zip(
        fit.errors, aside.observations, aside.actions, aside.rewards, strict=True
    ):  # one step: the reward is the target
        value = fit.policy.action_values(seen[None], action[None])
        torch.testing.assert_close(found, (value - reward).square().sum().detach())
    share = float(fit.errors.mean() / aside.rewards.var(correction=0))
    assert abs(fit.share - share) < 1e-5


@pytest.mark.slow
def test_pairs_are_chosen_where_the_reward_is_of_pairs(tmp_path):
    agent = FreeEnergyQ("MlpPolicy", Assignment(3), energy="auto", seed=0, device="cpu")
    assert isinstance(agent.energy, MixtureEnergy)  # until there is something to compare
    agent.learn(2_010)
    assert isinstance(agent.energy, PairwiseEnergy)
    assert agent.policy.energy is agent.energy
    assert agent.q_net is agent.policy.q_net
    agent.save(tmp_path / "agent.zip")
    again = FreeEnergyQ.load(tmp_path / "agent.zip", env=Assignment(3), device="cpu")
    assert isinstance(again.energy, PairwiseEnergy)
    weights = zip(agent.policy.weights, again.policy.weights, strict=True)
    assert all(torch.equal(*pair) for pair in weights)
    again.learn(50)
    assert isinstance(again.energy, PairwiseEnergy)


def test_one_choice_has_nothing_to_compare():
    agent = FreeEnergyQ("MlpPolicy", "CartPole-v1", energy="auto", seed=0, device="cpu")
    assert candidate_energies(agent.action_space) == (agent.energy,)
    assert agent.learning_starts == 100


@pytest.mark.usefixtures("plain_annotations")
def test_only_what_is_better_by_two_errors_is_better():
    errors = torch.rand(400, generator=seeded())
    for gain in (-0.2, 0.0, 0.02, 0.2):
        other = errors.roll(1) + gain
        away = (other - errors).numpy()
        sure = away.mean() > 2 * away.std(ddof=1) / 20
        first, second = (EnergyFit(MixtureEnergy(), None, e, 0.0) for e in (errors, other))  # pyright: ignore[reportArgumentType]
        assert first.better_than(second) == sure


@pytest.mark.parametrize(("energies", "steps"), [([], 100), (None, 4)])
def test_nothing_to_compare_is_refused(energies, steps):
    agent = collected(LargeAction(state_bits=4, action_bits=6), steps)
    with pytest.raises(ParameterError):
        compare_energies(agent, energies)


def test_a_foreign_buffer_is_refused():
    agent = collected(
        LargeAction(state_bits=4, action_bits=6), 50, replay_buffer_class=ReplayBuffer
    )
    with pytest.raises(ParameterError, match="ReplayBuffer"):
        compare_energies(agent)


def test_another_word_is_refused():
    with pytest.raises(ParameterError, match="energy"):
        FreeEnergyQ("MlpPolicy", Assignment(3), energy="best", device="cpu")


@pytest.mark.slow
def test_pairs_are_taken_up_where_nobody_named_an_energy():
    agent = FreeEnergyQ("MlpPolicy", Assignment(3), seed=0, device="cpu").learn(2_100)
    assert isinstance(agent.energy, PairwiseEnergy)
    assert agent.q_net is agent.policy.q_net


@pytest.mark.parametrize(
    ("env", "steps", "settings"),
    [
        (Assignment(3), 1_100, {}),  # most of the training is over
        (Assignment(3), 2_100, {"energy": MixtureEnergy()}),
        (LargeAction(state_bits=6, action_bits=12), 2_100, {}),  # the default is as good
    ],
    ids=["late", "named", "no pairs"],
)
def test_an_energy_that_was_named_or_fits_stays(env, steps, settings):
    agent = FreeEnergyQ("MlpPolicy", env, seed=0, device="cpu", **settings).learn(steps)
    assert isinstance(agent.energy, MixtureEnergy)


def test_actions_that_can_be_listed_or_go_on_are_not_compared():
    few, many = spaces.MultiBinary(8), spaces.MultiDiscrete([7, 7, 7])
    kinds = [type(energy) for energy in untold_energies(many)]
    assert kinds == [MixtureEnergy, PairwiseEnergy, RBMEnergy]
    for space in (few, spaces.Discrete(1_000), spaces.Box(-1, 1, (3,))):
        assert untold_energies(space) == (default_energy(space),)


def test_a_sum_over_pairs_sees_what_is_observed_itself():
    agent = FreeEnergyQ("MlpPolicy", Assignment(3), energy=PairwiseEnergy(), device="cpu")
    network, seen = agent.q_net, torch.rand(4, 9, generator=seeded())
    with torch.no_grad():
        network.head.bias.weight[:, -9:].normal_(generator=seeded(1))
        layers = network.trunk(seen)
        fields = network(seen, 1.0).bias
    assert torch.equal(layers[:, -9:], seen)
    expected = network.head.scale * (seen @ network.head.bias.weight[1:, -9:].mT)
    torch.testing.assert_close(fields, expected.detach())


class UntilStep(BaseCallback):
    """Stops learning there, and says whether actions are uniform until then."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step, self.seen = step, []

    def _on_step(self) -> bool:
        self.seen.append(self.model._compares)  # pyright: ignore[reportAttributeAccessIssue]
        return self.num_timesteps < self.step


@pytest.mark.parametrize(
    ("env", "steps", "settings", "expected"),
    [
        (Assignment(3), 20_000, {}, True),
        (Assignment(3), 19_000, {}, False),  # no time for it
        (Assignment(3), 20_000, {"energy": MixtureEnergy()}, False),
        (Assignment(3), 20_000, {"buffer_size": 50}, False),  # what was met is forgotten
        ("FrozenLake-v1", 20_000, {}, False),  # a few actions each have a value
    ],
    ids=["long", "short", "named", "small buffer", "few"],
)
def test_a_quarter_of_a_long_training_is_uniform(env, steps, settings, expected):
    agent = FreeEnergyQ("MlpPolicy", env, seed=0, device="cpu", **settings)
    watch = UntilStep(130)
    agent.learn(steps, callback=watch)
    assert watch.seen[-1] == expected


def test_an_agent_from_a_file_acts_by_what_it_has_learned(tmp_path):
    agent = FreeEnergyQ("MlpPolicy", Assignment(3), seed=0, device="cpu")
    agent.learn(20_000, callback=UntilStep(130)).save(tmp_path / "agent")
    again = FreeEnergyQ.load(tmp_path / "agent", env=Assignment(3), device="cpu")
    watch = UntilStep(160)
    again.learn(20_000, callback=watch, reset_num_timesteps=False)
    assert not any(watch.seen)


@pytest.mark.slow
def test_hidden_units_are_taken_up_where_pairs_do_not_tell():
    agent = FreeEnergyQ("MlpPolicy", Parity(), seed=0, device="cpu")
    agent.learn(20_000, callback=UntilStep(5_010))
    assert isinstance(agent.energy, RBMEnergy)
