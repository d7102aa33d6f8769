"""``isinglass act``: runs that end, stop, are killed and go on, and nothing lost."""

import json
import math
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import numpy as np
import pytest
import torch

from isinglass.agents import FreeEnergyQ, FreeEnergySarsa
from isinglass.agents.temperature import action_parts
from isinglass.cli import run
from isinglass.cli.act import agents as act_agents
from isinglass.cli.act import learner as act_learner
from isinglass.cli.act.agents import make_environments
from isinglass.cli.act.run import Request, plus_minus
from tests.cli.act.short import SHORT, WALK, ShortPPO, newest, replayed, weights


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
    sources = re.findall(r'src="([^"]*)"', page)
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
    first, last = agent.spread, agent.spread * 0.1 / math.sqrt(action_parts(agent.action_space))
    annealed = 80 / 120 / agent.annealing_fraction
    # T follows the spread of the step before; at the end of a piece it would be a tenth of it.
    assert agent.temperature == pytest.approx(first ** (1 - annealed) * last**annealed, rel=0.1)


@pytest.mark.slow
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
            "There are backup, loss, learning_rate",
        ),
        (["act", "walks:Walk", "--set", "gamma=2"], "Give a finite gamma from 0 to 1"),
        (["act", "walks:Walk", "--set", "replay_buffer_kwargs={'x': 1}"], "agent refuses a value"),
        (["act", "walks:Walk", "--set", "train_freq=(1, 'day')"], "train_freq = (1, 'day')"),
        (["act", "walks:Walk", "--set", "learning_starts=-1"], "learning_starts = -1"),
        (
            ["act", "walks:Walk", "--set", "backup=none"],
            "Choose among soft, mellowmax, double, novelty",
        ),
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
