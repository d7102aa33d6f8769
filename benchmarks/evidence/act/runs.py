"""One run: an agent learns a task, its learning curve and its exam go to a file."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.evidence.act.agents import AGENTS, Player
from benchmarks.evidence.act.tasks import TASKS, Task
from isinglass.io.atomic import atomic_write

__all__ = ["POINTS", "Curve", "kept", "missing", "run"]

POINTS = 10  # of a learning curve, up to the steps of the task

Record = dict[str, Any]


class Curve:
    """Scores of an agent while it learns; called by the agent after each step.

    Seconds are processor time of the one thread that learns: on an idle machine wall-clock, and
    not disturbed by what else runs. Scoring is not counted.

    Args:
        score: Gives the score now.
        every: Steps between points.
        on_point: Called with the steps so far.
        games: Episodes after which training stops.
    """

    def __init__(
        self, score: Callable[[], float], every: int, on_point: Callable[[int], None],
        games: int | None = None,
    ) -> None:  # fmt: skip
        self.score, self.every, self.on_point = score, every, on_point
        self.games_left = games
        self.until = float("inf")  # seconds
        self.points: list[tuple[int, float, float]] = []
        self.steps, self.seconds = 0, 0.0
        self._begin = time.process_time()

    def __call__(self, local: dict[str, Any], _: dict[str, Any]) -> bool:
        """Whether to go on."""
        self.steps = local["self"].num_timesteps
        if self.games_left is not None:
            self.games_left -= int(local["dones"].sum())
        last = self.points[-1][0] if self.points else 0
        if self.steps >= last + max(self.every, last // POINTS):
            self.pause()
            self.add()
            self.resume()
        enough = self.games_left is not None and self.games_left <= 0
        return not enough and self.seconds < self.until

    def resume(self) -> None:
        """Training begins, or goes on."""
        self._begin = time.process_time()

    def pause(self) -> None:
        """Something else than training follows."""
        self.seconds += time.process_time() - self._begin

    def add(self) -> None:
        """A point, while paused."""
        self.points.append((self.steps, self.seconds, self.score()))
        self.on_point(self.steps)

    def end(self) -> None:
        """The last point, of what was learned after the last step too."""
        if self.points and self.points[-1][0] == self.steps:
            self.points.pop()
        self.add()


def run(
    task: Task, agent: str, seed: int, steps: int, folder: Path,
    on_point: Callable[[int], None] = lambda _: None,
) -> Record:  # fmt: skip
    """Learn and write what was found; a peer goes on for as long as ours learned, if known."""
    torch.set_num_threads(1)
    settings = AGENTS[agent].settings.get(task.name, {})
    player = AGENTS[agent].build(task.make, seed, settings)
    curve = Curve(lambda: task.score(player), max(1, steps // POINTS), on_point, task.games)
    _learn(player, curve, steps, first=True)
    curve.end()
    record = {
        "task": task.name, "agent": agent, "seed": seed, "settings": text_of(settings),
        "steps": curve.steps, "seconds": curve.seconds, "result": task.exam(player),
    }  # fmt: skip
    curve.games_left = None
    curve.until = _overtime(task, agent, seed, steps, folder)
    while curve.seconds < curve.until:
        _learn(player, curve, steps, first=False)
        curve.end()
    record["curve"] = curve.points
    path = place(task, agent, seed, steps, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, overwrite=True) as aside:
        aside.write_text(json.dumps(record))
    return record


def by_name(task: str, agent: str, seed: int, steps: int, folder: Path) -> None:
    """A run in a process of its own."""
    run(TASKS[task], agent, seed, steps, folder)


def kept(task: Task, agent: str, seed: int, steps: int, folder: Path) -> Record | None:
    """The run, if it is there already and its settings are those of now."""
    path = place(task, agent, seed, steps, folder)
    if not path.exists():
        return None
    record = json.loads(path.read_text())
    settings = AGENTS[agent].settings.get(task.name, {})
    return record if record["settings"] == text_of(settings) else None


def missing(task: Task, agent: str, seed: int, steps: int, folder: Path) -> bool:
    """Whether there is no such run, or it is a peer's that stopped before ours did."""
    record = kept(task, agent, seed, steps, folder)
    return record is None or record["curve"][-1][1] < _overtime(task, agent, seed, steps, folder)


def _overtime(task: Task, agent: str, seed: int, steps: int, folder: Path) -> float:
    """Seconds that a peer learns at least: those of ours from the same seed, up to a cap."""
    own = None if agent == "ours" else kept(task, "ours", seed, steps, folder)
    return min(own["seconds"], task.seconds) if own else 0.0


def text_of(settings: dict[str, Any]) -> str:
    """Settings in words that are the same in every process: functions by name, not by address."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(settings))


def place(task: Task, agent: str, seed: int, steps: int, folder: Path) -> Path:
    """The file of a run."""
    return folder / f"{task.name}-{steps}" / agent / f"{seed}.json"


def _learn(player: Player, curve: Curve, steps: int, *, first: bool) -> None:
    curve.resume()
    player.learner.learn(steps, callback=curve, reset_num_timesteps=first)
    curve.pause()
