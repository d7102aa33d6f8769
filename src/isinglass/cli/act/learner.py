"""Learning in pieces, a checkpoint after each, so that a kill loses one piece at most."""

from __future__ import annotations

import inspect
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecEnv

from isinglass._support.optional import require_extra
from isinglass.agents.action_masks import MaskLayout, acting_infos
from isinglass.agents.replay_buffer import MaskedReplayBuffer
from isinglass.cli.act.agents import build, environments, kind_of
from isinglass.cli.act.run import (
    Chance,
    History,
    Request,
    Result,
    checkpoints,
    read_checkpoint,
    write_checkpoint,
    write_json,
)
from isinglass.errors import FileError
from isinglass.io.atomic import atomic_write

with require_extra("rl"):
    import tensorboard  # noqa: F401

__all__ = ["Learner", "Stop", "Tick", "play", "random_return", "read_result", "summary"]

#: Called with the track and what is being done.
Tick = Callable[[History, str], None]

ALONGSIDE = 16  # episodes of an evaluation at a time
LOGS = 200  # entries of the TensorBoard log
BEST = "best.zip"
LEARNING, EVALUATING, MEASURING = 1, 2, 3  # what random streams are for


class Stop:
    """Whether Ctrl-C was pressed: once asks for an end that loses nothing, twice ends it now."""

    def __init__(self) -> None:
        self.asked = False

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while the block runs; only a main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


class _Watch(BaseCallback):
    """Follows a piece of learning: returns into the track and the log, an end when asked."""

    def __init__(self, learner: Learner, tick: Tick) -> None:
        super().__init__()
        self.learner, self.tick = learner, tick
        self.next_log = self.next_tick = 0.0

    def _on_training_start(self) -> None:
        # Schedules run over the whole of learning, of which this call is a piece.
        self.model._total_timesteps = self.learner.request.steps

    def _on_step(self) -> bool:
        request, history = self.learner.request, self.learner.history
        history.steps = self.num_timesteps
        for info in self.locals["infos"]:
            if "episode" in info:
                history.add(self.num_timesteps, float(info["episode"]["r"]), request.bin_width)
        if self.num_timesteps >= self.next_log:
            self.next_log = self.num_timesteps + request.steps / LOGS
            self._log()
        if time.monotonic() > self.next_tick:
            self.next_tick = time.monotonic() + 0.1
            self.tick(history, "learning")
        return not self.learner.stop.asked

    def _log(self) -> None:
        episodes = self.model.ep_info_buffer or ()
        for key, name in (("r", "ep_rew_mean"), ("l", "ep_len_mean")):
            if episodes:
                self.logger.record(f"rollout/{name}", np.mean([info[key] for info in episodes]))
        self.logger.dump(self.num_timesteps)


class Learner:
    """One agent of a run.

    Learning goes in pieces. Each begins with new episodes and with random streams seeded afresh
    from the run's seed and the steps taken so far, so that what follows depends on the checkpoint
    alone: a run that was killed and taken up again is the run that was not.

    Args:
        name: The agent's.
        folder: Where its checkpoints go.
        request: What was asked for.
        stop: Whether to end early.

    Raises:
        FileError: If there are checkpoints and none can be read.
    """

    def __init__(self, name: str, folder: Path, request: Request, stop: Stop) -> None:
        self.name, self.folder, self.request, self.stop = name, folder, request, stop
        self.damaged: list[FileError] = []
        self.env = environments(request, request.envs, name)
        self.eval_env = environments(request, min(request.episodes, ALONGSIDE), name, capped=True)
        self.agent, self.history = self._newest() or (build(name, request, self.env), History())
        folder.mkdir(parents=True, exist_ok=True)
        self.logger = configure(str(folder), ["tensorboard"])
        self.agent.set_logger(self.logger)

    def learn(self, tick: Tick) -> Result | None:
        """Learn to the end, or until asked to stop: then there is no result yet."""
        history = self.history
        if history.steps and (
            not history.evaluations or history.evaluations[-1][0] < history.steps
        ):
            self._evaluate(tick)  # stopped before it was
        while history.steps < self.request.steps and not self.stop.asked:
            self._piece(tick)
        if self.stop.asked:
            return None
        tick(history, "measuring")
        last, sampled = (self._measured(self.agent, MEASURING, greedy) for greedy in (True, False))
        best = self._measured(self._best(), MEASURING, greedy=True)
        result = Result(self.name, history, last, sampled, best)
        if self.stop.asked:
            return None
        write_json(self.folder / "result.json", asdict(result))
        return result

    def close(self) -> None:
        """Let go of log and environments."""
        self.logger.close()
        self.env.close()
        self.eval_env.close()

    def _newest(self) -> tuple[BaseAlgorithm, History] | None:
        """The newest checkpoint that can be read, if there are any."""
        found = checkpoints(self.folder)
        for path in found:
            try:
                return read_checkpoint(
                    path, kind_of(self.name), env=self.env, device=self.request.device
                )
            except FileError as error:
                self.damaged.append(error)
        if found:
            raise FileError(
                f"no checkpoint is whole: {', '.join(path.name for path in found)}",
                f"Nothing was deleted. Move {self.folder} away and resume again: {self.name} then "
                f"learns anew; a {BEST} in it has its best weights, for --from",
                operation=f"resuming {self.folder}",
            ) from self.damaged[-1]
        return None

    def _best(self) -> BaseAlgorithm:
        """The agent that did best when evaluated."""
        path = self.folder / BEST
        try:
            return kind_of(self.name).load(path, device=self.request.device)
        except Exception as error:  # torch, zipfile, json and SB3 each have their own
            raise FileError(
                f"it is damaged or gone ({error})",
                "Copy the newest checkpoint to it and resume: the last agent stands for the best", operation=f"reading {path}",
            ) from error  # fmt: skip

    def _piece(self, tick: Tick) -> None:
        """Learn to the next multiple of ``every``, evaluate, and write a checkpoint."""
        agent, history, every = self.agent, self.history, self.request.every
        end = min((history.steps // every + 1) * every, self.request.steps)
        seed = _seed(self.request.seed, history.steps, LEARNING)
        agent.set_random_seed(seed)
        if isinstance(buffer := getattr(agent, "replay_buffer", None), MaskedReplayBuffer):
            buffer.seed(seed)
        agent._last_obs = None  # learn resets the environments
        began = time.perf_counter()
        agent.learn(
            end - history.steps,
            _Watch(self, tick),
            log_interval=2**62,  # _Watch does it
            reset_num_timesteps=False,
        )
        history.steps = agent.num_timesteps
        history.seconds += time.perf_counter() - began
        if not self.stop.asked:
            self._evaluate(tick)
        write_checkpoint(self.folder, agent, history)

    def _evaluate(self, tick: Tick) -> None:
        """Greedy, always in the same episodes; keep the agent that is best in them."""
        history = self.history
        tick(history, "evaluating")
        mean, error = self._measured(self.agent, EVALUATING, greedy=True)
        if self.stop.asked:
            return
        history.evaluations.append([history.steps, history.seconds, mean, error])
        self.logger.record("eval/greedy_return", mean)
        self.logger.dump(history.steps)
        if history.best is None or mean > history.best:
            history.best = mean
            with atomic_write(self.folder / BEST, overwrite=True) as aside:
                self.agent.save(aside)
        tick(history, "evaluated")

    def _measured(self, agent: BaseAlgorithm, purpose: int, greedy: bool) -> tuple[float, float]:
        """Mean return and standard error, always in the same episodes for the same purpose."""
        seed = _seed(self.request.seed, 0, purpose)
        agent.set_random_seed(seed)
        self.eval_env.seed(seed)
        return summary(play(agent, self.eval_env, self.request.episodes, greedy, self.stop))


def play(
    agent: BaseAlgorithm | None, env: VecEnv, episodes: int, greedy: bool, stop: Stop
) -> np.ndarray:
    """The returns of so many episodes, or of fewer if asked to stop.

    Args:
        agent: Who acts; None is chance.
        env: Copies of a ``Monitor``; each plays its share, so that short episodes count no more.
        episodes: How many.
        greedy: Whether actions are the best or drawn.
        stop: Whether to end early.
    """
    takes_masks = (
        agent is not None and "action_masks" in inspect.signature(agent.predict).parameters
    )
    shares = [(episodes + place) // env.num_envs for place in range(env.num_envs)]
    returns: list[list[float]] = [[] for _ in shares]
    seen: Any = env.reset()
    states = acting_infos(env)
    while not stop.asked and any(len(r) < share for r, share in zip(returns, shares, strict=True)):
        if agent is None:
            actions = _by_chance(env, states)
        else:
            known: dict[str, Any] = {}
            if takes_masks and "action_mask" in states[0]:
                known["action_masks"] = np.stack([info["action_mask"] for info in states])
            actions, _ = agent.predict(seen, deterministic=greedy, **known)
        seen, _, dones, infos = env.step(actions)
        states = acting_infos(env, infos, dones)
        for place in np.flatnonzero(dones):
            if len(returns[place]) < shares[place]:
                returns[place].append(float(infos[place]["episode"]["r"]))
    return np.array([value for group in returns for value in group])


def _by_chance(env: VecEnv, states: list[dict[str, Any]]) -> np.ndarray:
    """Uniform among what is allowed."""
    layout = MaskLayout.of(env.action_space)
    allowed = layout.read(states)
    if allowed is not None:
        return layout.draw_allowed(allowed, env.action_space.np_random)
    return np.array([env.action_space.sample() for _ in states])


def random_return(request: Request) -> Chance:
    """What uniformly random actions earn, drawn among those allowed where there are masks."""
    env = environments(request, min(request.episodes, ALONGSIDE), capped=True)
    seed = _seed(request.seed, 0, MEASURING)
    env.seed(seed)
    env.action_space.seed(seed)
    returns = play(None, env, request.episodes, False, Stop())
    return Chance(*summary(returns), masked="action_mask" in env.reset_infos[0])


def summary(returns: np.ndarray) -> tuple[float, float]:
    """Mean and standard error, NaN where there are too few."""
    count = len(returns)
    mean = float(returns.mean()) if count else math.nan
    return mean, float(returns.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan


def read_result(folder: Path) -> Result | None:
    """The result of an agent that has finished; None if it has not."""
    try:
        content: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        content["history"] = History(**content["history"])
        for name in ("last", "sampled", "best"):
            content[name] = tuple(content[name])
        return Result(**content)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _seed(seed: int, steps: int, purpose: int) -> int:
    """One seed for each purpose and number of steps taken."""
    return int(np.random.SeedSequence((seed, steps, purpose)).generate_state(1)[0])
