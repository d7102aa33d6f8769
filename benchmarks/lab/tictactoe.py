"""Trains the player of the lab's TicTacToe by self-play, and counts its games.

    python -m benchmarks.lab.tictactoe

Q(s, a) = −F(s, a) of a mixture of four memories that the state bends, learned by FreeEnergyQ with
its defaults from games against earlier copies of itself. A few minutes of one thread.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import safetensors.torch
import torch

import isinglass.cli.lab
from isinglass.agents import FreeEnergyQ, SeatVecEnv
from isinglass.agents.actions.action_energies import MixtureEnergy
from isinglass.envs import play_match
from isinglass.envs.tictactoe.board import TicTacToeGame, perfect_opponent
from isinglass.io.atomic import atomic_write

OUT = Path(isinglass.cli.lab.__file__).parent / "weights" / "tictactoe.safetensors"
MEMORIES, WIDTHS, TABLES = 4, [96, 96], 16


def make_agent(seed: int = 0) -> FreeEnergyQ:
    """Returns the agent before training."""
    return FreeEnergyQ(
        "MlpPolicy",
        SeatVecEnv(TicTacToeGame(), count=TABLES),
        energy=MixtureEnergy(MEMORIES, state_fields=True),
        policy_kwargs={"net_arch": WIDTHS},
        seed=seed,
        device="cpu",
    )


def main() -> None:
    """Trains, plays and writes."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=50_000)
    options.add_argument("--out", type=Path, default=OUT)
    given = options.parse_args()
    agent = make_agent().learn(given.steps, progress_bar=True)
    game = TicTacToeGame()
    print("perfect play:", play_match(game, agent, perfect_opponent, games=1_000))
    print("random play:", play_match(game, agent, "random", games=10_000))
    weights = {name: value.contiguous() for name, value in agent.q_net.state_dict().items()}
    weights["temperature"] = torch.tensor(agent.temperature)
    with atomic_write(given.out, overwrite=True) as aside:
        safetensors.torch.save_file(weights, aside)


if __name__ == "__main__":
    main()
