"""``isinglass act``: learn to act in any environment, beside the peers that can, and report."""

from __future__ import annotations

import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated

from isinglass._support.optional import require_extra
from isinglass.cli._common import LARGEST_SEED
from isinglass.errors import FileError, IsinglassError, ParameterError

with require_extra("cli"):
    import typer
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

if TYPE_CHECKING:
    from isinglass.cli.act.learner import Stop
    from isinglass.cli.act.run import History, Request, Result

__all__ = ["act"]


class Rule(StrEnum):
    """How values are learnt: soft Q-learning with replay, or SARSA one step at a time."""

    Q = "q"
    SARSA = "sarsa"


class Energy(StrEnum):
    """What carries the distribution over actions."""

    MIXTURE = "mixture"
    GROUPS = "groups"
    RBM = "rbm"
    PAIRS = "pairs"
    DEEP = "deep"
    EXPECTED = "expected"


def act(
    context: typer.Context,
    env: Annotated[
        str | None,
        typer.Argument(
            metavar="ENV",
            help="A registered id, module:id, or module:ClassName; modules of this folder too.",
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the environment.")] = 20_000,
    rule: Annotated[
        Rule, typer.Option(help="Soft Q-learning with replay, or SARSA on each step as it comes.")
    ] = Rule.Q,
    energy: Annotated[
        Energy | None,
        typer.Option(
            help="What carries the distribution over actions.",
            show_default="mixture; rbm with --rule sarsa",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE",
            help="A hyper-parameter of agent or energy: gamma=0.9, memories=64. Repeatable.",
        ),
    ] = None,
    env_settings: Annotated[
        list[str] | None,
        typer.Option(
            "--env-set", metavar="NAME=VALUE", help="An argument of the environment. Repeatable."
        ),
    ] = None,
    peers: Annotated[
        str,
        typer.Option(help="auto, none, or some of ppo,dqn,sac,maskableppo: learnt beside it."),
    ] = "auto",
    evaluate: Annotated[
        int, typer.Option(min=1, metavar="N", help="Episodes of each evaluation.")
    ] = 50,
    every: Annotated[
        int | None,
        typer.Option(
            min=1, help="Steps between evaluations, each with a checkpoint.",
            show_default="a 20th of the steps, 1000 or more",
        ),
    ] = None,
    envs: Annotated[int, typer.Option(min=1, help="Copies of the environment at a time.")] = 1,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of everything random.")
    ] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch on the CPU.")] = 1,
    start: Annotated[
        Path | None,
        typer.Option("--from", help="Begin with the weights of another run or checkpoint."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run.", show_default="runs/ENV-date-number"),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Go on with the run in this folder.")
    ] = None,
) -> None:  # fmt: skip
    """Learn to act in an environment with Q = −F, and report beside its peers.

    Checkpoints, the best agent, a TensorBoard log and a report with learning
    curves go to a folder of the run. Ctrl-C keeps what is learnt; after a kill
    at most the steps since the last checkpoint are done again.

    Examples:
        isinglass act isinglass/LargeAction-v0 --steps 12000
        isinglass act CartPole-v1 --set gamma=0.98 --peers dqn
        isinglass act my_module:MyEnv --envs 8 --env-set size=5
        isinglass act isinglass/Blockers-v0 --rule sarsa --set learning_rate=0.02
        isinglass act --resume runs/CartPole-v1-2026-11-22-1
    """
    # A script's folder is on the path, that of a command is not.
    sys.path.insert(0, str(Path.cwd()))
    from isinglass.cli.act.run import Request, free_folder, new_folder, read_request

    console = Console(emoji=False)  # names such as my:Fire: are no pictures
    if resume is not None:
        _check_alone(context)
        if not _carry_out(console, resume, read_request(resume)):
            raise typer.Exit(130)
        return
    # The energy with which each rule was published comes with it.
    energy = energy or (Energy.RBM if rule is Rule.SARSA else Energy.MIXTURE)
    if env is None:
        raise ParameterError(
            "no environment",
            "Name one, such as CartPole-v1, or --resume DIR",
            operation="isinglass act",
        )
    asked = Request(
        env=env, env_settings=_assigned("--env-set", env_settings), steps=steps,
        every=every or min(steps, max(1_000, steps // 20)), episodes=evaluate,
        energy=energy.value, settings=_assigned("--set", settings), peers=[], seed=seed,
        envs=envs, device=device, threads=threads, rule=rule.value,
        start=None if start is None else str(_agent_file(start).resolve()),
    )  # fmt: skip
    folder = out or free_folder(env)
    asked = _checked(console, folder, asked, peers)
    with new_folder(folder, asked):
        finished = _carry_out(console, folder, asked)
    if not finished:
        raise typer.Exit(130)


def _checked(console: Console, folder: Path, asked: Request, peers: str) -> Request:
    """Check all that was asked for, before there is a folder of the run."""
    from isinglass.cli.act.agents import build, environments, ours, peers_of

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileError(
            "something is there already",
            f"Choose another --out, or go on with what is there: --resume {folder}", operation=f"writing {folder}",
        )  # fmt: skip
    env = environments(asked, 1)
    env.reset()
    asked = replace(asked, peers=peers_of(env, peers))
    build(ours(asked), asked, env)
    env.close()
    seen, done = (
        shorten(str(s), 60, placeholder=" …") for s in (env.observation_space, env.action_space)
    )
    console.print(
        f"{escape(asked.env)}: observations {escape(seen)}, actions {escape(done)}. "
        f"Writing to [bold]{escape(str(folder))}[/bold].",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    return asked


def _check_alone(context: typer.Context) -> None:
    """A run goes on as it was started: anything else would not be one run."""
    for name in context.params.keys() - {"resume"}:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ParameterError(
                f"{name} given too, which the run has already",
                "Leave it out; to begin anew with the weights, use --from", operation="isinglass act --resume",
            )  # fmt: skip


def _assigned(option: str, texts: list[str] | None) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts or []]
    for name, equals, _ in pairs:
        if not equals:
            raise ParameterError(
                f"{name!r}", "Write it NAME=VALUE", operation=f"isinglass act {option}"
            )
    return {name.strip(): value.strip() for name, _, value in pairs}


def _agent_file(start: Path) -> Path:
    """The file of the agent to start from: in a run's folder the best, else the newest."""
    from isinglass.cli.act.agents import RULES
    from isinglass.cli.act.run import checkpoints

    for folder in (*(start / kind.__name__ for kind in RULES.values()), start):
        for file in (folder / "best.zip", *checkpoints(folder)):
            if file.exists():
                return file
    return start


def _carry_out(console: Console, folder: Path, request: Request) -> bool:
    """Learn what has not been learnt yet, ours first, and report; or stop if asked to."""
    import torch

    from isinglass.cli.act.agents import ours
    from isinglass.cli.act.learner import Stop, random_return
    from isinglass.cli.act.report import build_report, loading, table_of, under
    from isinglass.io.atomic import atomic_write

    torch.set_num_threads(request.threads)
    stop, results = Stop(), []
    with stop.listening(), _progress(console) as progress:
        for name in (ours(request), *request.peers):
            try:
                result = _learnt(progress, name, folder / name, request, stop)
            except KeyboardInterrupt:
                stop.asked = True
                break
            except Exception as error:
                if name == ours(request) or isinstance(error, IsinglassError):
                    raise
                _warn(console, f"{name} failed: {type(error).__name__}: {error}")
                continue
            if result is None:
                break
            results.append(result)
    if stop.asked:
        _warn(console, f"Stopped. {_go_on(folder)}")
        return False
    chance = random_return(request)
    report = folder / "report.html"
    with atomic_write(
        report, overwrite=True
    ) as aside:  # made of what is in the folder, and so renewed
        aside.write_text(build_report(folder, request, results, chance), encoding="utf-8")
    console.print(
        Text(f"{request.env}: return of an episode", "italic"), highlight=False, soft_wrap=True
    )
    console.print(table_of(results, chance))
    console.print(Text(under(request, results, chance), "dim"), highlight=False)
    console.print(escape(loading(folder, request)), style="dim", highlight=False, soft_wrap=True)
    console.print(f"Open [bold]{escape(str(report))}[/bold].", highlight=False, soft_wrap=True)
    return True


def _go_on(folder: Path) -> str:
    return f"Go on with: isinglass act --resume {folder}"


def _warn(console: Console, what: str) -> None:
    console.print(escape(what), style="yellow", highlight=False, soft_wrap=True)


def _learnt(
    progress: Progress, name: str, folder: Path, request: Request, stop: Stop
) -> Result | None:
    """The result of one agent: read if it is there, else learnt; None if asked to stop."""
    from isinglass.cli.act.learner import Learner, read_result
    from isinglass.cli.act.run import plus_minus

    if (done := read_result(folder)) is not None:
        return done
    learner = Learner(name, folder, request, stop)
    task = progress.add_task(name, total=request.steps, what="")
    for error in learner.damaged:
        _warn(progress.console, str(error))
    if learner.damaged:
        _warn(progress.console, f"Going on from step {learner.history.steps:,}.")

    def tick(history: History, what: str) -> None:
        ended = [place for place, count in enumerate(history.counts) if count]
        if ended:
            mean = history.totals[ended[-1]] / history.counts[ended[-1]]
            what = f"{what}, return {mean:.4g}"
        progress.update(task, completed=min(history.steps, request.steps), what=what)
        if what.startswith("evaluated"):
            step, seconds, *greedy = history.evaluations[-1]
            progress.console.print(
                f"{name:<15} step {step:>9,.0f}  greedy {plus_minus(*greedy):>15}  "
                f"{seconds:>8.1f} s",
                highlight=False,
            )

    try:
        return learner.learn(tick)
    except Exception:
        if any(folder.parent.glob("*/checkpoint-*.zip")):
            _warn(progress.console, _go_on(folder.parent))
        raise
    finally:
        learner.close()


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("[bold]{task.description:<15}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[what]}"),
        console=console,
    )
