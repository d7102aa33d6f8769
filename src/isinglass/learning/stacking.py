"""Fits mixtures of several kinds side by side, weighted by the cells that they did not see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass.distributions.covariance_mixture import Expectation
from isinglass.distributions.mixed_rows import MixedRows
from isinglass.distributions.mixture_stack import MixtureStack, StackMember, transformed
from isinglass.distributions.yeo_johnson import YeoJohnson
from isinglass.learning.covariance_em import CovariancePrior, covariance_em, covariance_start
from isinglass.learning.em import EMReport
from isinglass.learning.robust import RobustStatistics
from isinglass.learning.screen import Screen

__all__ = [
    "NAMES_STACK",
    "STACK",
    "Recipe",
    "StackReport",
    "StackSettings",
    "fit_screened_stack",
    "fit_stack",
    "hide_cells",
    "refit_stack",
    "stack_weights",
]


@dataclass(frozen=True)
class Recipe:
    """What a member of a stack is to be.

    Args:
        kind: "spherical", "diag", "tied" or "full".
        memories: K.
        transformed: Whether its numbers are transformed by Yeo–Johnson.

    Examples:
        >>> Recipe("full", 3)
        Recipe(kind='full', memories=3, transformed=True)
    """

    kind: str
    memories: int
    transformed: bool = True

    def __str__(self) -> str:
        """Returns the kind, the number of memories, and whether columns stay as they are."""
        return f"{self.kind} {self.memories}{'' if self.transformed else ', plain'}"


#: The stack of tables with numbers.
STACK = (
    Recipe("full", 1), Recipe("full", 1, False),
    Recipe("full", 2), Recipe("full", 3), Recipe("full", 5), Recipe("full", 8), Recipe("full", 12),
    Recipe("full", 3, False), Recipe("full", 8, False),
    Recipe("tied", 20), Recipe("diag", 12),
)  # fmt: skip
#: The stack of tables of names alone.
NAMES_STACK = tuple(Recipe("diag", count, False) for count in (1, 2, 3, 5, 8, 12, 20, 40))
#: What is fitted to see whether a screen helps.
PROBES = (Recipe("full", 1), Recipe("full", 5))
#: Share of flagged cells below which a screen is not tried …
FLAGGED = 0.005
#: … the loss it has to come down to …
GAIN = 0.97
#: … of errors in spreads of the column, none counted as more than …
LARGEST_LOSS = 3.0
#: … and the rows it takes.
FEWEST_SCREENED = 20
#: Share of the known cells that are hidden to find the weights.
HIDDEN = 0.15
#: A member loses at most so many nats a row against the best.
WORST = 8.0
#: Members of less weight are left out, but for the one of fewest memories.
LEAST_WEIGHT = 0.01
#: Rows that the weights are found from at most.
ENOUGH = 3000
#: How many times the tolerance is larger where only weights are sought.
ROUGH = 10.0
#: Steps of EM for the weights.
STEPS = 200


@dataclass(frozen=True)
class StackReport:
    """Report of the fit of a stack.

    Attributes:
        recipes: What each member is.
        held_out: Mean log p of hidden cells given the others of the row, by recipe, in nats.
        curve: Mean log p of the rows' known cells before each step of the last fit, of the members
            by weight, and at its end, of the stack.
        steps: Steps of EM of the member that took most, in the last fit.
        converged: Whether the last fit of every member has converged.

    Examples:
        >>> StackReport((Recipe("full", 1),), {}, [-2.0, -1.0], 5, True).steps
        5
    """

    recipes: tuple[Recipe, ...]
    held_out: dict[Recipe, float]
    curve: list[float]
    steps: int
    converged: bool


@dataclass(frozen=True)
class StackSettings:
    """How the members of a stack are fitted.

    Args:
        steps: Most steps of EM of a member.
        tolerance: Rise of the mean log-likelihood below which it has converged, in nats a row.
        floor: Least variance of a memory, as a share of the column's.
        counts: Imagined rows that each memory is given.
        starts: How many starts each member has; the likeliest stays.

    Examples:
        >>> StackSettings(steps=50).floor
        0.001
    """

    steps: int = 200
    tolerance: float = 1e-4
    floor: float = 1e-3
    counts: float = 1.0
    starts: int = 1


def fit_stack(
    rows: MixedRows,
    widths: tuple[int, ...] = (),
    recipes: Sequence[Recipe] = STACK,
    *,
    generator: Generator,
    settings: StackSettings | None = None,
    show: Callable[[str], object] = lambda _: None,
) -> tuple[MixtureStack, StackReport]:
    r"""Fits mixtures of several kinds and weighs them by cells that were hidden from them.

        w = argmax Σ_n log Σ_m w_m p_m(hidden_n | seen_n),     p(x) = Σ_m w_m p_m(x)

    15 % of the known cells are hidden once; members are fitted to the others, weights by EM to the
    hidden ones, no member losing more than eight nats a row against the best; then the members
    are fitted to all cells.

    Reference: Smyth & Wolpert 1999, doi:10.1023/A:1007511322260.

    Args:
        rows: The data.
        widths: The number of categories of each column of names.
        recipes: What the members are to be; those of more memories than a fifth of the rows are
            left out.
        generator: Source of randomness.
        settings: How members are fitted.
        show: Told how far it is.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> line = torch.randn(100, 1, generator=generator).double().expand(-1, 3)
        >>> rows = MixedRows.of(line + 0.1 * torch.randn(100, 3, generator=generator).double())
        >>> stack, report = fit_stack(rows, generator=generator)
        >>> torn = MixedRows.of(torch.tensor([[1.0, torch.nan, 1.0]]).double())
        >>> stack.means(torn)[0].round()
        tensor([[1., 1., 1.]], dtype=torch.float64)
    """
    return _fitted_stack(
        Fitter(rows, widths, generator, settings or StackSettings(), show), recipes
    )


def _fitted_stack(fitter: Fitter, recipes: Sequence[Recipe]) -> tuple[MixtureStack, StackReport]:
    """Fits and weighs the members, and fits them again to all cells."""
    rows = fitter.rows
    chosen = [r for r in dict.fromkeys(recipes) if r.memories <= max(1, len(rows) // 5)]
    if len(chosen) > 1 and fitter.transform(True).plain:  # both are the same
        chosen = [r for r in chosen if r.transformed or Recipe(r.kind, r.memories) not in chosen]
    if len(chosen) == 1:
        return _refitted(fitter, rows.numbers.new_zeros(1), tuple(chosen), [None])
    weights, members, held_out = _weighed(fitter, chosen)
    # The broadest stays: under narrow ones alone a row unlike all others has no density.
    broadest = min(range(len(chosen)), key=lambda n: chosen[n].memories)
    weights[broadest] = weights[broadest].clamp_min(LEAST_WEIGHT)
    kept = [n for n, weight in enumerate(weights.tolist()) if weight >= LEAST_WEIGHT]
    weights = weights[kept] / weights[kept].sum()
    recipes = tuple(chosen[n] for n in kept)
    stack, report = _refitted(fitter, weights.log(), recipes, [members[n] for n in kept])
    return stack, replace(report, held_out=dict(zip(chosen, held_out, strict=True)))


def refit_stack(
    stack: MixtureStack,
    recipes: Sequence[Recipe],
    rows: MixedRows,
    *,
    generator: Generator,
    settings: StackSettings | None = None,
    show: Callable[[str], object] = lambda _: None,
) -> tuple[MixtureStack, StackReport]:
    """Goes on fitting the members of a stack, their weights and coordinates staying.

    Args:
        stack: The stack.
        recipes: What each of its members is.
        rows: The data.
        generator: Source of randomness.
        settings: How members are fitted.
        show: Told how far it is.
    """
    widths = stack.members[0].mixture.widths
    fitter = Fitter(rows, widths, generator, settings or StackSettings(), show)
    return _refitted(fitter, stack.log_weights, tuple(recipes), list(stack.members))


def _refitted(
    fitter: Fitter,
    log_weights: Tensor,
    recipes: tuple[Recipe, ...],
    members: Sequence[StackMember | None],
) -> tuple[MixtureStack, StackReport]:
    """Fits members to all rows, from where they were; None is from k-means."""
    pairs = [
        fitter.fit(recipe, fitter.rows, member)
        for recipe, member in zip(recipes, members, strict=True)
    ]
    stack = MixtureStack(log_weights, tuple(member for member, _ in pairs))
    curves = [report.log_likelihood for _, report in pairs]
    return stack, StackReport(
        recipes, {}, _curve(stack, fitter.rows, curves), max(map(len, curves)) - 1,
        all(report.converged for _, report in pairs),
    )  # fmt: skip


def _curve(stack: MixtureStack, rows: MixedRows, curves: list[list[float]]) -> list[float]:
    """Returns the members' mean log-likelihoods step by step, weighted, and last the stack's."""
    slopes = [float(member.log_slope(rows).mean()) for member in stack.members]
    weights = stack.log_weights.exp().tolist()
    longest = max(map(len, curves))
    found = [
        sum(
            weight * (curve[min(step, len(curve) - 1)] + slope)
            for weight, curve, slope in zip(weights, curves, slopes, strict=True)
        )
        for step in range(longest - 1)
    ]
    return [*found, float(stack.log_prob(rows).mean())]


def _weighed(
    fitter: Fitter, recipes: list[Recipe]
) -> tuple[Tensor, list[StackMember], list[float]]:
    """Fits members to rows of which cells are hidden, and weighs them by those."""
    rows = fitter.rows
    order = torch.randperm(len(rows), generator=fitter.generator)[:ENOUGH]
    whole = rows.take(order)
    seen = hide_cells(whole, HIDDEN, fitter.widths, generator=fitter.generator)
    members = [fitter.fit(recipe, seen, rough=True)[0] for recipe in recipes]
    scores = torch.stack([m.log_prob(whole) - m.log_prob(seen) for m in members], 1)
    return stack_weights(scores), members, scores.mean(0).tolist()


def hide_cells(
    rows: MixedRows, share: float, widths: tuple[int, ...] = (), *, generator: Generator
) -> MixedRows:
    """Hides a share of the known cells of rows, numbers and names.

    Args:
        rows: The rows.
        share: Of the cells.
        widths: The number of categories of each column of names.
        generator: Source of randomness.
    """
    kept = torch.rand(rows.known.shape, generator=generator) >= share
    found = rows.hidden(kept.to(rows.known.device))
    if not widths:
        return found
    stays = torch.rand(len(rows), len(widths), generator=generator) >= share
    mask = stays.repeat_interleave(torch.tensor(widths), 1).to(rows.names)
    return MixedRows(found.numbers, found.known, rows.names * mask)


def stack_weights(scores: Float[Tensor, "n M"]) -> Float[Tensor, " M"]:
    """Fits the weights w of Σ_n log Σ_m w_m exp(scores_nm) by EM.

    Args:
        scores: Log p of what was hidden of each row under each member.

    Examples:
        >>> stack_weights(torch.tensor([[0.0, -1.0], [0.0, -20.0]])).round(decimals=2)
        tensor([1., 0.])
    """
    away = (scores - scores.amax(1, keepdim=True)).clamp_min(-WORST).exp()
    weights = torch.full_like(scores[0], 1 / scores.shape[1])
    for _ in range(STEPS):
        parts = weights * away
        weights = (parts / parts.sum(1, keepdim=True)).mean(0)
    return weights


class Fitter:
    """Fits members of a stack to rows, all in the same coordinates.

    Args:
        rows: The rows that the coordinates are fitted to.
        widths: The number of categories of each column of names.
        generator: Source of randomness.
        settings: How members are fitted.
        show: Told how far it is.
    """

    def __init__(
        self,
        rows: MixedRows,
        widths: tuple[int, ...],
        generator: Generator,
        settings: StackSettings,
        show: Callable[[str], object],
    ) -> None:
        self.rows, self.widths, self.generator = rows, widths, generator
        self.settings, self.show = settings, show
        self._found: dict[bool, tuple[Tensor, Expectation]] = {}
        self._coordinates: dict[bool, YeoJohnson] = {}

    def transform(self, yeo_johnson: bool) -> YeoJohnson:
        """Returns Yeo–Johnson's transform, or the identity, of robustly scaled columns."""
        if not self._coordinates:
            part = self.rows
            if len(part) > ENOUGH:
                part = part.take(torch.randperm(len(part), generator=self.generator)[:ENOUGH])
            robust = RobustStatistics.of(part.numbers, part.known)
            spread = torch.where(robust.spread > 0, robust.spread, 1.0)
            self._coordinates[False] = YeoJohnson.identity(robust.center, spread)
            self._part = part
        if yeo_johnson and True not in self._coordinates:
            plain, part = self._coordinates[False], self._part
            self._coordinates[True] = YeoJohnson.of(
                part.numbers, part.known, plain.center, plain.spread
            )
        return self._coordinates[yeo_johnson]

    def fit(
        self,
        recipe: Recipe,
        rows: MixedRows,
        start: StackMember | None = None,
        *,
        rough: bool = False,
    ) -> tuple[StackMember, EMReport]:
        """Fits a member by EM, from k-means or from where another ended; roughly if so told."""
        settings = self.settings
        transform = self.transform(recipe.transformed) if start is None else start.transform
        inside = transformed(transform, rows)
        prior = CovariancePrior.of(
            inside, self.widths, floor=settings.floor, counts=settings.counts
        )
        starts = [start.mixture] if start is not None else [
            covariance_start(
                inside, recipe.memories, recipe.kind, prior, self.widths,
                filled=self._filled(recipe, inside, prior), generator=self.generator,
            )
            for _ in range(settings.starts if recipe.memories > 1 else 1)
        ]  # fmt: skip
        tolerance = settings.tolerance * (ROUGH if rough else 1)
        fits = [
            covariance_em(
                mixture, inside, recipe.kind, prior, steps=settings.steps, tolerance=tolerance
            )
            for mixture in starts
        ]
        mixture, report = max(fits, key=lambda fit: fit[1].log_likelihood[-1])
        self.show(f"{recipe.kind} {recipe.memories}, {report.log_likelihood[-1]:.4g} nats a row")
        return StackMember(transform, mixture), report

    def _filled(
        self, recipe: Recipe, inside: MixedRows, prior: CovariancePrior
    ) -> Expectation | None:
        """Returns what one memory of full covariance says of gaps, found once for all members."""
        if bool(inside.known.all()) or recipe.memories == 1:
            return None
        known, found = self._found.get(recipe.transformed, (None, None))
        if known is None or not torch.equal(known, inside.known):
            start = covariance_start(
                inside, 1, "full", prior, self.widths, generator=self.generator
            )
            one, _ = covariance_em(
                start, inside, "full", prior, steps=self.settings.steps,
                tolerance=ROUGH * self.settings.tolerance,
            )  # fmt: skip
            found = one.expect(inside)
            self._found[recipe.transformed] = inside.known, found
        return found


def fit_screened_stack(
    rows: MixedRows,
    widths: tuple[int, ...] = (),
    recipes: Sequence[Recipe] = STACK,
    *,
    generator: Generator,
    settings: StackSettings | None = None,
    show: Callable[[str], object] = lambda _: None,
) -> tuple[MixtureStack, Screen | None, StackReport]:
    """Fits a stack, without cells that the rest of their row contradicts where that helps.

    Cells are screened only where more than 0.5 % of them are flagged, and cells that were hidden
    are predicted better by at least 3 % if those are not learned from.

    Arguments are those of :func:`fit_stack`.

    Returns:
        The stack, the screen or None, and the report.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> line = torch.randn(100, 1, generator=generator).double().expand(-1, 3)
        >>> rows = MixedRows.of(line + 0.1 * torch.randn(100, 3, generator=generator).double())
        >>> fit_screened_stack(rows, generator=generator)[1] is None
        True
    """
    fitter = Fitter(rows, widths, generator, settings or StackSettings(), show)
    screen = _screen(fitter)
    if screen is not None:
        fitter.rows = rows.hidden(~screen.flags(rows))
    stack, report = _fitted_stack(fitter, recipes)
    return stack, screen, report


def _screen(fitter: Fitter) -> Screen | None:
    """Returns a screen if it helps to predict hidden cells."""
    rows, generator = fitter.rows, fitter.generator
    if rows.numbers.shape[1] < 2 or len(rows) < FEWEST_SCREENED:
        return None
    transform = fitter.transform(True)
    part = rows.take(torch.randperm(len(rows), generator=generator)[:ENOUGH])
    screen = Screen.of(part, transform, generator=generator)
    if int(screen.flags(part).sum()) <= FLAGGED * int(part.known.sum()):
        return None
    seen = hide_cells(part, HIDDEN, fitter.widths, generator=generator)
    hidden = part.known & ~seen.known
    other = Screen.of(seen, transform, generator=generator)
    losses = []
    for view in (seen, seen.hidden(~other.flags(seen))):
        stack, _ = fit_stack(
            view, fitter.widths, PROBES, generator=generator, settings=fitter.settings
        )
        away = (stack.means(view)[0] - part.numbers) / transform.spread
        losses.append(float(away[hidden].abs().clamp_max(LARGEST_LOSS).mean()))
    return screen if losses[1] < GAIN * losses[0] else None
