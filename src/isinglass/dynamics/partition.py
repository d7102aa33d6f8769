"""Partition functions: exact where they can be, else between annealing up and annealing down."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Generator, Tensor

from isinglass._support.functions import check_takes
from isinglass._support.progress import Progress, progress_bar
from isinglass._support.typing import Float
from isinglass._support.validation import (
    check_count,
    check_finite,
    check_generator,
    check_like,
    check_positive,
    check_rows,
)
from isinglass.core.capabilities import Annealable, Tractable, as_trainable, require
from isinglass.core.energy import Energy, check_energy
from isinglass.core.path import AnnealingPath
from isinglass.dynamics.annealing import PILOT_LEVELS, Annealed, anneal, even_schedule
from isinglass.dynamics.kernels.replica_exchange import ReplicaExchange
from isinglass.errors import IntractableError, NoOverlapError, ParameterError, ShapeError

__all__ = ["LogPartition", "PartitionStatus", "log_partition"]

#: Shares of the chains: below the first an effective sample size says nothing any more, below
#: the second not enough.
COLLAPSE, FEW = 0.03, 0.1
#: Of a pilot, below which its easy end is given up for another.
HOPELESS = 0.05
#: Share of the pilot's states that the other may leave out.
UNREACHED = 0.1
#: Standard errors by which a bracket is wider than the two estimates that it is between.
MARGIN = 3.0
#: Standard errors by which the two ways may differ.
APART = 4.0
ROUNDING = 1e-3  # nats
FEWEST_SAMPLES = 5
EXCHANGES = 100  # for the states that the way down starts from
MIXED = 0.1  # acceptance of the worst pair, below which those states are not trusted


class PartitionStatus(Enum):
    """What a log-partition function is worth."""

    EXACT = "exact"  #: A closed form, or a sum over all states.
    BRACKETED = "bracketed"  #: Between annealing up and annealing down.
    ESTIMATED = "estimated"  #: Annealed up only, or both ways with doubts, which are named.


@dataclass(frozen=True)
class LogPartition:
    """log Z, and how well it is known.

    Attributes:
        value: log Z, in nats.
        standard_error: Of ``value``, by theory, but no less than half of what lies between the two
            ways where there are doubts; 0 where exact.
        effective_sample_size: (Σw)²/Σw² of the weights, the smaller of the two ways where there are
            two; infinite where exact.
        bracket: Annealing up less three of its standard errors, and annealing down with three of
            its own added; infinite above where there is no way down.
        status: Exact, bracketed or estimated.
        chains: How many walked each way; 0 where exact.
        levels: At how many λ they stopped.
        up: log Z by annealing up, which errs low: its expectation is below log Z.
        down: log Z by annealing down, which errs high; infinite where there is no way down.
        doubts: Why it is an estimate only, in words.

    Examples:
        >>> print(LogPartition.exact(4.0))
        log Z = 4 (exact)
    """

    value: float
    standard_error: float
    effective_sample_size: float
    bracket: tuple[float, float]
    status: PartitionStatus
    chains: int = 0
    levels: int = 0
    up: float = math.nan
    down: float = math.nan
    doubts: tuple[str, ...] = ()

    @classmethod
    def exact(cls, value: float) -> LogPartition:
        """Builds the result of a sum without error."""
        bracket = (value, value)
        return cls(value, 0.0, math.inf, bracket, PartitionStatus.EXACT, up=value, down=value)

    def __str__(self) -> str:
        if self.status is PartitionStatus.EXACT:
            return f"log Z = {self.value:.10g} (exact)"
        low, high = self.bracket
        text = (
            f"log Z = {self.value:.3f} ± {self.standard_error:.3f} ({self.status.value}: "
            f"{low:.3f} to {high:.3f}), effective sample size "
            f"{self.effective_sample_size:.1f} of {self.chains}, {self.levels} levels"
        )
        return "\n".join([text, *(f"! {doubt}" for doubt in self.doubts)])


@torch.no_grad()
def log_partition(
    model: Energy,
    method: str = "auto",
    *,
    temperature: float | None = None,
    data: Float[Tensor, "n d"] | None = None,
    chains: int = 100,
    levels: int | None = None,
    samples: Float[Tensor, "m size"] | None = None,
    progress: Progress | None = None,
    generator: Generator | None = None,
) -> LogPartition:
    r"""Estimates log Z = log Σ_s exp(−E(s)/T), exactly or between two bounds.

    Annealed importance sampling walks chains up the energy's path, from exact draws at λ = 0 to
    the model at λ = 1. The mean of their weights is Z₁/Z₀, so that the log of the mean errs low.
    From states of the model down to λ = 0 the mean is Z₀/Z₁, and log Z errs high: between the two
    lies log Z. Both together give the value, by Bennett's acceptance ratio where the path's moves
    are reversible, else by their average. Levels are spaced by a pilot.

    The easy end leans to no mode of the model, so that walks reach them all. Only where a pilot
    from there is hopeless is it given the means of data, and only if walks from those means reach
    the pilot's states. Where the two ways contradict each other, or few walks count, the result is
    an estimate with ``doubts``, and its standard error is as large as they are.

    Reference: Neal 2001, doi:10.1023/A:1008923215028; Burda, Grosse & Salakhutdinov 2015,
    arXiv:1412.8566 (the way down); Bennett 1976, doi:10.1016/0021-9991(76)90078-4.

    Args:
        model: An energy that is :class:`~isinglass.core.Tractable` or
            :class:`~isinglass.core.Annealable`.
        method: ``"exact"``, ``"ais"``, or ``"auto"``, the first where it can be had.
        temperature: T > 0; None is the model's own.
        data: Visible states, ``(n, d)``, whose means the easy end may be given; None takes those
            of a pilot.
        chains: How many walk each way.
        levels: At how many λ they stop; None lets the pilot choose, 100 to 20,000.
        samples: States of the model for the way down, ``(m, size)``, five or more, as its kernels
            move them; None draws ``chains`` of them by replica exchange.
        progress: Called with the share done and what is being done; None shows a bar on terminals
            if rich is installed.
        generator: Source of randomness; None is torch's global one.

    Raises:
        NoOverlapError: If a few walks outweigh all others.
        IntractableError: If the method cannot be had, or Z is infinite.
        DomainError: If a parameter or a weight is NaN or infinite, or data or samples are no states
            of the model.
        ShapeError: If data or samples have the wrong number of rows or columns.
        ParameterError: If the method is unknown, the temperature not above zero, a count too
            small, or ``generator`` none.

    Examples:
        >>> import isinglass as ig
        >>> generator = torch.Generator().manual_seed(0)
        >>> rbm = ig.RBM(ig.Bernoulli(8), ig.Bernoulli(4), scale=1.0, generator=generator)
        >>> exact = log_partition(rbm)
        >>> found = log_partition(rbm, "ais", levels=200, generator=generator)
        >>> found.bracket[0] < exact.value < found.bracket[1]
        True
        >>> abs(found.value - exact.value) < 5 * found.standard_error
        True
    """
    check_energy(model)
    if not isinstance(method, str) or method not in ("auto", "exact", "ais"):
        raise ParameterError(f"method = {method!r}", "Use 'auto', 'exact' or 'ais'")
    temperature = model.temperature if temperature is None else temperature
    temperature = check_positive("temperature", temperature)
    check_count("chains", chains, least=2)
    if levels is not None:
        check_count("levels", levels, least=2)
    check_generator(generator)
    if progress is not None:
        remedy = "Give a function of the share done and a text, or None"
        if isinstance(progress, type):
            raise ParameterError(f"progress = {progress!r}", remedy)
        check_takes("progress", progress, "the share done", "a text", remedy=remedy)
    for name, parameter in model.named_parameters():
        check_finite(f"the parameter {name}", parameter)
    _check_states(model, data, samples)
    if method != "ais":
        try:
            exact = require(model, Tractable).exact_log_partition(temperature)
            return LogPartition.exact(float(exact))
        except IntractableError:
            if method == "exact":
                raise
    with progress_bar() if progress is None else nullcontext(progress) as tick:
        path = _path(model, temperature, data, chains, generator)
        return _anneal(model, temperature, path, chains, levels, samples, generator, tick)


def _anneal(
    model: Energy,
    temperature: float,
    path: AnnealingPath,
    chains: int,
    levels: int | None,
    samples: Tensor | None,
    generator: Generator | None,
    tick: Progress,
) -> LogPartition:
    """Up, and down if there are states to start from."""
    tick(0.03, "spacing the levels")
    schedule = even_schedule(path, levels, chains=chains, generator=generator)
    start = path.draw_base(chains, generator)
    up = _walk(path, start, schedule.levels, generator, tick, (0.1, "annealing up"))
    _refuse_collapse(_Mean.of(up.log_weights), chains)
    if samples is None:
        samples = _exchange(model, temperature, path, up, generator, tick)
    else:
        samples = path.prepare(samples, generator)
    down = None
    if samples is not None:
        ladder = schedule.levels.flip(0)
        down = _walk(path, samples, ladder, generator, tick, (0.6, "annealing down")).log_weights
    tick(1.0, "done")
    return _found(path, up.log_weights, down, len(schedule.levels))


def _check_states(model: Energy, data: Tensor | None, samples: Tensor | None) -> None:
    """Refuse data and samples that are no states of the model, or too few."""
    like = next(model.parameters(), None)
    for name, states, least in (("data", data, 1), ("samples", samples, FEWEST_SAMPLES)):
        if states is None:
            continue
        check_rows(states)
        if len(states) < least:
            raise ShapeError(f"{name} of shape {tuple(states.shape)}", f"Give {least} rows or more")
        if like is not None:
            check_like(states, like)
    if data is not None:
        as_trainable(model).check_visible(data)
    if samples is not None:
        model.check_state(samples)


@dataclass(frozen=True)
class _Mean:
    """The log of the mean of some weights, its standard error, and how many weights count."""

    value: float
    error: float
    size: float

    @classmethod
    def of(cls, log_weights: Tensor) -> _Mean:
        count = len(log_weights)
        # softmax takes out the largest: weights themselves are beyond floats from 709 nats on.
        size = float(torch.softmax(log_weights, 0).square().sum().reciprocal())
        error = math.sqrt(max(1 / size - 1 / count, 0.0))
        return cls(float(log_weights.logsumexp(0)) - math.log(count), error, size)


def _path(
    model: Energy,
    temperature: float,
    data: Tensor | None,
    chains: int,
    generator: Generator | None,
) -> AnnealingPath:
    """The path that leans to no mode, unless walks from the means of data do clearly better.

    Means of data are an easy end of little use where they lean to one mode of several: its walks
    agree with each other, and miss the rest.
    """
    annealable, view = require(model, Annealable), as_trainable(model)
    path = annealable.path(temperature)
    levels = path.levels(PILOT_LEVELS)
    pilot = anneal(path, path.draw_base(chains, generator), levels, generator)
    if _Mean.of(pilot.log_weights).size >= HOPELESS * chains:
        return path
    near = annealable.path(temperature, view.visible_part(pilot.state) if data is None else data)
    up = anneal(near, near.draw_base(chains, generator), levels, generator).log_weights
    down = anneal(near, near.prepare(pilot.state, generator), levels.flip(0), generator).log_weights
    # Of normal works the mean of −down is that of up plus their variance; from a mode that walks
    # up hardly reach, it is higher by −log P(reached).
    highest = up.mean() + up.var() + APART * up.std() + 1
    missed = float((-down > highest).double().mean())
    overlaps = _Mean.of(up).size >= COLLAPSE * chains
    return near if overlaps and missed < UNREACHED else path


def _walk(
    path: AnnealingPath,
    state: Tensor,
    levels: Tensor,
    generator: Generator | None,
    tick: Progress,
    stage: tuple[float, str],
) -> Annealed:
    """Anneal, and show it as four tenths of the work."""
    first, what = stage
    return anneal(
        path, state, levels, generator, lambda stop: tick(first + 0.4 * stop / len(levels), what)
    )


def _exchange(
    model: Energy,
    temperature: float,
    path: AnnealingPath,
    walked: Annealed,
    generator: Generator | None,
    tick: Progress,
) -> Tensor | None:
    """States of the model by replica exchange, from walks in proportion to their weights.

    None if the ladder of swaps has a gap.
    """
    tick(0.5, "exchanging replicas")
    kernel = ReplicaExchange.tune(model, temperature=temperature, path=path, generator=generator)
    # Resampled by weight, the walks are states of the model already, up to what few walks know;
    # exchange then forgets which of them were drawn twice.
    chosen = torch.softmax(walked.log_weights, 0).multinomial(
        len(walked.state), replacement=True, generator=generator
    )
    kernel_state, rates = kernel.init(model, walked.state[chosen]), []
    for _ in range(max(EXCHANGES, 5 * len(kernel.levels))):
        kernel_state, info = kernel.step(model, kernel_state, temperature, generator)
        rates.append(info["acceptance"].mean(0))
    worst = torch.stack(rates).mean(0).min()
    return kernel_state.position if float(worst) > MIXED else None


def _refuse_collapse(mean: _Mean, chains: int) -> None:
    if mean.size < COLLAPSE * chains:
        raise NoOverlapError(
            f"an effective sample size of {mean.size:.1f} of {chains} walks: the easy end of the "
            "path and the model do not overlap",
            "Give the model's data, more levels (levels=…) or, if few, more chains",
        )


def _found(path: AnnealingPath, up: Tensor, down: Tensor | None, levels: int) -> LogPartition:
    """What both ways say, or one."""
    base, rising = float(path.base_log_partition), _Mean.of(up)
    low = base + rising.value
    bottom = low - MARGIN * rising.error
    if down is None:
        doubts = ("there are no states to anneal down from: exchange has a gap",)
        return LogPartition(
            low, rising.error, rising.size, (bottom, math.inf), PartitionStatus.ESTIMATED,
            len(up), levels, low, math.inf, doubts,
        )  # fmt: skip
    falling = _Mean.of(down)
    high = base - falling.value
    top = high + MARGIN * falling.error
    if path.reversible:
        value, error = _acceptance_ratio(up, down)
    else:
        value = (rising.value - falling.value) / 2
        error = math.hypot(rising.error, falling.error) / 2
    size = min(rising.size, falling.size * len(up) / len(down))
    doubts = _doubts(len(up), size, high - low, math.hypot(rising.error, falling.error))
    if doubts:
        error = max(error, abs(high - low) / 2, rising.error, falling.error)
    return LogPartition(
        base + value, error, size, (min(bottom, top), max(bottom, top)),
        PartitionStatus.ESTIMATED if doubts else PartitionStatus.BRACKETED,
        len(up), levels, low, high, doubts,
    )  # fmt: skip


def _doubts(chains: int, size: float, gap: float, error: float) -> tuple[str, ...]:
    """Why both ways together are no bracket, in words."""
    found = []
    if size < FEW * chains:
        found.append(f"only {size:.1f} of {chains} walks count: give more levels")
    if abs(gap) > APART * error + ROUNDING:
        far = abs(gap) / error if error > 0 else math.inf  # weights that are all alike have none
        found.append(
            f"annealing down is {gap:+.3f} nats from annealing up, {far:.1f} standard "
            "errors: they start from different modes, or the samples are not the model's"
        )
    return tuple(found)


def _acceptance_ratio(up: Tensor, down: Tensor) -> tuple[float, float]:
    r"""log Z₁/Z₀ from log weights both ways, of least variance, and its standard error.

    Σ_up σ(u − x − M) = Σ_down σ(d + x + M),   M = log(#up/#down)
    """
    # The left side falls in x and the right side grows, so bisection cannot miss the root, where
    # Newton's step runs away on flat sigmoids. Works 50 nats off weigh e⁻⁵⁰; 100 halvings are
    # beyond what a double tells apart.
    offset = math.log(len(up) / len(down))
    both = torch.cat([up, -down])
    low, high = float(both.min()) - 50, float(both.max()) + 50
    for _ in range(100):
        middle = (low + high) / 2
        pulls_up = torch.sigmoid(up - middle - offset).sum()
        if bool(pulls_up > torch.sigmoid(down + middle + offset).sum()):
            low = middle
        else:
            high = middle
    shares = (torch.sigmoid(up - low - offset), torch.sigmoid(down + low + offset))
    variance = sum(
        float(share.var(correction=0) / share.mean().square()) / len(share) for share in shares
    )
    return low, math.sqrt(variance)
