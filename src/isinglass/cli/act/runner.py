"""Learning all agents of a run in turn, what happens shown, and the report at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import torch

from isinglass._support.interrupts import interrupts
from isinglass._support.optional import require_extra
from isinglass._support.progress import Progress, ProgressBars, progress_bars
from isinglass.cli._common import Output
from isinglass.cli.act.agents import own_agent
from isinglass.cli.act.evaluation import measure_random_baseline
from isinglass.cli.act.learner import Learner
from isinglass.cli.act.report import build_report, footnote, loading_code, terminal_table
from isinglass.cli.act.run import (
    History,
    RandomBaseline,
    Request,
    Result,
    holds_an_agent,
    plus_minus,
    read_result,
)
from isinglass.errors import IsinglassError
from isinglass.io.atomic import atomic_write

with require_extra("cli"):
    from rich.markup import escape
    from rich.text import Text

__all__ = ["carry_out"]


def carry_out(output: Output, folder: Path, request: Request) -> bool:
    """Learns what has not been learned yet, our own agent first, and reports.

    Args:
        output: Where to print.
        folder: The folder of the run.
        request: What was asked for.

    Returns:
        Whether all is done; false if the user has asked for an end.
    """
    torch.set_num_threads(request.threads)
    results: list[Result] = []
    with (
        interrupts() as stop,
        progress_bars(console=output.console, lasting=True) as bars,
    ):
        for name in (own_agent(request), *request.peers):
            try:
                result = _result_of(output, bars, folder / name, request, stop)
            except KeyboardInterrupt:
                stop.set()
                break
            except Exception as error:
                if name == own_agent(request) or isinstance(error, IsinglassError):
                    raise
                _warn(output, f"{name} failed: {type(error).__name__}: {error}")
                continue
            if result is None:
                break
            results.append(result)
    if stop.is_set():
        _warn(output, f"Stopped. {_how_to_go_on(folder)}")
        output.finish({"finished": False, "folder": folder})
        return False
    with _saying_how_to_go_on(output, folder):
        _report(output, folder, request, results)
    return True


@contextmanager
def _saying_how_to_go_on(output: Output, folder: Path) -> Iterator[None]:
    """Say it after an error that leaves something learned."""
    try:
        yield
    except Exception:
        if holds_an_agent(folder):
            _warn(output, _how_to_go_on(folder))
        raise


def _result_of(
    output: Output, bars: ProgressBars, folder: Path, request: Request, stop: Event
) -> Result | None:
    """Read the result of one agent if it is there, else learn it; None if asked to stop."""
    if (done := read_result(folder)) is not None:
        return done
    learner = Learner(folder.name, folder, request, stop, lambda note: _warn(output, note))
    for error in learner.damaged:
        _warn(output, str(error))
    if learner.damaged:
        _warn(output, f"Going on from step {learner.history.steps:,}.")
    bar = bars.add(f"{folder.name:<15}", request.steps)
    try:
        with _saying_how_to_go_on(output, folder.parent):
            return learner.learn(
                lambda history, what: _show(output, bar, folder.name, history, what)
            )
    finally:
        if (refused := learner.log.refused) is not None:
            _warn(output, f"The log of {learner.name} lacks entries: {refused}")
        learner.close()


def _show(output: Output, bar: Progress, name: str, history: History, what: str) -> None:
    """Move the bar of an agent, and print a line for each evaluation."""
    ended = [place for place, count in enumerate(history.counts) if count]
    mean = f", return {history.totals[ended[-1]] / history.counts[ended[-1]]:.4g}" if ended else ""
    bar(history.steps, f"{history.steps:,} steps, {what}{mean}")
    if what == "evaluated":
        step, seconds, *greedy = history.evaluations[-1]
        output.console.print(
            f"{name:<15} step {step:>9,.0f}  greedy {plus_minus(*greedy):>15}  {seconds:>8.1f} s",
            highlight=False,
        )


def _report(output: Output, folder: Path, request: Request, results: list[Result]) -> None:
    """Write the page anew from what is in the folder, and print its table."""
    baseline = measure_random_baseline(request)
    report = folder / "report.html"
    with atomic_write(report, overwrite=True) as aside:
        aside.write_text(build_report(folder, request, results, baseline), encoding="utf-8")
    console = output.console
    title = Text(f"{request.env}: return of an episode", "italic")
    console.print(title, highlight=False, soft_wrap=True)
    console.print(terminal_table(results, baseline))
    console.print(Text(footnote(request, results, baseline), "dim"), highlight=False)
    code = escape(loading_code(folder, request, baseline.mask_source))
    console.print(code, style="dim", highlight=False, soft_wrap=True)
    output.say(f"Open [bold]{escape(str(report))}[/bold].")
    output.finish(_summary(folder, report, request, results, baseline))


def _summary(
    folder: Path, report: Path, request: Request, results: list[Result], baseline: RandomBaseline
) -> dict[str, Any]:
    """Return the figures of the report, for programs."""
    return {
        "finished": True, "environment": request.env, "folder": folder, "report": report,
        "agents": [
            {
                "name": result.name, "steps": result.history.steps,
                "seconds": result.history.seconds, "best_file": folder / result.name / "best.zip",
                "greedy": _figure(result.last), "drawn": _figure(result.sampled),
                "best": _figure(result.best),
            }
            for result in results
        ],
        "random": {**_figure(baseline[:2]), "masked": baseline.masked},
    }  # fmt: skip


def _figure(pair: tuple[float, float]) -> dict[str, float]:
    return {"mean": pair[0], "standard_error": pair[1]}


def _how_to_go_on(folder: Path) -> str:
    return f"Go on with: isinglass act --resume {folder}"


def _warn(output: Output, note: str) -> None:
    """Print a line that is kept for programs too; it ends as it is, to be copied."""
    output.notes.append(note)
    output.console.print(escape(note), style="yellow", highlight=False, soft_wrap=True)
