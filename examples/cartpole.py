"""CartPole, where actions are few and can be listed: FreeEnergyQ beside DQN.

    python examples/cartpole.py --steps 50000

Prints the return of 20 greedy episodes of both, and the time to learn.
"""

from __future__ import annotations

import argparse
import time

import gymnasium as gym
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from isinglass.agents import FreeEnergyQ, MixtureEnergy, SoftBackup


def build(seed: int) -> FreeEnergyQ:
    """The agent, every hyper-parameter written out."""
    return FreeEnergyQ(
        "MlpPolicy",
        gym.make("CartPole-v1"),
        energy=MixtureEnergy(memories=32, state_fields=True),
        backup=SoftBackup(mellowmax=True),
        learning_rate=lambda remaining: 1e-3 * remaining,  # falls to zero
        buffer_size=100_000,
        learning_starts=1_000,
        batch_size=64,
        tau=0.01,
        gamma=0.99,
        n_steps=1,
        train_freq=4,
        gradient_steps=4,
        initial_temperature=1.0,
        final_temperature=0.05,
        annealing_fraction=0.5,
        policy_kwargs={"net_arch": [128, 128]},
        seed=seed,
        device="cpu",
    )


def peer(seed: int) -> DQN:
    """The rival, with the defaults of Stable-Baselines3."""
    return DQN("MlpPolicy", gym.make("CartPole-v1"), seed=seed, device="cpu")


def main() -> None:
    """Learn, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50_000, help="environment steps of learning")
    parser.add_argument("--episodes", type=int, default=20, help="episodes that are measured")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    for agent in (build(arguments.seed), peer(arguments.seed)):
        start = time.perf_counter()
        agent.learn(arguments.steps, progress_bar=True)
        seconds = time.perf_counter() - start
        env = Monitor(gym.make("CartPole-v1"))
        env.reset(seed=10_000 + arguments.seed)
        mean, spread = evaluate_policy(agent, env, arguments.episodes, deterministic=True)
        name = type(agent).__name__
        print(f"{name:<12} return {mean:>9.1f}, deviation {spread:.1f}, {seconds:.1f} s")


if __name__ == "__main__":
    main()
