"""The policy of a planner: a plan where states can be listed, paths where they are real."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from torch import Generator, Tensor

from isinglass._support.wording import shown
from isinglass.agents.actions.action_masks import MaskLayout
from isinglass.agents.network import check_real
from isinglass.agents.planning.world_spaces import numbers_of
from isinglass.errors import ParameterError, ShapeError
from isinglass.world import PathPlanner, Plan, RealModel, Sharing, WorldEnergy
from isinglass.world.planning import best_alike, first_best, plan

__all__ = ["PlanningPolicy"]

DOUBT = 1e-3  # of the largest reward, for a step at the edge of what was met
GROWN = 1.25  # how many times as much is known before sharing is chosen anew


class PlanningPolicy(BasePolicy):
    """Acts by a plan in a world.

    ``deterministic=True`` takes the best action by what was met and is foretold; otherwise what
    was never met is taken to be the best there can be, so that it is tried.

    Args:
        observation_space: Observation space.
        action_space: Action space.
        lr_schedule: Not looked at: nothing is learned by gradients.
        world: What is known; it may grow.
        gamma: Discount factor γ.
        temperature: T of the plan.
        horizon: Steps of a path, where states are real.
        paths: Paths drawn in a round, where states are real.

    Examples:
        >>> from isinglass.agents.planning.world_spaces import world_columns
        >>> observations, actions = spaces.Discrete(3), spaces.Discrete(2)
        >>> world = WorldEnergy(world_columns(observations, actions))
        >>> world.store([0, 0], [0, 1], [0.0, 1.0], [1, 2], [True, True])
        >>> policy = PlanningPolicy(observations, actions, lambda _: 0.0, world=world)
        >>> policy.look()
        >>> int(policy.predict(np.array(0), deterministic=True)[0])
        1
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Any = None,
        *,
        world: WorldEnergy,
        gamma: float = 0.99,
        temperature: float = 0.0,
        horizon: int = 30,
        paths: int = 128,
    ) -> None:
        super().__init__(observation_space, action_space)
        self.world, self.gamma, self.plan_temperature = world, gamma, temperature
        self.horizon, self.paths = horizon, paths
        self._best: Plan | None = None
        self._hopeful: Plan | None = None
        self._met: Tensor | None = None  # pairs that the hopeful plan knows
        self._allowed: Tensor | None = None  # of every state and action, once masks were told
        self._sharing: tuple[int, Sharing | None] = (0, None)
        self._real: RealModel | None = None
        self._paths: dict[int, PathPlanner] = {}
        self.sought: dict[str, Any] = {}
        self._random = Generator().manual_seed(0)

    def seed(self, seed: int) -> None:
        """Starts the stream of random numbers anew."""
        self._random.manual_seed(seed)

    def seek(self, reward: Tensor | None, goal: object) -> None:
        """Plans for another reward or goal from now on.

        Raises:
            DomainError: If nothing leads to the goal.
            ParameterError: If states are real, or both are given.
        """
        if not self.world.columns.finite:
            raise ParameterError(
                "another reward where states are real", "Store transitions with that reward"
            )
        if not len(self.world):
            raise ParameterError("a world without transitions", "Learn first")
        old, self.sought = self.sought, {"reward": reward, "goal": goal}
        try:
            self.look()
        except Exception:
            self.sought = old
            raise

    def look(self, *, settle: bool = False) -> None:
        """Plans anew by what is known now.

        Args:
            settle: Whether to choose anew how pairs share what is met, however little is new.
        """
        if not len(self.world):
            return
        if not self.world.columns.finite:
            self._real = self.world.real_model()
            rewards = self.world.rows[:, self.world.columns.place("reward")]
            self._doubt = DOUBT * float(rewards.abs().max())
            self._lowest = min(float(rewards.min()), 0.0)  # or to be lost is as good as to go on
            return
        known, sharing = self._sharing
        if sharing is None or settle or len(self.world) >= GROWN * known:
            sharing = self.world.sharing()
            self._sharing = len(self.world), sharing
        reward, goal = self.sought.get("reward"), self.sought.get("goal")
        settings: dict[str, Any] = {
            "horizon": None, "discount": self.gamma, "temperature": self.plan_temperature,
            "allowed": self._allowed,
        }  # fmt: skip
        model = self.world.model(goal, sharing)  # once for both plans
        self._met = (model.visits > 0).reshape(-1, self.world.columns.actions)
        self._best = plan(model, reward, goal, **settings, unmet=None, start=self._best)
        self._hopeful = plan(
            model, reward, goal, **settings, unmet="optimistic", start=self._hopeful
        )

    def allow(self, rows: np.ndarray, masks: np.ndarray) -> None:
        """Keeps which actions states allow, as they were told.

        Args:
            rows: The states, as numbers of their columns.
            masks: Their masks, flat or joint, ``(rows, width)``.

        Raises:
            ParameterError: If states are real: what is allowed along a path is not known.
        """
        columns = self.world.columns
        if not columns.finite:
            raise ParameterError(
                "action masks where states are real, which are not known along a path",
                "Learn by FreeEnergyQ, which obeys them",
            )
        if self._allowed is None:
            self._allowed = torch.ones(columns.states, columns.actions, dtype=torch.bool)
        index = columns.index("state", columns.encode("state", rows))
        layout = MaskLayout.of(self.action_space)
        joint = masks if layout.is_joint(masks) else layout.joint(masks)
        self._allowed[index] = torch.as_tensor(joint)

    def note(
        self, state: np.ndarray, action: np.ndarray, reward: float, after: np.ndarray, done: bool
    ) -> None:
        """Backs up what was just met into the hopeful plan, which else would try it again.

        One step of value iteration at one pair: real-time dynamic programming.
        """
        plan, columns = self._hopeful, self.world.columns
        if plan is None or self._met is None:
            return
        here, to = (int(columns.index("state", columns.encode("state", x))) for x in (state, after))
        index = int(columns.index("action", columns.encode("action", action)))
        if self._met[here, index]:
            return
        self._met[here, index] = True
        onward = 0.0 if done else float(plan.value[to])
        plan.q[here, index] = float(reward) + self.gamma * onward
        plan.value[here] = plan.q[here].max()

    def begin(self, dones: np.ndarray) -> None:
        """Forgets the paths that were under way where episodes ended."""
        for place in np.flatnonzero(dones):
            self._paths.pop(int(place), None)

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Returns an action for each observation.

        Args:
            observation: One observation, or a batch of them.
            state: Not looked at.
            episode_start: Where an episode begins, which forgets the path that was under way.
            deterministic: Whether nothing is tried for what may be there.
            action_masks: What is allowed, one mask for all rows or one for each; None is what
                was told of these states while learning.

        Raises:
            ParameterError: If masks are given where states are real.
        """
        rows, single = self._rows(observation)
        if episode_start is not None:
            self.begin(np.asarray(episode_start))
        told = self._allowed
        if action_masks is not None:  # of this question alone
            layout = MaskLayout.of(self.action_space)
            self._allowed = None if told is None else told.clone()
            self.allow(rows, layout.rows(action_masks, len(rows)))
        actions = self._actions(rows, deterministic)
        self._allowed = told
        return (np.asarray(actions[0]) if single else actions), None

    def _actions(self, rows: np.ndarray, deterministic: bool) -> np.ndarray:
        plan = self._best if deterministic else self._hopeful
        if plan is not None:
            return self._decode(self._listed(plan, rows, deterministic))
        if self._real is not None:
            return self._decode(self._along_paths(self._real, rows, deterministic))
        return self.at_random(rows)

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        array = observation.cpu().numpy()
        return torch.as_tensor(self.predict(array, deterministic=deterministic)[0])

    def _rows(self, observation: Any) -> tuple[np.ndarray, bool]:
        space, shape = self.observation_space, self.observation_space.shape or ()
        try:
            array = np.asarray(observation, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ShapeError(
                f"the observation {shown(observation)}, which does not fit", f"Give one of {space}"
            ) from error
        # A number alone may come as an array of one, as Stable-Baselines3's buffers have it.
        extra = () if shape else (1,)
        single = array.shape == shape
        if not single and array.shape[1:] not in (shape, shape + extra):
            raise ShapeError(
                f"an observation of shape {array.shape}, which does not fit",
                f"Give one of {space}, or several in a row",
            )
        check_real("the observation", array)
        return numbers_of(space, array[None] if single else array), single

    def _listed(self, plan: Plan, rows: np.ndarray, deterministic: bool) -> np.ndarray:
        columns = self.world.columns
        place = columns.index("state", columns.encode("state", rows))
        q = plan.q[place]
        may = torch.ones_like(q, dtype=torch.bool)
        if self._allowed is not None:
            may = self._allowed[place]
            q = q.masked_fill(~may, -torch.inf)
        # Of a state that was never met nothing is known: all that is allowed is alike there.
        q = torch.where(may & (q.amax(-1, keepdim=True) == -torch.inf), 0.0, q)
        if plan.temperature > 0:
            probs = torch.softmax(q / plan.temperature, -1)
            index = torch.multinomial(probs, 1, generator=self._random)[:, 0]
        elif deterministic:
            index = first_best(q)
        else:  # among equals at random, or the first action would be tried for ever
            top = best_alike(q).double()
            index = torch.multinomial(top, 1, generator=self._random)[:, 0]
        return columns.values("action", index).numpy()

    def at_random(self, rows: np.ndarray) -> np.ndarray:
        """Draws an action for each state, uniform among those that are allowed."""
        if self._allowed is None:
            return np.stack([self.action_space.sample() for _ in rows])
        columns = self.world.columns
        may = self._allowed[columns.index("state", columns.encode("state", rows))]
        drawn = torch.multinomial(may.double(), 1, generator=self._random)[:, 0]
        return self._decode(columns.values("action", drawn).numpy())

    def _along_paths(self, real: RealModel, rows: np.ndarray, deterministic: bool) -> np.ndarray:
        found = []
        # What was never met is tried while there is more to learn, and kept away from afterwards.
        familiar = real.familiar if deterministic else -np.inf
        for place, row in enumerate(rows):
            if place not in self._paths:
                low, high = self._bounds()
                self._paths[place] = PathPlanner(
                    self.world.columns, low, high, self.horizon, self.paths, self.gamma
                )
            planner = self._paths[place]
            state = torch.as_tensor(row)
            rest = self._random, self._lowest, familiar, self._doubt if deterministic else 0.0
            found.append(planner.action(real.predict, state, *rest))
        return torch.stack(found).numpy()

    def _bounds(self) -> tuple[Tensor, Tensor]:
        space = self.action_space
        if isinstance(space, spaces.Box):
            return torch.as_tensor(space.low.ravel()), torch.as_tensor(space.high.ravel())
        none = torch.zeros(self.world.columns.width("action"))
        return none, none

    def _decode(self, numbers: np.ndarray) -> np.ndarray:
        space = self.action_space
        if isinstance(space, spaces.Discrete):
            return (numbers[:, 0] + int(space.start)).astype(space.dtype)
        if isinstance(space, spaces.MultiDiscrete):
            numbers = numbers + np.ravel(space.start)
        return numbers.reshape(-1, *(space.shape or ())).astype(space.dtype)
