"""The way over the number of draws: from a mixture, drawn exactly, to m memories at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Generator, Tensor

from isinglass._support.validation import check_positive
from isinglass.core.path import AnnealingPath
from isinglass.distributions.pattern_mixture import PatternMixture
from isinglass.errors import IntractableError
from isinglass.units._multinomial import draw_counts

if TYPE_CHECKING:
    from isinglass.energies.layered.hopfield_boltzmann import HopfieldBoltzmann

__all__ = ["DrawCountPath", "one_draw"]


class DrawCountPath(AnnealingPath):
    r"""A one-group Hopfield–Boltzmann machine at 1 to M draws: T = 1/(tβ), t = 1 + λ(M − 1).

    At t = 1 the machine is a mixture, drawn exactly with a known Z. Between whole numbers,
    t = k + r, one draw counts for a part r of its own:

        p_t(v) ∝ [Σ_μ exp(β(c_μ + x_μ·v))]^k [Σ_μ exp(rβ(c_μ + x_μ·v))] exp(tβ(b·v − U(v)))

    Its conditionals are as exact as those of whole t: look k memories up at β and one at rβ, then
    draw v in the field of their weighted average at T = 1/(tβ). So levels can be as close as is
    wanted, and a ladder over m = 1, 2, … M is ``torch.linspace(0, 1, M)``.

    Reference: Hukushima & Nemoto 1996, doi:10.1143/JPSJ.65.1604 (exchange over temperatures).

    Args:
        machine: One group.
        temperature: T = 1/(Mβ); None is the machine's own.

    Raises:
        IntractableError: If the machine has several groups.
        ParameterError: If the temperature is not 1/(Mβ) for a whole M.

    Examples:
        >>> import isinglass as ig
        >>> machine = ig.HopfieldBoltzmann(ig.Spin(6), memories=3, draws=4)
        >>> path = machine.path()
        >>> state = path.draw_base(5, torch.Generator().manual_seed(0))
        >>> path.log_weight(state, torch.linspace(0, 1, 5)).shape
        torch.Size([5])
    """

    reversible: ClassVar[bool] = True

    def __init__(self, machine: HopfieldBoltzmann, temperature: float | None = None) -> None:
        if machine.groups != 1:
            raise IntractableError(
                f"{machine.groups} groups, of which one draw each is no mixture",
                "Scale the couplings instead: machine.path()",
            )
        self.machine = machine
        temperature = machine.temperature if temperature is None else temperature
        for layer in machine.layers:
            layer.check_temperature(check_positive("temperature", temperature))
        self.draws = round(1 / (machine.beta * temperature))

    @property
    def base_log_partition(self) -> Tensor:
        """log Z of the mixture."""
        return one_draw(self.machine).value().detach().double().cpu() * self.machine.beta

    def draw_base(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draws a memory, then every visible unit; the state says which memory it was."""
        visible = one_draw(self.machine).sample_n(count, generator)
        attention = torch.softmax(self.machine.beta * self._scores(visible), -1)
        return torch.cat([visible, draw_counts(attention, 1, generator).to(visible)], -1)

    def log_weight(self, state: Tensor, lambda_: Tensor) -> Tensor:
        """Computes log w_t(v), each row at its own t."""
        visible = self.machine.visible_part(state)
        return self._log_weight(visible, self._scores(visible), self._draws_at(lambda_))

    def transition(
        self, state: Tensor, lambda_: Tensor, generator: Generator | None = None
    ) -> Tensor:
        """Looks a memory up, then copies it."""
        visible = self.machine.visible_part(state)
        return self._move(self._scores(visible), lambda_, generator)

    def advance(
        self, state: Tensor, start: Tensor, end: Tensor, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns ratio and move, from the same scores."""
        visible = self.machine.visible_part(state)
        scores = self._scores(visible)
        after, before = (
            self._log_weight(visible, scores, self._draws_at(lambda_)) for lambda_ in (end, start)
        )
        return self._move(scores, end, generator), after - before

    def _draws_at(self, lambda_: Tensor) -> Tensor:
        """T of every row, to within rounding a whole number where it is one."""
        draws = 1 + lambda_.double() * (self.draws - 1)
        return torch.where((draws - draws.round()).abs() < 1e-9, draws.round(), draws)

    def _scores(self, visible: Tensor) -> Tensor:
        """Computes c_μ + x_μ·v, the scores of memories."""
        return self.machine.memory_bias + visible @ self.machine.patterns.mT

    def _log_weight(self, visible: Tensor, scores: Tensor, draws: Tensor) -> Tensor:
        beta, whole = self.machine.beta, draws.ceil() - 1
        part = (draws - whole).to(scores.dtype)
        one = torch.logsumexp(beta * scores, -1)
        # Less (1 − r) log N, so that weights rise without a step where another draw begins.
        rest = torch.logsumexp(beta * part.unsqueeze(-1) * scores, -1)
        rest = rest - (1 - part) * math.log(scores.shape[-1])
        own = _by_value(
            draws,
            lambda t, rows: self.machine.visible.base_measure_energy(visible[rows], 1 / (beta * t)),
        )
        bias = visible @ self.machine.visible_bias
        return whole.to(one.dtype) * one + rest + (beta * draws).to(one.dtype) * (bias - own)

    def _move(self, scores: Tensor, lambda_: Tensor, generator: Generator | None) -> Tensor:
        machine = self.machine

        def look_up_and_copy(draws: float, rows: Tensor) -> Tensor:
            whole = math.ceil(draws) - 1
            part, beta = draws - whole, machine.beta
            counts = part * draw_counts(torch.softmax(beta * part * scores[rows], -1), 1, generator)
            if whole:
                attention = torch.softmax(beta * scores[rows], -1)
                counts = counts + draw_counts(attention, whole, generator)
            average = (counts / draws).to(scores)
            field = average @ machine.patterns + machine.visible_bias
            visible = machine.visible.sample(field, 1 / (beta * draws), generator)
            return torch.cat([visible, average], -1)

        return _by_value(self._draws_at(lambda_), look_up_and_copy)


def one_draw(machine: HopfieldBoltzmann) -> PatternMixture:
    """Builds the one-group machine at T = 1/β, whatever its own number of draws."""
    fields = machine.patterns + machine.visible_bias
    return PatternMixture(machine.visible, machine.memory_bias, fields, 1 / machine.beta)


def _by_value(values: Tensor, call: Callable[[float, Tensor], Tensor]) -> Tensor:
    """A call for each distinct value, with the rows that have it; the results in place."""
    distinct, which = values.unique(return_inverse=True)
    order = which.argsort(stable=True)
    sizes = which.bincount(minlength=len(distinct)).tolist()
    found = [
        call(value, rows) for value, rows in zip(distinct.tolist(), order.split(sizes), strict=True)
    ]
    return torch.cat(found)[order.argsort()]
