"""What is squared: how far a model is from Bellman's equation along whole sequences."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isinglass._support.precision import at_least_single
from isinglass._support.typing import Bool, Float, Int
from isinglass.language.language_model import LanguageModel
from isinglass.language.sequences import Sequences

__all__ = ["Scores", "score", "suffix_loss", "trajectory_loss"]


@dataclass(frozen=True)
class Scores:
    """What a model says of sequences, one number for each token after the first.

    Args:
        log_p: log π of each chosen token, 0 where none was chosen.
        partition: log Σ_a e^{logit} before each token.

    Examples:
        >>> Scores(torch.zeros(2, 3), torch.zeros(2, 3)).log_p.shape
        torch.Size([2, 3])
    """

    log_p: Float[Tensor, "rows steps"]
    partition: Float[Tensor, "rows steps"]


def score(model: LanguageModel, sequences: Sequences) -> Scores:
    """Computes log π of every chosen token in one pass over the sequences."""
    logits = at_least_single(model(sequences.tokens[:, :-1]))
    partition = logits.logsumexp(-1)
    chosen = logits.gather(-1, sequences.tokens[:, 1:, None])[..., 0]
    return Scores((chosen - partition).masked_fill(~sequences.chosen, 0.0), partition)


def trajectory_loss(
    log_ratio: Float[Tensor, "rows steps"],
    rewards: Float[Tensor, " rows"],
    groups: Int[Tensor, " rows"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Computes the mean of (V₀ + T Σ log π/π_ref − R)², V₀ the best one for each prompt.

    Args:
        log_ratio: log π/π_ref of each chosen token.
        rewards: R.
        groups: Which prompt a row has.
        temperature: T.

    Examples:
        >>> two = torch.tensor([[0.0], [0.0]])
        >>> float(trajectory_loss(two, torch.tensor([0.0, 2.0]), torch.tensor([0, 0]), 1.0))
        1.0
    """
    gap = rewards - temperature * log_ratio.sum(1)
    return (gap - group_means(gap.detach(), groups)).square().mean()


def group_means(values: Float[Tensor, " rows"], groups: Int[Tensor, " rows"]) -> Tensor:
    """Computes, for each row, the mean of its group.

    Examples:
        >>> group_means(torch.tensor([1.0, 3.0, 7.0]), torch.tensor([0, 0, 4]))
        tensor([2., 2., 7.])
    """
    _, which, count = groups.unique(return_inverse=True, return_counts=True)
    return values.new_zeros(len(count)).index_add(0, which, values)[which] / count[which]


def suffix_loss(
    log_ratio: Float[Tensor, "rows steps"],
    values: Float[Tensor, "rows steps"],
    rewards: Float[Tensor, " rows"],
    chosen: Bool[Tensor, "rows steps"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Computes the mean over all steps t of (V_t + T Σ_{≥t} log π/π_ref − R)².

    Args:
        log_ratio: log π/π_ref of each chosen token.
        values: V before each token.
        rewards: R, which comes at the end.
        chosen: Which tokens were chosen.
        temperature: T.

    Examples:
        >>> one = torch.ones(1, 2)
        >>> float(suffix_loss(one, one, torch.tensor([2.0]), one > 0, 1.0))
        0.5
    """
    rest = log_ratio.flip(1).cumsum(1).flip(1)
    gap = values + temperature * rest - rewards[:, None]
    return torch.where(chosen, gap, 0.0).square().sum() / chosen.sum()
