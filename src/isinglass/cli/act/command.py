"""``isinglass act``: learn to act in any environment, beside the peers that can, and report."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from isinglass._support.optional import require_extra
from isinglass.cli._common import JsonOption, Output, QuietOption
from isinglass.cli.act.options import (
    Copies,
    Device,
    EnergyChoice,
    EnergyName,
    EnvironmentId,
    EnvironmentSettings,
    EvaluationEpisodes,
    EvaluationInterval,
    Peers,
    ResumeFolder,
    RuleChoice,
    RuleName,
    RunFolder,
    Seed,
    Settings,
    StartFrom,
    Steps,
    Threads,
)
from isinglass.errors import ParameterError

with require_extra("cli"):
    import typer
    from rich.markup import escape

if TYPE_CHECKING:
    from isinglass.cli.act.run import Request

__all__ = ["act"]


def act(
    context: typer.Context,
    env: EnvironmentId = None,
    steps: Steps = 20_000,
    rule: RuleChoice = RuleName.Q,
    energy: EnergyChoice = None,
    settings: Settings = None,
    env_settings: EnvironmentSettings = None,
    peers: Peers = "auto",
    evaluate: EvaluationEpisodes = 50,
    every: EvaluationInterval = None,
    envs: Copies = 1,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = 1,
    start: StartFrom = None,
    out: RunFolder = None,
    resume: ResumeFolder = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Learn to act in an environment with Q = −F, and report beside its peers.

    Checkpoints, the best agent, a TensorBoard log and a report with learning
    curves go to a folder of the run. Ctrl-C keeps what is learned; after a kill
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
    output = Output(as_json, quiet)
    if resume is not None:
        finished = _resume_run(output, context, resume)
    else:
        from isinglass.cli.act.run import Request

        # The energy with which each rule was published comes with it.
        energy = energy or (EnergyName.RBM if rule is RuleName.SARSA else EnergyName.AUTO)
        request = Request(
            env=_require(env), env_settings=_assignments("--env-set", env_settings), steps=steps,
            every=every or min(steps, max(1_000, steps // 20)), episodes=evaluate,
            energy=energy.value, settings=_assignments("--set", settings), peers=[], seed=seed,
            envs=envs, device=device, threads=threads, rule=rule.value,
            start=None if start is None else str(_agent_file(start).resolve()),
        )  # fmt: skip
        finished = _start_run(output, out, request, peers)
    if not finished:
        raise typer.Exit(130)


def _resume_run(output: Output, context: typer.Context, folder: Path) -> bool:
    """Go on with a run as it was started: anything else would not be one run."""
    from isinglass.cli.act.run import LOCK, read_request
    from isinglass.cli.act.runner import carry_out
    from isinglass.io.lock import claim

    for name in context.params.keys() - {"resume", "as_json", "quiet"}:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ParameterError(
                f"{name} given too, which the run has already",
                "Leave it out; to begin anew with the weights, use --from",
                operation="isinglass act --resume",
            )  # fmt: skip
    request = read_request(folder)
    with claim(folder / LOCK, f"resuming {folder}"):
        return carry_out(output, folder, request)


def _start_run(output: Output, out: Path | None, request: Request, peers: str) -> bool:
    """Check all that was asked for, make the folder of the run, and learn."""
    from isinglass.cli.act.learner import heard
    from isinglass.cli.act.run import make_folder, new_folder
    from isinglass.cli.act.runner import carry_out

    with heard(lambda note: output.warn(note)):
        request, spaces = _check_request(request, peers)
    folder, made = make_folder(out, request.env)
    with new_folder(folder, made, request):
        output.say(f"{spaces}. Writing to [bold]{escape(str(folder))}[/bold].")
        return carry_out(output, folder, request)


def _require(env: str | None) -> str:
    """Return the environment, or say that there is none."""
    if env is None:
        raise ParameterError(
            "no environment", "Name one, such as CartPole-v1, or --resume DIR",
            operation="isinglass act",
        )  # fmt: skip
    return env


def _check_request(request: Request, peers: str) -> tuple[Request, str]:
    """Check all that was asked for, before there is a folder of the run; choose the peers."""
    from isinglass.agents._faults import whole_steps
    from isinglass.cli.act.agents import build_agent, choose_peers, make_environments, own_agent

    env = make_environments(request, 1)
    with whole_steps("isinglass act"):
        request = replace(request, peers=choose_peers(env, peers))
    build_agent(own_agent(request), request, env)
    env.close()
    observations, actions = (
        escape(shorten(str(space), 60, placeholder=" …"))
        for space in (env.observation_space, env.action_space)
    )
    return request, f"{escape(request.env)}: observations {observations}, actions {actions}"


def _assignments(option: str, texts: list[str] | None) -> dict[str, str]:
    """Reads pairs written NAME=VALUE."""
    pairs = [text.partition("=") for text in texts or []]
    for name, equals, _ in pairs:
        if not equals:
            raise ParameterError(
                f"{name!r}", "Write it NAME=VALUE", operation=f"isinglass act {option}"
            )
    return {name.strip(): value.strip() for name, _, value in pairs}


def _agent_file(start: Path) -> Path:
    """Find the file of the agent to start from: in a run's folder the best, else the newest."""
    from isinglass.cli.act.agents import RULES
    from isinglass.cli.act.checkpoints import checkpoints

    for folder in (*(start / kind.__name__ for kind in RULES.values()), start):
        with suppress(OSError):  # of a name that cannot be one; reading it says so
            for file in (folder / "best.zip", *checkpoints(folder)):
                if file.exists():
                    return file
    return start
