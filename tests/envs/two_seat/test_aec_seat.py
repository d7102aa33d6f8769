"""A seat of PettingZoo's environments: who moves when, what is earned, what is refused."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from isinglass.agents import FreeEnergyQ, SelfPlay
from isinglass.envs import AECSeat
from isinglass.errors import DomainError, MissingExtraError, ParameterError
from tests.seeds import numpy_seeded, shifted

pettingzoo = pytest.importorskip("pettingzoo")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
STONES = 5


class Nim(pettingzoo.AECEnv):
    """Take one or two of five stones; who takes the last has won."""

    metadata = {"name": "nim", "render_modes": []}  # noqa: RUF012

    def __init__(self, agents=2, masked=True, widths=None):
        super().__init__()
        self.possible_agents = [f"player_{i}" for i in range(agents)]
        self.masked, self.widths = masked, widths or [STONES + 1] * agents
        self.render_mode = None

    def observation_space(self, agent):
        seen = spaces.MultiBinary(self.widths[self.possible_agents.index(agent)])
        if not self.masked:
            return seen
        return spaces.Dict({"observation": seen, "action_mask": spaces.Box(0, 1, (2,), np.int8)})

    def action_space(self, agent):
        return spaces.Discrete(2)

    def observe(self, agent):
        seen = np.eye(STONES + 1, dtype=np.int8)[self.left]
        mask = np.array([1, self.left > 1], dtype=np.int8)
        return {"observation": seen, "action_mask": mask} if self.masked else seen

    def reset(self, seed=None, options=None):
        self.agents = self.possible_agents[:]
        self.left, self.seeds = STONES, seed
        self.rewards = dict.fromkeys(self.agents, 0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: {} for agent in self.agents}
        self.agent_selection = self.agents[0]

    def step(self, action):
        who = self.agent_selection
        if self.terminations[who]:
            self._was_dead_step(action)
            return
        other = self.agents[1 - self.agents.index(who)]
        self._cumulative_rewards[who] = 0
        self.rewards = dict.fromkeys(self.agents, 0)
        taken = action + 1
        if taken > self.left or self.left == taken:
            sign = 1 if taken == self.left else -1
            self.rewards = {who: sign, other: -sign}
            self.terminations = dict.fromkeys(self.agents, True)
        self.left = max(self.left - taken, 0)
        self.agent_selection = other
        self._accumulate_rewards()


def one_at_a_time(observations, masks, generator):
    return np.zeros(len(masks), dtype=int)


def test_the_other_seat_is_played_inside_a_step():
    env = AECSeat(Nim(), one_at_a_time, "first")
    seen, info = env.reset(seed=0)
    assert (seen.argmax(), info["action_mask"].tolist()) == (5, [True, True])
    seen, reward, terminated, truncated, info = env.step(0)
    assert (seen.argmax(), reward, terminated, truncated) == (3, 0.0, False, False)
    seen, reward, terminated, _, info = env.step(0)
    assert (seen.argmax(), reward, terminated) == (1, 0.0, False)
    assert info["action_mask"].tolist() == env.action_masks().tolist() == [True, False]
    _, reward, terminated, _, info = env.step(0)
    assert (reward, terminated, info["action_mask"].all()) == (1.0, True, True)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)
    env.reset()
    env.step(1)
    _, reward, terminated, _, _ = env.step(0)  # one is left, which the other takes
    assert (reward, terminated) == (-1.0, True)


def test_who_is_second_and_what_is_illegal():
    env = AECSeat(Nim(), one_at_a_time, "second")
    assert env.reset(seed=0)[0].argmax() == 4
    env.step(0)
    _, reward, terminated, _, _ = env.step(1)
    assert (reward, terminated) == (1.0, True)
    assert env.reset()[0].argmax() == 4
    env.step(1)  # one is left, which the other takes
    env = AECSeat(Nim(), one_at_a_time, "first")
    env.reset()
    env.step(0)
    env.step(0)
    assert env.step(1)[1:3] == (-1.0, True)  # two of one
    bad = AECSeat(Nim(), lambda seen, masks, generator: np.full(len(masks), 2), "second")
    with pytest.raises(DomainError, match="illegal move 2"):
        bad.reset()


def test_seats_alternate_and_seeds_repeat():
    env = AECSeat(Nim(), one_at_a_time)
    starts = [int(env.reset(seed=shifted(0) if i == 0 else None)[0].argmax()) for i in range(6)]
    assert starts in ([4, 5] * 3, [5, 4] * 3)
    one, other = AECSeat(Nim()), AECSeat(Nim())
    assert np.array_equal(one.reset(seed=shifted(3))[0], other.reset(seed=shifted(3))[0])
    assert one.env.seeds == other.env.seeds


def test_agents_learn_there_against_themselves():
    """The first takes two and then what is left of three: it wins each game."""
    env = AECSeat(Nim(), "self")
    agent = FreeEnergyQ("MlpPolicy", env, seed=shifted(0), batch_size=32, device="cpu")
    agent.learn(400, callback=SelfPlay(every=100))
    assert env.pool.steps == [100, 200, 300, 400]
    check = AECSeat(Nim(), "random", "first")
    for seed in range(20):
        seen, info = check.reset(seed=shifted(seed))
        over = False
        while not over:
            move, _ = agent.predict(seen, deterministic=True, action_masks=info["action_mask"])
            seen, reward, over, _, info = check.step(move)
        assert reward == 1.0


def test_observations_without_masks_stay_as_they_are():
    env = AECSeat(Nim(masked=False), one_at_a_time, "first")
    seen, info = env.reset()
    assert env.observation_space == spaces.MultiBinary(6)
    assert (seen.argmax(), info["action_mask"].tolist()) == (5, [True, True])


@pytest.mark.usefixtures("unannotated")
def test_what_is_no_game_of_two():
    for env, match in [
        (Nim(3), "3 agents"),
        (Nim(1), "1 agents"),
        (Nim(widths=[6, 7]), "different observation_spaces"),
        ("tictactoe", "AEC"),
        (None, "AEC"),
    ]:
        with pytest.raises(ParameterError, match=match):
            AECSeat(env)
    with pytest.raises(ParameterError, match="seat"):
        AECSeat(Nim(), seat="third")
    with pytest.raises(ParameterError, match="opponent"):
        AECSeat(Nim(), "best")


def test_games_of_pettingzoo():
    """Random play from both seats: rewards are zero-sum, every game ends."""
    pytest.importorskip("pygame")
    from pettingzoo.classic import connect_four_v3, tictactoe_v3

    random = numpy_seeded(1)
    for module, shape in [(tictactoe_v3, (3, 3, 2)), (connect_four_v3, (6, 7, 2))]:
        env, ends = AECSeat(module.env()), []
        for seed in range(60):
            seen, info = env.reset(seed=shifted(seed))
            assert seen.shape == shape
            over = False
            while not over:
                legal = np.flatnonzero(info["action_mask"])
                seen, reward, over, _, info = env.step(random.choice(legal))
                assert over or reward == 0
            ends.append(reward)
        assert {-1.0, 1.0} <= set(ends) <= {-1.0, 0.0, 1.0}


def test_pettingzoo_is_missed_by_name(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pettingzoo", None)
    with pytest.raises(MissingExtraError, match=r"isinglass\[pettingzoo\]"):
        AECSeat(None)
