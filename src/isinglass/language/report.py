"""How a language model does by a reward, beside the best that could be done."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_positive
from isinglass.errors import ParameterError

__all__ = ["Evaluation", "LanguageReport", "evaluation", "optimum"]


def optimum(base_rate: float, temperature: float) -> tuple[float, float]:
    r"""Computes the best success and value that a reward of 0 or 1 allows.

        p* = p₀e^{1/T} / (1 − p₀ + p₀e^{1/T}),   V* = T log(1 − p₀ + p₀e^{1/T})

    of π* ∝ π_ref e^{R/T}, which makes E[R] − T·KL(π‖π_ref) = V* the greatest.

    Args:
        base_rate: p₀, the success of the reference.
        temperature: T.

    Returns:
        p* and V*.

    Raises:
        ParameterError: If p₀ is no probability or T not above zero.

    Examples:
        >>> p, value = optimum(0.05, 0.1)
        >>> round(p, 4), round(value, 4)
        (0.9991, 0.7005)
    """
    inverse = 1 / check_positive("temperature", temperature)
    if not 0 <= base_rate <= 1:
        raise ParameterError(f"base_rate = {base_rate}", "Give a probability, from 0 to 1")
    if base_rate == 0:
        return 0.0, 0.0
    odds = math.log(base_rate) + inverse
    rest = math.log1p(-base_rate) if base_rate < 1 else -math.inf
    top = max(odds, rest)
    total = top + math.log(math.exp(odds - top) + math.exp(rest - top))
    return math.exp(odds - total), temperature * total


@dataclass(frozen=True)
class Evaluation:
    """What was measured over sequences that a model drew.

    Attributes:
        reward: Mean of R; the success, where rewards are 0 or 1.
        reward_error: Its standard error.
        kl: Mean of log π/π_ref of whole sequences, in nats.
        objective: E[R] − T·KL.
        optimum: V*, if the base rate is known.
        rollouts: How many sequences were drawn.

    Examples:
        >>> one = Evaluation(reward=0.9, reward_error=0.01, kl=3.0, objective=0.6, optimum=0.7,
        ...                  rollouts=512)
        >>> print(one)
        reward 0.900 ± 0.010, KL 3.00 nats, E[R] − T·KL 0.600, 86 % of the optimum
    """

    reward: float
    reward_error: float
    kl: float
    objective: float
    optimum: float | None
    rollouts: int

    @property
    def share(self) -> float | None:
        """E[R] − T·KL as a share of V*; None if that is not known or 0."""
        return self.objective / self.optimum if self.optimum else None

    def __str__(self) -> str:
        share = "" if self.share is None else f", {100 * self.share:.0f} % of the optimum"
        return (
            f"reward {self.reward:.3f} ± {self.reward_error:.3f}, KL {self.kl:.2f} nats, "
            f"E[R] − T·KL {self.objective:.3f}{share}"
        )


def evaluation(
    rewards: Float[Tensor, " rows"],
    log_ratio: Float[Tensor, " rows"],
    temperature: float,
    base_rate: float | None,
) -> Evaluation:
    """Computes the means over sequences that a model drew.

    Args:
        rewards: R of each.
        log_ratio: log π/π_ref of each.
        temperature: T.
        base_rate: p₀, if known.

    Raises:
        ParameterError: If p₀ is given and rewards are not 0 or 1.
    """
    rewards, log_ratio = rewards.double(), log_ratio.double()
    best = None
    if base_rate is not None:
        if not is_binary(rewards):
            raise ParameterError(
                f"base_rate = {base_rate} for rewards that are not 0 or 1",
                "Leave it out: the optimum is known in closed form for those alone",
            )
        best = optimum(base_rate, temperature)[1]
    mean, kl = float(rewards.mean()), float(log_ratio.mean())
    error = float(rewards.std()) / math.sqrt(len(rewards)) if len(rewards) > 1 else math.nan
    return Evaluation(mean, error, kl, mean - temperature * kl, best, len(rewards))


def is_binary(rewards: Tensor) -> bool:
    """Tells whether all rewards are 0 or 1."""
    return bool(((rewards == 0) | (rewards == 1)).all())


@dataclass(frozen=True)
class LanguageReport:
    """How a run of :meth:`LanguageQ.fit` went.

    Attributes:
        history: One dictionary a step: ``"step"``, ``"rollouts"`` (so far, those of the reference
            before the first step among them), ``"reward"``, ``"kl"`` and ``"objective"`` (means of
            what was drawn in it), ``"share"`` of the optimum, where a base rate is known, and
            ``"loss"``.
        base_rate: p₀, as given, or as the reference's first draws had it; None if rewards are
            not 0 and 1.
        optimum: V* for it.
        stopped: ``"all steps"`` or ``"interrupted"``.

    Examples:
        >>> rows = [{"step": 1, "reward": 0.1}, {"step": 2, "reward": 0.3}]
        >>> report = LanguageReport(rows, base_rate=0.1, optimum=0.5, stopped="all steps")
        >>> report["reward"]
        [0.1, 0.3]
    """

    history: list[dict[str, float]]
    base_rate: float | None
    optimum: float | None
    stopped: str

    def __getitem__(self, name: str) -> list[float]:
        """Returns one quantity over the steps in which it was measured."""
        return [row[name] for row in self.history if name in row]

    def __str__(self) -> str:
        return f"{self.stopped}: {summary(self.history)}"


def summary(history: list[dict[str, float]]) -> str:
    """Returns the last step in words."""
    if not history:
        return "no step"
    row = history[-1]
    share = f", {100 * row['share']:.0f} % of the optimum" if "share" in row else ""
    return f"step {row['step']:.0f}, reward {row['reward']:.2f}, KL {row['kl']:.1f}{share}"
