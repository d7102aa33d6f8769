"""Runs of every task, method and seed: made once, side by side, in files of their own."""

import sys

import pytest

pytest.importorskip("benchmarks", reason="the harness is in the repository alone")

from benchmarks.evidence.grid import Grid, mean_and_worst, of


def run(task, method, seed, steps):
    return {"task": task, "method": method, "seed": seed, "mean": steps + seed}


def refuse(task, method, seed, steps):
    raise AssertionError(f"{task} {method} {seed} was made before")


def asked(monkeypatch, tmp_path, *words):
    monkeypatch.setattr(sys, "argv", ["grid", "--out", str(tmp_path), *words])


@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_what_was_made_is_not_made_again(monkeypatch, tmp_path, processes):
    steps = {"one task": 10, "another": 20}
    grid = Grid("grid", None, steps, ("a()", "b"), run, usual=("a()",), seeds=2)
    asked(monkeypatch, tmp_path, "--processes", processes)
    found = grid.measure()
    assert [(r["task"], r["seed"], r["mean"]) for r in found] == [
        ("one task", 0, 10), ("one task", 1, 11), ("another", 0, 20), ("another", 1, 21),
    ]  # fmt: skip
    assert (tmp_path / "one_task-a-1.json").exists()
    again = Grid("grid", None, steps, ("a()", "b"), refuse, usual=("a()",), seeds=2)
    assert again.measure() == found
    asked(monkeypatch, tmp_path, "--seeds", "2", "--tasks", "another")
    with pytest.raises(AssertionError, match="another a"):
        again.measure()


def test_quick_runs_are_apart(monkeypatch, tmp_path):
    grid = Grid("grid", None, {"task": 10}, ("a",), run, seeds=3, quick=5)
    asked(monkeypatch, tmp_path, "--quick")
    assert [r["mean"] for r in grid.measure()] == [5]
    assert [path.name for path in tmp_path.iterdir()] == ["quick-task-a-0.json"]


def test_cells_have_the_mean_and_the_worst():
    runs = [run("task", "a", seed, 1) for seed in range(3)]
    assert mean_and_worst(of(runs, "task", "a")) == "2 (1)"
    assert mean_and_worst(of(runs, "task", "b")) == "–"
    assert mean_and_worst([{"mean": None}]) == "–"
