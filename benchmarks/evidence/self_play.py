"""Self-play against fixed opponents: how often the greedy move keeps the value of the game.

Connect Four on a board that is solved exactly, TicTacToe, and the late game on 7 × 6. An agent
learns for so many moves against random play, against its latest self alone, or against a pool of
what it was before; MaskablePPO of sb3-contrib learns against the same pool. What counts: in
positions from games of a perfect player that errs, where moves differ in value, the share in which
the greedy move is among the best; and points in matches against random play, against the rule "win
at once, else block", and against perfect play. Everything goes to a file in --out, and a second
call makes only what is missing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.evidence.cache import Cache
from isinglass.agents import FreeEnergyQ, SeatVecEnv, SelfPlay
from isinglass.envs import AgentOpponent, OpponentPool, TwoSeatGame, play_match
from isinglass.envs.connect_four import ConnectFourGame, ConnectFourSolver, Lookahead
from isinglass.envs.tictactoe.board import TicTacToeGame, perfect_opponent

TABLES = 16  # games at once
ERRING = 0.4  # moves at random, in the games that positions are taken from
LATE = 24  # discs on a board of 7 × 6, from where on it is solved quickly

#: Whom the agent meets, by name.
POOLS: dict[str, Callable[[], Any]] = {
    "random": lambda: "random",
    "latest": lambda: OpponentPool(latest_share=1.0, fixed_share=0.0),
    "pool": OpponentPool,
}


@dataclass(frozen=True)
class Task:
    """A game, how long is learned, and who is played against in the end.

    Args:
        game: The rules.
        steps: Moves of learning.
        rivals: Opponents of the matches, by name.
        discs: Fewest discs in the positions that are judged; None for no judging.
    """

    game: TwoSeatGame
    steps: int
    rivals: dict[str, Any]
    discs: int | None = None


def connect_four(rows: int, columns: int, steps: int) -> Task:
    """A board small enough for perfect play."""
    rivals = {"random": "random", "win or block": Lookahead(2), "perfect": Lookahead(None)}
    return Task(ConnectFourGame(rows, columns), steps, rivals, 0)


def large_board(steps: int) -> Task:
    """The board of the box: perfect play where it is late, four moves of looking ahead else."""
    rivals = {"random": "random", "win or block": Lookahead(2), "four ahead": Lookahead(4)}
    return Task(ConnectFourGame(), steps, rivals, LATE)


def tictactoe(steps: int) -> Task:
    """Noughts and crosses on a board."""
    return Task(TicTacToeGame(), steps, {"random": "random", "perfect": perfect_opponent})


def judged(game: ConnectFourGame, count: int, discs: int, seed: int) -> tuple[Any, Any]:
    """Positions where moves differ in value, with the value of each move."""
    random, solver = np.random.default_rng(seed), ConnectFourSolver(game)
    found: dict[tuple[int, int], np.ndarray] = {}
    depth = None if game.rows * game.columns <= 20 else 2  # of the player, for quick games
    while len(found) < count:
        positions = game.start(1)
        over = False
        while not over and len(found) < count:
            legal = game.legal(positions)
            late = int(positions.sum()).bit_count() >= discs
            worth = solver.move_values(positions, None if late else depth)
            if late and np.nanmin(worth) < np.nanmax(worth):
                found[tuple(positions[0].tolist())] = worth[0]
            best = worth == np.nanmax(worth)
            allowed = legal if random.random() < ERRING else best
            move = np.where(allowed, random.random(legal.shape), -1.0).argmax(-1)
            positions, outcome = game.play(positions, move)
            over = bool(outcome[0])
    return np.array(list(found)), np.array(list(found.values()))


def learned(task: Task, kind: str, whom: str, seed: int) -> Any:
    """An agent by its defaults, after so many moves against somebody."""
    env = SeatVecEnv(task.game, TABLES, POOLS[whom]())
    if kind == "ours":
        return FreeEnergyQ("MlpPolicy", env, seed=seed, device="cpu").learn(task.steps)
    from sb3_contrib import MaskablePPO

    peer = MaskablePPO("MlpPolicy", env, n_steps=128, seed=seed, device="cpu")
    return peer.learn(task.steps, callback=SelfPlay() if env.pool is not None else None)


def measured(task: Task, kind: str, whom: str, seed: int, tests: Any, games: int) -> dict[str, Any]:
    """What an agent has learned."""
    began = time.process_time()
    agent = learned(task, kind, whom, seed)
    found: dict[str, Any] = {"seconds": time.process_time() - began}
    if tests is not None:
        positions, worth = tests
        masks = task.game.legal(positions)
        moves = AgentOpponent(agent)(task.game.observe(positions), masks, np.random.default_rng(0))
        best = worth == np.nanmax(worth, -1, keepdims=True)
        found["kept"] = float(best[np.arange(len(moves)), moves].mean())
        found["kept by chance"] = float((best.sum(-1) / masks.sum(-1)).mean())
    for name, rival in task.rivals.items():
        result = play_match(task.game, agent, rival, games, seed=seed)
        found[f"points, {name}"] = result.points
        found[f"losses, {name}"] = result.losses / result.games
    return found


def table_of(name: str, rows: dict[str, list[dict[str, Any]]]) -> Table:
    """Means over seeds, ± their standard error."""
    columns = list(next(iter(rows.values()))[0])
    table = Table(title=name)
    for column in ("agent, opponents", "seeds", *columns):
        table.add_column(column)
    for label, runs in rows.items():
        cells = []
        for column in columns:
            values = np.array([run[column] for run in runs])
            error = f" ± {values.std(ddof=1) / len(values) ** 0.5:.3f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.3f}{error}")
        table.add_row(label, str(len(runs)), *cells)
    return table


def main() -> None:
    """Measure what is missing, and print all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("evidence"))
    parser.add_argument("--tasks", nargs="+", default=["4x5", "tictactoe", "7x6"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--whom", nargs="+", default=["random", "latest", "pool"])
    parser.add_argument("--peers", action="store_true", help="MaskablePPO too (sb3-contrib)")
    parser.add_argument("--quick", action="store_true", help="a minute, to see that it runs")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    steps, games = (2_000, 50) if chosen.quick else (chosen.steps, 1_000)
    tasks: dict[str, Task] = {
        "4x5": connect_four(4, 5, steps),
        "5x4": connect_four(5, 4, steps),
        "tictactoe": tictactoe(steps),
        "7x6": large_board(steps),
    }
    cache, console = Cache(chosen.out / "self_play.json"), Console()
    agents = [("ours", whom) for whom in chosen.whom]
    agents += [("MaskablePPO", whom) for whom in chosen.whom] if chosen.peers else []
    seeds = range(chosen.first_seed, chosen.first_seed + (1 if chosen.quick else chosen.seeds))
    with Progress(console=console) as progress:
        bar = progress.add_task("learning", total=len(chosen.tasks) * len(agents) * len(seeds))
        for name in chosen.tasks:
            task, rows = tasks[name], {}
            judge = task.discs is not None and isinstance(task.game, ConnectFourGame)
            count = 50 if chosen.quick else 1_000 if task.discs == 0 else 200
            tests = judged(task.game, count, task.discs or 0, 12345) if judge else None  # pyright: ignore[reportArgumentType]
            for seed in seeds:
                for kind, whom in agents:
                    key = f"{name} {kind} {whom} {steps} {seed}"

                    def run(k: str = kind, w: str = whom, s: int = seed) -> dict[str, Any]:
                        return measured(task, k, w, s, tests, games)  # noqa: B023

                    rows.setdefault(f"{kind}, {whom}", []).append(cache.get(key, run))
                    progress.advance(bar)
            progress.console.print(table_of(f"{name}, {steps:,} moves", rows))


if __name__ == "__main__":
    main()
