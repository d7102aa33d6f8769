"""Act: an agent that chooses among 2^40 actions, beside PPO and random actions, at equal steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from isinglass._support.optional import require_extra
from isinglass._support.palette import SERIES
from isinglass._support.progress import Progress
from isinglass.agents import FreeEnergyQ
from isinglass.cli.tour.chapter import COLORS, Chapter, Drawing, Fact, new_figure
from isinglass.envs import make_env

with require_extra("rl"):
    from stable_baselines3 import PPO
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.monitor import Monitor

__all__ = ["act"]

ENVIRONMENT = "isinglass/LargeAction-v0"
STEPS = 12_000
EPISODES = 1_000

LEAD = """Q = −F: the value of an action is minus the free energy of state and action together. With
softmax groups whose keys come from a network, the soft value over all 2^40 actions, an exact draw
from the Boltzmann policy and a greedy action are closed formulas. The task: a 12-bit state, a
40-bit action, the reward the number of bits that agree with the key action of the nearest of 13
hidden key states. DQN cannot enumerate the actions; PPO draws every bit by itself."""


class _ProgressCallback(BaseCallback):
    """Shows how far learning is, as a part of the chapter."""

    def __init__(self, progress: Progress, start: float, share: float, what: str) -> None:
        super().__init__()
        self.progress, self.start, self.share, self.what = progress, start, share, what

    def _on_step(self) -> bool:
        if self.n_calls % 100 == 0:
            done = min(1.0, self.num_timesteps / STEPS)
            self.progress(
                self.start + self.share * done, f"{self.what}, step {self.num_timesteps:,}"
            )
        return True


def act(progress: Progress, seed: int) -> Chapter:
    """Teaches both agents, and returns the chapter."""
    curves: dict[str, np.ndarray] = {}
    greedy: dict[str, float] = {}
    agents = {"FreeEnergyQ": FreeEnergyQ, "PPO": PPO}
    for number, (name, kind) in enumerate(agents.items()):
        env = Monitor(make_env(ENVIRONMENT))
        agent = kind("MlpPolicy", env, seed=seed, device="cpu")
        agent.learn(STEPS, callback=_ProgressCallback(progress, 0.48 * number, 0.45, name))
        progress(0.48 * number + 0.45, f"{name}, evaluation")
        curves[name] = np.asarray(env.get_episode_rewards())
        greedy[name] = _evaluate(agent, seed)
    greedy["random"] = _evaluate(None, seed)

    chapter = Chapter("act", "Act: learn the energy by Bellman's equation", LEAD)
    chapter.pictures.append(_curves(curves, greedy["random"]))
    steps = min(len(curve) for curve in curves.values())
    chapter.facts.append(
        Fact(
            f"2^40 actions: greedy reward of 40 after {steps:,} steps",
            f"{greedy['FreeEnergyQ']:.2f}",
            f"PPO {greedy['PPO']:.2f}, random {greedy['random']:.2f}",
        )
    )
    chapter.notes.append(
        f"Stable-Baselines3's PPO with its own settings, which takes whole rollouts and so "
        f"{len(curves['PPO']):,} steps. Both are measured on the same {EPISODES:,} fresh states."
    )
    progress(1.0, "done")
    return chapter


def _evaluate(agent: BaseAlgorithm | None, seed: int) -> float:
    """Return the mean reward of greedy actions, or of random ones, on fresh states."""
    env = make_env(ENVIRONMENT)
    env.action_space.seed(seed)
    state, _ = env.reset(seed=seed + 10_000)
    total = 0.0
    for _ in range(EPISODES):
        if agent is None:
            action: Any = env.action_space.sample()
        else:
            action, _ = agent.predict(state, deterministic=True)
        _, reward, _, _, _ = env.step(action)
        total += float(reward)
        state, _ = env.reset()
    return total / EPISODES


def _curves(curves: dict[str, np.ndarray], baseline: float) -> Drawing:
    """Draw the reward while learning."""
    figure = new_figure(7.2, 3.4)
    axes = figure.add_subplot()
    for (name, rewards), (color, _, line) in zip(curves.items(), SERIES, strict=False):
        window = 200
        smooth = np.convolve(rewards, np.ones(window) / window, mode="valid")
        axes.plot(np.arange(window, len(rewards) + 1), smooth, line, color=color, label=name)
    axes.axhline(baseline, color=COLORS["other"], linestyle=":", label="random")
    axes.axhline(40, color=COLORS["ink"], linewidth=0.6)
    axes.set_xlabel("steps")
    axes.set_ylabel("reward while learning, of 40")
    axes.set_ylim(18, 41)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.02, 0.9))
    return Drawing(
        figure,
        "Reward of the actions drawn while learning, averaged over the last 200 episodes. These "
        "explore: PPO draws each bit by itself, FreeEnergyQ whole actions from its Boltzmann "
        "policy while the temperature falls. The table's figures are of greedy actions, "
        "after learning.",
        "Two curves over the steps of learning: FreeEnergyQ rises, PPO stays near random.",
    )
