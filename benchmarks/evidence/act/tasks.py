"""The tasks: environment, training, exam, peers and target of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import gymnasium as gym

from benchmarks.evidence.act import exams
from benchmarks.evidence.act.agents import Player
from benchmarks.evidence.act.exams import Result
from isinglass.envs import make_env

__all__ = ["TASKS", "Task"]


@dataclass(frozen=True)
class Task:
    """What is learned, and how it is judged.

    Args:
        name: On the command line and of the folder of results.
        make: Makes the environment.
        steps: Environment steps of training.
        seconds: The longest that a peer learns on, to see its score at equal wall-clock.
        score: Judges an agent quickly, for the learning curve.
        exam: Judges an agent at the end; the first entry is what the curve shows.
        peers: Agents beside ours.
        target: What ours is to reach.
        games: Episodes after which training stops, if that is before the steps are up.
    """

    name: str
    make: Callable[..., gym.Env]
    steps: int
    seconds: float
    score: Callable[[Player], float]
    exam: Callable[[Player], Result]
    peers: tuple[str, ...]
    target: str = ""
    games: int | None = None


def bare(name: str, **settings: object) -> Callable[..., gym.Env]:
    """Makes an environment without gymnasium's checks, which would cost more than its steps."""
    return partial(make_env, f"isinglass.envs:{name}", **settings)


def _bandit(
    name: str, make: Callable[..., gym.Env], steps: int, seconds: float, states: int, target: str
) -> Task:
    """One step an episode, judged by the greedy action."""
    return Task(
        name, make, steps, seconds, partial(exams.greedy_reward, make=make, states=states),
        lambda player: {"reward": exams.greedy_reward(player, make, 4_000 if states > 1 else 1)},
        ("ppo", "autoregressive"), target,
    )  # fmt: skip


def _parity() -> Task:
    make = bare("Parity")

    def exam(player: Player) -> Result:
        found = exams.parity(player, make)
        return found | (exams.clamped_parity(player, make) if player.completes else {})

    return Task(
        "parity", make, 20_000, 300.0, lambda player: exams.parity(player, make)["optimal"], exam,
        ("ppo", "autoregressive"),
        "optimal ≥ 0.99, distinct optima ≥ 1,900, clamped optimal ≥ 0.95",
    )  # fmt: skip


def _assignment(n: int, seconds: float, target: str) -> Task:
    make = bare("Assignment", n=n)
    return Task(
        f"assignment{n}", make, 12_000, seconds,
        partial(exams.greedy_reward, make=make, states=50),
        partial(exams.assignment, make=make), ("ppo", "autoregressive"), target,
    )  # fmt: skip


def _blockers(name: str, make: Callable[..., gym.Env], peers: tuple[str, ...], target: str) -> Task:
    def exam(player: Player) -> Result:
        return {
            "reward a step": exams.reward_per_step(player, make, 20_000),
            "sampled": exams.reward_per_step(player, make, 20_000, deterministic=False),
        }

    return Task(
        name, make, 300_000, 150.0, partial(exams.reward_per_step, make=make, steps=4_000), exam,
        peers, target,
    )  # fmt: skip


def _control(
    name: str, env_id: str, steps: int, seconds: float, peers: tuple[str, ...], target: str
) -> Task:
    make = partial(make_env, env_id, disable_env_checker=True)
    return Task(
        name, make, steps, seconds, partial(exams.episode_return, make=make, episodes=10),
        lambda player: {"return": exams.episode_return(player, make, 100)}, peers, target,
    )  # fmt: skip


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        _bandit("large-action", bare("LargeAction"), 12_000, 120.0, 1_000, "≥ 39 of 40"),
        _parity(),
        _assignment(6, 300.0, "≥ 4.5 and valid ≥ 0.95"),
        _assignment(8, 300.0, "reported"),
        _bandit("trap", bare("Trap"), 60_000, 300.0, 1, "≥ 38 of 40"),
        _blockers(
            "blockers5x4", bare("Blockers"), ("tabular", "ppo", "autoregressive", "dqn"),
            "≥ −0.645",
        ),
        _blockers(
            "blockers4x7",
            bare("Blockers", rows=4, columns=7, agents=3, blockers=2, cap=40),
            ("ppo", "autoregressive", "dqn"), "≥ −0.856",
        ),
        Task(
            "tictactoe", bare("TicTacToe"), 80_000, 150.0, exams.tictactoe_mean, exams.tictactoe,
            ("maskable", "tabular", "ppo", "dqn"),
            "mean ≥ 19.5, no loss, no illegal claim, all drawn with perfect play", games=20_000,
        ),
        _control("cartpole", "CartPole-v1", 50_000, 300.0, ("dqn", "ppo"), "not behind DQN"),
        _control("pendulum", "Pendulum-v1", 10_000, 300.0, ("sac", "ppo"), "not behind SAC"),
    )
}  # fmt: skip
