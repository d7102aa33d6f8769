"""Learn the large-action task (2^40 actions) with FreeEnergyQ and with PPO, at equal steps.

    python examples/large_action.py --seeds 0 1 2 3 4

Prints the mean greedy reward (the most is 40) on 4,000 fresh states, and the time to learn.
All hyper-parameters of FreeEnergyQ are written out; they are its defaults.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm

from isinglass.agents import FreeEnergyQ, MixtureEnergy, SoftBackup
from isinglass.envs import LargeAction


def free_energy_q(seed: int) -> FreeEnergyQ:
    """The agent, every hyper-parameter written out."""
    return FreeEnergyQ(
        "MlpPolicy",
        LargeAction(),  # 12 state bits, 40 action bits, 13 key pairs, key_seed 0
        energy=MixtureEnergy(memories=32, state_fields=False),
        backup=SoftBackup(),
        learning_rate=5e-3,
        buffer_size=100_000,
        learning_starts=100,
        batch_size=256,
        tau=0.005,
        gamma=0.99,
        train_freq=4,
        gradient_steps=1,
        initial_temperature=1.0,
        final_temperature=0.05,
        annealing_fraction=0.8,
        policy_kwargs={"net_arch": [128, 128]},
        seed=seed,
        device="cpu",
    )


def ppo(seed: int) -> PPO:
    """The rival, with the defaults of Stable-Baselines3."""
    return PPO("MlpPolicy", LargeAction(), seed=seed, device="cpu")


def greedy_reward(agent: BaseAlgorithm, states: np.ndarray) -> float:
    """Mean reward of the greedy actions."""
    actions, _ = agent.predict(states, deterministic=True)
    return float((actions == LargeAction().optimal_action(states)).sum(1).mean())


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=12_000, help="environment steps of training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    draw = np.random.default_rng(2004)
    states = draw.integers(0, 2, (4_000, 12), dtype=np.int8)
    random = draw.integers(0, 2, (4_000, 40), dtype=np.int8)
    random_baseline = (random == LargeAction().optimal_action(states)).sum(1).mean()

    print(f"{'agent':<14}{'seed':>5}{'greedy reward':>15}{'seconds':>9}")
    print(f"{'random':<14}{'':>5}{random_baseline:>15.2f}")
    for build in (free_energy_q, ppo):
        rewards = []
        for seed in arguments.seeds:
            agent = build(seed)
            start = time.perf_counter()
            agent.learn(arguments.steps, progress_bar=True)
            seconds = time.perf_counter() - start
            rewards.append(greedy_reward(agent, states))
            print(f"{build.__name__:<14}{seed:>5}{rewards[-1]:>15.2f}{seconds:>9.1f}", flush=True)
        print(f"{build.__name__:<14}{'mean':>5}{np.mean(rewards):>15.2f}")


if __name__ == "__main__":
    main()
