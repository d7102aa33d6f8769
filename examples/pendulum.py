"""Pendulum, actions real numbers: a Gaussian mixture of values, summed exactly, beside SAC.

    python examples/pendulum.py --steps 20000

Prints the return of 20 greedy episodes of both, and the time to learn.
"""

from __future__ import annotations

import argparse
import time

import gymnasium as gym
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from isinglass.agents import FreeEnergyQ, MixtureEnergy, SoftBackup


def build(seed: int) -> FreeEnergyQ:
    """The agent, every hyper-parameter written out."""
    return FreeEnergyQ(
        "MlpPolicy",
        gym.make("Pendulum-v1"),
        energy=MixtureEnergy(memories=8),
        backup=SoftBackup(mellowmax=True),
        learning_rate=lambda remaining: 2e-3 * remaining,  # falls to zero
        buffer_size=100_000,
        learning_starts=500,
        batch_size=256,
        tau=0.005,
        gamma=0.98,
        n_steps=1,
        train_freq=1,
        gradient_steps=2,
        initial_temperature=5.0,
        final_temperature=1.0,
        annealing_fraction=0.8,
        policy_kwargs={"net_arch": [256, 256]},
        seed=seed,
        device="cpu",
    )


def peer(seed: int) -> SAC:
    """The rival, with the defaults of Stable-Baselines3."""
    return SAC("MlpPolicy", gym.make("Pendulum-v1"), seed=seed, device="cpu")


def main() -> None:
    """Learn, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000, help="environment steps of learning")
    parser.add_argument("--episodes", type=int, default=20, help="episodes that are measured")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    for agent in (build(arguments.seed), peer(arguments.seed)):
        start = time.perf_counter()
        agent.learn(arguments.steps, progress_bar=True)
        seconds = time.perf_counter() - start
        env = Monitor(gym.make("Pendulum-v1"))
        env.reset(seed=10_000 + arguments.seed)
        mean, spread = evaluate_policy(agent, env, arguments.episodes, deterministic=True)
        name = type(agent).__name__
        print(f"{name:<12} return {mean:>9.1f}, deviation {spread:.1f}, {seconds:.1f} s")


if __name__ == "__main__":
    main()
