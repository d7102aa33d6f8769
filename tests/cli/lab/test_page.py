"""The page is one file that can load nothing else, and the command writes or serves it."""

import base64
import hashlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import urllib.request
from typing import Any

import numpy as np
import pytest
import torch

from isinglass.cli.app import run
from isinglass.cli.lab.data import page_data
from isinglass.cli.lab.digits import MOST, lab_digits
from isinglass.cli.lab.page import build_page, pack
from isinglass.cli.lab.thoughts import asked, wonder
from isinglass.cli.lab.worlds import answer_plan, arrivals, free_cells
from isinglass.errors import ParameterError


@pytest.fixture(scope="module")
def page() -> str:
    """A page on its own, without plans, which take seconds."""
    return build_page(page_data(live=True))


@pytest.fixture(scope="module")
def exported() -> str:
    return build_page(page_data())


@pytest.mark.slow
def test_the_export_is_small(exported):
    assert len(exported.encode()) < 2_000_000


def test_it_names_no_address(page):
    assert not re.findall(r"""(?:src|href)=["']?(?!#|data:,)[^"' >]+""", page)
    assert not re.findall(r"https?://|@import|url\(", page)


def test_the_policy_allows_this_script_and_this_style_alone(page):
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.S)
    for kind, text in (("script", script), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "connect-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.findall(r"\son\w+=|\sstyle=", page.partition("<script")[0])


def test_data_cannot_end_the_script():
    page = build_page({"digits": "</script><!--<script>"})
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert json.loads(data) == {"digits": "</script><!--<script>", "live": False}


def test_the_digits_are_all_there(page):
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    digits = json.loads(data)["digits"]
    images = np.frombuffer(base64.b64decode(digits["images"]["data"]), np.uint8)
    assert (images.reshape(MOST, 64) == lab_digits().images.numpy()).all()


def test_numbers_are_packed_little_endian():
    found = pack(np.array([1.0, -2.5]))
    assert found["type"] == "f4"
    assert base64.b64decode(found["data"]) == b"\0\0\x80?\0\0 \xc0"


@pytest.mark.slow
def test_the_command_writes_a_page(tmp_path, capsys):
    path = tmp_path / "lab.html"
    assert run(["lab", "--export", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bytes"] == path.stat().st_size
    assert run(["lab", "--export", str(path)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert run(["lab", "--export", str(path), "--force", "-q"]) == 0


def test_an_export_is_named_html(tmp_path, capsys):
    assert run(["lab", "--export", str(tmp_path / "lab.txt")]) == 2
    for name in (".", "..", ""):
        assert run(["lab", "--export", name]) == 2
    assert "lab.html" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_serves_until_ctrl_c():
    start = [sys.executable, "-m", "isinglass", "lab", "--port", "0", "--no-browser", "--json"]
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}  # as for a program that reads its output
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(start, env=buffered, **pipes) as lab:
        assert lab.stdout is not None
        address = json.loads(lab.stdout.readline())["address"]
        with urllib.request.urlopen(address) as page:  # noqa: S310 - its own address
            assert b"isinglass lab" in page.read()
        port = address.rstrip("/").rpartition(":")[2]
        second = subprocess.run([*start[:4], "--port", port], capture_output=True, text=True)
        assert second.returncode == 2
        assert second.stderr.count("\n") == 1
        assert "in use" in second.stderr
        lab.send_signal(signal.SIGINT)
        assert lab.wait(10) == 130
        assert lab.stderr is not None
        assert "Traceback" not in lab.stderr.read()


def test_a_rule_answers_as_soon_as_it_is_stored():
    question = ("great-grandparent", "?", "Dan")
    assert asked(question, [True, True, False])["answers"] == []
    reply = asked(question, [True, True, True])
    assert reply["sure"]
    (answer,) = reply["answers"]
    assert answer["words"] == "great-grandparent(Ada,Dan)"
    # Each rule once, that of parents three times; p = c/(c + ½).
    energies = [math.log(1 + 0.5 / seen) for seen in (3, 10, 50, 50, 50)]
    assert answer["energy"] == pytest.approx(sum(energies))
    assert [line[2] for line in answer["proof"]].count("given") == 3


def test_a_visitor_s_puzzle_is_thought_about():
    told = wonder({"side": 4, "cells": "0000420000000034"})
    assert told == {"status": "sure", "unique": True, "guesses": 0, "retractions": 0}
    assert wonder({"side": 4, "cells": "1200003400000000"})["status"] == "contradictory"


@pytest.mark.parametrize(
    "wrong",
    [
        {"side": 5, "cells": "0" * 25},
        {"side": 4, "cells": "0" * 15},
        {"side": 4, "cells": "5" + "0" * 15},
        {"side": 4, "cells": "x" * 16},
        {"side": 4, "cells": 7},
        {"side": 9, "cells": "0" * 10_000},
    ],
)
def test_what_is_no_board_is_refused(wrong):
    with pytest.raises(ParameterError):
        wonder(wrong)


@pytest.mark.parametrize("met", [0, 1, 2])
def test_plans_lead_to_the_goal(met):
    """Where cells share what is met, 150 transitions lead from everywhere to every goal."""
    after, free = arrivals(), torch.tensor(free_cells())
    reached = {0: 0, 1: 0}
    for shared in reached:
        for goal in free[::7].tolist():
            asked = {"met": met, "shared": shared, "goal": goal}
            best = torch.from_numpy(answer_plan(asked)).view(-1, 4).argmax(-1)
            at = free
            for _ in range(40):
                at = torch.where(at == goal, at, after[at, best[at]])
            reached[shared] += int((at == goal).sum())
    assert reached[1] >= reached[0]
    if met:
        assert reached[1] == len(free) * len(free[::7])


@pytest.mark.parametrize("wrong", [{"goal": 4}, {"met": 3}, {"shared": 2}, {"goal": -1}])
def test_what_cannot_be_planned_is_refused(wrong):
    with pytest.raises(ParameterError):
        answer_plan({"met": 0, "shared": 1, "goal": 0} | wrong)


@pytest.mark.slow
def test_the_export_has_the_plans_that_python_gives(exported):
    (data,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', exported, re.S
    )
    world = json.loads(data)["world"]
    held = np.frombuffer(base64.b64decode(world["plans"][1][0]["data"]), "<f4")
    held = held.reshape(len(world["goals"]), -1)
    for place in (0, 20):
        asked = {"met": 0, "shared": 1, "goal": world["goals"][place]}
        np.testing.assert_array_equal(held[place], answer_plan(asked))
    assert "plans" not in page_data(live=True)["world"]
