"""Blockers: a team slips past a blocker that guards its columns; actions are moves of all agents.

    python examples/blockers_mixture.py --steps 60000

Prints the reward a step over 1,000 episodes; at the end the team's positions in one of them.
"""

from __future__ import annotations

import argparse

import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from isinglass.agents import FreeEnergyQ, MixtureEnergy, SoftBackup
from isinglass.envs import Blockers, make_env


def build(seed: int) -> FreeEnergyQ:
    """The agent, every hyper-parameter written out."""
    return FreeEnergyQ(
        "MlpPolicy",
        make_vec_env(Blockers, n_envs=16, seed=seed),  # 5 × 4 cells, 2 agents, 1 blocker, 20 steps
        energy=MixtureEnergy(memories=32, state_fields=True),
        backup=SoftBackup(mellowmax=True),
        learning_rate=lambda remaining: 2e-3 * remaining,  # falls to zero
        buffer_size=100_000,
        learning_starts=2_000,
        batch_size=256,
        tau=0.005,
        gamma=0.95,
        n_steps=1,
        train_freq=1,
        gradient_steps=4,
        initial_temperature=1.0,
        final_temperature=0.05,
        annealing_fraction=0.8,
        policy_kwargs={"net_arch": [128, 128]},
        seed=seed,
        device="cpu",
    )


def main() -> None:
    """Learn, measure, show an episode."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60_000, help="environment steps of learning")
    parser.add_argument("--episodes", type=int, default=1_000, help="episodes that are measured")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    agent = build(arguments.seed).learn(arguments.steps, progress_bar=True)
    env = Monitor(make_env("isinglass/Blockers-v0"))
    env.reset(seed=10_000 + arguments.seed)
    returns, lengths = evaluate_policy(
        agent, env, arguments.episodes, deterministic=True, return_episode_rewards=True
    )
    print(f"reward a step: {sum(returns) / sum(lengths):.3f}")

    shown = Blockers(render_mode="ansi")
    seen, _ = shown.reset(seed=arguments.seed)
    over = False
    for _ in range(20):
        print(shown.render(), end="\n\n")
        if over:
            break
        action, _ = agent.predict(seen, deterministic=True)
        seen, _, over, _, _ = shown.step(action)


if __name__ == "__main__":
    main()
