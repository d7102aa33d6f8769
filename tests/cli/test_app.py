"""The application around the commands: quick to start, one wording, statuses, completion."""

import ast
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import isinglass
from isinglass.cli import run
from isinglass.cli._common import Output
from isinglass.cli._wording import ARGUMENTS, exit_status, shell_message
from isinglass.errors import (
    DomainError,
    FileError,
    IsinglassError,
    ParameterError,
    UnknownEnvironmentError,
)

COMMANDS = ["tour", "remember", "recall", "imagine", "act", "think", "inspect"]
SOURCE = Path(isinglass.__file__).parent
#: Calls, keyword arguments and names of modules: Python, which no user of the shell writes.
PYTHON = re.compile(r"\w\(|\w=['\w]|\b(torch|numpy|np|isinglass)\.\w|\.(float|to|save|load)\b|None")


def test_help_and_version_load_nothing_heavy():
    script = f"""
import sys
from isinglass.cli import run
for command in {COMMANDS}:
    assert run([command, "--help"]) == 0
assert run(["--help"]) == run(["--version"]) == 0
heavy = {{"torch", "numpy", "pandas", "sklearn", "matplotlib", "PIL", "gymnasium"}}
print("loaded:", sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "loaded: []", done.stderr


def test_the_version_takes_less_than_importing_torch():
    """Seconds of the processor, which a busy machine does not stretch as it does the clock's."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "isinglass", "--version"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_examples_and_types_no_flag(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert run([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert "bool" not in said.lower()
    examples = said.partition("Examples:")[2]
    assert f"isinglass {'remember' if command == 'recall' else command}" in examples
    assert "─" not in examples  # below the options


def test_completion_knows_commands_and_options(capsys, monkeypatch):
    def completed(words: str) -> set[str]:
        environment = {"_ISINGLASS_COMPLETE": "complete_bash", "COMP_WORDS": words}
        environment["COMP_CWORD"] = str(len(words.split(" ")) - 1)
        done = subprocess.run(
            [sys.executable, "-m", "isinglass"],
            capture_output=True, text=True, env={**os.environ, **environment},
        )  # fmt: skip
        return set(done.stdout.split())

    assert completed("isinglass re") == {"remember"}
    assert {"--cue", "--json", "--quiet"} <= completed("isinglass remember --")
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    shown = subprocess.run(
        [sys.executable, "-m", "isinglass", "--show-completion", "bash"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "_ISINGLASS_COMPLETE=complete_bash" in shown.stdout
    assert run(["--help"]) == 0
    assert "--install-completion" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ParameterError("beta = -1.0", "Give one above zero"), 2),
        (UnknownEnvironmentError("no Nowhere-v0", "Name another"), 2),
        (DomainError("NaN", "Mend it"), 1),
        (FileError("absent", "Check the path"), 1),
    ],
)
def test_a_wrong_command_line_is_told_from_wrong_data(error, status):
    assert exit_status(error) == status


def test_errors_speak_of_options():
    options = {"beta": "--beta", "force": "--force", "device": "--device"}
    said = {
        "isinglass imagine: --memories 9 for --sample 2. Ask for fewer memories, or give more rows":
        ParameterError("n_memories = 9 for n_samples = 2",
                       "Ask for fewer memories, or give more rows", "HopfieldBoltzmannMachine.fit"),
        "writing a.csv: the file exists already. Choose another path, or allow it: --force":
        FileError("the file exists already",
                  "Choose another path, or allow it: overwrite=True", "writing a.csv"),
        "isinglass imagine: --device gpu, which is not there. Give --device cpu":
        ParameterError("device = 'gpu', which is not there", "Give device='cpu'", "agent"),
    }  # fmt: skip
    for shell, error in said.items():
        assert shell_message(error, "imagine", options) == shell


def remedies() -> list[tuple[str, str]]:
    """Every remedy that the rooms behind remember and imagine can give, blanks for what varies."""
    rooms = ["data", "io", "_support/validation.py", "learning/em.py"]
    rooms += ["integrations/sklearn/_frames.py", "integrations/sklearn/hopfield_boltzmann.py"]
    rooms += ["cli/remember", "cli/imagine", "energies/hopfield/modern.py"]
    kinds = {kind.__name__ for kind in IsinglassError.__subclasses__()}
    found = []
    for room in rooms:
        path = SOURCE / room
        for file in [path] if path.suffix else sorted(path.rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                named = isinstance(node, ast.Call) and getattr(node.func, "id", "") in kinds
                if named and len(node.args) > 1:
                    found += [(file.name, text) for text in texts(node.args[1])]
    return found


def texts(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        return ["".join(getattr(part, "value", "X") if isinstance(part, ast.Constant) else "X"
                        for part in node.values)]  # fmt: skip
    if isinstance(node, ast.IfExp):
        return texts(node.body) + texts(node.orelse)
    return []


def test_no_python_reaches_the_shell():
    found = remedies()
    assert len(found) > 60
    assert any(PYTHON.search(remedy) for _, remedy in found)  # there is something to translate
    #: Of calls that the commands do not make.
    apart = {"image_memory.py", "memory_map.py"}
    for file, remedy in found:
        said = shell_message(ParameterError("found", remedy, "reading it"), "imagine", {})
        assert file in apart or not PYTHON.search(said), (file, said)
    assert set(ARGUMENTS.values()) <= {"--memories", "--steps", "--starts", "--sample", "--seed"}


def test_output_is_for_people_or_for_programs(capsys):
    for as_json, quiet in ((False, False), (True, False), (False, True), (True, True)):
        output = Output(as_json, quiet)
        output.say("read")
        output.warn("odd")
        output.finish({"value": float("inf"), "path": Path("a.csv"), "list": (1.5, float("nan"))})
        said = capsys.readouterr().out
        if as_json:
            expected = {"value": None, "path": "a.csv", "list": [1.5, None], "notes": ["odd"]}
            assert json.loads(said) == expected
        else:
            assert said == ("" if quiet else "read\nodd.\n")


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(12, 4))
    np.savetxt("rows.csv", rows, delimiter=",")
    np.save("rows.npy", rows)
    np.save("images.npy", np.random.default_rng(1).random((5, 6, 4)))
    cue = rows[:2].copy()
    cue[:, 3] = np.nan
    np.save("cue.npy", cue)
    return rows


def test_remember_decides_by_what_it_is_given(tables, capsys):
    arguments = ["--cue", "cue.npy", "--json"]
    reports = []
    for command, stored in (("remember", "rows.csv"), ("recall", "rows.npy")):
        out = f"{command}.npy"
        assert run([command, stored, *arguments, "--out", out]) == 0
        reports.append(json.loads(capsys.readouterr().out))
        assert reports[-1].pop("written") == out
        np.testing.assert_allclose(np.load(out), tables[:2], atol=0.05)
    assert reports[0]["stored"] == 12
    assert [cue["nearest"] for cue in reports[0]["cues"]] == [0, 1]
    assert all(cue["familiar"] for cue in reports[0]["cues"])
    assert reports[0]["notes"] == reports[1]["notes"]
    images = ["remember", "images.npy", "--cue", "images.npy", "--index", "2", "--hide", "left"]
    assert run([*images, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["nearest"] == "images.npy[2]"
    assert (report["known"], report["written"]) == (0.5, "completion.png")
    assert run([*images, "--quiet", "--force"]) == 0
    assert capsys.readouterr() == ("", "")


def test_options_of_the_other_kind_are_wrong_usage(tables, capsys):
    assert run(["remember", "rows.csv", "--cue", "cue.npy", "--hide", "left"]) == 2
    assert "--hide with a table" in capsys.readouterr().err
    assert run(["remember", "images.npy", "--cue", "images.npy", "--clean"]) == 2
    assert "--clean with images" in capsys.readouterr().err
    assert run(["remember", "rows.csv", "--cue", "cue.npy", "--beta", "-1"]) == 2
    assert "isinglass remember: --beta -1.0. Give a finite --beta above" in capsys.readouterr().err


def test_imagine_speaks_json(tables, capsys):
    arguments = ["imagine", "rows.npy", "--sample", "3", "--memories", "1"]
    assert run([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["written"] == ["rows-sampled.npy", "rows-sampled-curve.png"]
    assert report["columns"] == dict.fromkeys("0123", "numeric")
    assert (report["rows"], report["memories"], report["converged"]) == (3, 1, True)
    assert run([*arguments, "--quiet", "--force"]) == 0
    assert capsys.readouterr() == ("", "")
