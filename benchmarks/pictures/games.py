"""A team that gets past its blocker; a game of noughts and crosses and what is observed of it."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isinglass._support.palette import GRAY
from isinglass.envs import Blockers, TicTacToe


def draw() -> dict[str, Figure]:
    """All pictures of this topic."""
    return {"blockers": best_run(), "tictactoe": board_and_propositions()}


def best_run() -> Figure:
    """An episode of the 5 × 4 task as the best team plays it."""
    env = Blockers(render_mode="rgb_array")
    table = env.transitions()
    steps = np.zeros(len(table.next_state))
    for _ in range(env.cap):
        steps = 1 + np.where(table.terminated, 0, steps[table.next_state]).min(1)
    best = np.where(table.terminated, 0, steps[table.next_state]).argmin(1)
    state_of = {bits.tobytes(): state for state, bits in enumerate(table.observations)}
    bits, _ = env.reset(seed=13)
    frames, ended = [env.render()], False
    while not ended:
        bits, _, ended, _, _ = env.step(table.actions[best[state_of[bits.tobytes()]]])
        frames.append(env.render())
    figure = plt.figure(figsize=(7.4, 1.9))
    for number, (axis, frame) in enumerate(
        zip(figure.subplots(1, len(frames)), frames, strict=True)
    ):
        _show(axis, frame)
        axis.set_title("start" if number == 0 else f"step {number}", fontsize=8)
    return figure


def board_and_propositions() -> Figure:
    """A board in the middle of a game, and the rows and mask that the agent sees."""
    env = TicTacToe("minimax", "first", render_mode="rgb_array")
    env.reset(seed=2)
    env.step(np.array([1, 1, 0]))
    observation, *_, info = env.step(np.array([1, 0, 0]))
    figure = plt.figure(figsize=(7.4, 2.3))
    board, table, mask = figure.subplots(1, 3, width_ratios=[1, 1.5, 1])
    _show(board, env.render())
    board.set_title("the board: crosses are mine", fontsize=8)
    table.axis("off")
    table.set_title("what is observed of it", fontsize=8)
    cells = [
        [*map(str, row), str(filled)]
        for row, filled in zip(observation["propositions"], observation["mask"], strict=True)
    ]
    shown = table.table(
        cells, colLabels=["x", "y", "player", "mask"], loc="center", cellLoc="center"
    )
    shown.auto_set_font_size(False)
    shown.scale(1, 0.78)
    for (row, _), cell in shown.get_celld().items():
        cell.set_edgecolor("#cfd8dc")
        cell.set_fontsize(7)
        if row and not observation["mask"][row - 1]:
            cell.get_text().set_color(GRAY)
        if row == 0:
            cell.set_facecolor("#d6ebf7")
    legal = info["action_mask"][..., 0].T
    mask.pcolormesh(legal, cmap="Greys_r", vmin=-2, vmax=1, edgecolors="#90a4ae")
    mask.set(aspect="equal", xlabel="x", ylabel="y")
    mask.set_xticks([0.5, 1.5, 2.5], ["0", "1", "2"])
    mask.set_yticks([0.5, 1.5, 2.5], ["0", "1", "2"])
    mask.invert_yaxis()
    mask.set_title("claims that are legal (white)", fontsize=8)
    mask.spines[:].set_visible(True)
    return figure


def _show(axis: Axes, image: np.ndarray) -> None:
    axis.imshow(image, interpolation="none")
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
