"""Opponents to draw from: some that stay, and what the learner was like before."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isinglass._support.validation import check_count, check_fraction
from isinglass._support.wording import shown
from isinglass.envs.two_seat.opponents import AgentOpponent, Opponent, Opposing, as_opponent
from isinglass.errors import FileError, ParameterError
from isinglass.io.archive import read_tensors, write_tensors

__all__ = ["OpponentPool"]

KIND = "OpponentPool"


class OpponentPool:
    r"""Opponents for each game of a learner: frozen copies of its policy, and some that stay.

    With k fixed opponents and m snapshots of the learner an opponent is drawn as

        P(a fixed one) = fixed_share/k,   P(latest) = latest_share + rest/m,   P(earlier) = rest/m

    where rest = 1 − fixed_share − latest_share; while there is no snapshot all are fixed, and
    without fixed ones their share falls to the snapshots. What a
    learner beats today it may lose to tomorrow, where all it meets is its latest self; earlier ones
    keep it honest. Snapshots draw their moves from their policy, at the temperature of their time.
    Where they are more than ``capacity`` the one goes whose neighbors in time are nearest to
    each other, so that those left span the training evenly, the first and the latest among them.

    References: Bansal et al. 2018, "Emergent complexity via multi-agent competition",
    arXiv:1710.03748 (opponents of earlier times); Heinrich, Lanctot & Silver 2015, "Fictitious
    self-play in extensive-form games", ICML.

    Args:
        fixed: Opponents that stay: ``"random"``, an agent or a policy with ``predict``, a function
            of observations, masks and a generator, or a sequence of these.
        latest_share: Games against the latest snapshot, 0 to 1, beside its part of the rest.
        fixed_share: Games against fixed opponents once there are snapshots, 0 to 1.
        capacity: Snapshots kept, at least two.

    Attributes:
        steps: Steps that the learner had taken at each snapshot, in order.

    Raises:
        ParameterError: If a fixed opponent is no player, ``capacity`` is no whole number of at
            least two, or the shares are not from 0 to 1, together too.

    Examples:
        >>> from isinglass.agents import FreeEnergyQ
        >>> from isinglass.envs import ConnectFour
        >>> pool = OpponentPool()
        >>> env = ConnectFour(4, 5, opponent=pool)
        >>> agent = FreeEnergyQ("MlpPolicy", env, seed=0, device="cpu").learn(200)
        >>> pool.steps[:3], len(pool)
        ([10, 20, 30], 21)
    """

    def __init__(
        self,
        fixed: Opposing | Sequence[Opposing] = "random",
        latest_share: float = 0.5,
        fixed_share: float = 0.1,
        capacity: int = 20,
    ) -> None:
        several = isinstance(fixed, Sequence) and not isinstance(fixed, str)
        self._fixed = [as_opponent(one) for one in (fixed if several else [fixed])]  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]
        self.latest_share = check_fraction("latest_share", latest_share)
        self.fixed_share = check_fraction("fixed_share", fixed_share)
        if self.latest_share + self.fixed_share > 1:
            raise ParameterError(
                f"latest_share = {latest_share} and fixed_share = {fixed_share}, more than all",
                "Give shares whose sum is at most 1",
            )
        self.capacity = check_count("capacity", capacity, least=2)
        self.steps: list[int] = []
        self._snapshots: list[AgentOpponent] = []

    def __len__(self) -> int:
        return len(self._fixed) + len(self._snapshots)

    @property
    def latest(self) -> AgentOpponent | None:
        """The latest snapshot, or None before the first."""
        return self._snapshots[-1] if self._snapshots else None

    @property
    def members(self) -> list[Opponent]:
        """The fixed opponents, then the snapshots in order."""
        return [*self._fixed, *self._snapshots]

    @property
    def probabilities(self) -> np.ndarray:
        """With which probability each of ``members`` is drawn.

        Raises:
            ParameterError: If there is none.
        """
        if not len(self):
            raise ParameterError(
                "a pool without opponents",
                "Give it fixed ones, such as OpponentPool('random'), or add an agent first",
            )
        fixed, found = len(self._fixed), np.zeros(len(self))
        share = 0.0 if not fixed else self.fixed_share if self._snapshots else 1.0
        found[:fixed] = share / max(fixed, 1)
        if self._snapshots:
            latest = self.latest_share
            found[fixed:] = max(1 - share - latest, 0.0) / len(self._snapshots)
            found[-1] += latest
        return found / found.sum() if found.sum() > 0 else np.full(len(self), 1 / len(self))

    def draw(self, count: int, generator: np.random.Generator) -> list[Opponent]:
        """Draws an opponent for each of some games.

        Raises:
            ParameterError: If there is none.
        """
        members = self.members
        drawn = generator.choice(len(members), size=count, p=self.probabilities)
        return [members[number] for number in drawn]

    def add(self, agent: Any, steps: int = 0) -> AgentOpponent:
        """Adds a frozen copy of the policy of an agent, the latest from now on.

        Args:
            agent: An agent of Stable-Baselines3, or its policy. It goes on learning; the copy
                does not.
            steps: Steps it has taken.

        Raises:
            ParameterError: If it has no ``predict``.
        """
        return self._put(AgentOpponent(_frozen(agent), deterministic=False), steps)

    def adopt(self, snapshot: AgentOpponent, steps: int = 0) -> None:
        """Adds a snapshot that another pool has made, without copying it again."""
        self._put(snapshot, steps)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes the weights of the snapshots to one safetensors file; fixed ones stay out.

        Args:
            path: The file, by custom ``*.safetensors``.
            overwrite: Whether a file already there may be replaced.

        Raises:
            FileError: If the file exists and ``overwrite`` is false, or cannot be written.
        """
        tensors = {
            f"{number}/{name}": value
            for number, snapshot in enumerate(self._snapshots)
            for name, value in snapshot.agent.state_dict().items()
        }
        header = {"class": KIND, "steps": self.steps}
        write_tensors(path, header, tensors, overwrite=overwrite)

    def load(self, path: str | Path, agent: Any) -> OpponentPool:
        """Reads snapshots in place of those that are here.

        Args:
            path: What :meth:`save` has written.
            agent: An agent, or a policy, with networks as the snapshots have.

        Returns:
            The pool itself.

        Raises:
            FileError: If the file cannot be read or is no pool.
            ParameterError: If the networks of the agent are others.
        """
        operation = f"loading {path}"
        header, tensors = read_tensors(path)
        if header.get("class") != KIND:
            raise FileError(
                f"a {header.get('class')}, not a pool of opponents",
                "Give a file that OpponentPool.save has written", operation,
            )  # fmt: skip
        weights: list[dict[str, Any]] = [{} for _ in header["steps"]]
        for name, value in tensors.items():
            number, _, key = name.partition("/")
            weights[int(number)][key] = value
        found = []
        for one in weights:
            policy = _frozen(agent)
            try:
                policy.load_state_dict(one)
            except RuntimeError as error:
                raise ParameterError(
                    "snapshots of another network than the agent's",
                    "Give an agent as it was made for the pool: the same policy_kwargs and energy",
                    operation,
                ) from error
            found.append(AgentOpponent(policy, deterministic=False))
        self.steps, self._snapshots = list(header["steps"]), found
        return self

    def _put(self, snapshot: AgentOpponent, steps: int) -> AgentOpponent:
        self.steps.append(check_count("steps", steps, least=0))
        self._snapshots.append(snapshot)
        if len(self._snapshots) > self.capacity:
            inner = range(1, len(self.steps) - 1)
            gone = min(inner, key=lambda i: self.steps[i + 1] - self.steps[i - 1])
            del self.steps[gone], self._snapshots[gone]
        return snapshot


def _frozen(agent: Any) -> Any:
    """A copy of a policy that nothing trains, without its optimizer."""
    policy = getattr(agent, "policy", agent)
    if isinstance(policy, type) or not hasattr(policy, "predict"):
        raise ParameterError(
            f"the agent {shown(agent)[:60]}", "Give an agent, or a policy with predict"
        )
    found = copy.deepcopy(policy, {id(getattr(policy, "optimizer", None)): None})
    if hasattr(found, "set_training_mode"):
        found.set_training_mode(False)
        found.requires_grad_(False)
    return found
