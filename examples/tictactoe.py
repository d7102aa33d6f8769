"""Noughts and crosses: the state is a set of propositions, an action one more; illegal ones masked.

    python examples/tictactoe.py --steps 80000

Learns against perfect play that errs, from both seats; plays 10,000 games against random and
perfect opponents.
"""

from __future__ import annotations

import argparse

import torch
from stable_baselines3.common.env_util import make_vec_env

from isinglass.agents import DoubleBackup, FreeEnergyQ, MixtureEnergy, SetExtractor
from isinglass.envs.tictactoe.augmentation import random_dihedral_augmentation
from isinglass.envs.tictactoe.env import Erring, Masked, TicTacToe, play

#: A claim in two is random: oversights are punished, and all positions are met.
OPPONENT = Erring(0.55)


def build(seed: int) -> FreeEnergyQ:
    """The agent, every hyper-parameter written out."""
    return FreeEnergyQ(
        "MultiInputPolicy",
        make_vec_env(lambda: TicTacToe(OPPONENT, "random"), n_envs=16, seed=seed),
        energy=MixtureEnergy(memories=32, state_fields=True),
        backup=DoubleBackup(),
        learning_rate=lambda remaining: 5e-3 * remaining,  # falls to zero
        buffer_size=100_000,
        learning_starts=3_000,
        batch_size=256,
        tau=0.01,
        gamma=1.0,
        train_freq=1,
        gradient_steps=4,
        initial_temperature=5.0,
        final_temperature=1.0,
        annealing_fraction=0.7,
        replay_buffer_kwargs={
            "augment": random_dihedral_augmentation
        },  # one game teaches eight boards
        policy_kwargs={"net_arch": [256, 256], "features_extractor_class": SetExtractor},
        seed=seed,
        device="cpu",
    )


def main() -> None:
    """Learn, play, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=80_000, help="moves of learning")
    parser.add_argument("--games", type=int, default=10_000, help="games that are counted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    agent = build(arguments.seed).learn(arguments.steps, progress_bar=True)
    print(
        f"{'opponent':<10}{'seat':<8}{'wins':>7}{'draws':>7}{'losses':>7}{'illegal':>8}{'mean':>8}"
    )
    for opponent in ("random", "minimax"):
        for seat in ("first", "second"):
            score = play(Masked(agent), arguments.games, opponent, seat, arguments.seed)
            counts = f"{score.wins:>7}{score.draws:>7}{score.losses:>7}{score.illegal:>8}"
            print(f"{opponent:<10}{seat:<8}{counts}{score.mean_reward:>8.2f}")


if __name__ == "__main__":
    main()
