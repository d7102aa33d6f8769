"""Rewards as users write them, checked once for each batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isinglass._support.functions import check_takes
from isinglass._support.typing import Float
from isinglass.errors import DomainError, ShapeError
from isinglass.language.sequences import Sequences

if TYPE_CHECKING:
    from isinglass.language.language_q import LanguageQ

__all__ = ["Reward", "RewardOf"]

#: Takes whole sequences, texts or lists of tokens, and gives a number for each.
Reward = Callable[[list[Any]], Any]


class RewardOf:
    """A reward, called with texts where there is a tokenizer and with tokens elsewhere.

    Args:
        reward: The function.
        judge: Whose sequences they are.

    Raises:
        ParameterError: If it cannot be called with sequences.
    """

    def __init__(self, reward: Reward, judge: LanguageQ) -> None:
        check_takes("reward", reward, "whole sequences, as a list")
        self.reward, self.judge = reward, judge

    def __call__(self, sequences: Sequences) -> Float[Tensor, " rows"]:
        """Computes R of each sequence.

        Raises:
            DomainError: If one is not a finite number.
            ShapeError: If there is not one a sequence.
        """
        judge = self.judge
        asked = sequences.lists() if judge.tokenizer is None else judge.texts(sequences)
        found = self.reward(asked)
        try:
            rewards = torch.as_tensor(found, dtype=torch.get_default_dtype()).detach()
        except (TypeError, ValueError, RuntimeError) as error:
            raise DomainError(
                f"rewards that are no numbers ({error})", "Give one number for each sequence"
            ) from error
        if rewards.shape != (len(sequences),):
            raise ShapeError(
                f"rewards of shape {tuple(rewards.shape)} for {len(sequences)} sequences",
                "Give one number for each: the function is called with a list of sequences",
            )
        if not bool(rewards.isfinite().all()):
            first = int((~rewards.isfinite()).nonzero()[0])
            raise DomainError(
                f"a reward of {float(rewards[first])} for {str(asked[first])[:80]!r}",
                "Give a finite number for every sequence, such as 0 where it cannot be judged",
            )
        return rewards.to(judge.device)
