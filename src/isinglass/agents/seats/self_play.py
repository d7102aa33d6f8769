"""Learning against what one was before: a callback that fills the pool of opponents."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecEnv

from isinglass._support.validation import check_count, check_kind
from isinglass.envs.two_seat.pool import OpponentPool
from isinglass.errors import ParameterError

__all__ = ["SelfPlay", "pools_of", "with_self_play"]

SNAPSHOTS = 20  # in a training, where nothing is said


class SelfPlay(BaseCallback):
    """A callback that adds frozen copies of the learner to its pool of opponents as it learns.

    It works with every agent of Stable-Baselines3 in :class:`~isinglass.envs.SeatEnv`,
    :class:`~isinglass.envs.ConnectFour`, :class:`~isinglass.envs.AECSeat`, one or many in a
    ``DummyVecEnv``, or in :class:`SeatVecEnv`. :class:`FreeEnergyQ` and what derives from it bring
    it along where the environment has a pool; give it to choose ``every``.

    Args:
        pool: The pool to fill; None for those of the environments, ``env.pool``, which all get the
            same copies.
        every: Environment steps between two copies; None for a twentieth of the training, with
            what was learned before.
        verbose: 0 silent, 1 information, 2 debugging.

    Raises:
        ParameterError: If ``pool`` is no pool or ``every`` no whole number; from ``learn``, if no
            environment has a pool, or they live in other processes, where no copy would reach them.

    Examples:
        >>> from stable_baselines3.common.env_util import make_vec_env
        >>> from isinglass.agents import FreeEnergyQ
        >>> from isinglass.envs import ConnectFour
        >>> env = make_vec_env(lambda: ConnectFour(4, 5, opponent="self"), 4)
        >>> agent = FreeEnergyQ("MlpPolicy", env, seed=0, device="cpu")
        >>> _ = agent.learn(300, callback=SelfPlay(every=100))
        >>> [pool.steps for pool in env.get_attr("pool")][0]
        [100, 200, 300]
    """

    def __init__(
        self, pool: OpponentPool | None = None, every: int | None = None, verbose: int = 0
    ) -> None:
        super().__init__(verbose)
        if pool is not None:
            check_kind("pool", pool, OpponentPool, "OpponentPool()")
        self.pool = pool
        self.every = None if every is None else check_count("every", every)
        self._pools: list[OpponentPool] = []
        self._next, self._pace = 0, 1

    def _init_callback(self) -> None:
        self._pools = [self.pool] if self.pool is not None else pools_of(self.training_env)
        if not self._pools:
            raise ParameterError(
                "an environment whose opponents are not for the learner to be",
                "Make it with opponent='self' or an OpponentPool, or give SelfPlay(pool)",
            )

    def _on_training_start(self) -> None:
        taken = self.model.num_timesteps
        self._pace = self.every or max(self.model._total_timesteps // SNAPSHOTS, 1)
        self._next = (taken // self._pace + 1) * self._pace

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._next:
            self._next = (self.num_timesteps // self._pace + 1) * self._pace
            first, *others = self._pools
            snapshot = first.add(self.model, self.num_timesteps)
            for pool in others:
                pool.adopt(snapshot, self.num_timesteps)
            self.logger.record("self_play/snapshots", len(first.steps))
        return True


def pools_of(env: VecEnv) -> list[OpponentPool]:
    """Returns the pools of environments that learning is to fill, each once.

    Raises:
        ParameterError: If they live in other processes.
    """
    if not env.has_attr("pool"):
        return []
    found, again = env.get_attr("pool"), env.get_attr("pool")
    pools = [pool for pool in found if isinstance(pool, OpponentPool)]
    if any(pool is not other for pool, other in zip(found, again, strict=True)):
        raise ParameterError(
            f"opponents in other processes, of {type(env.unwrapped).__name__}",
            "Take SeatVecEnv(game, count), which plays many games at once in this process, or a "
            "DummyVecEnv",
        )
    return list({id(pool): pool for pool in pools}.values())


def with_self_play(callback: MaybeCallback, env: VecEnv | None) -> MaybeCallback:
    """Returns a callback that keeps the pools of an environment too, if it has some.

    Args:
        callback: What was given; where there is a :class:`SelfPlay` in it, it is left as it is.
        env: The environment of learning.

    Raises:
        ParameterError: If the pools live in other processes.
    """
    if env is None or _keeps(callback) or not pools_of(env):
        return callback
    if callback is None:
        return SelfPlay()
    if isinstance(callback, list):
        return [*callback, SelfPlay()]
    own = callback if isinstance(callback, BaseCallback) else ConvertCallback(callback)
    return CallbackList([own, SelfPlay()])


def _keeps(callback: Any) -> bool:
    if isinstance(callback, SelfPlay):
        return True
    inner = callback if isinstance(callback, list) else getattr(callback, "callbacks", ())
    return any(_keeps(one) for one in inner)
