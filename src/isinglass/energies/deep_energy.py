"""Any network as an energy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from isinglass._support.typing import Float
from isinglass._support.validation import (
    check_count,
    check_features,
    check_finite,
    check_like,
    check_positive,
    check_rows,
)
from isinglass.core.described import Described, as_it_is
from isinglass.core.kernel import check_kernel
from isinglass.dynamics import HMC, Kernel
from isinglass.dynamics.gaussian_path import GaussianPath
from isinglass.dynamics.kernels._described import describe_kernel, kernel_of
from isinglass.energies.sampling import Sampled
from isinglass.errors import ParameterError, ShapeError

__all__ = ["DeepEnergy"]


class DeepEnergy(Described, Sampled):
    r"""Any network f of real states as an energy: E(s) = ½|s|²/w² + f(s).

    The bowl keeps chains from running away: with it Z is finite for every f that falls no faster
    than linearly, as networks of ReLU, softplus or tanh do. Everything else follows from f by
    automatic differentiation: kernels that follow the gradient, learning by
    :class:`~isinglass.learning.DenoisingScoreMatching` or by contrast with samples, and
    log Z by annealing along :meth:`path`.

    Its module may be any code, which no file can name, so that it cannot be saved as it stands: a
    subclass that builds its own module and inherits :class:`isinglass.core.Serializable` can.

    Reference: Ngiam et al. 2011, "Learning deep energy models", ICML.

    Args:
        module: f, a module that maps ``(batch, size)`` to ``(batch,)`` or ``(batch, 1)``, each row
            by itself: in evaluation mode, if it has batch normalization.
        size: How many units a state has.
        width: w > 0, in units of the state; the default, 2, is twice the spread of standardized
            data. None leaves the bowl out: E = f, and a finite Z is your affair.
        sampler: What samples it unless another is named; None is :class:`HMC`. May be set anew,
            to what :meth:`~isinglass.dynamics.HMC.warm_up` gives. A state dict holds it, and a load
            restores it.

    Raises:
        ParameterError: If ``module`` is not a module, ``size`` no whole number above zero,
            ``width`` not above zero, or ``sampler`` not a kernel.

    Examples:
        >>> network = nn.Sequential(nn.Linear(2, 16), nn.Softplus(), nn.Linear(16, 1))
        >>> energy = DeepEnergy(network, 2)
        >>> import isinglass as ig
        >>> generator = torch.Generator().manual_seed(0)
        >>> chains = torch.randn(100, 2, generator=generator)
        >>> chains = ig.run(
        ...     energy.default_sampler(), energy, chains,
        ...     steps=20, temperature=1.0, generator=generator)
        >>> (energy(chains).mean() - energy(torch.zeros(8, 2)).mean()).backward()
        >>> network[0].weight.grad.shape
        torch.Size([16, 2])
    """

    adopts: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        "width": as_it_is,
        "sampler": kernel_of,
    }
    instead: ClassVar[Mapping[str, str]] = {
        "Serializable": "Its module may be any code, which no file can name: save its tensors with "
        "safetensors.torch.save_model(energy, path) and load_model them into one built anew; or "
        "subclass it, build the module in __init__, inherit isinglass.core.Serializable and give "
        "config()",
    }

    def __init__(
        self,
        module: nn.Module,
        size: int,
        *,
        width: float | None = 2.0,
        sampler: Kernel | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise ParameterError(f"a {type(module).__name__}", "Give a torch.nn.Module")
        self.module = module
        self.size = check_count("size", size)
        self.width = None if width is None else check_positive("width", width)
        if sampler is not None:
            check_kernel(sampler)
        self.sampler = HMC() if sampler is None else sampler

    def forward(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
        """Computes E(s) = ½|s|²/w² + f(s).

        Raises:
            ShapeError: If the module does not give one number a row.
        """
        found = self.module(state.reshape(-1, state.shape[-1]))
        rows = state.shape[:-1].numel()
        if found.shape not in ((rows,), (rows, 1)):
            raise ShapeError(
                f"{type(self.module).__name__} gave {tuple(found.shape)} for {rows} rows",
                "Let the module give one number a row: (batch,) or (batch, 1)",
            )
        energy = found.reshape(state.shape[:-1])
        if self.width is None:
            return energy
        return energy + state.square().sum(-1) / (2 * self.width**2)

    def check_state(self, state: Float[Tensor, "*batch size"]) -> None:
        """Refuses what is not a vector of finite numbers, of the module's dtype and device.

        Raises:
            ShapeError: If the number of features is wrong.
            DomainError: If a value is not finite, or dtype or device is not the module's.
        """
        check_features(state, self.size)
        check_finite("the state", state)
        if (parameter := next(self.parameters(), None)) is not None:
            check_like(state, parameter)

    def description(self) -> dict[str, Any]:
        """Returns w, the width of the bowl, and the sampler; the module keeps its own."""
        return {"width": self.width, "sampler": describe_kernel(self.sampler)}

    def default_sampler(self) -> Kernel:
        """Returns the sampler it was given, or HMC."""
        return self.sampler

    def path(
        self, temperature: float | None = None, data: Float[Tensor, "n size"] | None = None
    ) -> GaussianPath:
        """Returns the path from a Gaussian, with the data's mean and deviations or the bowl's own.

        Args:
            temperature: T > 0; None is 1.
            data: Real states, at least two; a unit that does not vary gets the bowl's deviation.

        Raises:
            ShapeError: If the data are not rows of states.
            DomainError: If they are not finite.
            ParameterError: If T is not above zero, or the sampler is neither HMC nor MALA.
        """
        temperature = self.temperature if temperature is None else temperature
        check_positive("temperature", temperature)
        like = next(self.parameters(), torch.zeros(())).detach()
        deviation = like.new_full((self.size,), (self.width or 1.0) * temperature**0.5)
        mean = torch.zeros_like(deviation)
        if data is not None:
            check_rows(data)
            self.check_state(data)
            mean, spread = data.mean(0), data.std(0, correction=0)
            deviation = spread.where(spread > 0, deviation)
        return GaussianPath(self, mean, deviation, temperature=temperature, kernel=self.sampler)
