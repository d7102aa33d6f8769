"""Picture of the guide to agents: what a product of experts draws, and what it should."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from isinglass._support.palette import BLUE, VERMILION
from isinglass.agents import Enumerated, FreeEnergyQ, ProductOfMixtures
from isinglass.envs import Parity

DRAWS = 20_000
TEMPERATURE = 0.4  # high enough to see that odd blocks are drawn too


def draw() -> dict[str, Figure]:
    """All figures, by file name."""
    return {"act-parity": _parity()}


def _parity() -> Figure:
    """The first block of three: shares of draws, by enumeration, and by the reward itself."""
    env = Parity(blocks=3)
    agent = FreeEnergyQ(
        "MlpPolicy", env, energy=ProductOfMixtures(groups=16, memories=4), learning_rate=0.01,
        learning_starts=1_000, train_freq=50, gradient_steps=50, initial_temperature=TEMPERATURE,
        final_temperature=TEMPERATURE, policy_kwargs={"net_arch": []}, seed=0, device="cpu",
    ).learn(2_500)  # fmt: skip
    powers = 2 ** np.arange(4)[::-1]

    drawn, _ = agent.predict(np.ones((DRAWS, 1)))
    shares = np.bincount(drawn[:, :4] @ powers, minlength=16) / DRAWS

    exact = Enumerated.of(agent.policy.distribution(torch.ones(1, 1)))
    actions = agent.policy.code.decode(exact.states).numpy()
    meant = _block_shares(actions, powers, exact.log_probs()[0].detach())
    rewards = torch.as_tensor(env.reward_of(actions, np.ones((len(actions), 1))))
    wanted = _block_shares(actions, powers, torch.log_softmax(rewards / TEMPERATURE, 0))

    figure, ax = plt.subplots(figsize=(7.2, 2.6))
    place = np.arange(16)
    ax.bar(place, shares, color=BLUE, width=0.7, label=f"{DRAWS:,} draws")
    ax.plot(place, meant, "o", color=VERMILION, markersize=5, label="exp((Q − V)/T), enumerated")
    ax.plot(place, wanted, "_", color="0.2", markersize=16, label="exp(r/T), normalized")
    ax.set_xticks(place, [f"{state:04b}" for state in place], fontsize=7)
    ax.set(xlabel="bits of the block", ylabel="share", ylim=(0, 0.19))
    ax.legend(ncols=3, loc="upper center", fontsize=8)
    return figure


def _block_shares(actions: np.ndarray, powers: np.ndarray, logs: torch.Tensor) -> np.ndarray:
    """Distribution of the first four bits, from log probabilities of whole actions."""
    return np.bincount(actions[:, :4] @ powers, logs.exp().numpy(), minlength=16)
