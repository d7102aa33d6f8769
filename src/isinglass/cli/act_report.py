"""The report of ``isinglass act``: one page with curves, figures, settings and how to go on."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import stable_baselines3
import torch

from isinglass.cli.act_agents import OURS, environments, hyper_parameters
from isinglass.cli.act_run import Request, Result
from isinglass.extras import needs
from isinglass.tour.chapter import COLOURS, draw, new_figure
from isinglass.tour.page import figure_of, self_contained

with needs("cli"):
    from rich.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["build_report", "curves", "loading", "rows", "table_of"]

PALETTE = (COLOURS["ours"], COLOURS["peer"], "#6741d9", "#b08900")
HEADS = ("agent", "steps", "seconds", "greedy", "drawn", "best")

LEAD = """Mean return ± its standard error over {episodes} episodes that no choice was made on.
Greedy: every action is the best the agent knows; drawn: it explores as at the end of learning.
Both are of the agent after its last step; best, greedy, is of the one that did best when evaluated
while learning."""

CAPTION = """Above: mean return of {episodes} greedy episodes, always the same ones, ± its standard
error, by steps of the environment and by seconds of learning. Below: mean return of the episodes
that ended while learning, {width:,} steps a point; there the agents explore. Dotted: uniformly
random actions."""


def rows(results: Sequence[Result], chance: tuple[float, float]) -> list[tuple[str, ...]]:
    """The figures as text, one row an agent."""
    lines: list[tuple[str, ...]] = []
    for result in results:
        measured = (_pair(pair) for pair in (result.last, result.sampled, result.best))
        track = result.track
        lines.append((result.name, f"{track.steps:,}", f"{track.seconds:.1f}", *measured))
    return [*lines, ("random", "", "", "", _pair(chance), "")]


def table_of(request: Request, results: Sequence[Result], chance: tuple[float, float]) -> Table:
    """The figures, for the terminal."""
    table = Table(
        title=f"{request.env}: return of an episode", title_justify="left",
        caption=f"{request.episodes} episodes each, mean ± standard error", caption_justify="left",
    )  # fmt: skip
    for head in HEADS:
        table.add_column(head, justify="right" if table.columns else "left")
    for line in rows(results, chance):
        table.add_row(*line, style="bold cyan" if line[0] == OURS else "")
    return table


def loading(folder: Path, request: Request) -> str:
    """Python that loads the best agent and acts once."""
    given = "".join(f", {name}={value}" for name, value in request.env_settings.items())
    return f"""from isinglass.agents import FreeEnergyQ
from isinglass.envs import make_env

env = make_env({request.env!r}{given})
agent = FreeEnergyQ.load({str(folder / OURS / "best.zip")!r})
observation, _ = env.reset()
action, _ = agent.predict(observation, deterministic=True)
env.step(action)"""


def build_report(
    folder: Path, request: Request, results: Sequence[Result], chance: tuple[float, float]
) -> str:
    """The page.

    Args:
        folder: Where the run is.
        request: What was asked for.
        results: Ours first, then the peers'.
        chance: Mean return of random actions and its standard error.
    """
    env = environments(request, 1)
    figures = "".join(
        f"<tr><td>{escape(line[0])}</td>"
        + "".join(f'<td class="ours">{cell}</td>' if line[0] == OURS else f"<td>{cell}</td>"
                  for cell in line[1:]) + "</tr>"
        for line in rows(results, chance)
    )  # fmt: skip
    asked = {
        "environment": " ".join([request.env, *_assignments(request.env_settings)]),
        "observations": env.observation_space, "actions": env.action_space,
        "steps": f"{request.steps:,}", "copies of the environment": request.envs,
        "seed": request.seed, "device": request.device, "energy": request.energy,
        "started from": request.start or "nothing learnt",
    }  # fmt: skip
    env.close()
    peers = [result.name for result in results[1:]]
    versions = f"Stable-Baselines3 {stable_baselines3.__version__}"
    caption = CAPTION.format(episodes=request.episodes, width=request.bin_width)
    note = f"{', '.join(peers)}: with the settings of {versions}." if peers else ""
    return self_contained(
        f"isinglass act {request.env}",
        f"""<h1>{escape(request.env)}</h1>
<p class="motto">isinglass act: Q = −F, learnt by Bellman's equation</p>
<table><thead><tr>{"".join(f"<th>{head}</th>" for head in HEADS)}</tr></thead>
<tbody>{figures}</tbody></table>
<p class="note">{LEAD.format(episodes=request.episodes)}</p>
<h2>How they learnt</h2>
{figure_of(draw(curves(request, results, chance[0]), caption))}
<h2>What was asked for</h2>
{_two_columns(asked)}
<h2>Settings of {OURS}</h2>
{_two_columns(hyper_parameters(request))}
<p class="note">{escape(note)}</p>
<h2>Go on with it</h2>
<pre><code>{escape(loading(folder, request))}</code></pre>
<p>All scalars: <code>tensorboard --logdir {escape(str(folder))}</code></p>
<footer><p>{escape(_machine(request.threads))}, {versions}.</p></footer>""",
    )


def curves(request: Request, results: Sequence[Result], chance: float) -> Figure:
    """Greedy returns by steps and by seconds, and returns while learning."""
    figure = new_figure(9.6, 6.0)
    grid = figure.add_gridspec(2, 2)
    steps, seconds = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
    drawn = figure.add_subplot(grid[1, :])
    for result, colour in zip(results, PALETTE, strict=False):
        track = result.track
        if track.evaluations:
            step, second, mean, error = np.array(track.evaluations, dtype=float).T
            for axes, x in ((steps, step), (seconds, second)):
                axes.plot(x, mean, "o-", color=colour, label=result.name, markersize=3)
                axes.fill_between(x, mean - error, mean + error, color=colour, alpha=0.15)
        counts = np.array(track.counts)
        ended = np.flatnonzero(counts)
        means = np.array(track.totals)[ended] / counts[ended]
        drawn.plot((ended + 0.5) * request.bin_width, means, color=colour, label=result.name)
    _label(steps, "steps", "greedy return", chance)
    _label(seconds, "seconds of learning", "", chance)
    _label(drawn, "steps", "return while learning", chance)
    steps.legend(frameon=False, fontsize=8)
    return figure


def _label(axes: Axes, x: str, y: str, chance: float) -> None:
    axes.axhline(chance, color=COLOURS["other"], linestyle=":", label="random")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)


def _two_columns(content: dict[str, object]) -> str:
    cells = (
        f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in content.items()
    )
    return f"<table><tbody>{''.join(cells)}</tbody></table>"


def _assignments(settings: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in settings.items()]


def _pair(pair: tuple[float, float]) -> str:
    mean, error = pair
    return f"{mean:,.2f}" + (f" ± {error:.2f}" if np.isfinite(error) else "")


def _machine(threads: int) -> str:
    count = "1 thread" if threads == 1 else f"{threads} threads"
    return (
        f"{platform.machine()}, {count}, Python {platform.python_version()}, "
        f"torch {torch.__version__}"
    )
