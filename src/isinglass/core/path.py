"""Annealing paths: distributions from one that is drawn exactly to the one that is wanted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_count

__all__ = ["AnnealingPath"]


class AnnealingPath(ABC):
    r"""Distributions p_λ(s) ∝ w_λ(s), 0 ≤ λ ≤ 1: p₀ is drawn exactly and log Z₀ is known.

    Annealed importance sampling walks it from λ = 0 to 1 and back; replica exchange keeps a
    replica at each of several levels and lets them trade places, so that what is drawn afresh at
    λ = 0 travels through to λ = 1. For layers of units joined by couplings

        log w_λ(s) = λ [Σ couplings and biases of the model] + (1 − λ) b₀·s − ΣU(s)   (all over T)

    so that only fields are scaled and U stays: every λ is normalizable if both ends are.

    λ is a tensor, one number a row: rows of one batch may stand at different λ. States are those
    that the energy's kernels move; hidden units may be summed out of the weights.
    :mod:`isinglass.testing` holds a path to what it promises here.

    Reference: Neal 2001, doi:10.1023/A:1008923215028; Swendsen & Wang 1986,
    doi:10.1103/PhysRevLett.57.2607.
    """

    #: Whether :meth:`transition` is in detailed balance with p_λ, summed over what the weights sum
    #: out. Then runs forward and back are each other's reversal and estimate log Z together.
    reversible: ClassVar[bool] = False

    @property
    @abstractmethod
    def base_log_partition(self) -> Tensor:
        """log Z₀ of the exact end, a tensor of no dimensions, in float64."""

    @abstractmethod
    def draw_base(self, count: int, generator: Generator | None = None) -> Float[Tensor, "n size"]:
        """Draws ``count`` exact independent states from p₀."""

    @abstractmethod
    def log_weight(
        self, state: Float[Tensor, "batch size"], lambda_: Float[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Computes log w_λ(s), each row at its own λ."""

    @abstractmethod
    def transition(
        self,
        state: Float[Tensor, "batch size"],
        lambda_: Float[Tensor, " batch"],
        generator: Generator | None = None,
    ) -> Float[Tensor, "batch size"]:
        """Moves every row by a Markov kernel that leaves its own p_λ unchanged."""

    def log_ratio(
        self,
        state: Float[Tensor, "batch size"],
        start: Float[Tensor, " batch"],
        end: Float[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """Computes log w_end(s) − log w_start(s); paths that share work override it."""
        return self.log_weight(state, end) - self.log_weight(state, start)

    def advance(
        self,
        state: Float[Tensor, "batch size"],
        start: Float[Tensor, " batch"],
        end: Float[Tensor, " batch"],
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, "batch size"], Float[Tensor, " batch"]]:
        """Moves every row at ``end``; returns with it the :meth:`log_ratio` of where it stood.

        A path whose ratio and transition begin with the same product computes it once here.
        """
        return self.transition(state, end, generator), self.log_ratio(state, start, end)

    def prepare(
        self, state: Float[Tensor, "batch size"], generator: Generator | None = None
    ) -> Float[Tensor, "batch size"]:
        """Turns a state of the energy, as ``extend`` may give it, into one that stands at λ = 1.

        Hidden units are drawn, if weights look at them; p₁ is left unchanged.
        """
        return state

    def levels(self, count: int) -> Float[Tensor, " levels"]:
        """Returns ``count`` values of λ from 0 to 1, evenly spaced, or as many as there are."""
        check_count("count", count, least=2)
        return torch.linspace(0.0, 1.0, count, dtype=torch.float64)
