"""Assignment: n workers, n tasks, 2^(n²) actions; one task each is what the reward must teach.

    python examples/assignment_pairs.py --steps 12000 --n 6

Prints reward and validity of greedy actions on 500 fresh problems, beside the optimum.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from stable_baselines3.common.env_util import make_vec_env

from isinglass.agents import Annealing, CenteredExtractor, FreeEnergyQ, PairwiseEnergy, SoftBackup
from isinglass.envs import Assignment


def build(n: int, seed: int) -> FreeEnergyQ:
    """The agent, every hyper-parameter written out."""
    return FreeEnergyQ(
        "MlpPolicy",
        make_vec_env(lambda: Assignment(n), n_envs=16, seed=seed),
        energy=PairwiseEnergy(Annealing(chains=8, levels=24, greedy_chains=64, greedy_levels=64)),
        backup=SoftBackup(),
        learning_rate=lambda remaining: 0.1 * remaining,  # falls to zero
        buffer_size=100_000,
        learning_starts=1_000,
        batch_size=256,
        tau=0.005,
        gamma=0.99,
        train_freq=1,
        gradient_steps=4,
        initial_temperature=2.0,
        final_temperature=0.05,
        annealing_fraction=0.8,
        policy_kwargs={"net_arch": [], "features_extractor_class": CenteredExtractor},
        seed=seed,
        device="cpu",
    )


def main() -> None:
    """Learn, solve fresh problems, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=12_000, help="environment steps of learning")
    parser.add_argument("--n", type=int, default=6, help="workers and tasks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    agent = build(arguments.n, arguments.seed).learn(arguments.steps, progress_bar=True)
    env = Assignment(arguments.n)
    draw = np.random.default_rng(10_000 + arguments.seed)
    problems = draw.random((500, arguments.n**2), dtype=np.float32)
    greedy, _ = agent.predict(problems, deterministic=True)
    print(f"greedy reward: {env.reward_of(greedy, problems).mean():.2f}")
    print(f"optimum:       {env.best_reward(problems).mean():.2f}")
    print(f"valid:         {env.is_valid(greedy).mean():.1%}")


if __name__ == "__main__":
    main()
