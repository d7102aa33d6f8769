"""What an energy learns by unless told otherwise."""

from __future__ import annotations

from functools import singledispatch

from isinglass.core.energy import Energy
from isinglass.energies import DeepEnergy, HopfieldBoltzmann
from isinglass.learning.objectives.base import Objective
from isinglass.learning.objectives.contrastive_divergence import PersistentCD
from isinglass.learning.objectives.exact_likelihood import ExactGradient
from isinglass.learning.objectives.score_matching import DenoisingScoreMatching

__all__ = ["default_objective"]


@singledispatch
def default_objective(energy: Energy) -> Objective:  # noqa: ARG001 - dispatched on
    """Returns the objective that :func:`~isinglass.learning.fit` takes unless one is given.

    Persistent contrastive divergence, but for a :class:`~isinglass.HopfieldBoltzmann` of one
    group and one draw the exact gradient, and for a :class:`~isinglass.DeepEnergy` denoising
    score matching with noise of ⅕. An energy of your own says what suits it by
    ``default_objective.register``.

    Examples:
        >>> import isinglass as ig
        >>> default_objective(ig.RBM(ig.Bernoulli(4), ig.Bernoulli(2)))
        PersistentCD(steps=1, chains=100, kernel=None)
    """
    return PersistentCD()


@default_objective.register
def _(energy: HopfieldBoltzmann) -> Objective:
    return ExactGradient() if energy.groups == energy.draws == 1 else PersistentCD()


@default_objective.register
def _(_: DeepEnergy) -> Objective:
    return DenoisingScoreMatching(sigma=0.2)
