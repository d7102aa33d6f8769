"""Draws of whole sequences, many at a time, with keys and values kept."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from isinglass._support.precision import at_least_single
from isinglass._support.random import source
from isinglass._support.typing import Float
from isinglass.errors import DivergenceError
from isinglass.language.language_model import LanguageModel
from isinglass.language.sequences import Sequences, pad

__all__ = ["draw_sequences"]


@torch.no_grad()
def draw_sequences(
    model: LanguageModel,
    prompts: list[Tensor],
    end: int | None,
    max_tokens: int,
    generator: Generator | None,
    device: torch.device,
) -> tuple[Sequences, Float[Tensor, " rows"]]:
    """Draws a sequence after each prompt; computes log π of what was chosen.

    All rows begin at the first position: while a longer prompt is read, the rows of shorter ones
    choose already, so no row needs to be filled up on its left.

    Args:
        model: What is drawn from.
        prompts: Tokens of each row.
        end: The token that ends a sequence; None is none.
        max_tokens: How many are chosen at most.
        generator: Source of randomness.
        device: Where.

    Raises:
        DivergenceError: If the model gives logits that are no numbers.
    """
    tokens, starts = pad(prompts, device)
    first, longest = int(starts.min()), int(starts.max()) + max_tokens
    tokens = torch.nn.functional.pad(tokens, (0, longest - tokens.shape[1]))
    rows = torch.arange(len(tokens), device=device)
    running = torch.ones(len(tokens), dtype=torch.bool, device=device)
    stops, total = starts + max_tokens, torch.zeros(len(tokens), device=device)
    logits, past = model.begin(tokens[:, :first])
    for place in range(first, longest):
        log_p = at_least_single(logits).log_softmax(-1)
        token = _draw(log_p, generator)
        token = torch.where(place < starts, tokens[:, place], token)
        mine = running & (place >= starts)
        total = total.to(log_p.dtype) + torch.where(mine, log_p[rows, token], 0.0)
        tokens[:, place] = torch.where(mine | (place < starts), token, 0)
        if end is not None:
            over = mine & (token == end)
            stops = torch.where(over, place + 1, stops)
            running &= ~over
        running &= place + 1 < stops
        if place + 1 == longest or not bool(running.any()):
            break
        logits, past = model.extend(past, token)
    return Sequences(tokens[:, : int(stops.max())], starts, stops), total


def _draw(log_p: Tensor, generator: Generator | None) -> Tensor:
    """One token a row, by the race of exponential clocks."""
    if not bool(log_p.sum(-1).isnan().logical_not().all()):
        raise DivergenceError(
            "logits that are no numbers", "Learn more slowly, or in a wider dtype: model.float()"
        )
    uniform = torch.rand(log_p.shape, dtype=log_p.dtype, device=log_p.device, **source(generator))
    tiny = torch.finfo(log_p.dtype).tiny
    return (log_p - (-uniform.clamp_min(tiny).log()).log()).argmax(-1)
