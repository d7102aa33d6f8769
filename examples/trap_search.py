"""Trap: ten blocks of 4 bits in which every short way up leads away from the hidden key.

    python examples/trap_search.py --steps 60000

Prints the reward of the greedy action, the most being 40; at the trap it is 30.
"""

from __future__ import annotations

import argparse

import torch
from stable_baselines3.common.env_util import make_vec_env

from isinglass.agents import Annealing, FreeEnergyQ, RBMEnergy, SoftBackup
from isinglass.envs import Trap


def build(seed: int) -> FreeEnergyQ:
    """The agent, every hyper-parameter written out."""
    return FreeEnergyQ(
        "MlpPolicy",
        make_vec_env(Trap, n_envs=16, seed=seed),
        # A second search, on Q itself: weak couplings lead into the trap.
        energy=RBMEnergy(hidden=128, annealing=Annealing(greedy_sweeps=300)),
        backup=SoftBackup(),
        learning_rate=lambda remaining: 0.01 * remaining,  # falls to zero
        buffer_size=100_000,
        learning_starts=40_000,  # uniform actions: greedy ones would stay in the trap
        batch_size=256,
        tau=0.005,
        gamma=0.99,
        train_freq=1,
        gradient_steps=4,
        initial_temperature=0.2,
        final_temperature=0.2,
        annealing_fraction=0.8,
        policy_kwargs={"net_arch": []},
        seed=seed,
        device="cpu",
    )


def main() -> None:
    """Learn, search, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60_000, help="environment steps of learning")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    agent = build(arguments.seed).learn(arguments.steps, progress_bar=True)
    env = Trap()
    observation = env.reset(seed=arguments.seed)[0]
    greedy, _ = agent.predict(observation, deterministic=True)
    most = env.best_reward(observation)
    print(f"greedy reward: {env.reward_of(greedy, observation):.0f} of {most:.0f}")


if __name__ == "__main__":
    main()
