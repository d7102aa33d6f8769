"""Every script in examples/ runs, with few steps, and prints its result."""

import importlib.util
import re
import sys
from pathlib import Path

import jaxtyping
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SHORT = {
    "assignment_pairs": (["--steps", "108", "--n", "3"], r"valid: +[\d.]+%"),
    "blockers_mixture": (["--steps", "108", "--episodes", "2"], r"reward a step: -[\d.]+"),
    "cartpole": (["--steps", "108", "--episodes", "2"], r"DQN +return +[\d.]+"),
    "large_action": (["--steps", "108"], r"free_energy_q +mean +[\d.]+"),
    "parity_groups": (["--steps", "108"], r"10 of 20 bits given: +[\d.]+%"),
    "pendulum": (["--steps", "108", "--episodes", "2"], r"SAC +return +-[\d.]+"),
    "sallans_hinton_sarsa": (["--steps", "108"], r"greedy reward: +[\d.]+"),
    "trap_search": (["--steps", "108"], r"greedy reward: [\d.]+ of 40"),
    "tictactoe": (["--steps", "108", "--games", "20"], r"minimax +second( +[\d.-]+){5}"),
}

#: What is drawn or measured at the end, where no argument says how much.
FEWER = {"parity_groups": {"DRAWS": 100}, "sallans_hinton_sarsa": {"STATES": 100}}


@pytest.fixture(autouse=True)
def _plain_annotations():
    """As a user has them: without the check of every annotation."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_every_script_is_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == SHORT.keys() | {
        "q_is_minus_f",
        "closed_loop",
    }


def load(path):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::tqdm.TqdmExperimentalWarning")  # of SB3's progress bar
@pytest.mark.parametrize("name", SHORT)
def test_the_script_runs_and_is_short(name, monkeypatch, capsys):
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text().splitlines()) < 100
    script = load(path)
    arguments, result = SHORT[name]
    for constant, few in FEWER.get(name, {}).items():
        assert getattr(script, constant) > few
        monkeypatch.setattr(script, constant, few)
    monkeypatch.setattr(sys, "argv", [path.name, *arguments])
    script.main()
    assert re.search(result, capsys.readouterr().out)


@pytest.mark.parametrize("name", SHORT)
def test_every_hyper_parameter_is_told_as_an_argument(name):
    """What is written out is what there is, so that nothing is chosen in silence."""
    source = (EXAMPLES / f"{name}.py").read_text()
    for setting in ("learning_rate", "initial_temperature", "final_temperature", "seed"):
        assert f"{setting}=" in source


@pytest.mark.slow
def test_q_is_minus_f_learns_with_torch_and_gymnasium_alone(monkeypatch, capsys):
    path = EXAMPLES / "q_is_minus_f.py"
    source = path.read_text()
    assert len(source.splitlines()) <= 230
    assert set(re.findall(r"^(?:import|from) (\w+)", source, re.MULTILINE)) == {
        "__future__", "argparse", "math", "gymnasium", "numpy", "torch"
    }  # fmt: skip
    monkeypatch.setattr(sys, "argv", [path.name, "--steps", "1500"])
    load(path).main()
    printed = capsys.readouterr().out
    assert float(re.search(r"differs by ([\d.e+-]+)", printed)[1]) < 1e-4
    # A random action earns 10 ± 2.2: the mean of 500 deviates by 0.1.
    assert float(re.search(r"greedy reward ([\d.]+)", printed)[1]) > 15


@pytest.mark.slow
def test_closed_loop_switches_each_part_off(monkeypatch, capsys):
    path = EXAMPLES / "closed_loop.py"
    assert len(path.read_text().splitlines()) <= 250
    monkeypatch.setattr(sys, "argv", [path.name, "--quick"])
    script = load(path)
    script.main()
    printed = capsys.readouterr().out
    for part in script.PARTS:
        assert re.search(rf"{part} +[\d.]+ % +[\d.]+ %", printed)
