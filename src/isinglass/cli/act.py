"""``isinglass act``: learn to act in any environment, beside the peers that can, and report."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from isinglass.cli.options import LARGEST_SEED
from isinglass.errors import FileError, IsinglassError, ParameterError
from isinglass.extras import needs
from isinglass.files import writing

with needs("cli"):
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

if TYPE_CHECKING:
    from isinglass.cli.act_learner import Stop
    from isinglass.cli.act_run import Request, Result, Track

__all__ = ["act"]


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
    energy: Annotated[
        Energy, typer.Option(help="What carries the distribution over actions.")
    ] = Energy.MIXTURE,
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

        isinglass act isinglass/LargeAction-v0 --steps 12000

        isinglass act CartPole-v1 --set gamma=0.98 --peers dqn

        isinglass act my_module:MyEnv --envs 8 --env-set size=5

        isinglass act --resume runs/CartPole-v1-2026-11-22-1
    """
    # A script's folder is on the path, that of a command is not.
    sys.path.insert(0, str(Path.cwd()))
    from isinglass.cli.act_run import Request, free_folder, read_request

    console = Console(emoji=False)  # names such as my:Fire: are no pictures
    if resume is not None:
        _check_alone(context)
        _carry_out(console, resume, read_request(resume))
        return
    if env is None:
        raise ParameterError(
            "isinglass act", "no environment", "Name one, such as CartPole-v1, or --resume DIR"
        )
    asked = Request(
        env=env, env_settings=_assigned("--env-set", env_settings), steps=steps,
        every=every or min(steps, max(1_000, steps // 20)), episodes=evaluate,
        energy=energy.value, settings=_assigned("--set", settings), peers=[], seed=seed,
        envs=envs, device=device, threads=threads,
        start=None if start is None else str(_agent_file(start).resolve()),
    )  # fmt: skip
    folder = out or free_folder(env)
    _carry_out(console, folder, _started(console, folder, asked, peers))


def _started(console: Console, folder: Path, asked: Request, peers: str) -> Request:
    """Check all that was asked for, and only then make the folder of the run."""
    from isinglass.cli.act_agents import OURS, build, environments, peers_of
    from isinglass.cli.act_run import REQUEST, write_json

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileError(
            f"writing {folder}", "something is there already",
            f"Choose another --out, or go on with what is there: --resume {folder}",
        )  # fmt: skip
    env = environments(asked, 1)
    env.reset()
    asked = replace(asked, peers=peers_of(env, peers))
    build(OURS, asked, env)
    env.close()
    write_json(folder / REQUEST, asdict(asked))
    console.print(
        f"{escape(asked.env)}: observations {escape(str(env.observation_space))}, actions "
        f"{escape(str(env.action_space))}. Writing to [bold]{escape(str(folder))}[/bold].",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    return asked


def _check_alone(context: typer.Context) -> None:
    """A run goes on as it was started: anything else would not be one run."""
    for name in context.params.keys() - {"resume"}:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ParameterError(
                "isinglass act --resume", f"{name} given too, which the run has already",
                "Leave it out; to begin anew with the weights, use --from",
            )  # fmt: skip


def _assigned(option: str, texts: list[str] | None) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts or []]
    for name, equals, _ in pairs:
        if not equals:
            raise ParameterError(f"isinglass act {option}", f"{name!r}", "Write it NAME=VALUE")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _agent_file(start: Path) -> Path:
    """The file of the agent to start from: in a run's folder the best, else the newest."""
    from isinglass.cli.act_run import checkpoints

    for folder in (start / "FreeEnergyQ", start):
        for file in (folder / "best.zip", *checkpoints(folder)):
            if file.exists():
                return file
    return start


def _carry_out(console: Console, folder: Path, request: Request) -> None:
    """Learn what has not been learnt yet, ours first, and write the report."""
    import torch

    from isinglass.cli.act_agents import OURS
    from isinglass.cli.act_learner import Stop, random_return
    from isinglass.cli.act_report import build_report, loading, table_of

    torch.set_num_threads(request.threads)
    go_on = f"Go on with: isinglass act --resume {folder}"
    stop, results = Stop(), []
    with stop.listening(), _progress(console) as progress:
        for name in (OURS, *request.peers):
            try:
                result = _learnt(progress, name, folder / name, request, stop)
            except KeyboardInterrupt:
                stop.asked = True
                break
            except Exception as error:
                if name == OURS or isinstance(error, IsinglassError):
                    _warn(console, go_on)
                    raise
                _warn(console, f"{name} failed: {type(error).__name__}: {error}")
                continue
            if result is None:
                break
            results.append(result)
    if stop.asked:
        console.print(f"[yellow]Stopped.[/yellow] {escape(go_on)}", highlight=False, soft_wrap=True)
        raise typer.Exit(130)
    chance = random_return(request)
    report = folder / "report.html"
    with writing(report, overwrite=True) as aside:  # made of what is in the folder, and so renewed
        aside.write_text(build_report(folder, request, results, chance), encoding="utf-8")
    console.print(table_of(request, results, chance))
    console.print(escape(loading(folder, request)), style="dim", highlight=False, soft_wrap=True)
    console.print(f"Open [bold]{escape(str(report))}[/bold].", highlight=False, soft_wrap=True)


def _warn(console: Console, what: str) -> None:
    console.print(escape(what), style="yellow", highlight=False, soft_wrap=True)


def _learnt(
    progress: Progress, name: str, folder: Path, request: Request, stop: Stop
) -> Result | None:
    """The result of one agent: read if it is there, else learnt; None if asked to stop."""
    from isinglass.cli.act_learner import Learner, read_result

    if (done := read_result(folder)) is not None:
        return done
    learner = Learner(name, folder, request, stop)
    task = progress.add_task(name, total=request.steps, what="")
    for error in learner.damaged:
        _warn(progress.console, str(error))

    def tick(track: Track, what: str) -> None:
        ended = [place for place, count in enumerate(track.counts) if count]
        if ended:
            mean = track.totals[ended[-1]] / track.counts[ended[-1]]
            what = f"{what}, return {mean:.4g}"
        progress.update(task, completed=min(track.steps, request.steps), what=what)
        if what.startswith("evaluated"):
            step, seconds, greedy, error = track.evaluations[-1]
            progress.console.print(
                f"{name:<12} step {step:>9,.0f}  greedy {greedy:>10.4g} ± {error:.2g}  "
                f"{seconds:>7.1f} s",
                highlight=False,
            )

    try:
        return learner.learn(tick)
    finally:
        learner.close()


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("[bold]{task.description:<12}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[what]}"),
        console=console,
    )
