"""The loop of learning: draw, judge, keep, and step along the residual."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor, nn

from isinglass._support.functions import check_takes
from isinglass._support.interrupts import interrupts
from isinglass._support.progress import progress_bar
from isinglass._support.validation import check_count, check_flag, check_generator
from isinglass.errors import DivergenceError, DomainError, FileError, ParameterError
from isinglass.language.language_model import LanguageModel
from isinglass.language.options import LearningOptions
from isinglass.language.replay import Rollouts, SequenceReplay
from isinglass.language.report import LanguageReport, evaluation, is_binary, optimum, summary
from isinglass.language.residuals import score, suffix_loss, trajectory_loss
from isinglass.language.rewards import RewardOf
from isinglass.language.sampler import draw_sequences
from isinglass.learning.trainer.checkpoint import read_checkpoint, write_checkpoint

if TYPE_CHECKING:
    from isinglass.language.language_q import LanguageQ

__all__ = ["Learner", "learn"]

FIRST = 256  # sequences of the reference, drawn before the first step
MOST_FIRST = 1024  # as many until two rewards differ
LAST_RATE = 0.1  # of the learning rate, at the last step
WRITE_EVERY = 10  # steps
MOST_FASTER = 1.5  # is a step than the one before


class Learner:
    """State of a run of :meth:`LanguageQ.fit`, and its steps.

    Args:
        judge: What learns.
        reference: π_ref, which stays.
        prompts: Tokens of each prompt.
        reward: R.
        options: How a step is made.
        steps: How many there will be.
        generator: Source of a seed.
    """

    def __init__(
        self,
        judge: LanguageQ,
        reference: LanguageModel,
        prompts: list[Tensor],
        reward: RewardOf,
        options: LearningOptions,
        steps: int,
        generator: Generator | None,
    ) -> None:
        self.judge, self.prompts, self.reward, self.options = judge, prompts, reward, options
        self.steps = steps
        self.reference = reference
        self.parameters = _learned(judge.model)
        self.rate = options.learning_rate or first_rate(judge.model)
        self.optimizer = torch.optim.Adam(self.parameters, lr=self.rate)
        self.replay = SequenceReplay(options.replay)
        device = judge.device
        here = None if generator is None else generator.device
        seed = int(torch.randint(2**62, (1,), generator=generator, device=here))
        self.generator = Generator(device).manual_seed(seed)
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        self.history: list[dict[str, float]] = []
        self.base: list[float] = []
        self.rollouts = self.turns = self.moves = 0
        self.moved = 0.0  # how far the last step went, in nats
        self.cooled = 0.0  # 1/T of the last step, as a share of what is wanted: it never falls

    def begin(self) -> None:
        """Draws from the reference, which the model still is, until two rewards differ.

        Raises:
            DomainError: If all of many sequences have the same reward.
        """
        found: list[Rollouts] = []
        many = max(1, -(-FIRST // self.options.batch))
        while len(found) < many or self._all_alike(found):
            if self.rollouts >= max(MOST_FIRST, FIRST):
                same = float(found[0].rewards[0])
                raise DomainError(
                    f"a reward of {same:g} for each of {self.rollouts} sequences of the reference",
                    "Give a reward that tells some of them apart, at least one in fifty: an easier "
                    "one to begin with, a longer max_tokens, or prompts that lead nearer to it",
                )
            found.append(self.draw(self.reference)[0])
        for rollouts in found:
            self.replay.add(rollouts)
        self.base = torch.cat([rollouts.rewards for rollouts in found]).tolist()

    @staticmethod
    def _all_alike(found: list[Rollouts]) -> bool:
        rewards = torch.cat([rollouts.rewards for rollouts in found])
        return bool((rewards == rewards[0]).all())

    def base_rate(self, given: float | None) -> float | None:
        """Returns p₀, as given or as the first draws had it; None if rewards are not 0 and 1."""
        rewards = torch.tensor(self.base)
        if not is_binary(rewards):
            return None
        return float(rewards.mean()) if given is None else given

    @torch.no_grad()
    def draw(self, model: LanguageModel) -> tuple[Rollouts, Tensor]:
        """Draws a batch and judges it; each prompt of the batch has several sequences.

        Args:
            model: Whose draws.

        Returns:
            The sequences, and log π/π_ref of each.
        """
        options, judge = self.options, self.judge
        some = max(1, min(len(self.prompts), options.batch // 8))
        which = [(self.turns + i) % len(self.prompts) for i in range(some)]
        self.turns += some
        groups = torch.tensor([which[i % some] for i in range(options.batch)], device=judge.device)
        sequences, log_p = draw_sequences(
            model, [self.prompts[int(group)] for group in groups], judge.end, options.max_tokens,
            self.generator, judge.device,
        )  # fmt: skip
        theirs = score(self.reference, sequences)
        self.rollouts += options.batch
        rewards = self.reward(sequences).to(theirs.log_p)
        return Rollouts(sequences, theirs, rewards, groups), log_p - theirs.log_p.sum(1)

    def step(self, base_rate: float | None) -> dict[str, float]:
        """Draws a batch, learns from it and from what was kept, and returns the track.

        Raises:
            DivergenceError: If a loss is not a finite number.
        """
        fall = 1 - (1 - LAST_RATE) * min(1.0, len(self.history) / max(1, self.steps))
        own = self.options.learning_rate is None
        self.cool()
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate if own else self.rate * fall
        fresh, ratio = self.draw(self.judge.model)
        self.replay.add(fresh)
        loss = self.descend(fresh)
        for _ in range(self.options.updates - 1 if len(self.replay) else 0):
            self.descend(self.replay.draw(self.options.replay_batch, self.generator))
        if own:
            self.adapt(fresh, ratio, fall * self.options.change)
        found = evaluation(fresh.rewards, ratio, self.judge.temperature, base_rate)
        row = {
            "step": len(self.history) + 1, "rollouts": self.rollouts, "reward": found.reward,
            "kl": found.kl, "objective": found.objective, "loss": loss,
        }  # fmt: skip
        if found.share is not None:
            row["share"] = found.share
        self.history.append(row)
        return row

    @torch.no_grad()
    def adapt(self, fresh: Rollouts, ratio: Tensor, wanted: float) -> None:
        """Moves the learning rate to where a step changes log π by what is wanted.

        Args:
            fresh: What was drawn before the step.
            ratio: log π/π_ref of it then.
            wanted: Root mean square of the change, in nats.
        """
        now = score(self.judge.model, fresh.sequences).log_p - fresh.scores.log_p
        self.moved = float((now.sum(1) - ratio).square().mean().sqrt())
        if math.isfinite(self.moved):
            self.rate *= min(MOST_FASTER, max(1 / MOST_FASTER, wanted / max(self.moved, 1e-12)))

    @property
    def temperature(self) -> float:
        """T of the step at hand."""
        return self.judge.temperature / self.cooled

    def cool(self) -> None:
        """Brings 1/T nearer to what is wanted; a run that is made longer does not warm up again."""
        cooling = self.options.cooling * self.steps
        done = (len(self.history) + 1) / cooling if cooling else 1.0
        self.cooled = max(self.cooled, min(1.0, done))

    def loss(self, rollouts: Rollouts) -> Tensor:
        """Computes the mean square of the residual."""
        judge, sequences = self.judge, rollouts.sequences
        temperature = self.temperature
        mine = score(judge.model, sequences)
        ratio = mine.log_p - rollouts.scores.log_p
        if self.options.residual == "trajectory":
            return trajectory_loss(ratio, rollouts.rewards, rollouts.groups, temperature)
        values = temperature * (mine.partition - rollouts.scores.partition)
        return suffix_loss(ratio, values, rollouts.rewards, sequences.chosen, temperature)

    def descend(self, rollouts: Rollouts) -> float:
        """Takes one step of the optimizer.

        Raises:
            DivergenceError: If the loss is not a finite number.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(rollouts)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DivergenceError(
                f"a loss of {value} in step {len(self.history) + 1}",
                "Lower the learning rate; the model has the averaged weights of the steps before",
            )
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        decay = min(self.options.average, (1 + self.moves) / (10 + self.moves))
        with torch.no_grad():
            for kept, parameter in zip(self.average, self.parameters, strict=True):
                kept.lerp_(parameter, 1 - decay)
        self.moves += 1
        return value

    def finish(self) -> None:
        """Leaves the model with the averaged weights."""
        with torch.no_grad():
            for kept, parameter in zip(self.average, self.parameters, strict=True):
                parameter.copy_(kept)

    def identity(self) -> dict[str, str]:
        """Returns what a checkpoint must agree in, in words."""
        judge = self.judge
        digest = hashlib.sha256()
        for name, tensor in sorted(self.reference.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return {
            "reference": digest.hexdigest(),
            "temperature": str(judge.temperature),
            "prompts": str([prompt.tolist() for prompt in self.prompts]),
            "options": str(asdict(self.options)),
        }

    def state(self) -> dict[str, Any]:
        """Returns all of it as tensors and numbers."""
        return {
            "model": dict(self.judge.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "replay": None if self.replay.held is None else self.replay.held.state(),
            "generator": self.generator.get_state(),
            "history": self.history,
            "base": self.base,
            "counts": [self.rollouts, self.turns, self.moves],
            "rate": self.rate,
            "cooled": self.cooled,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Restores what :meth:`state` returned.

        Raises:
            FileError: If its tensors do not fit.
        """
        device = self.judge.device
        try:
            self.judge.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (KeyError, ValueError, RuntimeError) as error:
            why = " ".join(str(error).split())
            raise FileError(
                f"its tensors do not fit ({why})", "Give the model that it was written with"
            ) from error
        self.average = [tensor.to(device) for tensor in state["average"]]
        held = state["replay"]
        self.replay.held = None if held is None else Rollouts.load(held, device)
        self.generator.set_state(state["generator"])
        self.history, self.base = state["history"], state["base"]
        self.rollouts, self.turns, self.moves = state["counts"]
        self.rate = state["rate"]
        self.cooled = state.get("cooled", 0.0)  # which older checkpoints do not say


def learn(
    judge: LanguageQ,
    reference: LanguageModel,
    prompts: list[Tensor],
    reward: RewardOf,
    options: LearningOptions,
    *,
    steps: int,
    base_rate: float | None,
    checkpoint: str | Path | None,
    resume: bool,
    on_step: Callable[[dict[str, float]], None] | None,
    progress: bool,
    generator: Generator | None,
) -> LanguageReport:
    """Runs :meth:`LanguageQ.fit`, whose arguments these are.

    Raises:
        ParameterError: If a setting is out of range.
        FileError: If the checkpoint cannot be used.
    """
    _check(steps, base_rate, judge.temperature, on_step, generator)
    check_flag("resume", resume)
    with _evaluating(judge):
        learner = Learner(judge, reference, prompts, reward, options, steps, generator)
        path = None if checkpoint is None else Path(checkpoint)
        identity = {} if path is None else learner.identity()
        if path is not None and path.exists():
            if not resume:
                raise FileError(
                    "the checkpoint is there already",
                    "Go on from it with resume=True, or choose another path",
                    operation=f"writing {path}",
                )
            learner.load(read_checkpoint(path, identity))
        else:
            learner.begin()
        rate = learner.base_rate(base_rate)
        stopped = "all steps"
        try:
            with (
                progress_bar(steps, shown=check_flag("progress", progress)) as show,
                interrupts() as stop,
            ):
                while len(learner.history) < steps:
                    if stop.is_set():
                        stopped = "interrupted"
                        break
                    row = learner.step(rate)
                    show(len(learner.history), summary(learner.history))
                    if path is not None and len(learner.history) % WRITE_EVERY == 0:
                        write_checkpoint(path, identity, learner.state())
                    if on_step is not None:
                        on_step(row)
            if path is not None:
                write_checkpoint(path, identity, learner.state())
        finally:
            learner.finish()
    best = None if rate is None else optimum(rate, judge.temperature)[1]
    return LanguageReport(learner.history, rate, best, stopped)


def first_rate(model: LanguageModel) -> float:
    """Computes a learning rate for Adam to begin with: the less the wider the model is.

    Examples:
        >>> from isinglass.language.language_model import CallableModel
        >>> wide = nn.Sequential(nn.Embedding(9, 64), nn.Linear(64, 64), nn.Linear(64, 9))
        >>> first_rate(CallableModel(wide))
        0.00015625
    """
    widths = sorted(p.shape[-1] for p in model.parameters() if p.ndim == 2)
    return 0.01 / widths[len(widths) // 2] if widths else 1e-4


def _learned(model: LanguageModel) -> list[nn.Parameter]:
    """The parameters that learn.

    Raises:
        ParameterError: If there are none, or they are of half precision.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ParameterError("a model without parameters that learn", "Give one that has some")
    for parameter in parameters:
        if parameter.dtype.itemsize < 4:
            raise ParameterError(
                f"parameters of {parameter.dtype}, in which small steps are lost",
                "Learn in float32: model.float(), and go back when it has learned",
            )
    return parameters


def _check(
    steps: int,
    base_rate: float | None,
    temperature: float,
    on_step: Callable[[dict[str, float]], None] | None,
    generator: Generator | None,
) -> None:
    check_count("steps", steps)
    check_generator(generator)
    if base_rate is not None:
        optimum(base_rate, temperature)
    if on_step is not None:
        check_takes("on_step", on_step, "the track of a step")


@contextmanager
def _evaluating(judge: LanguageQ) -> Iterator[None]:
    """Switches dropout off, as a policy must be the same when it draws and when it learns."""
    before = [(module, module.training) for module in judge.modules()]
    judge.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
