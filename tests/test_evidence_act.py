"""The harness of the agents' figures: runs, exams and tables beside hand-made players."""

import json
import sys
from argparse import ArgumentTypeError
from types import SimpleNamespace

import gymnasium as gym
import matplotlib as mpl
import numpy as np
import pytest
import torch
from gymnasium import spaces

pytest.importorskip("sb3_contrib", reason="a peer is sb3-contrib's MaskablePPO")
pytest.importorskip("benchmarks", reason="the harness is in the repository alone")

from benchmarks.evidence.act import __main__ as program
from benchmarks.evidence.act import exams, report, runs
from benchmarks.evidence.act.agents import AGENTS, Agent, Listed, Player, known_by
from benchmarks.evidence.act.board import AugmentedReplay, BoardFeatures
from benchmarks.evidence.act.tabular import TabularQ
from benchmarks.evidence.act.tasks import TASKS, Task

from isinglass.envs import Assignment, LargeAction, Parity, TicTacToe
from isinglass.envs.tictactoe.game import action_mask, minimax_moves, random_moves
from tests.agents.small import SMALL, Guarded, every_action
from tests.seeds import SEED, numpy_seeded


class Steady:
    """Learns nothing; a step takes ``pace`` seconds of a clock set by hand, an episode 5 steps."""

    def __init__(self, clock, pace):
        self.clock, self.pace, self.num_timesteps = clock, pace, 0

    def learn(self, total_timesteps, callback, reset_num_timesteps):
        assert reset_num_timesteps == (self.num_timesteps == 0)
        for _ in range(total_timesteps):
            self.num_timesteps += 1
            self.clock.now += self.pace
            dones = np.array([self.num_timesteps % 5 == 0])
            if not callback({"self": self, "dones": dones}, {}):
                break


@pytest.fixture
def toy(monkeypatch):
    """A task whose score is the steps learned; a step of ours takes 1 s, of its peer ¼ s."""
    clock, built = SimpleNamespace(now=0.0), []

    def builds(name, pace):
        def build(make, seed, settings):
            built.append((name, seed))
            return Player(Steady(clock, pace))

        return build

    def score(player):
        clock.now += 1_000  # examinations are not counted
        return float(player.learner.num_timesteps)

    def task(**changes):
        given = {"seconds": 50.0, "peers": ("ppo",), "target": "a lot"} | changes
        found = Task("toy", gym.Env, 20, score=score, exam=lambda p: {"score": score(p)}, **given)
        monkeypatch.setitem(TASKS, "toy", found)
        return found

    monkeypatch.setattr(runs, "time", SimpleNamespace(process_time=lambda: clock.now))
    for name, pace in (("ours", 1.0), ("ppo", 0.25)):
        agent = Agent(AGENTS[name].title, builds(name, pace), {"toy": {"rate": 1}})
        monkeypatch.setitem(AGENTS, name, agent)
    return SimpleNamespace(task=task, built=built)


def test_a_run_is_written_and_read_back(toy, tmp_path):
    job = toy.task(), "ours", 3, 20, tmp_path
    assert runs.kept(*job) is None
    assert runs.missing(*job)
    record = runs.run(*job)
    assert runs.kept(*job) == json.loads(json.dumps(record))
    assert not runs.missing(*job)
    assert runs.missing(job[0], "ours", 4, 20, tmp_path)  # another seed
    assert runs.missing(job[0], "ours", 3, 40, tmp_path)  # other steps
    assert record["curve"] == [(n, float(n), float(n)) for n in range(2, 21, 2)]
    assert (record["steps"], record["seconds"], record["result"]) == (20, 20.0, {"score": 20.0})


def test_other_settings_are_run_anew(toy, tmp_path):
    job = toy.task(), "ours", 0, 20, tmp_path
    runs.run(*job)
    AGENTS["ours"].settings["toy"] = {"rate": lambda left: left}
    assert runs.kept(*job) is None
    assert runs.missing(*job)
    runs.run(*job)
    AGENTS["ours"].settings["toy"] = {"rate": lambda left: left}  # elsewhere in memory
    assert not runs.missing(*job)


@pytest.mark.parametrize(("cap", "until"), [(50.0, 20.0), (8.0, 8.0)])
def test_a_peer_goes_on_for_as_long_as_the_agent_learned_up_to_a_cap(toy, tmp_path, cap, until):
    task = toy.task(seconds=cap)
    peer = task, "ppo", 0, 20, tmp_path
    alone = runs.run(*peer)
    assert alone["curve"][-1] == (20, 5.0, 20.0)  # nothing of ours is known yet
    assert not runs.missing(*peer)
    runs.run(task, "ours", 0, 20, tmp_path)
    runs.run(task, "ours", 1, 20, tmp_path)
    assert runs.missing(*peer)
    record = runs.run(*peer)
    assert not runs.missing(*peer)
    assert (record["steps"], record["seconds"], record["result"]) == (20, 5.0, {"score": 20.0})
    steps, seconds, scores = np.array(record["curve"]).T
    assert until <= seconds[-1] <= 1.1 * until + 0.5  # up to its next point
    np.testing.assert_array_equal(seconds, steps / 4)
    np.testing.assert_array_equal(scores, steps)
    assert (np.diff(steps) > 0).all()


def test_training_stops_after_so_many_games(toy, tmp_path):
    task = toy.task(games=3)
    assert runs.run(task, "ours", 0, 20, tmp_path)["steps"] == 15
    peer = runs.run(task, "ppo", 0, 20, tmp_path)
    assert peer["steps"] == 15
    steps, seconds, _ = np.array(peer["curve"]).T
    assert seconds[-1] >= 15.0
    assert len(steps) < 30  # games are not counted in its overtime, or each step would end it


def test_the_program_runs_what_is_missing_and_prints_tables(toy, tmp_path, monkeypatch, capsys):
    toy.task()

    def call(*more):
        monkeypatch.setattr(sys, "argv", ["act", "toy", "--out", str(tmp_path), *more])
        toy.built.clear()
        with mpl.rc_context():
            program.main()
        return capsys.readouterr().out

    assert "no runs yet" in call("--seeds", "1", "--show")
    out = call("--seeds", "2")
    assert toy.built == [("ours", 0), ("ours", 1), ("ppo", 0), ("ppo", 1)]
    assert "FreeEnergyQ" in out
    assert "score after 20 s" in out
    assert (tmp_path / "toy-20.svg").stat().st_size > 1_000
    call("--seeds", "3", "--agents", "ours", "dqn")
    assert toy.built == [("ours", 2)]  # DQN is no peer of this task
    with pytest.raises(SystemExit):
        call("--seeds", "0")
    for text in ("0", "-1", "1.5", "two"):
        with pytest.raises(ArgumentTypeError, match="no whole number"):
            program._count(text)


def test_a_table_has_a_row_for_every_exam():
    def row(seed, seconds, result, score):
        curve = [[5, seconds / 2, 0.0], [10, seconds, score]]
        return {"seed": seed, "steps": 10, "seconds": seconds, "result": result, "curve": curve}

    found = report.table(
        TASKS["parity"],
        {
            "ours": [row(0, 8.0, {"optimal": 1.0, "clamped": 0.5}, 1.0),
                     row(1, 4.0, {"optimal": 1.0, "clamped": 1.0}, 1.0)],
            "ppo": [row(0, 2.0, {"optimal": 0.25}, 0.25), row(1, 8.0, {"optimal": 0.75}, 0.75)],
        },
    )  # fmt: skip
    names, own, ppo = (list(column.cells) for column in found.columns)
    assert names == ["seeds", "steps", "seconds", "optimal", "clamped", "optimal after 6 s"]
    assert own == ["2", "10", "6.0", "1.000 ± 0.000", "0.75 ± 0.25", "1.000 ± 0.000"]
    # at 8 s the first had ended with ¼; at 4 s the second was at its first point
    assert ppo == ["2", "10", "5.0", "0.50 ± 0.25", "–", "0.12 ± 0.12 (by 2 s)"]
    assert [str(column.header) for column in found.columns] == ["", "FreeEnergyQ", "PPO"]


def test_scores_after_the_seconds_of_each_seed():
    curve = [[1, 1.0, 0.0], [2, 3.0, 10.0]]
    for limit, text in ((0.5, "0"), (1.0, "0"), (2.5, "7.5"), (3.0, "10"), (6.0, "10 (by 3 s)")):
        assert report._at([{"seed": 4, "curve": curve}], {4: limit}) == text
    assert report._at([{"seed": 4, "curve": curve}], {5: 2.0}) == "–"  # ours has no such seed


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], "–"),
        ([0.25], "0.25"),
        ([1.0, 1.0], "1.000 ± 0.000"),
        ([6.621934959769249] * 10, "6.622 ± 0.000"),  # but for rounding they are the same
        ([1.0, 3.0], "2.0 ± 1.0"),
        ([0.0, 0.5], "0.25 ± 0.25"),
        ([1_000.0, 5_000.0], "3,000 ± 2000"),
    ],
)
def test_mean_and_standard_error(values, text):
    assert report.mean_and_error(values) == text


def by_hand(act):
    """A player whose actions are a function of the observations."""
    return SimpleNamespace(act=lambda seen, *, deterministic, masks=None: act(seen))


def test_greedy_rewards():
    env = LargeAction(**SMALL)
    assert exams.greedy_reward(by_hand(env.optimal_action), lambda: env, 50) == 8
    spoiled = by_hand(lambda seen: env.optimal_action(seen) ^ (np.arange(8) == 2))
    assert 6 <= exams.greedy_reward(spoiled, lambda: env, 50) < 8


def even(count, seed=0):
    """Uniformly random optima of parity: the last bit of each block follows from the others."""
    blocks = numpy_seeded(seed).integers(0, 2, (count, 5, 4))
    blocks[..., 3] = blocks[..., :3].sum(-1) % 2
    return blocks.reshape(count, 20)


def test_optima_of_parity_are_counted():
    found = exams.parity(by_hand(lambda seen: even(len(seen))), Parity, 200)
    assert found == {"optimal": 1.0, "distinct optima": len(np.unique(even(200), axis=0))}
    one = by_hand(lambda seen: np.zeros((len(seen), 20), np.int8))
    assert exams.parity(one, Parity, 200) == {"optimal": 1.0, "distinct optima": 1.0}

    def half(seen):
        actions = even(len(seen))
        actions[::2, 7] ^= 1  # one block is odd
        return actions

    assert exams.parity(by_hand(half), Parity, 200)["optimal"] == 0.5


def completed(fixed, spoil=lambda actions: actions):
    """The best that fixed bits still allow, for blocks of any deal."""
    actions = np.nan_to_num(fixed).astype(int)
    for row, given in zip(actions, fixed, strict=True):
        for block in Parity(permute_seed=2).members:
            free = block[np.isnan(given[block])]
            if len(free):
                row[free[0]] = row[block].sum() % 2
    return spoil(actions)


def test_clamped_parities_count_what_fixed_bits_still_allow():
    def share(complete):
        player = SimpleNamespace(complete=lambda seen, fixed: complete(fixed))
        exam = exams.clamped_parity(player, lambda: Parity(permute_seed=2), 300)
        return exam["clamped optimal"]

    given = []
    assert share(lambda fixed: given.append(fixed) or completed(fixed)) == 1.0
    fixed = given[0]
    assert (np.isnan(fixed).sum(1) == 10).all()
    whole = ~np.isnan(fixed)[:, Parity(permute_seed=2).members].any(-1)
    odd = fixed[:, Parity(permute_seed=2).members].sum(-1) % 2 == 1
    assert (whole & odd).any()  # blocks that are lost, or they would not have been counted
    assert share(lambda fixed: even(len(fixed))) < 0.1  # what is given is not kept
    assert share(lambda fixed: completed(fixed, lambda actions: actions * 0)) == 0

    def another_bit_too(fixed):
        actions = completed(fixed)
        for row, free in zip(actions, np.isnan(fixed), strict=True):
            row[np.flatnonzero(free)[0]] ^= 1
        return actions

    assert share(another_bit_too) == 0


def test_assignments_are_judged():
    env = Assignment(n=3)
    best = exams.assignment(by_hand(env.optimal_action), lambda: env, 20)
    assert best["valid"] == 1.0
    assert best["reward"] == pytest.approx(best["optimum"])
    nothing = by_hand(lambda seen: np.zeros((len(seen), 9), np.int8))
    assert exams.assignment(nothing, lambda: env, 20)["valid"] == 0.0


class Long(gym.Env):
    """Ends after ``length`` steps, the k-th of them worth k."""

    observation_space = spaces.Box(0, 99, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, length):
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.time += 1
        over = self.time == self.length
        return np.full(1, self.time, np.float32), float(self.time), over, False, {}


def test_rewards_of_episodes_and_of_steps():
    idle, lengths = by_hand(lambda seen: np.zeros(len(seen), int)), iter([1, 2, 4])
    # what a copy earns after its first end does not count
    assert exams.episode_return(idle, lambda: Long(next(lengths)), 3) == (1 + 3 + 10) / 3
    found = exams.reward_per_step(idle, lambda: Long(2), 8, copies=2)
    assert found == 1.5


def test_games_are_counted():
    def player(claims):
        return SimpleNamespace(act=lambda seen, *, deterministic, masks: claims(seen, masks))

    rng = numpy_seeded(0)
    perfect = exams.tictactoe(player(lambda seen, _: minimax_moves(seen, rng)), 200)
    assert perfect["losses"] == perfect["illegal"] == perfect["losses, first seat"] == 0
    assert perfect["drawn with perfect, first"] == perfect["drawn with perfect, second"] == 1
    center = exams.tictactoe(player(lambda seen, _: np.tile([1, 1, 0], (len(seen["mask"]), 1))), 40)
    assert center["illegal"] == center["illegal, first seat"] == 40
    assert center["mean"] == center["mean, first seat"] == -20

    def legal(seen, masks):
        claims = random_moves(seen, rng)
        assert masks[np.arange(len(claims)), *claims.T].all()
        return claims

    some = exams.tictactoe(player(legal), 200)
    assert some["illegal"] == 0
    assert some["losses"] > 20
    wins = 200 - some["losses"] - some["draws"]
    assert some["mean"] * 200 == 20 * (wins - some["losses"]) + 10 * some["draws"]
    assert some["drawn with perfect, first"] < 0.9


def test_listed_actions_are_numbered_and_masked():
    space = spaces.MultiDiscrete([2, 3])
    env = Guarded(space, joint=True, length=2)
    listed = Listed(env)
    assert (listed.sizes, listed.action_space) == ((2, 3), spaces.Discrete(6))
    listed.reset(seed=SEED)
    for number, action in enumerate(every_action(space)):
        listed.reset()
        env.mask[:] = True
        _, reward, *_ = listed.step(number)
        assert reward == action.sum()
    mask = np.array([[True, False, False], [True, True, False]])
    listed._note({"action_mask": mask})
    allowed = [bool(mask[*action]) for action in every_action(space)]
    assert listed.action_masks().tolist() == allowed
    listed._note({"action_mask": np.zeros((2, 3), bool)})  # after the end nothing is asked
    assert listed.action_masks().all()
    listed._note({})
    assert listed.action_masks().all()


def test_players_that_choose_from_a_list():
    class Chooser:
        def predict(self, observations, *, deterministic, action_masks):
            assert deterministic
            return action_masks.argmax(-1), None

    masks = np.zeros((2, 3, 3, 2), bool)
    masks[0, 1, 2, 0] = masks[1, 2, 0, 1] = True
    player = Player(Chooser(), (3, 3, 2), masked=True)
    actions = player.act(np.zeros(2), deterministic=True, masks=masks)
    assert actions.tolist() == [[1, 2, 0], [2, 0, 1]]


class Two(gym.Env):
    """Two states, three actions; the third is forbidden.

    In state 0 the first action ends with 1, the second leads to state 1. There the first ends with
    −1, the second is worth 2 and cut short.
    """

    observation_space, action_space = spaces.Discrete(2), spaces.Discrete(3)

    def info(self):
        return {"action_mask": np.array([True, True, False])}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = 0
        return 0, self.info()

    def step(self, action):
        assert action < 2
        if self.state == 0:
            self.state = int(action)
            return self.state, float(1 - action), action == 0, False, self.info()
        return 1, (-1.0, 2.0)[action], action == 0, action == 1, self.info()


def test_tabular_q_learns_a_problem_of_two_states_exactly():
    agent = TabularQ(Two(), int, 0, gamma=0.5)
    agent.learn(20_000, lambda *_: True)
    # Q(1, 1) = 2 + ½ Q(1, 1), for what is cut short goes on
    np.testing.assert_allclose(agent.table[0], [1, 2, 0], atol=1e-3)
    np.testing.assert_allclose(agent.table[1], [-1, 4, 0], atol=1e-3)
    assert agent._epsilon == agent.least_exploration
    assert agent.predict(np.array([0, 1]))[0].tolist() == [1, 1]
    masks = np.array([[True, False, True], [True, False, False]])
    assert agent.predict(np.array([0, 1]), action_masks=masks)[0].tolist() == [0, 0]
    calls = []
    agent.learn(50, lambda local, _: calls.append(local["self"]) or len(calls) < 3, False)
    assert agent.num_timesteps == 20_003  # until the callback says no


def test_a_set_of_propositions_has_no_order():
    env = TicTacToe(opponent="random", seat="second")
    seen, _ = env.reset(seed=SEED)
    seen, *_ = env.step(np.argwhere(env._info()["action_mask"])[0])
    turned = {name: np.roll(rows, 4, axis=0) for name, rows in seen.items()}
    assert known_by(seen) == known_by(turned)
    assert known_by(seen) != known_by({**seen, "mask": np.zeros(9, np.int8)})
    assert known_by(np.arange(3)) == np.arange(3).tobytes()
    features = BoardFeatures(env.observation_space)
    boards = [
        features({name: torch.tensor(rows)[None].float() for name, rows in some.items()})
        for some in (seen, turned)
    ]
    assert torch.equal(*boards)
    filled = {tuple(row) for row in seen["propositions"][seen["mask"] > 0].tolist()}
    cells = {(i % 9 % 3, i % 9 // 3, i // 9) for i in boards[0][0].nonzero().flatten().tolist()}
    assert cells == filled
    assert len(filled) == 3


def test_every_agent_has_settings_for_the_tasks_it_takes_part_in():
    for task in TASKS.values():
        for agent in ("ours", *task.peers):
            assert task.name in AGENTS[agent].settings, (task.name, agent)


@pytest.mark.parametrize("agent", ["ours", "maskable", "tabular"])
def test_players_of_noughts_and_crosses_are_asked_for_legal_claims(agent):
    task = TASKS["tictactoe"]
    player = AGENTS[agent].build(task.make, 0, AGENTS[agent].settings["tictactoe"])
    assert exams.tictactoe(player, 20)["illegal"] == 0


def test_dqn_replays_augmented_boards_with_listed_actions_that_stay_legal():
    env = Listed(TicTacToe(seat="random"))
    settings = {"device": "cpu", "handle_timeout_termination": False}
    buffer = AugmentedReplay(200, env.observation_space, env.action_space, **settings)
    draw = numpy_seeded(0)
    seen, _ = env.reset(seed=SEED)
    for _ in range(200):
        action = draw.choice(np.flatnonzero(env.action_masks()))
        after, reward, done, _, _ = env.step(action)
        stored = ({key: rows[None] for key, rows in part.items()} for part in (seen, after))
        buffer.add(*stored, np.array([[action]]), np.array([reward]), np.array([done]), [{}])
        seen = env.reset()[0] if done else after
    batch = buffer.sample(500)
    boards = {key: rows.numpy() for key, rows in batch.observations.items()}
    chosen = batch.actions.numpy()
    assert chosen.shape == (500, 1)
    assert np.take_along_axis(action_mask(boards).reshape(500, 18), chosen, 1).all()
    assert len({tuple(row) for row in chosen.tolist()}) == 9
