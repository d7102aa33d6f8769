"""Whether chains have mixed: R-hat, effective sample sizes, autocorrelation, by way of arviz."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from isinglass._support.functions import check_takes
from isinglass._support.optional import require_extra
from isinglass._support.typing import Float
from isinglass._support.validation import check_count, check_finite, check_temperature, check_tensor
from isinglass.core.energy import Energy
from isinglass.core.kernel import Kernel, check_kernel
from isinglass.errors import ShapeError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Diagnosis", "diagnose", "record"]

#: What Vehtari et al. ask of chains that are to be trusted.
LARGEST_R_HAT, SMALLEST_SIZE = 1.01, 400
FEWEST_DRAWS = 4


@dataclass(frozen=True)
class Diagnosis:
    """How well chains have mixed, one number a quantity.

    Attributes:
        names: Of the quantities.
        draws: What was diagnosed, ``(draws, chains, quantities)``.
        mean: Mean over all draws.
        standard_error: Of the mean, with the draws' correlation (MCSE).
        r_hat: Rank-normalized split R-hat: 1 where chains agree; NaN where nothing moved
            or there is one chain only.
        bulk_size: Effective sample size of the bulk.
        tail_size: Effective sample size of the 5 % and 95 % quantiles, the smaller.
        autocorrelation: By lag, averaged over chains, ``(lags, quantities)``.

    Examples:
        >>> report = diagnose(torch.randn(500, 4, generator=torch.Generator().manual_seed(0)))
        >>> report.mixed, abs(report.mean[0]) < 5 * report.standard_error[0]
        (True, True)
    """

    names: tuple[str, ...]
    draws: Float[Tensor, "draws chains quantities"]
    mean: tuple[float, ...]
    standard_error: tuple[float, ...]
    r_hat: tuple[float, ...]
    bulk_size: tuple[float, ...]
    tail_size: tuple[float, ...]
    autocorrelation: Float[Tensor, "draws quantities"]

    @property
    def autocorrelation_time(self) -> tuple[float, ...]:
        """τ: how many draws are worth one independent draw."""
        total = self.draws.shape[0] * self.draws.shape[1]
        return tuple(total / size for size in self.bulk_size)

    @property
    def complaints(self) -> list[str]:
        """What is wrong, in words; empty if the chains have mixed."""
        found = []
        if self.draws.shape[1] == 1:
            found.append("R-hat needs two chains or more: one cannot tell whether it has mixed")
        apart = self.draws.amax((0, 1)) > self.draws.amin((0, 1))
        still = {name for name, moved in zip(self.names, apart.tolist(), strict=True) if not moved}
        for name, r_hat, bulk, tail in zip(
            self.names, self.r_hat, self.bulk_size, self.tail_size, strict=True
        ):
            if name in still:
                found.append(f"{name}: the draws do not vary, so nothing is known of mixing")
                continue
            if r_hat > LARGEST_R_HAT:
                found.append(f"{name}: chains disagree, R-hat {r_hat:.3f} > {LARGEST_R_HAT}")
            if not min(bulk, tail) >= SMALLEST_SIZE:
                found.append(
                    f"{name}: effective sample size {min(bulk, tail):.0f} < {SMALLEST_SIZE}"
                )
        return found

    @property
    def mixed(self) -> bool:
        """Whether every quantity has R-hat up to 1.01 and effective sample sizes from 400."""
        return not self.complaints

    def __str__(self) -> str:
        steps, chains = self.draws.shape[:2]
        lines = [
            f"{chains} chain{'s' * (chains > 1)} of {steps} draws: "
            + ("mixed" if self.mixed else "not mixed")
        ]
        for number, name in enumerate(self.names):
            lines.append(
                f"{name}: mean {self.mean[number]:.4g} ± {self.standard_error[number]:.2g}, R-hat "
                f"{self.r_hat[number]:.3f}, effective sample size {self.bulk_size[number]:.0f} "
                f"(tails {self.tail_size[number]:.0f})"
            )
        return "\n".join(lines + [f"! {line}" for line in self.complaints])

    def plot(self) -> Figure:
        """Traces of up to ten chains, and autocorrelation, a row a quantity.

        Raises:
            MissingExtraError: If matplotlib is not installed.
        """
        with require_extra("cli"):
            from matplotlib.figure import Figure
        figure = Figure(figsize=(7, 2.2 * len(self.names)), layout="constrained")
        rows = figure.subplots(len(self.names), 2, squeeze=False)
        for number, (name, (trace, lags)) in enumerate(zip(self.names, rows, strict=True)):
            trace.plot(self.draws[:, :10, number].cpu().numpy(), linewidth=0.6, alpha=0.7)
            trace.set(xlabel="draw", ylabel=name)
            shown = self.autocorrelation[:100, number].cpu().numpy()
            lags.bar(range(len(shown)), shown, width=1.0)
            lags.set(xlabel="lag", ylabel="autocorrelation")
        return figure


def diagnose(
    draws: Float[Tensor, "draws chains *quantities"], names: Sequence[str] | None = None
) -> Diagnosis:
    """Diagnoses chains of numbers, such as energies.

    Reference: Vehtari et al. 2021, doi:10.1214/20-BA1221.

    Args:
        draws: ``(draws, chains)`` or ``(draws, chains, quantities)``.
        names: Of the quantities; None is ``"energy"`` for one, else their numbers.

    Raises:
        ShapeError: If there are fewer than four draws, no chain, or a wrong number of names.
        DomainError: If a number is NaN or infinite.
        MissingExtraError: If arviz is not installed.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> report = diagnose(torch.randn(500, 4, generator=generator))
        >>> report.mixed, report.r_hat[0] < 1.01
        (True, True)
        >>> apart = torch.randn(500, 4, generator=generator) + torch.arange(4.0)
        >>> print(diagnose(apart).complaints[0].split(",")[0])
        energy: chains disagree
    """
    check_tensor("draws", draws)
    if draws.ndim not in (2, 3) or len(draws) < FEWEST_DRAWS or draws.numel() == 0:
        raise ShapeError(
            f"draws of shape {tuple(draws.shape)}",
            f"Give (draws, chains) or (draws, chains, quantities), at least {FEWEST_DRAWS} draws",
        )
    check_finite("the draws", draws)
    numbers = draws.detach().double().cpu().reshape(*draws.shape[:2], -1)
    count = numbers.shape[-1]
    if names is None:
        names = ("energy",) if count == 1 else tuple(str(number) for number in range(count))
    if len(names) != count:
        raise ShapeError(f"{len(names)} names of {count} quantities", "Name each once")
    arviz = _arviz()
    series = [numbers[..., number].mT.numpy() for number in range(count)]  # (chains, draws)

    def each(measure: Callable[..., Any], **how: str) -> tuple[float, ...]:
        return tuple(float(measure(chains, **how)) for chains in series)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of chains that do not move: R-hat is NaN, and said so
        return Diagnosis(
            tuple(names),
            numbers,
            tuple(numbers.mean((0, 1)).tolist()),
            each(arviz.mcse, method="mean"),
            each(arviz.rhat),
            each(arviz.ess, method="bulk"),
            each(arviz.ess, method="tail"),
            torch.stack(
                [torch.from_numpy(arviz.autocorr(chains, axis=-1)).mean(0) for chains in series], -1
            ),
        )


@torch.no_grad()
def record(
    kernel: Kernel,
    energy: Energy,
    state: Float[Tensor, "chains size"],
    *,
    steps: int,
    temperature: float,
    quantity: Callable[[Tensor], Tensor] | None = None,
    generator: Generator | None = None,
) -> Float[Tensor, "draws chains *quantities"]:
    """Runs chains and notes a number of every state, for :func:`diagnose`.

    Args:
        kernel: How to move.
        energy: What to move on.
        state: Where to start, one chain a row.
        steps: How many steps to take, each noted.
        temperature: T.
        quantity: What to note of states ``(chains, size)``; None is their energy.
        generator: Source of randomness; None is torch's global one.

    Raises:
        ParameterError: If ``steps`` or ``temperature`` is negative, ``kernel`` is no kernel, or
            ``quantity`` no function of states.
        DomainError: If the state is not one the energy is defined on.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Bernoulli(4), ig.Bernoulli(3))
        >>> start = rbm.extend(torch.zeros(8, 4))
        >>> record(ig.BlockGibbs(), rbm, start, steps=10, temperature=1.0).shape
        torch.Size([10, 8])
    """
    check_count("steps", steps)
    temperature = check_temperature(temperature)
    check_kernel(kernel)
    if quantity is not None:
        check_takes("quantity", quantity, "states")
    energy.check_state(state)
    kernel_state, noted = kernel.init(energy, state), []
    for _ in range(steps):
        kernel_state, _ = kernel.step(energy, kernel_state, temperature, generator)
        now = kernel_state.position
        noted.append(energy.energy_at(now, temperature) if quantity is None else quantity(now))
    return torch.stack(noted)


def _arviz() -> ModuleType:
    """The package, without what it has to say of its own future."""
    with require_extra("diagnostics"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import arviz
    return arviz
