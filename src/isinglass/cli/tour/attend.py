"""Attend: look m digits up by attention weight; many look-ups are a Transformer's head."""

from __future__ import annotations

import torch
from torch import Tensor

from isinglass._support.progress import Progress
from isinglass.cli.tour.chapter import (
    COLORS,
    Chapter,
    Drawing,
    Fact,
    new_figure,
    show_image,
)
from isinglass.cli.tour.remember import UPPER
from isinglass.data.digits import SIDE, load_digits
from isinglass.nn import stochastic_attention

DRAWS = [1, 4, 16, 64]
BETA = 30.0
REPEATS = 40

LEAD = """The slope of the energy is attention: one step of the modern memory is softmax(βXξ)ᵀX, a
head of a Transformer. At a temperature the head becomes a look-up: draw m stored digits by their
attention weight and average them. One draw is hard attention; as m grows the average becomes the
softmax, with an error that falls as 1/√m exactly as it should."""


def attend(progress: Progress, seed: int) -> Chapter:
    """Compares draws with softmax attention, and returns the chapter."""
    train, _, test = load_digits(seed)
    mean = train.images.mean(0)
    keys = torch.nn.functional.normalize(train.images - mean, dim=-1)
    seen = torch.where(UPPER, test.images[:100] - mean, 0.0)
    queries = torch.nn.functional.normalize(seen, dim=-1)
    values = train.images
    exact = stochastic_attention(queries, keys, values, beta=BETA)
    generator = torch.Generator().manual_seed(seed)

    errors, shown = [], []
    for number, draws in enumerate(DRAWS):
        progress(number / len(DRAWS), f"{draws} draws")
        many = torch.stack(
            [
                stochastic_attention(queries, keys, values, draws, beta=BETA, generator=generator)
                for _ in range(REPEATS)
            ]
        )
        errors.append(float((many - exact).square().mean().sqrt()))
        shown.append(many[0])
    weights = torch.softmax(BETA * queries @ keys.mT, -1)
    variance = (weights @ values.square() - exact.square()).clamp_min(0.0)
    theory = [float((variance.mean() / draws).sqrt()) for draws in DRAWS]

    chapter = Chapter("attend", "Attend: differentiate the energy", LEAD)
    chapter.pictures = [
        _images(torch.where(UPPER, test.images[:100], 0.0), shown, exact),
        _convergence(errors, theory),
    ]
    for draws, error, expected in zip(DRAWS, errors, theory, strict=True):
        chapter.facts.append(
            Fact(
                f"m = {draws}: error to softmax attention, in gray levels of 16",
                f"{error:.3f}",
                f"theory {expected:.3f}",
            )
        )
    progress(1.0, "done")
    return chapter


def _images(cues: Tensor, shown: list[Tensor], exact: Tensor) -> Drawing:
    """Draw queries and what attention returns for them."""
    columns = [cues, *shown, exact]
    titles = ["query", *[f"m = {draws}" for draws in DRAWS], "softmax"]
    figure = new_figure(7.2, 4.6)
    grid = figure.subplots(4, len(columns))
    for row in range(4):
        for column, images in enumerate(columns):
            edge = COLORS["own"] if column == len(columns) - 1 else None
            title = titles[column] if row == 0 else ""
            show_image(grid[row, column], images[row].reshape(SIDE, SIDE), title, edge)
    return Drawing(
        figure,
        "Test digits, their upper halves as queries over 1,097 training digits. One draw is a "
        "digit somebody wrote; sixty-four are nearly the softmax average.",
        "Four rows of images, from a sharp digit at one draw to a smooth one for the softmax.",
    )


def _convergence(errors: list[float], theory: list[float]) -> Drawing:
    """Draw the error against the number of draws, beside its expectation."""
    figure = new_figure(5.6, 3.0)
    axes = figure.add_subplot()
    axes.loglog(DRAWS, theory, "--", color=COLORS["other"], label="theory, √(Var/m)")
    axes.loglog(DRAWS, errors, "o", color=COLORS["own"], label="measured")
    axes.set_xticks(DRAWS, [str(draws) for draws in DRAWS])
    ticks = [0.25, 0.5, 1, 2]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("draws m")
    axes.set_ylabel("error, gray levels")
    axes.legend(frameon=False)
    return Drawing(
        figure,
        f"Root-mean-square distance from softmax attention over 100 queries and {REPEATS} repeats, "
        "beside the standard deviation that the multinomial distribution predicts.",
        "Measured points on a straight line that falls as the draws grow, on logarithmic axes.",
    )
