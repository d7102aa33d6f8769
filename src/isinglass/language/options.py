"""How a step of learning is made."""

from __future__ import annotations

from dataclasses import dataclass

from isinglass._support.validation import (
    check_choice,
    check_count,
    check_fraction,
    check_positive,
)
from isinglass.errors import ParameterError

__all__ = ["LearningOptions"]


@dataclass(frozen=True)
class LearningOptions:
    """Settings of a step of :meth:`LanguageQ.fit`.

    Args:
        residual: ``"trajectory"``, one square for each whole sequence, or ``"suffix"``, one for the
            rest of it after every token, with V from the model's own log-partition.
        batch: Sequences that are drawn in a step.
        max_tokens: How many tokens are chosen at most.
        replay: How many sequences are kept to be learned from again; 0 is none.
        replay_batch: How many of these are in a step of the optimizer.
        updates: Steps of the optimizer after each draw; the first is on what is new, the others are
            on what was kept.
        learning_rate: Of Adam at the beginning; it falls to a tenth at the last step. None is the
            one at which a step changes log π of a whole sequence by ``change`` nats, found on the
            way. A model that is random itself, as one that is heated, needs one: its noise would be
            taken for what a step changes.
        change: How far a step goes at the beginning, where ``learning_rate`` is None: the root of
            the mean square of the change of log π of the sequences that were just drawn, in nats.
        cooling: Share of the steps over which 1/T rises to what is wanted, so that the model
            follows the optimum from the reference on; 0 is none. It takes time on long sequences.
        average: Decay of a running average of the weights, which the model is left with.

    Raises:
        ParameterError: If a number is out of range.

    Examples:
        >>> LearningOptions(replay=0, updates=1).batch
        64
    """

    residual: str = "trajectory"
    batch: int = 64
    max_tokens: int = 48
    replay: int = 4096
    replay_batch: int = 64
    updates: int = 6
    learning_rate: float | None = None
    change: float = 0.5
    cooling: float = 0.0
    average: float = 0.95

    def __post_init__(self) -> None:
        check_choice("residual", self.residual, ("trajectory", "suffix"))
        check_count("batch", self.batch, 2)
        check_count("max_tokens", self.max_tokens)
        check_count("replay", self.replay, 0)
        check_count("replay_batch", self.replay_batch, 2)
        check_count("updates", self.updates)
        if self.learning_rate is not None:
            check_positive("learning_rate", self.learning_rate)
        check_positive("change", self.change)
        check_fraction("cooling", self.cooling)
        if check_fraction("average", self.average) == 1:
            raise ParameterError("average = 1, which would never move", "Give less, such as 0.95")
