"""The settings of an agent as they were used: what nobody gave is there with its figure."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit

from isinglass.agents import FreeEnergyQ
from isinglass.agents.defaults import FallingRate
from isinglass.agents.temperature import spread_range
from isinglass.cli.act.agents import RULES, build_agent, hyper_parameters, make_environments
from isinglass.cli.act.checkpoints import checkpoints
from isinglass.errors import FileError

if TYPE_CHECKING:
    from isinglass.cli.act.run import Request

__all__ = ["used_settings"]


def used_settings(folder: Path, request: Request) -> dict[str, Any]:
    """Lists the hyper-parameters of our own agent, none of them left open.

    Args:
        folder: The agent's, with its checkpoints: the spread of the values is known there alone.
        request: What was asked for.
    """
    asked = hyper_parameters(request)
    found = _resolved(_last_agent(folder, request))
    return {name: found.pop(name, value) for name, value in asked.items()} | {
        name: found[name] for name in ("energy", "net_arch") if name in found
    }


def _last_agent(folder: Path, request: Request) -> FreeEnergyQ:
    """Read the newest agent that can be read, else build one that has learned nothing."""
    kind = RULES[request.rule]
    for path in (*checkpoints(folder), folder / "best.zip"):
        with suppress(FileError):
            return kind.load(path, device="cpu")
    env = make_environments(request, 1)
    try:
        return cast(FreeEnergyQ, build_agent(kind.__name__, request, env))
    finally:
        env.close()


def _resolved(agent: FreeEnergyQ) -> dict[str, Any]:
    rate: Any = agent.learning_rate
    if isinstance(rate, FallingRate):
        rate = f"{rate.first:g} → {rate.last:g}"
    pace = cast(TrainFreq, agent.train_freq)
    counted = pace.unit is TrainFrequencyUnit.STEP
    return {
        "energy": agent.energy,
        "backup": agent.backup,
        "learning_rate": rate,
        "train_freq": pace.frequency if counted else (pace.frequency, pace.unit.value),
        "gradient_steps": agent.gradient_steps,
        "replay_buffer_kwargs": agent.replay_buffer_kwargs,
        "policy_kwargs": agent.policy_kwargs,
        "net_arch": agent.policy.net_arch,
        **_temperatures(agent),
    }


def _temperatures(agent: FreeEnergyQ) -> dict[str, Any]:
    """Say between which temperatures T fell, in units of the reward."""
    first, last = agent.initial_temperature, agent.final_temperature
    if first is not None and last is not None:
        said = f"{first:g} → {last:g}" if first != last else f"{first:g}"
        return {"temperature": said, "initial_temperature": first, "final_temperature": last}
    if agent.spread is None:
        said = "auto: σ is not known before something was learned"
        return {"temperature": said, "initial_temperature": "σ", "final_temperature": "0.1 σ/√d"}
    _, last = spread_range(agent.spread, agent.action_space)
    return {
        "temperature": f"auto: {agent.temperature:.4g} at the end, σ = {agent.spread:.4g}",
        "initial_temperature": "σ", "final_temperature": f"0.1 σ/√d = {last:.4g}",
    }  # fmt: skip
