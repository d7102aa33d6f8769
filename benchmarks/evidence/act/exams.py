"""What agents are asked once they have learned, and while they learn: scores of their actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv

from benchmarks.evidence.act.agents import Player
from isinglass.envs.tictactoe.env import Score, action_mask, play

__all__ = [
    "Result",
    "assignment",
    "clamped_parity",
    "episode_return",
    "greedy_reward",
    "parity",
    "reward_per_step",
    "tictactoe",
    "tictactoe_mean",
]

Result = dict[str, float]
Make = Callable[[], gym.Env]

SEATS = ("first", "second")
SEED = 2004  # of states that no agent learned from: training draws other streams


def greedy_reward(player: Player, make: Make, states: int) -> float:
    """Mean reward of the greedy actions of a one-step task, in fresh states."""
    bandit = _bandit(make)
    seen = _fresh(bandit, states)
    return float(np.mean(bandit.reward_of(player.act(seen, deterministic=True), seen)))


def parity(player: Player, make: Make, draws: int = 2_000) -> Result:
    """Of sampled actions, the share that is optimal and how many different optima it has."""
    bandit = _bandit(make)
    seen = _fresh(bandit, draws)
    actions = player.act(seen, deterministic=False)
    best = bandit.reward_of(actions, seen) == bandit.best_reward(seen)
    distinct = len(np.unique(actions[best], axis=0))
    return {"optimal": float(best.mean()), "distinct optima": float(distinct)}


def clamped_parity(player: Player, make: Make, draws: int = 2_000) -> Result:
    """Half of the bits are fixed at random: the share that is as good as these still allow.

    A block of which every bit is fixed may be lost already; what counts is the rest.
    """
    bandit, draw = _bandit(make), np.random.default_rng(SEED)
    seen = _fresh(bandit, draws)
    bits = bandit.action_space.n
    fixed = draw.integers(0, 2, (draws, bits)).astype(float)
    free = draw.random((draws, bits)).argsort(1) >= bits // 2
    fixed[free] = np.nan
    actions = player.complete(seen, fixed)
    kept = (actions == fixed) | free
    blocks = bandit.members
    lost = ~free[:, blocks].any(-1) & (fixed[:, blocks].sum(-1) % 2 == 1)
    best = bandit.reward_of(actions, seen) == len(blocks) - lost.sum(-1)
    return {"clamped optimal": float((best & kept.all(-1)).mean())}


def assignment(player: Player, make: Make, states: int = 500) -> Result:
    """Mean reward of greedy actions, the share that is an assignment, and the mean optimum."""
    bandit = _bandit(make)
    seen = _fresh(bandit, states)
    actions = player.act(seen, deterministic=True)
    return {
        "reward": float(np.mean(bandit.reward_of(actions, seen))),
        "valid": float(np.mean(bandit.is_valid(actions))),
        "optimum": float(np.mean(bandit.best_reward(seen))),
    }


def reward_per_step(
    player: Player, make: Make, steps: int, *, deterministic: bool = True, copies: int = 50
) -> float:
    """Mean reward a step over ``steps`` steps, shared among copies that begin again at each end."""
    walk = Walk(make, copies)
    return float(np.mean([walk.step(player, deterministic)[0] for _ in range(steps // copies)]))


def episode_return(player: Player, make: Make, episodes: int) -> float:
    """Mean sum of rewards of greedy episodes, one a copy."""
    walk = Walk(make, episodes)
    total, running = np.zeros(episodes), np.ones(episodes, dtype=bool)
    while running.any():
        rewards, dones = walk.step(player, deterministic=True)
        total += rewards * running
        running &= ~dones
    return float(total.mean())


def tictactoe_mean(player: Player, games: int = 1_000) -> float:
    """Mean reward against random play, half of the games from each seat."""
    return sum(_played(player, games // 2, "random", seat).mean_reward for seat in SEATS) / 2


def tictactoe(player: Player, games: int = 10_000) -> Result:
    """Against random play from either seat by turns and from the first; against perfect play.

    Losses and illegal claims are counted, in ``games``; draws are a share.
    """
    first, second = (_played(player, games // 2, "random", seat) for seat in SEATS)
    opening = _played(player, games, "random", "first")
    perfect = [_played(player, games // 10, "minimax", seat) for seat in SEATS]
    return {
        "mean": (first.mean_reward + second.mean_reward) / 2,
        "losses": float(first.losses + second.losses),
        "illegal": float(first.illegal + second.illegal),
        "draws": float(first.draws + second.draws),
        "mean, first seat": opening.mean_reward,
        "losses, first seat": float(opening.losses),
        "illegal, first seat": float(opening.illegal),
        "drawn with perfect, first": perfect[0].draws / perfect[0].games,
        "drawn with perfect, second": perfect[1].draws / perfect[1].games,
    }


class Walk:
    """Copies of an environment that an agent acts in, all at once.

    Args:
        make: Makes one.
        copies: How many.
    """

    def __init__(self, make: Make, copies: int) -> None:
        self.environments = DummyVecEnv([make] * copies)
        self.environments.seed(SEED)
        self.observations: Any = self.environments.reset()

    def step(self, player: Player, deterministic: bool) -> tuple[np.ndarray, np.ndarray]:
        """Rewards and ends, one a copy."""
        actions = player.act(self.observations, deterministic=deterministic)
        self.observations, rewards, dones, _ = self.environments.step(actions)
        return rewards, dones


def _played(player: Player, games: int, opponent: str, seat: str) -> Score:
    def claims(observations: Any, _: np.random.Generator) -> np.ndarray:
        return player.act(observations, deterministic=True, masks=action_mask(observations))

    return play(claims, games, opponent, seat, SEED)


def _bandit(make: Make) -> Any:
    return make().unwrapped


def _fresh(bandit: Any, states: int) -> np.ndarray:
    first, _ = bandit.reset(seed=SEED)
    action = np.zeros(bandit.action_space.n, dtype=np.int8)
    return np.stack([first, *(bandit.step(action)[0] for _ in range(states - 1))])
