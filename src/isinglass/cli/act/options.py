"""The options of ``isinglass act``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

from isinglass._support.optional import require_extra
from isinglass.cli._common import LARGEST_SEED, whole

with require_extra("cli"):
    import typer
    from typer import Option

__all__ = [
    "Copies", "Device", "EnergyChoice", "EnergyName", "EnvironmentId", "EnvironmentSettings",
    "EvaluationEpisodes", "EvaluationInterval", "Peers", "ResumeFolder", "RuleChoice", "RuleName",
    "RunFolder", "Seed", "Settings", "StartFrom", "Steps", "Threads",
]  # fmt: skip


class RuleName(StrEnum):
    """How values are learned: soft Q-learning with replay, or SARSA one step at a time."""

    Q = "q"
    SARSA = "sarsa"


class EnergyName(StrEnum):
    """What carries the distribution over actions; auto is a mixture that fits their space."""

    AUTO = "auto"
    MIXTURE = "mixture"
    GROUPS = "groups"
    RBM = "rbm"
    PAIRS = "pairs"
    DEEP = "deep"
    EXPECTED = "expected"


EnvironmentId: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="ENV",
        help="A registered id, module:id, or module:ClassName; modules of this folder too.",
    ),
]
Steps: TypeAlias = Annotated[int, Option(parser=whole(1), help="Steps of the environment.")]
RuleChoice: TypeAlias = Annotated[
    RuleName, Option(help="Soft Q-learning with replay, or SARSA on each step as it comes.")
]
EnergyChoice: TypeAlias = Annotated[
    EnergyName | None,
    Option(
        help="What carries the distribution over actions.",
        show_default="auto; rbm with --rule sarsa",
    ),
]
Settings: TypeAlias = Annotated[
    list[str] | None,
    Option(
        "--set", metavar="NAME=VALUE",
        help="A hyper-parameter of agent or energy: gamma=0.9, memories=64. Repeatable.",
    ),
]  # fmt: skip
EnvironmentSettings: TypeAlias = Annotated[
    list[str] | None,
    Option("--env-set", metavar="NAME=VALUE", help="An argument of the environment. Repeatable."),
]
Peers: TypeAlias = Annotated[
    str, Option(help="auto, none, or some of ppo,dqn,sac,maskableppo: learned beside it.")
]
EvaluationEpisodes: TypeAlias = Annotated[
    int, Option(parser=whole(1), metavar="N", help="Episodes of each evaluation.")
]
EvaluationInterval: TypeAlias = Annotated[
    int | None,
    Option(
        parser=whole(1), help="Steps between evaluations, each with a checkpoint.",
        show_default="a 20th of the steps, 1000 or more",
    ),
]  # fmt: skip
Copies: TypeAlias = Annotated[
    int, Option(parser=whole(1), help="Copies of the environment at a time.")
]
Seed: TypeAlias = Annotated[
    int, Option(parser=whole(0, LARGEST_SEED), help="Seed of everything random.")
]
Device: TypeAlias = Annotated[str, Option(help="auto, cpu, cuda, cuda:1, …")]
Threads: TypeAlias = Annotated[int, Option(parser=whole(1), help="Threads of torch on the CPU.")]
StartFrom: TypeAlias = Annotated[
    Path | None, Option("--from", help="Begin with the weights of another run or checkpoint.")
]
RunFolder: TypeAlias = Annotated[
    Path | None, Option(help="Folder of the run.", show_default="runs/ENV-date-number")
]
ResumeFolder: TypeAlias = Annotated[
    Path | None, Option(metavar="DIR", help="Go on with the run in this folder.")
]
