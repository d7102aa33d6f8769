"""The agent of Sallans & Hinton (2004) as it was: SARSA on the free energy of an RBM, no replay.

    python examples/sallans_hinton_sarsa.py --steps 12000

Prints the mean greedy reward (the most is 40) on 4,000 fresh states of the large-action task.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from isinglass.agents import Annealing, FreeEnergySarsa, RBMEnergy
from isinglass.envs import LargeAction

STATES = 4_000


def build(seed: int) -> FreeEnergySarsa:
    """The agent, every hyper-parameter written out."""
    return FreeEnergySarsa(
        "MlpPolicy",
        LargeAction(),  # 12 state bits, 40 action bits, 13 key pairs, key_seed 0
        energy=RBMEnergy(hidden=13, annealing=Annealing(chains=1, levels=24, refinements=5)),
        learning_rate=0.01,
        gamma=0.99,
        initial_temperature=1.0,
        final_temperature=0.1,
        annealing_fraction=0.8,
        seed=seed,
        device="cpu",
    )


def main() -> None:
    """Learn, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=12_000, help="environment steps of learning")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    agent = build(arguments.seed).learn(arguments.steps, progress_bar=True)
    env = LargeAction()
    states = np.random.default_rng(2004).integers(0, 2, (STATES, 12), dtype=np.int8)
    greedy, _ = agent.predict(states, deterministic=True)
    print(f"greedy reward: {env.reward_of(greedy, states).mean():.2f}")


if __name__ == "__main__":
    main()
