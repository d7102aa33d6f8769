"""Opponents: functions of many observations, legal moves and a source of randomness."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch

from isinglass._support.functions import check_takes
from isinglass._support.random import torch_seeded
from isinglass._support.typing import Bool, Int
from isinglass._support.validation import check_flag
from isinglass._support.wording import shown
from isinglass.errors import DomainError, ParameterError, ShapeError

__all__ = ["AgentOpponent", "Opponent", "Opposing", "as_opponent", "ask", "random_opponent"]


@runtime_checkable
class Predictor(Protocol):
    """What Stable-Baselines3's agents and policies are, this library's among them."""

    def predict(self, observation: Any, *, deterministic: bool) -> tuple[Any, Any]:
        """Returns the actions for a batch of observations, and states of no concern here."""
        ...


#: From observations, their masks and a source of randomness to a legal move for each: a player that
#: keeps no state.
Opponent: TypeAlias = Callable[[Any, np.ndarray, np.random.Generator], np.ndarray]
Opposing: TypeAlias = str | Predictor | Opponent
"""``"random"``, an agent or policy with ``predict``, or a function of observations, masks and a
``numpy.random.Generator``."""


def random_opponent(
    observations: Any,  # noqa: ARG001
    masks: Bool[np.ndarray, "n moves"],
    generator: np.random.Generator,
) -> Int[np.ndarray, "n"]:
    """Draws a legal move, uniformly, for each observation.

    Examples:
        >>> masks = np.array([[False, True, False], [False, False, True]])
        >>> random_opponent(None, masks, np.random.default_rng(0))
        array([1, 2])
    """
    return np.where(masks, generator.random(masks.shape), -1.0).argmax(-1)


class AgentOpponent:
    """An agent or a policy of Stable-Baselines3 as an opponent, told which moves are legal.

    What it draws depends on the generator of the game alone: neither its own random stream nor
    torch's global one is moved.

    Args:
        agent: With ``predict(observations, deterministic, action_masks)``; one that takes no masks
            has to know by itself what is legal.
        deterministic: Whether it takes its best move; else it draws from its policy.

    Raises:
        ParameterError: If ``agent`` has no ``predict``.

    Examples:
        >>> from isinglass.agents import FreeEnergyQ
        >>> from isinglass.envs import ConnectFour, play_match
        >>> agent = FreeEnergyQ("MlpPolicy", ConnectFour(4, 5), seed=0, device="cpu")
        >>> drawn = AgentOpponent(agent, deterministic=False)
        >>> play_match(ConnectFour(4, 5).game, agent, drawn, games=10).games
        10
    """

    agent: Any

    def __init__(self, agent: Any, deterministic: bool = True) -> None:
        if isinstance(agent, type) or not isinstance(agent, Predictor):
            raise ParameterError(
                f"the agent {shown(agent)[:60]}", "Give an agent or a policy with predict"
            )
        self.agent = agent
        self.deterministic = check_flag("deterministic", deterministic)
        self._takes_masks = "action_masks" in inspect.signature(agent.predict).parameters

    def __call__(
        self,
        observations: Any,
        masks: Bool[np.ndarray, "n moves"],
        generator: np.random.Generator,
    ) -> Int[np.ndarray, "n"]:
        """Returns a move for each observation."""
        told = {"action_masks": masks} if self._takes_masks else {}
        policy = getattr(self.agent, "policy", self.agent)
        with _seeded(policy, int(generator.integers(2**63))):
            return self.agent.predict(observations, deterministic=self.deterministic, **told)[0]


@contextmanager
def _seeded(policy: Any, seed: int) -> Iterator[None]:
    """Lets a policy draw from a seed; its stream, and torch's, are then as they were."""
    own = getattr(policy, "generator", None)
    if isinstance(own, torch.Generator):
        before = own.get_state()
        try:
            own.manual_seed(seed)
            yield
        finally:
            own.set_state(before)
        return
    device = getattr(policy, "device", torch.device("cpu"))
    with torch_seeded(seed, device):
        yield


def as_opponent(player: Opposing) -> Opponent:
    """Returns a player as a function of observations, masks and a generator.

    Raises:
        ParameterError: If it is no player.
    """
    if isinstance(player, str) and player == "random":
        return random_opponent
    if not isinstance(player, type) and isinstance(player, Predictor):
        return AgentOpponent(player)
    remedy = (
        "Give 'random', a loaded agent, such as FreeEnergyQ.load(path), or a function of "
        "observations, masks and a generator"
    )
    wanted = "observations", "masks", "a numpy.random.Generator"
    check_takes("an opponent", player, *wanted, remedy=remedy, classes=False)
    return player  # pyright: ignore[reportReturnType]


def ask(
    opponent: Opponent,
    observations: Any,
    masks: Bool[np.ndarray, "n moves"],
    generator: np.random.Generator,
) -> Int[np.ndarray, "n"]:
    """Asks an opponent for its moves, and holds it to the rules.

    Raises:
        ShapeError: If there is not one move an observation.
        DomainError: If a move is not legal.
    """
    moves = np.asarray(opponent(observations, masks, generator))
    if moves.shape != masks.shape[:1]:
        raise ShapeError(
            f"moves of shape {moves.shape} of an opponent, for {len(masks)} games",
            "Let it give one move a game",
        )
    if moves.dtype.kind not in "iu":
        raise DomainError(
            f"moves of {moves.dtype} of an opponent", "Let it give the numbers of its moves"
        )
    inside = (moves >= 0) & (moves < masks.shape[1])
    legal = inside & masks[np.arange(len(masks)), np.where(inside, moves, 0)]
    if not legal.all():
        first = int(np.flatnonzero(~legal)[0])
        raise DomainError(
            f"the illegal move {moves[first]} of an opponent, {_name(opponent)}, where "
            f"{np.flatnonzero(masks[first]).tolist()} are legal",
            "Let it obey the masks that it is given; an agent whose predict takes no action_masks, "
            "such as PPO, cannot: take FreeEnergyQ, or MaskablePPO of sb3-contrib",
        )
    return moves.astype(np.int64)


def _name(opponent: Opponent) -> str:
    known = opponent.agent if isinstance(opponent, AgentOpponent) else opponent
    return getattr(known, "__name__", type(known).__name__)
