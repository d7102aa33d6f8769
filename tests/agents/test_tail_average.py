"""What an agent ends with is the mean of its weights over the last tenth of its training."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from isinglass.agents import FreeEnergyQ, FreeEnergySarsa
from isinglass.agents.tail_average import TailAverage
from isinglass.envs import LargeAction
from tests.agents.small import SMALL, small_agent
from tests.seeds import seeded, shifted


def weights_of(agent):
    return [weight.detach().clone() for weight in agent.policy.weights]


class Watch(BaseCallback):
    """Keeps the weights after every update."""

    def __init__(self, stop_at=None):
        super().__init__()
        self.seen, self.stop_at, self.updates = [], stop_at, 0

    def _on_step(self):
        if self.model._n_updates > self.updates:  # the update before this step
            self.updates = self.model._n_updates
            self.seen.append((self.num_timesteps - 1, weights_of(self.model)))
        return self.num_timesteps != self.stop_at


def test_the_mean_is_that_of_a_plain_sum():
    tail, drawn = TailAverage(0.25), torch.randn(100, 5, generator=seeded(1), dtype=torch.double)
    weight = torch.zeros(5, dtype=torch.double)
    for step, value in enumerate(drawn):
        tail.take([weight.copy_(value)], remaining=1 - step / 100)
    tail.settle([weight])
    torch.testing.assert_close(weight, drawn[75:].mean(0))
    tail.settle([weight.fill_(3)])  # nothing is left of it
    assert (weight == 3).all()


def test_a_training_that_was_broken_off_does_not_count():
    tail, weight = TailAverage(0.5), torch.full((1,), 100.0)
    tail.take([weight], remaining=0.1)
    tail.take([weight.fill_(1)], remaining=1.0)  # another begins
    tail.take([weight.fill_(2)], remaining=0.2)
    tail.settle([weight])
    assert weight.item() == 2


def test_an_agent_ends_with_the_mean_of_its_last_tenth():
    agent, watch = small_agent(train_freq=1), Watch()
    agent.learn(400, callback=watch)
    tail = [weights for step, weights in watch.seen if step >= 360]
    assert len(tail) == 40  # the last update, after the last step, is not seen
    ends, last = weights_of(agent), tail[-1]
    means = [torch.stack(each).mean(0) for each in zip(*tail, strict=True)]
    moved = sum(float((a - b).norm()) for a, b in zip(last, means, strict=True))
    missed = sum(float((a - b).norm()) for a, b in zip(ends, means, strict=True))
    assert missed < moved / 4  # one of 41


def test_one_that_is_stopped_early_keeps_what_it_has():
    agent, watch = small_agent(train_freq=1), Watch(stop_at=200)
    agent.learn(400, callback=watch)
    for weight, last in zip(weights_of(agent), watch.seen[-1][1], strict=True):
        torch.testing.assert_close(weight, last)


def test_the_historical_rule_has_nothing_of_it():
    env = LargeAction(**SMALL)
    agent, watch = FreeEnergySarsa("MlpPolicy", env, seed=0, device="cpu"), Watch()
    agent.learn(60, callback=watch)
    assert agent._tail.count == 0


def test_it_is_not_saved(tmp_path):
    agent = small_agent().learn(100)
    agent._tail.take(agent.policy.weights, 0.0)
    agent.save(tmp_path / "agent")
    assert FreeEnergyQ.load(tmp_path / "agent", device="cpu")._tail.count == 0


@pytest.mark.parametrize("steps", [50, 120])
def test_logged_data_end_so_too(steps):
    random = np.random.default_rng(shifted(2))
    data = {
        "observations": random.integers(2, size=(200, 3)),
        "actions": random.integers(2, size=(200, 4)),
        "rewards": random.normal(size=200),
        "dones": np.ones(200, bool),
    }
    env = LargeAction(state_bits=3, action_bits=4, keys=2)
    agent = FreeEnergyQ.from_data(data, env, seed=0, device="cpu")
    settled = []
    agent._tail.settle = lambda weights: settled.append(agent._tail.count)
    agent.fit(steps)
    assert len(settled) == 1
    assert settled[0] >= 1
