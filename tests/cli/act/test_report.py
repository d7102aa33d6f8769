"""What ``isinglass act`` prints: its table, its lines of Python, JSON."""

import json
import math
import re
import sys
from html import unescape
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from isinglass.agents import FreeEnergyQ
from isinglass.cli import run
from isinglass.cli.act.report import footnote, loading_code, result_rows, terminal_table
from isinglass.cli.act.run import History, RandomBaseline, Request, Result, plus_minus
from isinglass.cli.act.settings import used_settings
from tests.cli.act.short import SHORT, WALK, newest


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


def settings_of(page):
    """The table of settings, as it stands on the page."""
    found = re.findall("<tr><th>(.*?)</th><td>(.*?)</td></tr>", page.split("<h2>Settings of")[1])
    return {name: unescape(value) for name, value in found}


def test_the_settings_are_those_that_were_used(whole):
    said = settings_of((whole / "report.html").read_text())
    assert "None" not in said.values()
    agent = FreeEnergyQ.load(newest(whole), device="cpu")
    assert said["learning_rate"] == "0.002 → 0.0001"
    assert said["energy"] == "MixtureEnergy(memories=32, state_fields='shared')"
    assert said["backup"] == "SoftBackup(mellowmax=True)"
    assert said["net_arch"] == "[16]"
    assert (said["train_freq"], said["gradient_steps"]) == ("4", "4")
    assert said["temperature"] == (
        f"auto: {agent.temperature:.4g} at the end, σ = {agent.spread:.4g}"
    )
    assert said["final_temperature"] == f"0.1 σ/√d = {0.1 * agent.spread / math.sqrt(3):.4g}"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["temperature=0.3"], {"temperature": "0.3", "initial_temperature": "0.3"}),
        (["final_temperature=0.2"], {"temperature": "1 → 0.2", "initial_temperature": "1.0"}),
        (["gradient_steps=2"], {"train_freq": "4", "gradient_steps": "2"}),
        (["train_freq=(1, 'episode')"], {"train_freq": "(1, 'episode')", "gradient_steps": "1"}),
        (["learning_rate=0.01"], {"learning_rate": "0.01"}),
        (["learning_starts=90"], {"temperature": "auto: σ is not known before something was lea"}),
    ],
)
def test_settings_that_follow_from_others(folder, given, shown):
    """Asked of an agent that was not learned: there is no checkpoint."""
    request = Request(
        "walks:Walk", {}, 100, 1, 7, "auto", dict(text.split("=", 1) for text in given), [], 0, 1,
        "cpu", 1,
    )  # fmt: skip
    said = used_settings(folder / "nothing", request)
    assert {name: str(said[name])[: len(text)] for name, text in shown.items()} == shown
    assert None not in said.values()


def test_a_run_learns_as_often_as_an_agent_does(folder):
    """Not as a training of a segment would: the pace is that of the whole."""
    arguments = [*SHORT, "--steps", "20000", "--every", "40", "--env-set", "interrupt=30"]
    assert run(["act", "walks:Walk", *arguments, "--out", "pieces"]) == 130
    agent = FreeEnergyQ.load(newest(folder / "pieces"), device="cpu")
    assert (agent.train_freq.frequency, agent.gradient_steps) == (13, 4)


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


def test_what_is_warned_of_is_a_line(folder, capsys):
    """Once, without code; what does not hold of the whole run is not said of a segment."""
    (folder / "far.py").write_text(FAR)
    arguments = [*SHORT, "--steps", "60", "--every", "15", "--json", "--out", "far"]
    assert run(["act", "far:Far", *arguments]) == 0
    printed = capsys.readouterr()
    notes = json.loads(printed.out)["notes"]
    assert len([note for note in notes if "hardly see it change" in note]) == 1
    assert len([note for note in notes if "Forbid actions by a mask" in note]) == 1
    assert not [note for note in notes if "learning_starts" in note]
    assert "Warning" not in printed.err
    sys.modules.pop("far", None)
    few = [*WALK, "--set", "learning_starts=500", "--out", "few", "--json"]
    assert run(few) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert [note for note in notes if "learning_starts = 500 in a training of 120" in note]


FAR = """
import numpy as np
from gymnasium import spaces
from walks import Walk
class Far(Walk):
    observation_space = spaces.Box(np.float32([0]) + 1e5, np.float32([10]) + 1e5)
    def seen(self):
        return super().seen() + np.float32(1e5)
    def step(self, action):
        seen, reward, ended, cut, info = super().step(action)
        return seen, -1e6 if action[0] else reward, ended, cut, info
"""
