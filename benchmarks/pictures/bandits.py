"""The environments of one step: what they show, and what they pay for."""

from __future__ import annotations

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from isinglass._support.palette import BLUE, VERMILION
from isinglass.envs import Assignment, LargeAction, Parity, Trap

GRAY_CODE = np.array([[0, 0], [0, 1], [1, 1], [1, 0]])


def draw() -> dict[str, Figure]:
    """One picture for each environment."""
    return {
        "large-action": _large_action(),
        "parity": _parity(),
        "assignment": _assignment(),
        "trap": _trap(),
    }


def _large_action() -> Figure:
    """Key states and key actions; above them a state, and the action it calls for."""
    env = LargeAction()
    state, _ = env.reset(seed=2)
    distances = (env.key_states != state).sum(1)
    nearest = distances.argmin()
    figure, axes = plt.subplots(
        2, 2, figsize=(7.2, 2.6), width_ratios=(12, 40), height_ratios=(1, 13)
    )
    rows = (state, env.optimal_action(state)), (env.key_states, env.key_actions)
    for across, bits in zip(axes, rows, strict=True):
        for ax, block in zip(across, bits, strict=True):
            block = np.atleast_2d(block)
            ax.pcolormesh(
                block[::-1], cmap="Greys", vmax=1.4, edgecolors="w", linewidth=0.6, rasterized=True
            )
            ax.set(aspect="equal", anchor="W")
            ax.axis("off")
    keys = len(env.key_states)
    for ax, bits in zip(axes[1], (12, 40), strict=True):
        ax.add_patch(
            Rectangle(
                (0, keys - 1 - nearest), bits, 1, fill=False, edgecolor=BLUE, lw=2, clip_on=False
            )
        )
    for ax, title in zip(axes[0], ("observed state", "best action"), strict=True):
        ax.set_title(title, fontsize=9, loc="left")
    for mu, distance in enumerate(distances):
        axes[1, 0].text(
            -0.5, keys - 0.5 - mu, str(distance), ha="right", va="center", fontsize=7,
            color=BLUE if mu == nearest else "0.5",
        )  # fmt: skip
    return figure


def _parity() -> Figure:
    """The sixteen states of a block, neighbors one bit apart."""
    env = Parity(blocks=1)
    block = np.array([[[*row, *column] for column in GRAY_CODE] for row in GRAY_CODE])
    figure, ax = plt.subplots(figsize=(2.6, 2.6))
    rewards = env.reward_of(block)
    for (i, j), reward in np.ndenumerate(rewards):
        color = BLUE if reward else "0.92"
        ax.add_patch(Rectangle((j, 3 - i), 1, 1, facecolor=color, edgecolor="w"))
        text = "".join(map(str, block[i, j]))
        ax.text(j + 0.5, 3.5 - i, text, ha="center", va="center", color="w" if reward else "0.4")
    ax.set(xlim=(0, 4), ylim=(0, 4), aspect="equal")
    ax.axis("off")
    return figure


def _assignment() -> Figure:
    """Values, and the best assignment."""
    env = Assignment()
    values, _ = env.reset(seed=0)
    chosen = env.optimal_action(values).reshape(6, 6)
    figure, ax = plt.subplots(figsize=(2.9, 2.7))
    ax.set_title(f"reward {env.best_reward(values):.2f}", fontsize=9)
    for (i, j), value in np.ndenumerate(values.reshape(6, 6)):
        shade = str(1 - 0.55 * float(value))
        ax.add_patch(Rectangle((j, 5 - i), 1, 1, facecolor=shade, edgecolor="w"))
        ax.text(j + 0.5, 5.5 - i, f"{value:.2f}", ha="center", va="center", fontsize=8)
    for i, j in np.argwhere(chosen):
        ax.add_patch(
            Rectangle((j + 0.05, 5.05 - i), 0.9, 0.9, fill=False, edgecolor=BLUE, linewidth=2)
        )
    ax.set(xlim=(0, 6), ylim=(0, 6), aspect="equal")
    ax.axis("off")
    return figure


def _trap() -> Figure:
    """What a block pays, by how many of its bits match."""
    env = Trap(blocks=1)
    actions = np.array([[*env.key[:u], *(1 - env.key[u:])] for u in range(5)])
    rewards = env.reward_of(actions)
    figure, ax = plt.subplots(figsize=(3.6, 2.4))
    ax.bar(range(5), rewards, color=[VERMILION, *["0.8"] * 3, BLUE], width=0.6)
    ax.plot(range(4), rewards[:4] + 0.15, color=VERMILION, marker="<", markersize=4, linewidth=1)
    ax.set(xlabel="bits that match the key", ylabel="reward of the block", ylim=(0, 4.3))
    return figure
