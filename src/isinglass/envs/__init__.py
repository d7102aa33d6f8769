"""Gymnasium environments, and the one door by which a name becomes an environment.

``import isinglass.envs`` registers each, :class:`LargeAction` as ``isinglass/LargeAction-v0``.
"""

from __future__ import annotations

import importlib
from typing import Any

from isinglass._support.optional import require_extra
from isinglass.errors import UnknownEnvironmentError

with require_extra("rl"):
    import gymnasium as gym

from isinglass.envs.bandits.assignment import Assignment
from isinglass.envs.bandits.large_action import LargeAction
from isinglass.envs.bandits.parity import Parity
from isinglass.envs.bandits.trap import Trap
from isinglass.envs.blockers import Blockers
from isinglass.envs.connect_four.env import ConnectFour
from isinglass.envs.fact_chains import FactChains
from isinglass.envs.swing_up import SwingUp
from isinglass.envs.thoughts import Thoughts
from isinglass.envs.tictactoe.env import TicTacToe
from isinglass.envs.tmaze import TMaze
from isinglass.envs.two_seat import (
    AECSeat,
    AgentOpponent,
    MatchResult,
    OpponentPool,
    SeatEnv,
    TwoSeatGame,
    play_match,
)

__all__ = [
    "AECSeat",
    "AgentOpponent",
    "Assignment",
    "Blockers",
    "ConnectFour",
    "FactChains",
    "LargeAction",
    "MatchResult",
    "OpponentPool",
    "Parity",
    "SeatEnv",
    "SwingUp",
    "TMaze",
    "Thoughts",
    "TicTacToe",
    "Trap",
    "TwoSeatGame",
    "make_env",
    "play_match",
]

ENTRY_POINTS = {
    "isinglass/Assignment-v0": "isinglass.envs.bandits.assignment:Assignment",
    "isinglass/Blockers-v0": "isinglass.envs.blockers:Blockers",
    "isinglass/Blockers4x7-v0": "isinglass.envs.blockers:Blockers",
    "isinglass/ConnectFour-v0": "isinglass.envs.connect_four.env:ConnectFour",
    "isinglass/FactChains-v0": "isinglass.envs.fact_chains:FactChains",
    "isinglass/LargeAction-v0": "isinglass.envs.bandits.large_action:LargeAction",
    "isinglass/Parity-v0": "isinglass.envs.bandits.parity:Parity",
    "isinglass/SwingUp-v0": "isinglass.envs.swing_up:SwingUp",
    "isinglass/TMaze-v0": "isinglass.envs.tmaze:TMaze",
    "isinglass/TicTacToe-v0": "isinglass.envs.tictactoe.env:TicTacToe",
    "isinglass/Trap-v0": "isinglass.envs.bandits.trap:Trap",
}

ARGUMENTS = {
    "isinglass/Blockers4x7-v0": {"rows": 4, "columns": 7, "agents": 3, "blockers": 2, "cap": 40},
}

for env_id, entry_point in ENTRY_POINTS.items():
    if env_id not in gym.registry:  # a reload must not warn that the id is taken
        gym.register(env_id, entry_point=entry_point, kwargs=ARGUMENTS.get(env_id, {}))


def make_env(env_id: str, **kwargs: Any) -> gym.Env[Any, Any]:
    """Returns the environment with this name.

    Args:
        env_id: A registered Gymnasium id such as ``"CartPole-v1"``; ``"module:id"``, which
            imports the module first so that it may register the id; or ``"module:ClassName"``,
            a class of the module that derives from ``gymnasium.Env``. Nothing else is called.
        **kwargs: Arguments of the environment.

    Raises:
        UnknownEnvironmentError: If there is no such module, environment class or registered id,
            or ``env_id`` is no string.

    Examples:
        >>> make_env("isinglass/LargeAction-v0").action_space
        MultiBinary(40)
        >>> make_env("isinglass.envs:LargeAction", keys=3).unwrapped.key_states.shape
        (3, 12)
    """
    if not isinstance(env_id, str):
        raise _unknown(env_id, f"a name is a string, not a {type(env_id).__name__}")
    module_name, separator, name = env_id.rpartition(":")
    if separator:
        kind = getattr(_import_module(env_id, module_name), name, None)
        if isinstance(kind, type) and issubclass(kind, gym.Env) and kind is not gym.Env:
            return kind(**kwargs)
    try:
        return gym.make(name, **kwargs)
    except gym.error.Error as error:
        # A malformed id has no error class of its own, so the registry says whose fault it was.
        if name in gym.registry:
            raise
        found = str(error).rstrip(".")
        if separator:
            found = (
                f"the module {module_name!r} has no environment class {name!r}, "
                "and no such id is registered"
            )
        raise _unknown(env_id, found) from error


def _import_module(env_id: str, module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except (ImportError, TypeError, ValueError) as error:
        raise _unknown(env_id, f"the module {module_name!r} cannot be imported: {error}") from error


def _unknown(env_id: object, found: str) -> UnknownEnvironmentError:
    return UnknownEnvironmentError(
        f"no environment {env_id!r}: {found}",
        "Give a registered id, 'module:id' or 'module:ClassName'",
    )
