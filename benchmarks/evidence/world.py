"""How much must be met before a plan is right: transitions, new goals, real states, strange ones.

Uniform stream: pairs (s, a) are drawn uniformly from those that can be met, one transition each;
after every 50 a plan is made and its policy is evaluated exactly. What counts is after how many
transitions it is within 1 % of the optimum, at this look and at all later ones. Real states: so
many seconds of experience, by PlanningAgent as it comes, and the mean of greedy episodes beside
those of the same planner that is told the true dynamics. Everything goes to a file in --out, and a
second call makes only what is missing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.metrics import roc_auc_score
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from benchmarks.evidence.cache import Cache
from benchmarks.evidence.swing_up import random_pushes, swing_ceiling, swing_sac, swing_told
from isinglass.agents import PlanningAgent
from isinglass.envs import SwingUp
from isinglass.units import Categorical, Mixed, Unit
from isinglass.world import PathPlanner, Prediction, WorldColumns, WorldEnergy

DISCOUNT = 0.99
LOOK = 50  # transitions between two plans
QUICK = ("Two-Room 11×11", "CliffWalking", "FrozenLake 8×8")
TAXI = Mixed([Categorical(5), Categorical(5), Categorical(5), Categorical(4)])
Outcomes = dict[int, dict[int, list[tuple[float, int, float, bool]]]]


@dataclass(frozen=True)
class Known:
    """A world whose every outcome is known, by which a plan is judged.

    Args:
        outcomes: (probability, next state, reward, done) of every state and action.
        start: Probability of the states where episodes begin.
        state: The units of a state.
        actions: How many actions.
        goal: What is sought, where the reward is told; None where it has to be met.
        target: Transitions asked for.
        most: Transitions at which a run ends.
    """

    outcomes: Outcomes
    start: dict[int, float]
    state: Unit
    actions: int
    goal: int | None
    target: int
    most: int

    @property
    def states(self) -> int:
        """How many states there are."""
        return WorldColumns(self.state, Categorical(self.actions)).states

    def tables(self, goal: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """P(s′, going on | s, a) and the mean reward, for another goal or the one of the world."""
        following = np.zeros((self.states, self.actions, self.states))
        reward = np.zeros((self.states, self.actions))
        for state, actions in self.outcomes.items():
            for action, found in actions.items():
                for chance, after, gain, done in found:
                    ends, worth = (
                        (done, gain) if goal is None else (done or after == goal, after == goal)
                    )
                    reward[state, action] += chance * worth
                    following[state, action, after] += 0.0 if ends else chance
        return following, reward

    def pairs(self) -> list[tuple[int, int]]:
        """The pairs (s, a) that can be met."""
        met, todo = set(self.start), list(self.start)
        while todo:
            for found in self.outcomes[todo.pop()].values():
                for _, after, _, done in found:
                    if not done and after not in met:
                        met.add(after)
                        todo.append(after)
        return [(state, action) for state in sorted(met) for action in range(self.actions)]


def from_gymnasium(name: str, state: Unit, target: int, most: int, **settings: Any) -> Known:
    """A toy text of Gymnasium, whose table P is public."""
    env: Any = gym.make(name, **settings).unwrapped
    start = {
        int(s): float(env.initial_state_distrib[s])
        for s in np.flatnonzero(env.initial_state_distrib)
    }
    return Known(env.P, start, state, int(env.action_space.n), None, target, most)


def two_rooms(size: int = 11) -> Known:
    """Two rooms with a door in the last row of the wall between them; one corner to the other."""
    wall = size // 2
    cells = [(i, j) for i in range(size) for j in range(size) if j != wall or i == size - 1]
    goal = size * size - 1
    outcomes: Outcomes = {}
    for i, j in cells:
        here: dict[int, list[tuple[float, int, float, bool]]] = {}
        for action, (down, right) in enumerate([(0, -1), (1, 0), (0, 1), (-1, 0)]):
            to = (i + down, j + right)
            i2, j2 = to if to in cells else (i, j)
            after = i2 * size + j2
            here[action] = [(1.0, after, float(after == goal), after == goal)]
        outcomes[i * size + j] = here
    return Known(outcomes, {0: 1.0}, Categorical(size * size), 4, goal, 150, 400)


WORLDS: dict[str, Callable[[], Known]] = {
    "FrozenLake 8×8": lambda: from_gymnasium(
        "FrozenLake-v1", Categorical(64), 2_000, 6_000, map_name="8x8"
    ),
    "Two-Room 11×11": two_rooms,
    "CliffWalking": lambda: from_gymnasium("CliffWalking-v1", Categorical(48), 500, 1_500),
    "Taxi": lambda: from_gymnasium("Taxi-v4", TAXI, 6_000, 12_000),
}


def optimum(following: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """V* by value iteration."""
    value = np.zeros(len(reward))
    for _ in range(4_000):
        value = (reward + DISCOUNT * following @ value).max(1)
    return value


def worth(following: np.ndarray, reward: np.ndarray, policy: np.ndarray) -> np.ndarray:
    """V of a policy, exactly."""
    every = np.arange(len(policy))
    system = np.eye(len(policy)) - DISCOUNT * following[every, policy]
    return np.linalg.solve(system, reward[every, policy])


def drawn(known: Known, count: int, random: np.random.Generator) -> np.ndarray:
    """Transitions of pairs drawn uniformly: s, a, r, s′, done."""
    pairs, rows = known.pairs(), []
    for state, action in (pairs[i] for i in random.integers(len(pairs), size=count)):
        found = known.outcomes[state][action]
        place = random.choice(len(found), p=[one[0] for one in found])
        rows.append((state, action, found[place][2], found[place][1], found[place][3]))
    return np.array(rows, dtype=np.float64)


def store(world: WorldEnergy, rows: np.ndarray) -> None:
    """Stores transitions of numbered states."""
    state, after = (
        world.columns.values("state", torch.as_tensor(rows[:, place]).long()) for place in (0, 3)
    )
    world.store(state, rows[:, 1], rows[:, 2], after, rows[:, 4])


def transitions(known: Known, seed: int, relative: bool) -> dict[str, Any]:
    """After how many transitions of the uniform stream the plan is within 1 % for good."""
    random = np.random.default_rng(seed)
    following, reward = known.tables(known.goal)
    best = optimum(following, reward)
    wanted = sum(p * best[s] for s, p in known.start.items())
    world = WorldEnergy(WorldColumns(known.state, Categorical(known.actions)), relative=relative)
    goal = None if known.goal is None else world.columns.values("state", torch.tensor([known.goal]))
    right = None
    for count in range(LOOK, known.most + 1, LOOK):
        store(world, drawn(known, LOOK, random))
        try:
            q = world.plan(goal=goal, discount=DISCOUNT).q.numpy()
        except ValueError:  # without sharing nothing may lead to the goal as yet
            right = None
            continue
        value = worth(following, reward, np.nan_to_num(q, neginf=-1e9).argmax(1))
        found = sum(p * value[s] for s, p in known.start.items())
        good = found >= wanted - 0.01 * abs(wanted)
        right = (right or count) if good else None
    return {"transitions": right}


def new_goals(seed: int) -> dict[str, Any]:
    """The share of the optimum that plans for 20 other goals reach, at 1,000 transitions."""
    known, random = two_rooms(), np.random.default_rng(seed)
    world = WorldEnergy(WorldColumns(known.state, Categorical(known.actions)))
    store(world, drawn(known, 1_000, random))
    shares = []
    for goal in random.choice([s for s in known.outcomes if s != 0], size=20, replace=False):
        following, reward = known.tables(int(goal))
        policy = world.plan(goal=[int(goal)], discount=DISCOUNT).q.numpy().argmax(1)
        shares.append(worth(following, reward, policy)[0] / optimum(following, reward)[0])
    return {"share": float(np.mean(shares))}


def strange(seed: int) -> dict[str, Any]:
    """How well log p(s, a) tells pairs that were met from those that were not, on FrozenLake."""
    known, random = WORLDS["FrozenLake 8×8"](), np.random.default_rng(seed)
    world = WorldEnergy(WorldColumns(known.state, Categorical(known.actions)))
    rows = drawn(known, 200, random)
    store(world, rows)
    pairs = np.array(known.pairs())
    met = {(int(s), int(a)) for s, a in rows[:, :2]}
    score = world.log_prob(state=pairs[:, 0], action=pairs[:, 1]).numpy()
    return {"auroc": float(roc_auc_score([tuple(map(int, p)) in met for p in pairs], score))}


def true_pendulum(state: torch.Tensor, action: torch.Tensor) -> Prediction:
    """Gymnasium's equations of motion."""
    angle, speed = torch.atan2(state[:, 1], state[:, 0]), state[:, 2]
    push = action[:, 0].clamp(-2, 2)
    reward = -(angle.square() + 0.1 * speed.square() + 0.001 * push.square())
    speed = (speed + (15 * angle.sin() + 3 * push) * 0.05).clamp(-8, 8)
    angle = angle + 0.05 * speed
    zeros = torch.zeros_like(reward)
    return Prediction(torch.stack([angle.cos(), angle.sin(), speed], -1), reward, zeros, zeros)


def ceiling(seed: int, episodes: int) -> dict[str, Any]:
    """The planner with the true dynamics of Pendulum, on the same episodes."""
    columns = WorldColumns(
        *(PlanningAgent("PlanningPolicy", "Pendulum-v1").world.columns.__dict__.values())
    )
    planner = PathPlanner(columns, torch.tensor([-2.0]), torch.tensor([2.0]))
    generator = torch.Generator().manual_seed(seed)
    env, total = gym.make("Pendulum-v1"), 0.0
    state, _ = env.reset(seed=seed + 1_000)
    for _ in range(episodes):
        planner.reset()
        for _ in range(200):
            action = planner.action(true_pendulum, torch.as_tensor(state), generator, -20.0)
            state, reward, *_ = env.step(action.float().numpy())
            total += float(reward)
        state, _ = env.reset()
    return {"return": total / episodes}


def real(
    make: Callable[[], gym.Env[Any, Any]], steps: int, seed: int, episodes: int
) -> dict[str, Any]:
    """The mean of greedy episodes after so many steps, by default."""
    started = time.process_time()
    agent = PlanningAgent("PlanningPolicy", make(), seed=seed).learn(steps)
    learned = time.process_time() - started
    env = Monitor(make())
    env.reset(seed=seed + 1_000)
    mean, _ = evaluate_policy(agent, env, n_eval_episodes=episodes, warn=False)
    return {"return": float(mean), "seconds": learned}


def main() -> None:
    """Measures what is missing and prints one table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.world", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("world-evidence"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", nargs="*", help="names of tasks; all if none")
    parser.add_argument("--episodes", type=int, default=5, help="of real states")
    parser.add_argument("--quick", action="store_true", help="a seed of three tasks")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.only = 1, given.only or list(QUICK)
    torch.set_num_threads(1)
    cache = Cache(given.out / "world.json")
    jobs: dict[str, Callable[[int], dict[str, Any]]] = {}
    for name, make in WORLDS.items():
        jobs[name] = lambda seed, make=make: transitions(make(), seed, relative=True)
        jobs[f"{name}, not relative"] = lambda seed, make=make: transitions(
            make(), seed, relative=False
        )
    jobs["new goals"] = new_goals
    jobs["strange pairs"] = strange
    shows = given.episodes
    for name, make, steps in (
        ("Pendulum, 400 steps", lambda: gym.make("Pendulum-v1"), 400),
        ("CartPole, 1,000 steps", lambda: gym.make("CartPole-v1"), 1_000),
        ("swing-up, 200 steps", SwingUp, 200),
    ):
        jobs[name] = lambda seed, make=make, steps=steps: real(make, steps, seed, shows)
    jobs["Pendulum, true dynamics"] = lambda seed: ceiling(seed, shows)
    jobs["swing-up, true dynamics"] = lambda seed: swing_ceiling(seed, shows)
    jobs["swing-up, told true steps"] = lambda seed: swing_told(seed, shows)
    jobs["swing-up, SAC, 200 steps"] = lambda seed: swing_sac(seed, shows, 200)
    jobs["swing-up, random"] = lambda seed: random_pushes(seed, shows)
    chosen = {n: job for n, job in jobs.items() if not given.only or n in given.only}
    table = Table(title=f"what is met, and what is planned from it; seeds 0–{given.seeds - 1}")
    for column in ("task", "median", "worst", "every seed"):
        table.add_column(column)
    with Progress() as progress:
        for name, job in progress.track(chosen.items(), description="world"):
            found = [
                cache.get(f"{name}, {seed}", lambda seed=seed, job=job: job(seed))
                for seed in range(given.seeds)
            ]
            key = next(iter(found[0]))
            fewer = key == "transitions"
            values = [np.inf if one[key] is None else one[key] for one in found]
            worst = max(values) if fewer else min(values)
            table.add_row(
                f"{name}: {key}", f"{np.median(values):.4g}", f"{worst:.4g}",
                " ".join(f"{value:.4g}" for value in values),
            )  # fmt: skip
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
