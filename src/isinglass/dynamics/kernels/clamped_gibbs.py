"""Some units observed, the others drawn given them."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass._support.validation import (
    check_count,
    check_features,
    check_generator,
    check_like,
    check_observed,
    check_temperature,
    check_tensor,
)
from isinglass.core.capabilities import Clampable, as_trainable, require
from isinglass.core.energy import Energy
from isinglass.core.kernel import Kernel

__all__ = ["ClampedGibbs", "ClampedState", "impute"]


class ClampedState(NamedTuple):
    """The state, and which of its units are observed."""

    position: Tensor
    observed: Tensor


class ClampedGibbs(Kernel[ClampedState]):
    """Block Gibbs in which observed units keep the values they start with.

    Units of a layer are independent given the other layers, so that leaving some as they are is an
    exact step for the others: it leaves p(free | observed) ∝ exp(−E/T) unchanged.

    Reference: Ackley, Hinton & Sejnowski 1985, doi:10.1207/s15516709cog0901_7.

    Args:
        observed: True where a unit is observed, for all units of the energy, hidden ones too;
            one mask for all rows, or one for each.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Bernoulli(2), ig.Bernoulli(3))
        >>> kernel = ClampedGibbs(torch.tensor([True, False, False, False, False]))
        >>> start = torch.tensor([[1.0, 0, 0, 0, 0]]).repeat(50, 1)
        >>> found = ig.run(kernel, rbm, start, steps=5, temperature=1.0)
        >>> bool((found[:, 0] == 1).all()), found[:, 1].unique()
        (True, tensor([0., 1.]))
    """

    leaves_invariant: ClassVar[bool] = True
    monotone: ClassVar[bool] = True
    converges: ClassVar[bool] = True

    def __init__(self, observed: Bool[Tensor, "*rows size"]) -> None:
        check_tensor("an observed mask", observed)
        self.observed = observed

    def init(self, energy: Energy, state: Float[Tensor, "batch size"]) -> ClampedState:
        """Remembers what is observed of every row.

        Raises:
            ShapeError: If the mask is not boolean, or fits neither all rows nor each.
        """
        return ClampedState(state, check_observed(self.observed, state))

    def step(
        self,
        energy: Energy,
        kernel_state: ClampedState,
        temperature: float = 0.0,
        generator: Generator | None = None,
    ) -> tuple[ClampedState, dict[str, Tensor]]:
        """Takes one sweep over the units that are not observed.

        Raises:
            IntractableError: If the energy has no layers with exact conditionals.
            ParameterError: If the machine has no exact step at this temperature.
        """
        state, observed = kernel_state
        state = require(energy, Clampable).clamped_sweep(state, observed, temperature, generator)
        return ClampedState(state, observed), {}


@torch.no_grad()
def impute(
    energy: Energy,
    visible: Float[Tensor, "*batch d"],
    observed: Bool[Tensor, "*mask"],
    *,
    steps: int = 100,
    temperature: float | None = None,
    generator: Generator | None = None,
) -> Float[Tensor, "*batch d"]:
    """Draws the visible units that are not observed given those that are, by clamped block Gibbs.

    The draw follows p(v_free | v_observed) once the chain of each row has mixed. A
    :class:`~isinglass.HopfieldBoltzmann` of one group and one draw has ``conditional``, which
    needs no chain.

    Args:
        energy: A machine of units, such as an RBM or a DeepBoltzmann.
        visible: Visible states; where they are not observed they may be anything, NaN too.
        observed: True where a visible unit is observed; one mask for all rows, or one for each.
        steps: Sweeps over all units.
        temperature: T; None is the energy's own.
        generator: Source of randomness; None is torch's global one.

    Returns:
        Visible states, the observed units untouched.

    Raises:
        ShapeError: If state and mask do not fit, or the mask cuts through a one-hot unit.
        DomainError: If an observed value is not a state of its unit.
        ParameterError: If ``steps`` is not a whole number of at least one.
        IntractableError: If the energy has no layers with exact conditionals.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Bernoulli(2), ig.Bernoulli(1), scale=0.0)
        >>> rbm.weights[0].data += 8.0  # one hidden unit that joins the two
        >>> rbm.biases[1].data -= 8.0
        >>> rbm.biases[0].data -= 4.0
        >>> generator = torch.Generator().manual_seed(0)
        >>> cues = torch.tensor([[1.0, torch.nan], [0.0, torch.nan]]).repeat(100, 1)
        >>> drawn = impute(rbm, cues, ~cues.isnan(), generator=generator)
        >>> bool(((drawn[:, 0] == drawn[:, 1]).float().mean() > 0.9).all())
        True
    """
    check_count("steps", steps)
    check_generator(generator)
    clampable, view = require(energy, Clampable), as_trainable(energy)
    unit = energy.layers[0]
    check_features(visible, unit.size)
    check_like(visible, next(energy.parameters()), "visible states")
    unit.check_mask(observed)
    observed = check_observed(observed, visible)
    unit.check(visible, observed)
    state = view.extend(torch.where(observed, visible, 0.0))
    hidden = observed.new_zeros(*state.shape[:-1], state.shape[-1] - visible.shape[-1])
    mask = torch.cat([observed, hidden], -1)
    temperature = energy.temperature if temperature is None else check_temperature(temperature)
    for _ in range(steps):
        state = clampable.clamped_sweep(state, mask, temperature, generator)
    return view.visible_part(state)
