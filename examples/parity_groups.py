"""Parity: 2^20 actions, 2^15 of them optimal: find them all, not only one, and complete them.

    python examples/parity_groups.py --steps 20000

Prints how many of 2,000 drawn actions are optimal, how many different ones there are among these,
and how many are optimal when a random half of the bits is given, without learning again.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from stable_baselines3.common.env_util import make_vec_env

from isinglass.agents import Annealing, FreeEnergyQ, ProductOfMixtures, SoftBackup
from isinglass.envs import Parity

DRAWS = 2_000


def build(seed: int) -> FreeEnergyQ:
    """The agent, every hyper-parameter written out."""
    return FreeEnergyQ(
        "MlpPolicy",
        # Five blocks of 4 bits, the reward how many have an even number of ones.
        make_vec_env(Parity, n_envs=16, seed=seed),
        energy=ProductOfMixtures(
            groups=64,
            memories=4,
            annealing=Annealing(chains=8, levels=24),
        ),
        backup=SoftBackup(),
        learning_rate=lambda remaining: 0.01 * remaining,  # falls to zero
        buffer_size=100_000,
        learning_starts=8_000,  # uniform actions: all optima are seen alike
        batch_size=256,
        tau=0.005,
        gamma=0.99,
        train_freq=1,
        gradient_steps=8,
        initial_temperature=0.15,  # e^(-1/T) of a wrong block is 0.0013
        final_temperature=0.15,
        annealing_fraction=0.8,
        policy_kwargs={"net_arch": []},
        seed=seed,
        device="cpu",
    )


def main() -> None:
    """Learn, draw, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000, help="environment steps of learning")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    agent = build(arguments.seed).learn(arguments.steps, progress_bar=True)
    env = Parity()
    observations = np.repeat(env.reset(seed=arguments.seed)[0][None], DRAWS, axis=0)
    drawn, _ = agent.predict(observations)
    most = env.best_reward(observations)
    optimal = drawn[env.reward_of(drawn, observations) == most]
    print(f"optimal:            {len(optimal) / DRAWS:.1%} of {DRAWS:,} draws")
    print(f"different optima:   {len(np.unique(optimal, axis=0)):,}")

    draw = np.random.default_rng(arguments.seed)
    given = draw.integers(0, 2, (DRAWS, 20)).astype(float)
    blocks = given.reshape(DRAWS, 5, 4)
    blocks[..., 3] = blocks[..., :3].sum(-1) % 2  # an optimum, so that an answer there is
    hidden = draw.permuted(np.tile(np.arange(20) < 10, (DRAWS, 1)), axis=1)
    given[hidden] = np.nan
    completed, _ = agent.predict(observations, fixed=given)
    share = (env.reward_of(completed, observations) == most).mean()
    print(f"10 of 20 bits given: {share:.1%} optimal")


if __name__ == "__main__":
    main()
