"""Learning in segments, a checkpoint after each, so that a kill loses one segment at most.

Stable-Baselines3 learns, evaluates, logs and monitors. Its ``EvalCallback`` and
``CheckpointCallback`` are not used, as they run inside a step, before its transition is stored:
a run resumed from their files is not the run that was not killed. They also write in place, keep
the replay buffer as a pickle of its full capacity, hand no masks on, and forget the best return.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from isinglass.agents import FreeEnergyQ, LearningWarning
from isinglass.agents.replay.replay_buffer import MaskedReplayBuffer
from isinglass.cli._wording import lacks_memory
from isinglass.cli.act.agents import algorithm_class, build_agent, make_environments
from isinglass.cli.act.checkpoints import (
    checkpoints,
    read_checkpoint,
    save_agent,
    write_checkpoint,
)
from isinglass.cli.act.evaluation import (
    EVALUATING,
    LEARNING,
    MEASURING,
    PARALLEL_EPISODES,
    Stopped,
    derive_seed,
    episode_returns,
    mean_and_error,
)
from isinglass.cli.act.log import ScalarLog
from isinglass.cli.act.run import RESULT, History, Request, Result, cannot_make, write_json
from isinglass.errors import FileError
from isinglass.io.atomic import atomic_write

__all__ = ["Learner", "OnProgress", "heard"]

#: Called with the history and what is being done.
OnProgress = Callable[[History, str], None]

LOGS = 200  # entries of the TensorBoard log
BEST = "best.zip"


@contextmanager
def heard(tell: Callable[[str], None]) -> Iterator[None]:
    """Hands on what agents warn of, instead of printing lines of code."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", LearningWarning)
        show = warnings.showwarning

        def take(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            if issubclass(category, LearningWarning):
                tell(str(message))
            else:
                show(message, category, *rest, **more)

        warnings.showwarning = take
        yield


class _HistoryCallback(BaseCallback):
    """Takes returns into the history and the log, and ends learning when asked."""

    def __init__(self, learner: Learner, on_progress: OnProgress) -> None:
        super().__init__()
        self.learner, self.on_progress = learner, on_progress
        self.next_log = self.next_progress = 0.0

    def _on_training_start(self) -> None:
        # Schedules run over the whole of learning, of which this call is a segment.
        self.model._total_timesteps = self.learner.request.steps
        if isinstance(self.model, FreeEnergyQ):
            self.model._pace_over(self.learner.request.steps)

    def _on_step(self) -> bool:
        request, history = self.learner.request, self.learner.history
        history.steps = self.num_timesteps
        for info in self.locals["infos"]:
            if "episode" in info:
                history.add(self.num_timesteps, float(info["episode"]["r"]), request.bin_width)
        if self.num_timesteps >= self.next_log:
            self.next_log = self.num_timesteps + request.steps / LOGS
            self._log()
        if time.monotonic() > self.next_progress:
            self.next_progress = time.monotonic() + 0.1
            self.on_progress(history, "learning")
        return not self.learner.stop.is_set()

    def _log(self) -> None:
        episodes = self.model.ep_info_buffer or ()
        for key, name in (("r", "ep_rew_mean"), ("l", "ep_len_mean")):
            if episodes:
                self.logger.record(f"rollout/{name}", np.mean([info[key] for info in episodes]))
        self.logger.dump(self.num_timesteps)


class Learner:
    """Teaches one agent of a run.

    Learning goes in segments. Each begins with new episodes and with random streams seeded afresh
    from the run's seed and the steps taken so far, so that what follows depends on the checkpoint
    alone: a run that was killed and resumed is the run that was not.

    Args:
        name: The agent's.
        folder: Where its checkpoints go.
        request: What was asked for.
        stop: Whether to end early.
        tell: Called with what the agent warns of, once each.

    Attributes:
        damaged: Errors of the checkpoints that were passed over.
        log: The TensorBoard log, which may have been refused.

    Raises:
        FileError: If there are checkpoints and none can be read, or the folder cannot be made.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        request: Request,
        stop: Event,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.name, self.folder, self.request, self.stop = name, folder, request, stop
        self.tell, self.told = tell, set[str]()
        self.damaged: list[FileError] = []
        self.env = make_environments(request, request.envs, name)
        parallel = min(request.episodes, PARALLEL_EPISODES)
        self.eval_env = make_environments(request, parallel, name, capped=True)
        newest = self._read_newest()
        with heard(lambda _: None):  # said when all was checked
            built = newest or (build_agent(name, request, self.env), History())
        self.agent, self.history = built
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_make(folder, error) from error
        self.log = ScalarLog(folder)
        self.logger = Logger(str(folder), [self.log])
        self.agent.set_logger(self.logger)

    def learn(self, on_progress: OnProgress) -> Result | None:
        """Learns to the end, or until asked to stop: then there is no result yet."""
        history = self.history
        with suppress(Stopped):
            evaluated = history.evaluations[-1][0] if history.evaluations else 0
            if evaluated < history.steps:  # stopped before it was
                self._evaluate(on_progress)
            while history.steps < self.request.steps:
                self._learn_segment(on_progress)
            on_progress(history, "measuring")
            result = Result(
                self.name,
                history,
                last=self._mean_return(self.agent, MEASURING, greedy=True),
                sampled=self._mean_return(self.agent, MEASURING, greedy=False),
                best=self._mean_return(self._read_best(), MEASURING, greedy=True),
            )
            write_json(self.folder / RESULT, asdict(result))
            on_progress(history, "done")
            return result
        return None

    def close(self) -> None:
        """Closes log and environments."""
        self.logger.close()
        self.env.close()
        self.eval_env.close()

    def _read_newest(self) -> tuple[BaseAlgorithm, History] | None:
        """Read the newest checkpoint that is whole, if there are any."""
        found = checkpoints(self.folder)
        for path in found:
            try:
                return read_checkpoint(
                    path, algorithm_class(self.name), env=self.env, device=self.request.device
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

    def _read_best(self) -> BaseAlgorithm:
        """Read the agent that did best when evaluated."""
        path = self.folder / BEST
        try:
            return algorithm_class(self.name).load(path, device=self.request.device)
        except Exception as error:  # torch, zipfile, json and SB3 each have their own
            if lacks_memory(error):
                raise
            raise FileError(
                f"it is damaged or gone ({error})",
                "Copy the newest checkpoint to it and resume: the last agent stands for the best",
                operation=f"reading {path}",
            ) from error  # fmt: skip

    def _hear(self, note: str) -> None:
        """Pass on what the agent warns of; where a segment ends the run may go on."""
        late = "learning_starts" in note
        starts = getattr(self.agent, "learning_starts", 0)
        if late:
            note = re.sub(r"of \d+ steps", f"of {self.request.steps} steps", note)
        if note not in self.told and not (late and self.request.steps > starts):
            self.told.add(note)
            if self.tell is not None:
                self.tell(note)

    def _learn_segment(self, on_progress: OnProgress) -> None:
        """Learn to the next multiple of ``every``, evaluate, and write a checkpoint."""
        agent, history, every = self.agent, self.history, self.request.every
        end = min((history.steps // every + 1) * every, self.request.steps)
        seed = derive_seed(self.request.seed, history.steps, LEARNING)
        agent.set_random_seed(seed)
        if isinstance(buffer := getattr(agent, "replay_buffer", None), MaskedReplayBuffer):
            buffer.seed(seed)
        agent._last_obs = None  # learn resets the environments
        began = time.perf_counter()
        with heard(self._hear):
            agent.learn(
                end - history.steps,
                _HistoryCallback(self, on_progress),
                log_interval=None,  # pyright: ignore[reportArgumentType]  # the callback does it
                reset_num_timesteps=False,
            )
        history.steps = agent.num_timesteps
        history.seconds += time.perf_counter() - began
        with suppress(Stopped):  # what was learned is kept first
            self._evaluate(on_progress)
        write_checkpoint(self.folder, agent, history)
        if self.stop.is_set():
            raise Stopped

    def _evaluate(self, on_progress: OnProgress) -> None:
        """Measure the greedy return, always of the same episodes; keep the agent best in them."""
        history = self.history
        on_progress(history, "evaluating")
        mean, error = self._mean_return(self.agent, EVALUATING, greedy=True)
        history.evaluations.append([history.steps, history.seconds, mean, error])
        self.logger.record("eval/greedy_return", mean)
        self.logger.dump(history.steps)
        if history.best is None or mean > history.best:
            history.best = mean
            with atomic_write(self.folder / BEST, overwrite=True) as aside:
                save_agent(self.agent, aside)
        on_progress(history, "evaluated")

    def _mean_return(self, agent: BaseAlgorithm, purpose: int, greedy: bool) -> tuple[float, float]:
        """Return mean and standard error, of the same episodes for the same purpose."""
        seed = derive_seed(self.request.seed, 0, purpose)
        agent.set_random_seed(seed)
        self.eval_env.seed(seed)
        returns = episode_returns(agent, self.eval_env, self.request.episodes, greedy, self.stop)
        return mean_and_error(returns)
