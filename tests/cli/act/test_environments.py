"""``isinglass act`` on environments of every kind, and several runs at once."""

import json
import subprocess
import sys
import time
from threading import Event
from typing import Any

import numpy as np
import pytest

from isinglass.agents import FreeEnergyQ, MaskedEnv
from isinglass.cli import run
from isinglass.cli.act.agents import make_environments
from isinglass.cli.act.evaluation import Stopped, episode_returns
from isinglass.cli.act.run import Request
from tests.cli.act.short import SHORT, WALK, newest, weights
from tests.seeds import SEED


def test_a_reward_that_is_no_number_loses_nothing(folder, capsys):
    assert run([*WALK, "--env-set", "spoil=60", "--out", "spoilt"]) == 1
    printed = capsys.readouterr()
    assert "values of the reward are NaN or infinite" in printed.err
    assert "Go on with: isinglass act --resume spoilt" in printed.out
    assert newest(folder / "spoilt").name == "checkpoint-000000000040.zip"


def test_masks_are_obeyed_when_evaluated_and_by_maskable_ppo(folder, capsys):
    pytest.importorskip("sb3_contrib")
    arguments = [*SHORT, "--steps", "60", "--every", "30", "--envs", "2"]
    assert run(["act", "walks:Guarded", *arguments, "--out", "guarded"]) == 0
    request = Request(**json.loads((folder / "guarded" / "run.json").read_text()))
    env: Any = make_environments(request, 3, "MaskablePPO")
    assert isinstance(env.envs[0].env, MaskedEnv)
    agent = FreeEnergyQ.load(newest(folder / "guarded"), device="cpu")
    assert episode_returns(agent, env, 5, False, Event()).shape == (5,)
    env.reset()
    np.testing.assert_array_equal(env.env_method("action_masks"), [[True, False, False]] * 3)
    assert run(["act", "walks:Guarded", "--peers", "none,ppo", "--out", "no"]) == 2
    assert "Give none, auto or some of ppo,dqn,maskableppo" in capsys.readouterr().err


def test_nested_actions_without_peers(folder, capsys):
    """Stable-Baselines3's agents have none; random actions are nested too."""
    short = [*SHORT[:-1], "auto", "--steps", "60", "--every", "30"]
    assert run(["act", "walks:Steer", *short, "--out", "steer"]) == 0
    printed = capsys.readouterr().out
    assert "random" in printed
    assert "PPO" not in printed
    exec(printed[printed.index("from isinglass.agents") : printed.index("Open ")], {})  # noqa: S102
    assert run(["act", "walks:Steer", "--peers", "ppo", "--out", "no"]) == 2
    assert "Give none or auto" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("way", ["Observed", "Asked"])
def test_masks_told_in_other_ways_are_obeyed(folder, capsys, way):
    """Any other action is an error; the lines of the report play by the rules too."""
    assert run(["act", f"walks:{way}", *SHORT, "--steps", "60", "--every", "30", "--out", way]) == 0
    printed = capsys.readouterr().out
    assert "random, masked" in printed
    exec(printed[printed.index("from isinglass.agents") : printed.index("Open ")], {})  # noqa: S102
    pytest.importorskip("sb3_contrib")
    assert run(["act", f"walks:{way}", "--peers", "none,ppo", "--out", "no"]) == 2
    assert "Give none, auto or some of ppo,dqn,maskableppo" in capsys.readouterr().err


def test_the_lines_of_the_report_give_the_mask(folder, capsys):
    assert run(["act", "walks:Guarded", *SHORT, "--steps", "30", "--out", "guarded"]) == 0
    printed = capsys.readouterr().out
    exec(printed[printed.index("from isinglass.agents") : printed.index("Open ")], {})  # noqa: S102


@pytest.mark.slow
def test_runs_at_once_have_folders_of_their_own(folder, capfd):
    command = [sys.executable, "-m", "isinglass", *WALK, "--quiet"]
    runs = [subprocess.Popen([*command, "--seed", str(seed)]) for seed in range(2)]
    assert [process.wait() for process in runs] == [0] * 2
    found = [json.loads((out / "run.json").read_text()) for out in (folder / "runs").iterdir()]
    assert sorted(request["seed"] for request in found) == [0, 1]
    assert len(list((folder / "runs").glob("*/report.html"))) == 2
    assert not list((folder / "runs").glob("*/.*"))


@pytest.mark.slow
def test_a_second_writer_is_refused_and_a_killed_one_is_not_waited_for(folder, capsys):
    command = [sys.executable, "-m", "isinglass", *WALK, "--env-set", "pause=0.05", "--quiet"]
    with subprocess.Popen([*command, "--out", "one"]) as process:
        limit = time.monotonic() + 300
        while not list(folder.glob("one/*/checkpoint-*")) and time.monotonic() < limit:
            time.sleep(0.02)
        before = (folder / "one" / "run.json").read_bytes()
        for wrong in (["act", "--resume", "one"], [*WALK, "--out", "one"]):
            assert run(wrong) == 1
            assert "another process is writing there" in capsys.readouterr().err
        assert (folder / "one" / "run.json").read_bytes() == before
        process.kill()
    assert run(["act", "--resume", "one"]) == 0
    assert run([*WALK, "--out", "one"]) == 1
    assert "something is there already" in capsys.readouterr().err


def test_counts_may_be_typed_as_powers_of_ten(folder, capsys):
    counts = ["--steps", "1e2", "--every", "5_0", "--out", "ten"]
    typed = ["--set", "buffer_size=1e3", "--set", "gamma=1e0", "--set", "learning_rate=1e-3"]
    assert run(["act", "walks:Walk", *SHORT, *counts, *typed]) == 0
    request = json.loads((folder / "ten" / "run.json").read_text())
    assert (request["steps"], request["every"]) == (100, 50)
    assert weights(newest(folder / "ten"))[1] == 100
    for wrong in ("1.5", "1e-1", "0", "ten", "nan", "inf"):
        assert run(["act", "walks:Walk", "--steps", wrong]) == 2
        assert "is no whole number" in capsys.readouterr().err or wrong == "0"


@pytest.mark.parametrize("kind", ["Unseeded", "Bare"])
def test_an_environment_whose_reset_is_of_another_kind(folder, capsys, kind):
    assert run(["act", f"walks:{kind}", *SHORT, "--steps", "40", "--out", "no"]) != 0
    said = capsys.readouterr().err
    wanted = {"Unseeded": "Let reset take a seed", "Bare": "reset (observation, info)"}
    assert wanted[kind] in said
    assert not (folder / "no").exists()


def test_pictures_too_small_for_a_cnn_are_learned_from_flat(folder):
    assert run(["act", "walks:Tiny", *SHORT, "--steps", "40", "--out", "tiny"]) == 0


def test_each_copy_plays_its_share(folder):
    class Still:
        def predict(self, seen, state, episode_start, deterministic):
            return np.zeros((len(seen), 3), np.int8), None

    request = Request("walks:Walk", {}, 1, 1, 7, "mixture", {}, [], 0, 1, "cpu", 1)
    env = make_environments(request, 3, capped=True)
    env.seed(SEED)
    agent: Any = Still()
    returns = episode_returns(agent, env, 7, True, Event())
    assert returns.tolist() == [0.0] * 7
    stop = Event()
    stop.set()
    with pytest.raises(Stopped):
        episode_returns(agent, env, 7, True, stop)


def test_who_remembers_gets_back_what_it_gave(folder):
    """As of recurrent policies: the state of the step before, and where an episode begins."""
    seen_states, starts = [], []

    class Counts:
        def predict(self, seen, state, episode_start, deterministic):
            seen_states.append(state)
            starts.append(episode_start.all())
            count = 0 if state is None else state[0]
            return np.zeros((len(seen), 3), np.int8), (count + 1,)

    request = Request("walks:Walk", {}, 1, 1, 7, "mixture", {}, [], 0, 1, "cpu", 1)
    env = make_environments(request, 1, capped=True)
    agent: Any = Counts()
    episode_returns(agent, env, 2, True, Event())
    assert seen_states[:3] == [None, (1,), (2,)]
    assert starts[0]
    assert sum(starts) == 2
