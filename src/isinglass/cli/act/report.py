"""The report of ``isinglass act``: one page of curves, figures, settings and how to go on."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import stable_baselines3

from isinglass._support.optional import require_extra
from isinglass._support.palette import SERIES
from isinglass.cli.act.agents import (
    make_environments,
    own_agent,
    parse_settings,
)
from isinglass.cli.act.run import RandomBaseline, Request, Result, plus_minus
from isinglass.cli.act.settings import used_settings
from isinglass.cli.tour.chapter import COLORS, Drawing, new_figure
from isinglass.cli.tour.page import (
    DOCUMENTATION,
    describe_machine,
    html_figure,
    scrolling,
    wrap_page,
)

with require_extra("cli"):
    from rich import box
    from rich.table import Table
    from rich.text import Text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["build_report", "curves", "footnote", "loading_code", "result_rows", "terminal_table"]

HEADS = ("agent", "steps", "seconds", "greedy", "drawn", "best")

MERGED = 5  # bins of the history to a point of the curve, or each would be an episode or two

LEAD = """Mean return ± its standard error over {episodes} episodes that no choice was made on.
Greedy: every action is the best the agent knows; drawn: it explores as at the end of learning.
Both are of the agent after its last step; best, greedy, is of the one that did best when evaluated
while learning. Bold: the highest of a column, and all within its standard error."""

CAPTION = """Above: mean return of {episodes} greedy episodes, always the same ones, ± its standard
error, by steps of the environment and by seconds of learning. Below: mean return of the episodes
that ended while learning, {width:,} steps a point; there the agents explore. Dotted: uniformly
random actions."""


def result_rows(
    results: Sequence[Result], baseline: RandomBaseline
) -> list[list[tuple[str, bool]]]:
    """Formats the figures, one row an agent, each with whether it is the best of its column."""
    columns = [
        [result.last for result in results],
        [*(result.sampled for result in results), baseline[:2]],
        [result.best for result in results],
    ]
    bars = [_best_threshold(column) for column in columns]
    lines: list[list[tuple[str, bool]]] = []
    for result in results:
        history = result.history
        plain = (result.name, f"{history.steps:,}", f"{history.seconds:.1f}")
        measured = zip((result.last, result.sampled, result.best), bars, strict=True)
        lines.append(
            [(text, False) for text in plain]
            + [(plus_minus(*pair), pair[0] >= bar) for pair, bar in measured]
        )
    drawn = (plus_minus(*baseline[:2]), baseline.mean >= bars[1])
    name = "random, masked" if baseline.masked else "random"
    return [*lines, [(name, False), ("", False), ("", False), ("", False), drawn, ("", False)]]


def _best_threshold(column: Sequence[tuple[float, float]]) -> float:
    """Return what a mean has to reach to be the best of its column, or as good as it."""
    mean, error = max(column)
    return mean - np.nan_to_num(error)


def terminal_table(results: Sequence[Result], baseline: RandomBaseline) -> Table:
    """Lays out the figures for a terminal of 80 columns, and so without the seconds."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    shown = [place for place, head in enumerate(HEADS) if head != "seconds"]
    for place in shown:
        table.add_column(HEADS[place], justify="right" if place else "left", overflow="fold")
    for number, line in enumerate(result_rows(results, baseline)):
        cells = (Text(line[place][0], "bold" if line[place][1] else "") for place in shown)
        table.add_row(*cells, style="" if number else "cyan")
    return table


def footnote(request: Request, results: Sequence[Result], baseline: RandomBaseline) -> str:
    """Returns the note under the table in the terminal."""
    said = f"{request.episodes} episodes each, mean ± standard error; bold is best within it."
    return f"{said} {_mask_note(results, baseline)}".strip()


def _mask_note(results: Sequence[Result], baseline: RandomBaseline) -> str:
    """Say who obeys the masks of the environment, if it has any."""
    if not baseline.masked:
        return ""
    first, *peers = (result.name for result in results)
    blind = [name for name in peers if name != "MaskablePPO"]
    seeing = [first, *(name for name in peers if name not in blind), "random"]
    said = f"{', '.join(seeing[:-1])} and {seeing[-1]} take allowed actions only"
    return f"{said}; {' and '.join(blind)} may take any." if blind else f"{said}."


#: How a mask is given to ``predict``, by who tells it; the agent finds it in an observation.
GIVEN_MASKS = {
    "info": ', action_masks=info["action_mask"]',
    "method": ', action_masks=env.get_wrapper_attr("action_masks")()',
}


def loading_code(folder: Path, request: Request, mask_source: str | None = None) -> str:
    """Returns Python code that loads the best agent and acts once, by the rules."""
    settings = parse_settings(request.env_settings)
    given = "".join(f", {name}={value!r}" for name, value in settings.items())
    name, masks = own_agent(request), GIVEN_MASKS.get(mask_source or "", "")
    return f"""from isinglass.agents import {name}
from isinglass.envs import make_env

env = make_env({request.env!r}{given})
agent = {name}.load({str(folder / name / "best.zip")!r})
observation, {"info" if mask_source == "info" else "_"} = env.reset()
action, _ = agent.predict(observation, deterministic=True{masks})
env.step(action)"""


def build_report(
    folder: Path, request: Request, results: Sequence[Result], baseline: RandomBaseline
) -> str:
    """Builds the page as HTML.

    Args:
        folder: Where the run is.
        request: What was asked for.
        results: Our own agent's first, then the peers'.
        baseline: What uniformly random actions earn.
    """
    env = make_environments(request, 1)
    asked = {
        "environment": " ".join([request.env, *_assignments(request.env_settings)]),
        "observations": env.observation_space, "actions": env.action_space,
        "steps": f"{request.steps:,}", "copies of the environment": request.envs,
        "seed": request.seed, "device": request.device,
        "rule": request.rule, "energy": request.energy,
        "started from": request.start or "nothing learned",
    }  # fmt: skip
    env.close()
    peers = [result.name for result in results[1:]]
    versions = f"Stable-Baselines3 {stable_baselines3.__version__}"
    caption = CAPTION.format(episodes=request.episodes, width=MERGED * request.bin_width)
    best = max(results, key=lambda result: result.last[0]).name
    alt = f"Learning curves of {', '.join(result.name for result in results)}; {best} ends highest."
    note = f"{', '.join(peers)}: with the settings of {versions}." if peers else ""
    note += " PPO takes whole rollouts, and so more steps." if "PPO" in "".join(peers) else ""
    return wrap_page(
        f"isinglass act {request.env}",
        f"""<h1>{escape(request.env)}</h1>
<p class="motto">isinglass act: Q = −F, learned by Bellman's equation</p>
{scrolling(_figures_table(results, baseline), "returns")}
<p class="note">{LEAD.format(episodes=request.episodes)} {_mask_note(results, baseline)}</p>
<h2>How they learned</h2>
{html_figure(Drawing(curves(request, results, baseline.mean), caption, alt))}
<h2>What was asked for</h2>
{_settings_table(asked)}
<h2>Settings of {own_agent(request)}</h2>
{_settings_table(used_settings(folder / own_agent(request), request))}
<p class="note">{escape(note)}</p>
<h2>Go on with it</h2>
<pre tabindex="0"><code>{escape(loading_code(folder, request, baseline.mask_source))}</code></pre>
<p>All scalars: <code>tensorboard --logdir {escape(str(folder))}</code></p>
<p class="note">Next: <a href="{DOCUMENTATION}act/#which-energy">which energy fits this
environment</a>; longer: <code>isinglass act {escape(request.env)} --steps
{2 * request.steps}</code>.</p>
<footer><p>{escape(describe_machine(request.threads))}, {versions}.</p></footer>""",
    )


def curves(request: Request, results: Sequence[Result], baseline: float) -> Figure:
    """Plots greedy returns by steps and by seconds, and returns while learning."""
    figure = new_figure(9.6, 6.0)
    grid = figure.add_gridspec(2, 2)
    steps, seconds = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
    drawn = figure.add_subplot(grid[1, :])
    for result, (color, marker, line) in zip(results, SERIES, strict=False):
        style = {"color": color, "marker": marker, "linestyle": line, "markersize": 4}
        history = result.history
        if history.evaluations:
            step, second, mean, error = np.array(history.evaluations, dtype=float).T
            for axes, x in ((steps, step), (seconds, second)):
                axes.plot(x, mean, label=result.name, **style)
                axes.fill_between(x, mean - error, mean + error, color=color, alpha=0.15)
        counts, totals = (_merge_bins(bins) for bins in (history.counts, history.totals))
        ended = np.flatnonzero(counts)
        at = np.minimum((ended + 0.5) * MERGED * request.bin_width, history.steps)
        drawn.plot(at, totals[ended] / counts[ended], **style)
    _label(steps, "steps", "greedy return", baseline)
    _label(seconds, "seconds of learning", "", baseline)
    _label(drawn, "steps", "return while learning", baseline)
    steps.legend(frameon=False, fontsize=8)
    return figure


def _merge_bins(bins: list[float] | list[int]) -> np.ndarray:
    """Sums bins that are adjacent, so many at a time."""
    return np.pad(bins, (0, -len(bins) % MERGED)).reshape(-1, MERGED).sum(1)


def _label(axes: Axes, x: str, y: str, baseline: float) -> None:
    axes.axhline(baseline, color=COLORS["other"], linestyle=":", label="random")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)


def _figures_table(results: Sequence[Result], baseline: RandomBaseline) -> str:
    heads = "".join(f"<th>{head}</th>" for head in HEADS)
    body = _table_body(result_rows(results, baseline))
    return f'<table class="figures"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def _table_body(lines: Sequence[Sequence[tuple[str, bool]]]) -> str:
    """Return rows of HTML: our own agent, the first, in its color, and bold what is best."""
    rows_of_cells = (
        "".join(f"<td><b>{text}</b></td>" if best else f"<td>{text}</td>" for text, best in line)
        for line in lines
    )
    first, *others = (f"<tr>{cells}</tr>" for cells in rows_of_cells)
    return first.replace("<tr>", '<tr class="own">') + "".join(others)


def _settings_table(content: dict[str, object]) -> str:
    cells = (
        f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in content.items()
    )
    return scrolling(f"<table><tbody>{''.join(cells)}</tbody></table>", "settings")


def _assignments(settings: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in settings.items()]
