"""An opponent's replies as p(s'|s, a): TicTacToe, planned in a world of the games that were played.

PlanningAgent, by default, against perfect players that choose among their best cells at random
("minimax") and against players that err. "turned" shows every board in that of its eight turned and
mirrored forms that comes first, so that one game teaches eight; "as it is" shows it as it is. Both
sit first and second at random, learn in 2,000 games, and are then examined in 500 games without
exploration against each kind. One run goes to one file in --out, and a second call makes only what
is missing. Seconds are processor time.
"""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.callbacks import StopTrainingOnMaxEpisodes

from benchmarks.evidence.grid import Grid, of
from isinglass.agents import PlanningAgent
from isinglass.envs import TicTacToe
from isinglass.envs.tictactoe.game import Erring

OPPONENTS: dict[str, Any] = {"minimax": "minimax", "erring": Erring(0.55)}
METHODS = ("turned", "as it is")
GAMES, EXAMINED, MOST_STEPS = 2_000, 500, 10_000
CELLS = np.arange(9).reshape(3, 3)
#: The eight ways to turn and mirror a board: which cell goes where.
FORMS = np.stack(
    [
        form.ravel()
        for turns in range(4)
        for form in (np.rot90(CELLS, turns), np.rot90(CELLS, turns).T)
    ]
)


class Board(gym.Wrapper[Any, Any, Any, Any]):
    """A game as nine cells, each empty, mine or the other's, and an action as one of them."""

    def __init__(self, opponent: Any, forms: np.ndarray) -> None:
        super().__init__(TicTacToe(opponent=opponent))
        self.forms, self.form = forms, forms[0]
        self.observation_space, self.action_space = (
            spaces.MultiDiscrete([3] * 9), spaces.Discrete(9),
        )  # fmt: skip

    def reset(self, **options: Any) -> Any:
        """Begins a game."""
        seen, info = self.env.reset(**options)
        return self._shown(seen, info)

    def step(self, action: Any) -> Any:
        """Claims the cell that is shown in this place."""
        row, column = divmod(int(self.form[int(action)]), 3)
        seen, reward, *rest, info = self.env.step(np.array([row, column, 0]))
        board, told = self._shown(seen, info)
        return board, reward, *rest, told

    def _shown(self, seen: dict[str, np.ndarray], info: dict[str, Any]) -> tuple[Any, Any]:
        """Returns the form of the board that comes first, and which of its cells are free."""
        board = np.zeros(9, dtype=np.int64)
        row, column, player = seen["propositions"][seen["mask"].astype(bool)].T.astype(np.int64)
        board[3 * row + column] = 1 + player
        found = board[self.forms]
        first = np.lexsort(found.T[::-1])[0]
        self.form, free = self.forms[first], found[first] == 0
        return found[first], info | {"action_mask": free if free.any() else np.ones(9, bool)}


def run(opponent: str, method: str, seed: int, steps: int) -> dict[str, Any]:
    """Learns once, and is examined against every kind of opponent."""
    forms = FORMS if method == "turned" else FORMS[:1]
    begin = time.process_time()
    agent = PlanningAgent("PlanningPolicy", Board(OPPONENTS[opponent], forms), seed=seed)
    agent.learn(steps, callback=StopTrainingOnMaxEpisodes(GAMES))
    seconds = time.process_time() - begin
    examined = EXAMINED if steps == MOST_STEPS else 20
    lost = {
        f"lost to {kind}": _lost(agent, Board(other, forms), seed, examined)
        for kind, other in OPPONENTS.items()
    }
    return {
        "task": opponent, "method": method, "seed": seed, "games": agent._episode_num,
        "seconds": seconds,
    } | lost  # fmt: skip


def _lost(agent: PlanningAgent, env: Board, seed: int, examined: int) -> float:
    """Returns the share of games that are lost without exploration."""
    seen, info = env.reset(seed=1_000_000 + seed)
    games = lost = 0
    while games < examined:
        action, _ = agent.predict(seen, deterministic=True, action_masks=info["action_mask"])
        seen, reward, over, _, info = env.step(action)
        if over:
            games, lost = games + 1, lost + (reward < 0)
            seen, info = env.reset()
    return lost / games


def as_table(records: list[dict[str, Any]]) -> Table:
    """Builds the shares of lost games: the mean of all seeds, the worst in parentheses."""
    table = Table("learned against", "board", "games", *(f"lost to {k}" for k in OPPONENTS), "s")
    for task in dict.fromkeys(record["task"] for record in records):
        for method in dict.fromkeys(record["method"] for record in records):
            runs = of(records, task, method)
            lost = [[r[f"lost to {kind}"] for r in runs] for kind in OPPONENTS]
            cells = [f"{np.mean(shares):.1%} ({max(shares):.1%})" for shares in lost]
            games, spent = (f"{np.mean([r[k] for r in runs]):.0f}" for k in ("games", "seconds"))
            table.add_row(task, method, games, *cells, spent)
    return table


GRID = Grid(
    "world_games", __doc__, dict.fromkeys(OPPONENTS, MOST_STEPS), METHODS, run, quick=200, seeds=5
)

if __name__ == "__main__":
    Console(width=100).print(as_table(GRID.measure()))
