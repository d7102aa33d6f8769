"""``isinglass act``: runs that end, stop, are killed and go on, and nothing lost."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from threading import Event
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from rich.console import Console
from stable_baselines3 import PPO

from isinglass.agents import FreeEnergyQ, FreeEnergySarsa, MaskedEnv
from isinglass.cli import run
from isinglass.cli.act import agents as act_agents
from isinglass.cli.act import learner as act_learner
from isinglass.cli.act.agents import make_environments
from isinglass.cli.act.evaluation import Stopped, episode_returns
from isinglass.cli.act.report import footnote, loading_code, result_rows, terminal_table
from isinglass.cli.act.run import History, RandomBaseline, Request, Result, plus_minus
from tests.seeds import SEED

WALKS = '''
import os, signal, time
import gymnasium as gym, numpy as np
from gymnasium import spaces

class Walk(gym.Env):
    """Ten cells; bits push to the right; drawn pushes, so that every random stream counts."""

    observation_space = spaces.Box(0, 10, (1,), np.float32)
    action_space = spaces.MultiBinary(3)

    def __init__(self, pause=0.0, interrupt=0, spoil=0):
        self.pause, self.interrupt, self.spoil, self.time = pause, interrupt, spoil, 0

    def seen(self):
        return np.array([self.cell], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell, self.age = 0, 0
        return self.seen(), {}

    def push(self, action):
        return int(action.sum()) - self.np_random.integers(2)

    def step(self, action):
        self.time += 1
        self.age += 1
        time.sleep(self.pause)
        if self.time == self.interrupt and not os.path.exists("interrupted"):
            open("interrupted", "w").close()
            os.kill(os.getpid(), signal.SIGINT)
        self.cell = int(np.clip(self.cell + self.push(action), 0, 10))
        reward = float("nan") if self.time == self.spoil else self.cell / 10
        return self.seen(), reward, self.cell == 10, self.age == 20, {}

class Pick(Walk):
    """One of three pushes."""

    action_space = spaces.Discrete(3)

class Guarded(Walk):
    """The action to take next is written on the mask; any other is an error."""

    action_space = spaces.Discrete(3)

    def info(self):
        mask = np.zeros(3, bool)
        mask[int(self.cell) % 3] = True
        return {"action_mask": mask}

    def reset(self, **kwargs):
        return super().reset(**kwargs)[0], self.info()

    def push(self, action):
        assert action == self.cell % 3
        return 1

    def step(self, action):
        return *super().step(action)[:4], self.info()

class Observed(Guarded):
    """The same, told in the observation."""

    observation_space = spaces.Dict({
        "cell": Walk.observation_space, "action_mask": spaces.MultiBinary(3),
    })

    def seen(self):
        mask = Guarded.info(self)["action_mask"].astype(np.int8)
        return {"cell": super().seen(), "action_mask": mask}

    def info(self):
        return {}

class Asked(Guarded):
    """The same, told if asked for."""

    def action_masks(self):
        return Guarded.info(self)["action_mask"]

    def info(self):
        return {}

class Unseeded(Walk):
    def reset(self):
        return super().reset()

class Bare(Walk):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]

class Tiny(Walk):
    """Seen as a picture."""

    observation_space = spaces.Box(0, 255, (20, 20, 3), np.uint8)

    def seen(self):
        return np.full((20, 20, 3), 20 * self.cell, np.uint8)
'''
QUICK = ["--set", "learning_starts=20", "--set", "batch_size=16", "--device", "cpu"]
SHORT = [*QUICK, "--set", "policy_kwargs={'net_arch': [16]}", "--evaluate", "4", "--peers", "none"]
WALK = ["act", "walks:Walk", *SHORT, "--steps", "120", "--every", "40"]


@pytest.fixture(autouse=True, scope="module")
def _plain_annotations():
    """As a user has them: without the check of every annotation."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a module of environments."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "walks.py").write_text(WALKS)
    yield tmp_path
    sys.modules.pop("walks", None)


def newest(folder):
    return max((folder / "FreeEnergyQ").glob("checkpoint-*.zip"))


def weights(path):
    agent = FreeEnergyQ.load(path, device="cpu")
    return torch.cat([p.flatten() for p in agent.policy.parameters()]), agent.num_timesteps


def replayed(path):
    """The checkpoint's own members, byte by byte; of the history what does not tell the time."""
    with zipfile.ZipFile(path) as archive:
        history = json.loads(archive.read("history.json"))
        assert history.pop("seconds") > 0
        history["evaluations"] = [row[:1] + row[2:] for row in history["evaluations"]]
        names = [name for name in archive.namelist() if name.startswith("replay/")]
        return history, {name: archive.read(name) for name in names}


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """One run from beginning to end."""
    folder = tmp_path_factory.mktemp("act")
    (folder / "walks.py").write_text(WALKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", sys.path.copy())
        assert run([*WALK, "--out", "whole"]) == 0
    sys.modules.pop("walks", None)
    return folder / "whole"


@pytest.fixture
def whole(once, folder):
    """A copy of it."""
    return Path(shutil.copytree(once, folder / "whole"))


class ShortPPO(PPO):
    """Rollouts of few steps, to be quick."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs | {"n_steps": 32, "batch_size": 32, "n_epochs": 1})


def test_a_run_beside_its_peers(folder, monkeypatch, capsys):
    monkeypatch.setattr(act_agents, "PPO", ShortPPO)
    arguments = ["act", "walks:Pick", *SHORT, "--steps", "60", "--every", "30"]
    assert run([*arguments, "--peers", "ppo,dqn"]) == 0
    printed = capsys.readouterr().out
    (out,) = (folder / "runs").iterdir()
    assert re.fullmatch(r"Pick-\d{4}-\d\d-\d\d-1", out.name)
    for name in ("FreeEnergyQ", "PPO", "DQN"):
        assert re.search(rf"^{name} +\d", printed, re.MULTILINE)
        assert (out / name / "best.zip").exists()
        assert list((out / name).glob("events.out.tfevents.*"))
    page = (out / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 1
    assert sources[0].startswith("data:image/png;base64,")
    assert "learning_starts</th><td>20" in page
    assert '<table class="figures">' in page
    assert ".figures td { white-space: nowrap; }" in page
    result = json.loads((out / "FreeEnergyQ" / "result.json").read_text())
    assert plus_minus(*result["last"]) in page
    assert plus_minus(*result["last"]) in printed
    assert f"step {result['history']['steps']:>9,}" in printed
    told = printed[printed.index("from isinglass.agents") : printed.index("Open ")]
    exec(told, {})  # noqa: S102
    assert run(["act", "--resume", str(out)]) == 0  # nothing left but to write the report again


def test_what_is_measured_is_the_return_of_the_agent(whole):
    """Greedy returns of the environment's own loop, from the seeds of the report's episodes."""
    result = json.loads((whole / "FreeEnergyQ" / "result.json").read_text())
    history = result["history"]
    assert [row[0] for row in history["evaluations"]] == [40, 80, 120]
    assert history["best"] == max(row[2] for row in history["evaluations"])
    assert sum(history["counts"]) >= 120 // 20 - 3
    request = Request(**json.loads((whole / "run.json").read_text()))
    seed = int(np.random.SeedSequence((0, 0, 3)).generate_state(1)[0])
    agent = FreeEnergyQ.load(newest(whole), device="cpu")
    returns = []
    for place in range(4):
        env, total, over = make_environments(request, 1).envs[0], 0.0, False
        seen, _ = env.reset(seed=seed + place)
        while not over:
            action, _ = agent.predict(seen, deterministic=True)
            seen, reward, terminated, truncated, _ = env.step(action)
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    error = np.std(returns, ddof=1) / 2
    assert result["last"] == pytest.approx([np.mean(returns), error], abs=1e-5)


def test_the_best_agent_is_kept(folder, monkeypatch):
    means = iter([1.0, 3.0, 2.0, 0.0, 0.0, 0.0])
    monkeypatch.setattr(act_learner.Learner, "_mean_return", lambda *_, **__: (next(means), 0.1))
    assert run([*WALK, "--out", "best"]) == 0
    assert weights(folder / "best" / "FreeEnergyQ" / "best.zip")[1] == 80


def test_schedules_run_over_the_whole_and_not_over_a_piece(whole):
    path = whole / "FreeEnergyQ" / "checkpoint-000000000080.zip"
    agent = FreeEnergyQ.load(path, device="cpu")
    annealed = 80 / 120 / agent.annealing_fraction
    expected = agent.initial_temperature ** (1 - annealed) * agent.final_temperature**annealed
    assert agent.temperature == pytest.approx(expected)


def test_a_killed_run_goes_on_and_becomes_the_run_that_was_not_killed(folder, whole, real_machine):
    out = folder / "killed"
    command = [sys.executable, "-m", "isinglass", *WALK, "--env-set", "pause=0.01"]
    with subprocess.Popen([*command, "--out", out], stdout=subprocess.DEVNULL) as process:
        limit = time.monotonic() + 300
        while not list(out.glob("FreeEnergyQ/checkpoint-*40.zip")) and time.monotonic() < limit:
            time.sleep(0.02)
        time.sleep(0.15)  # some way into the next segment
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert newest(out).name < newest(whole).name
    assert not (out / "report.html").exists()
    assert run(["act", "--resume", str(out)]) == 0
    own, theirs = weights(newest(out)), weights(newest(whole))
    assert own[1] == theirs[1] == 120
    assert torch.equal(own[0], theirs[0])
    assert replayed(newest(out)) == replayed(newest(whole))
    assert sorted(p.name for p in (out / "FreeEnergyQ").glob("*.zip")) == [
        "best.zip", "checkpoint-000000000080.zip", "checkpoint-000000000120.zip",
    ]  # fmt: skip


def test_ctrl_c_keeps_what_is_learnt_and_says_how_to_go_on(folder, capsys):
    assert run([*WALK, "--env-set", "interrupt=72", "--out", "stopped"]) == 130
    assert "Stopped. Go on with: isinglass act --resume stopped" in capsys.readouterr().out
    assert newest(folder / "stopped").name == "checkpoint-000000000072.zip"
    assert run(["act", "--resume", "stopped"]) == 0
    history, _ = replayed(newest(folder / "stopped"))
    assert [row[0] for row in history["evaluations"]] == [40, 72, 80, 120]


def test_a_damaged_checkpoint_is_passed_over(folder, whole, capsys):
    path = newest(whole)
    content = path.read_bytes()
    (whole / "FreeEnergyQ" / "result.json").unlink()
    before = weights(path)[0]
    path.write_bytes(content[: len(content) // 2])
    assert run(["act", "--resume", "whole"]) == 0
    said = capsys.readouterr().out
    assert "is damaged or no checkpoint" in said
    assert "Going on from step 80." in said
    assert torch.equal(weights(path)[0], before)
    for path in (whole / "FreeEnergyQ").glob("checkpoint-*.zip"):
        path.write_bytes(b"torn")
    (whole / "FreeEnergyQ" / "result.json").unlink()
    there = sorted((whole / "FreeEnergyQ").glob("*.zip"))
    assert run(["act", "--resume", "whole"]) == 1
    printed = capsys.readouterr()
    assert "no checkpoint is whole: checkpoint-000000000120.zip, check" in printed.err
    assert "Nothing was deleted. Move whole/FreeEnergyQ away and resume" in printed.err
    assert "Go on with" not in printed.out
    assert sorted((whole / "FreeEnergyQ").glob("*.zip")) == there
    (whole / "FreeEnergyQ").rename("away")
    assert run(["act", "--resume", "whole"]) == 0
    assert torch.equal(weights(path)[0], before)


def test_a_damaged_best_agent_is_named(whole, capsys):
    (whole / "FreeEnergyQ" / "result.json").unlink()
    best = whole / "FreeEnergyQ" / "best.zip"
    best.write_bytes(b"torn")
    assert run(["act", "--resume", "whole"]) == 1
    assert "Copy the newest checkpoint to it" in capsys.readouterr().err
    shutil.copy(newest(whole), best)
    assert run(["act", "--resume", "whole"]) == 0


def test_weights_of_another_run(folder, whole, capsys):
    assert run([*WALK, "--from", "whole", "--out", "next"]) == 0
    first = [*WALK[:-3], "1", "--every", "1", "--set", "learning_starts=9", "--out", "one"]
    assert run([*first, "--from", str(newest(whole))]) == 0
    assert torch.equal(weights(newest(folder / "one"))[0], weights(newest(whole))[0])
    capsys.readouterr()
    torn = folder / "torn.zip"
    torn.write_bytes(b"torn")
    for wrong, said in (
        (["act", "CartPole-v1", "--from", "whole"], "Give a run of an environment with the same"),
        (
            [*WALK, "--from", "whole", "--set", "memories=3"],
            "Give the same --rule, --energy and --set",
        ),
        ([*WALK, "--from", str(torn)], "no agent that can be read"),
        ([*WALK, "--from", "nowhere"], "no agent that can be read"),
    ):
        assert run([*wrong, "--out", "never"]) == (1 if "can be read" in said else 2)
        assert said in capsys.readouterr().err
        assert not (folder / "never").exists()


#: Files or data failed; all else is wrong usage.
FAILED = {
    "something is there already", "Name a folder that can be made",
    "no run there that can be read", "values of the reward are NaN",
}  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["act"], "Name one, such as CartPole-v1"),
        (["act", "NoSuch-v0"], "no environment 'NoSuch-v0'"),
        (["act", "walks:Walk", "--env-set", "size=3"], "no setting 'size'"),
        (["act", "walks:Walk", "--set", "gamma"], "Write it NAME=VALUE"),
        (
            ["act", "walks:Walk", "--set", "gama=1"],
            "There are memories, state_fields, back",
        ),
        (["act", "walks:Walk", "--set", "gamma=2"], "Give a finite gamma from 0 to 1"),
        (["act", "walks:Walk", "--set", "replay_buffer_kwargs={'x': 1}"], "agent refuses a value"),
        (["act", "walks:Walk", "--set", "train_freq=(1, 'day')"], "train_freq = (1, 'day')"),
        (["act", "walks:Walk", "--set", "learning_starts=-1"], "learning_starts = -1"),
        (["act", "walks:Walk", "--set", "backup=none"], "Choose among soft, mellowmax, double"),
        (["act", "walks:Walk", "--set", "memories=0"], "Give memories as a whole number"),
        (["act", "walks:Walk", "--set", "groups=2"], "no hyper-parameter 'groups'"),
        (["act", "walks:Walk", "--peers", "dqn"], "Give none, auto or some of ppo"),
        (["act", "walks:Walk", "--device", "tpu9"], "Give --device cpu"),
        (["act", "walks:Walk", "--out", "."], "something is there already"),
        (["act", "walks:Walk", "--out", "walks.py/x"], "Name a folder that can be made"),
        (["act", "walks:Nope"], "the module 'walks' has no environment class 'Nope'"),
        (["act", "walks:Walk", "--rule", "sarsa", "--set", "n_steps=3"], "n_steps, where nothing"),
        (["act", "walks:Walk", "--rule", "sarsa", "--set", "tau=1"], "learn with --rule q"),
        (["act", "walks:Walk", "--rule", "sarsa", "--set", "backup=soft"], "learn with --rule q"),
        ([*WALK, "--env-set", "spoil=5", "--out", "a/b"], "values of the reward are NaN"),
        ([*WALK, "--envs", "2", "--set", "train_freq=(1, 'episode')"], "leave --envs at 1"),
        (["act", "Pendulum-v1", "--energy", "rbm"], "Real actions have --energy mixture"),
        (["act", "--resume", "nowhere"], "no run there that can be read"),
        (["act", "--resume", ".", "--steps", "9"], "steps given too"),
    ],
)
def test_bad_input_is_refused_before_there_is_a_folder(folder, capsys, wrong, said):
    assert run(wrong) == (1 if said in FAILED else 2)
    assert said in capsys.readouterr().err
    assert [path.name for path in folder.iterdir() if path.name != "__pycache__"] == ["walks.py"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", "x"), ("envs", True), ("start", 3), ("settings", {"gamma": 1}), ("peers", "PPO")],
)
def test_a_run_whose_request_was_spoilt_is_refused(folder, capsys, name, value):
    request = Request("walks:Walk", {}, 1, 1, 7, "mixture", {}, [], 0, 1, "cpu", 1)
    (folder / "run.json").write_text(json.dumps(asdict(request) | {name: value}))
    assert run(["act", "--resume", "."]) == 1
    assert f"no run there that can be read ({name} is {value!r} in" in capsys.readouterr().err


SARSA = ["act", "walks:Walk", "--rule", "sarsa", "--peers", "none", "--device", "cpu"]
SARSA += ["--evaluate", "2"]


def test_sarsa_learns_stops_goes_on_and_begins_with_weights(folder, capsys):
    assert run([*SARSA, "--steps", "40", "--every", "20", "--out", "whole"]) == 0
    told = capsys.readouterr().out
    exec(told[told.index("from isinglass.agents") : told.index("Open ")], {})  # noqa: S102
    whole, page = folder / "whole", (folder / "whole" / "report.html").read_text()
    assert "learning_starts</th><td>0<" in page
    assert "n_steps" not in page
    last = "FreeEnergySarsa/checkpoint-000000000040.zip"
    agent = FreeEnergySarsa.load(whole / last, device="cpu")
    assert agent.num_timesteps == agent._n_updates + 1 == 40

    shutil.copytree(whole, folder / "cut")
    (folder / "cut" / last).unlink()  # as if killed after step 20
    (folder / "cut" / "FreeEnergySarsa" / "result.json").unlink()
    assert run(["act", "--resume", "cut"]) == 0
    again = FreeEnergySarsa.load(folder / "cut" / last, device="cpu")
    for own, theirs in zip(agent.policy.parameters(), again.policy.parameters(), strict=True):
        assert torch.equal(own, theirs)

    first = [*SARSA, "--steps", "1", "--from", str(whole / last), "--out", "next"]
    assert run(first) == 0
    begun = FreeEnergySarsa.load(folder / "next/FreeEnergySarsa/best.zip", device="cpu")
    for own, theirs in zip(agent.policy.parameters(), begun.policy.parameters(), strict=True):
        assert torch.equal(own, theirs)  # a pair of steps is needed to learn
    capsys.readouterr()
    assert run([*WALK, "--from", "whole", "--energy", "rbm", "--out", "never"]) == 1
    assert "Give --rule sarsa too" in capsys.readouterr().err
    assert not (folder / "never").exists()


def test_bold_is_the_best_of_a_column_within_its_standard_error():
    results = [
        Result("FreeEnergyQ", History(), (3.0, 0.1), (1.0, 0.1), (4.5, 0.1)),
        Result("PPO", History(), (5.0, 0.1), (1.2, 0.3), (5.0, 1.0)),
    ]
    baseline = RandomBaseline(0.5, 0.1, "info")
    bold = [[best for _, best in line] for line in result_rows(results, baseline)]
    assert bold == [[False] * 3 + mine for mine in ([False, True, True], [True] * 3, [False] * 3)]
    assert terminal_table(results, baseline).rows[0].style == "cyan"
    request = Request("walks:Walk", {}, 1, 1, 7, "mixture", {}, [], 0, 1, "cpu", 1)
    assert "FreeEnergyQ and random take allowed actions only; PPO may take any." in footnote(
        request, results, baseline
    )
    assert "allowed" not in footnote(request, results, baseline._replace(mask_source=None))


def test_the_table_loses_no_digit():
    """Not where it should fit, nor where it cannot and cells are broken."""
    results = [Result("FreeEnergySarsa", History(1_000_000, 1e4), *[(-20.0, 0.012)] * 3)]
    baseline = RandomBaseline(-19.0, 0.0, "info")
    for width, lines in ((80, 4), (60, 6)):
        console = Console(width=width, record=True, file=StringIO())
        console.print(terminal_table(results, baseline))
        printed = console.export_text()
        assert len(printed.splitlines()) <= lines
        assert printed.count("0.012") == printed.count("-20.000") == 3


def test_the_python_of_the_report_is_that_of_the_settings(tmp_path):
    typed = {"kind": "multi", "mask": "true", "size": "3", "name": "it's"}
    request = Request("walks:Walk", typed, 1, 1, 7, "mixture", {}, [], 0, 1, "cpu", 1)
    said = loading_code(tmp_path, request)
    assert """make_env('walks:Walk', kind='multi', mask=True, size=3, name="it's")""" in said


def test_the_standard_error_decides_the_digits():
    said = [
        plus_minus(*pair) for pair in ((37.72, 0.826), (1263.3, 23.7), (-20.0, 0.0), (9.0, np.nan))
    ]
    assert said == ["37.72 ± 0.83", "1,263 ± 24", "-20.00 ± 0.00", "9.00"]


def test_whole_rollouts_are_drawn_to_their_end():
    history = History()
    for step in (1, 300, 512):
        history.add(step, 1.0, 1)
    assert len(history.counts) == len(history.totals) == 512
    assert sum(history.counts) == history.counts[0] + history.counts[299] + history.counts[511] == 3


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


def test_runs_at_once_have_folders_of_their_own(folder, capfd):
    command = [sys.executable, "-m", "isinglass", *WALK, "--quiet"]
    runs = [subprocess.Popen([*command, "--seed", str(seed)]) for seed in range(3)]
    assert [process.wait() for process in runs] == [0] * 3
    found = [json.loads((out / "run.json").read_text()) for out in (folder / "runs").iterdir()]
    assert sorted(request["seed"] for request in found) == [0, 1, 2]
    assert len(list((folder / "runs").glob("*/report.html"))) == 3
    assert not list((folder / "runs").glob("*/.*"))


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
        def predict(self, seen, deterministic):
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


def test_json_is_all_that_is_printed_and_quiet_prints_nothing(whole, capsys):
    assert run(["act", "--resume", "whole", "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    result = json.loads((whole / "FreeEnergyQ" / "result.json").read_text())
    (agent,) = found["agents"]
    assert [agent["greedy"]["mean"], agent["greedy"]["standard_error"]] == result["last"]
    assert [agent["drawn"]["mean"], agent["drawn"]["standard_error"]] == result["sampled"]
    assert agent["steps"] == 120
    assert Path(found["report"]).exists()
    assert found["finished"] is True
    assert found["random"]["masked"] is False
    assert run(["act", "--resume", "whole", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


def test_the_standard_error_of_one_episode_is_null_in_json(folder, capsys):
    alone = [*WALK, "--steps", "40", "--evaluate", "1", "--out", "alone", "--json"]
    assert run(alone) == 0
    agent = json.loads(capsys.readouterr().out)["agents"][0]
    assert agent["greedy"]["standard_error"] is None


def test_json_of_a_run_that_was_stopped(folder, capsys):
    assert run([*WALK, "--env-set", "interrupt=30", "--out", "stopped", "--json"]) == 130
    found = json.loads(capsys.readouterr().out)
    assert found["finished"] is False
    assert "Go on with: isinglass act --resume stopped" in found["notes"][-1]
