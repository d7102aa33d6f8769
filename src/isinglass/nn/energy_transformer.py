"""A Transformer block that descends one energy of all its tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from isinglass._support.typing import Bool, Float
from isinglass._support.validation import (
    check_count,
    check_finite,
    check_flag,
    check_positive,
    values_visible,
)
from isinglass.core.described import Described, as_it_is
from isinglass.core.numbers import Numbered
from isinglass.nn.token_energy import EnergyLayerNorm, TokenEnergy
from isinglass.units import Unit

__all__ = ["Descent", "EnergyTransformerBlock"]


@dataclass(frozen=True)
class Descent:
    """What a block did to its tokens.

    In a causal block every token has an energy and a step size of its own: with one dimension
    more, that of the tokens.

    Attributes:
        tokens: The tokens after the last step.
        energies: E before the first step and after each, ``(steps + 1, *batch)``.
        step_sizes: α as it was taken by each set of tokens, ``(steps, *batch)``; zero where none
            lowered the energy.
        changes: What each step did to E, ``(steps, *batch)``: in a causal block while the tokens
            before stood still. None is above zero, but for rounding, unless ``halvings`` is None.

    Examples:
        >>> block = EnergyTransformerBlock(8, num_heads=2, memories=16, steps=3)
        >>> found = block.descend(torch.randn(2, 5, 8))
        >>> found.tokens.shape, found.energies.shape, found.step_sizes.shape
        (torch.Size([2, 5, 8]), torch.Size([4, 2]), torch.Size([3, 2]))
    """

    tokens: Float[Tensor, "*batch tokens dim"]
    energies: Float[Tensor, "times *each"]
    step_sizes: Float[Tensor, "steps *each"]
    changes: Float[Tensor, "steps *each"]


class _Taken(NamedTuple):
    """One step: where it led, its size, and what it did to E."""

    tokens: Tensor
    energy: Tensor
    slope: Tensor
    size: Tensor
    change: Tensor


class EnergyTransformerBlock(Numbered, Described, nn.Module):
    r"""A Transformer block whose forward pass descends an energy of its tokens.

        x ← x − α ∂E/∂g,   g = EnergyLayerNorm(x),   E = :class:`TokenEnergy`

    Since g is the slope of a convex function, E falls along τ dx/dt = −∂E/∂g. A step of finite
    size could raise it all the same: a set of tokens whose energy would rise takes half the step
    instead, up to ``halvings`` times, and else stays. So E never rises, to the bit as the energies
    that are reported are those compared. Each set has its own step, so its result does not depend,
    but for rounding, on the others of the batch. The slope is a closed form; training goes through
    the steps, their sizes taken as constants.

    A causal block, for language models, gives each token C an energy of its own in which the tokens
    before it stand still, and which has nothing of those that follow:

        E_C(g) = − β⁻¹ Σ_h log Σ_{B < C} exp(β K_h g_B · Q_h g)  −  A(Ξ g)
        x_C ← x_C − α_C ∂E_C/∂g_C

    All tokens step at once. E_C is concave in g, so a step of any size lowers it, and none is
    halved; where a token may look at itself it is not, and each token halves its own step. As the
    tokens before move too, E_C may be higher among them where they are then.

    Masks follow :func:`stochastic_attention`: ``mask`` is True where a token, a row, may look at
    another, ``(tokens, tokens)`` or with a batch. ``padding``, ``(*batch, tokens)``, is True where
    a token is none: it has no part in the energy and stays as it is.

    Reference: Hoover et al. 2023, arXiv:2302.07253; the energy of a token among those before it
    after Dehmamy et al. 2025, arXiv:2512.16762.

    Args:
        dim: D, features of a token.
        num_heads: H.
        head_dim: Y, features of keys and queries; None is D/H.
        memories: The hidden units of the Hopfield term; a number is that of ReLU units, None is 4D
            of them.
        beta: β > 0; None is 1/√Y.
        steps: How many steps a forward pass takes.
        step_size: α > 0.
        halvings: How often a step that would raise the energy is halved; None takes every step
            as it is, as in the paper, and the energy may rise.
        exclude_self: Whether a token may not look at itself, as in the paper.
        eps: ε of the normalization.
        causal: Whether every token has an energy of its own, among those before it.

    Raises:
        ParameterError: If a number is out of range.

    Examples:
        >>> block = EnergyTransformerBlock(8, num_heads=2, memories=16, steps=12)
        >>> tokens = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
        >>> found = block.descend(tokens)
        >>> found.tokens.shape, bool((found.energies.diff(dim=0) <= 0).all())
        (torch.Size([3, 5, 8]), True)
    """

    numbers: ClassVar[tuple[str, ...]] = ("steps", "step_size")
    adopts: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"halvings": as_it_is}

    def __init__(
        self,
        dim: int,
        num_heads: int,
        head_dim: int | None = None,
        memories: int | Unit | None = None,
        beta: float | None = None,
        *,
        steps: int = 12,
        step_size: float = 0.1,
        halvings: int | None = 8,
        exclude_self: bool = True,
        eps: float = 1e-5,
        causal: bool = False,
    ) -> None:
        super().__init__()
        check_count("dim", dim)
        check_count("num_heads", num_heads)
        self.steps = check_count("steps", steps)
        self.step_size = check_positive("step_size", step_size)
        self.halvings = None if halvings is None else check_count("halvings", halvings, 0)
        self.causal = check_flag("causal", causal)
        self.norm = EnergyLayerNorm(dim, eps)
        self.token_energy = TokenEnergy(
            dim, num_heads, max(1, dim // num_heads) if head_dim is None else head_dim,
            4 * dim if memories is None else memories, beta=beta, exclude_self=exclude_self,
        )  # fmt: skip

    def description(self) -> dict[str, Any]:
        """Returns how often a step may be halved and what a token sees, for the state dict."""
        return {"halvings": self.halvings, "causal": self.causal}

    def forward(
        self,
        tokens: Float[Tensor, "*batch tokens dim"],
        mask: Bool[Tensor, "..."] | None = None,
        padding: Bool[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "*batch tokens dim"]:
        """Returns the tokens after all steps; arguments and errors as for :meth:`descend`."""
        if not (self.causal and self._free):
            return self.descend(tokens, mask, padding).tokens
        given, tokens = tokens, self._check_tokens(tokens, mask, padding)
        for _ in range(self.steps):  # nothing is compared
            tokens = tokens - self.step_size * self._at(tokens, mask, padding)[1]
        return tokens if padding is None else torch.where(padding.unsqueeze(-1), given, tokens)

    def energy(
        self,
        tokens: Float[Tensor, "*batch tokens dim"],
        mask: Bool[Tensor, "..."] | None = None,
        padding: Bool[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "*each"]:
        """Computes E at the normalized tokens, one number a set, or a token in a causal block.

        Errors as for :meth:`descend`.
        """
        return self._at(self._check_tokens(tokens, mask, padding), mask, padding)[0]

    def update(
        self,
        tokens: Float[Tensor, "*batch tokens dim"],
        mask: Bool[Tensor, "..."] | None = None,
        padding: Bool[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "*batch tokens dim"]:
        """Returns the tokens after one step."""
        return self.descend(tokens, mask, padding, steps=1).tokens

    def descend(
        self,
        tokens: Float[Tensor, "*batch tokens dim"],
        mask: Bool[Tensor, "..."] | None = None,
        padding: Bool[Tensor, "..."] | None = None,
        *,
        steps: int | None = None,
    ) -> Descent:
        """Takes the steps and tells how the energy fell.

        Args:
            tokens: ``(*batch, tokens, dim)``.
            mask: True where a token, a row, may look at another, broadcast to
                ``(*batch, tokens, tokens)``.
            padding: True where a token is none, broadcast to ``(*batch, tokens)``.
            steps: How many steps; None is the block's number.

        Raises:
            ShapeError: If tokens or masks have the wrong shape.
            DomainError: If a token is not finite, its dtype or device is not the parameters', or
                a mask is not boolean.
            ParameterError: If ``steps`` is negative.
        """
        given, tokens = tokens, self._check_tokens(tokens, mask, padding)
        if steps is None:
            steps = self.steps
        check_count("steps", steps, least=0)
        energy, slope = self._at(tokens, mask, padding)
        energies, sizes, changes = [energy], [], []
        for _ in range(steps):
            taken = self._step(tokens, energy, slope, mask, padding)
            tokens, energy, slope = taken.tokens, taken.energy, taken.slope
            energies.append(energy)
            sizes.append(taken.size)
            changes.append(taken.change)
        none = energy.new_zeros(0, *energy.shape)
        if padding is not None:
            tokens = torch.where(padding.unsqueeze(-1), given, tokens)
        return Descent(
            tokens,
            torch.stack(energies),
            torch.stack(sizes) if sizes else none,
            torch.stack(changes) if changes else none,
        )

    def extra_repr(self) -> str:
        """Shows the number and length of steps."""
        causal = ", causal=True" if self.causal else ""
        return f"steps={self.steps}, step_size={self.step_size}, halvings={self.halvings}{causal}"

    def _check_tokens(self, tokens: Tensor, mask: Tensor | None, padding: Tensor | None) -> Tensor:
        """Checks tokens, and sets those that are none to zero: there may be anything, NaN too."""
        self.token_energy.check(tokens, mask, padding)
        if padding is not None:
            tokens = tokens.masked_fill(padding.unsqueeze(-1), 0.0)
        check_finite("the tokens", tokens)
        return tokens

    def _at(
        self,
        tokens: Tensor,
        mask: Tensor | None,
        padding: Tensor | None,
        still: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        inside = self.norm(tokens)
        if not self.causal:
            return self.token_energy.with_slope(inside, mask, padding)
        before = None if still is None else self.norm(still)
        return self.token_energy.causal_with_slope(inside, mask, padding, still=before)

    @property
    def _free(self) -> bool:
        """Whether steps are taken as they are.

        −log Σ exp and −A are concave in g, and g is the slope of a convex function of x:
        E(g′) − E(g) ≤ slope·(g′ − g) = −(x′ − x)·(g′ − g)/α ≤ 0.
        """
        return self.halvings is None or (self.causal and self.token_energy.exclude_self)

    def _over_tokens(self, values: Tensor) -> Tensor:
        """One number a set, or a token, as it multiplies tokens."""
        return values[..., None] if self.causal else values[..., None, None]

    def _step(
        self,
        tokens: Tensor,
        energy: Tensor,
        slope: Tensor,
        mask: Tensor | None,
        padding: Tensor | None,
    ) -> _Taken:
        size = torch.full_like(energy, self.step_size, requires_grad=False)
        rises = torch.ones_like(energy, dtype=torch.bool)
        found = (tokens, energy, slope)
        for attempt in range(1 if self._free else (self.halvings or 0) + 1):
            size = size if attempt == 0 else torch.where(rises, size / 2, size)
            moved = tokens - self._over_tokens(size).to(tokens.dtype) * slope
            found = (moved, *self._among(moved, tokens, mask, padding))
            rises = ~(found[1] <= energy)  # NaN rises too
            if self._free:
                rises = torch.zeros_like(rises)
            elif values_visible(rises) and not bool(rises.any()):
                break
        stays = self._over_tokens(rises)
        moved = torch.where(stays, tokens, found[0])
        after = torch.where(rises, energy, found[1])
        change = (after - energy).detach()
        size = size.masked_fill(rises, 0.0)
        if self.causal:  # the tokens before are elsewhere now
            return _Taken(moved, *self._at(moved, mask, padding), size, change)
        return _Taken(moved, after, torch.where(stays, slope, found[2]), size, change)

    def _among(
        self, moved: Tensor, tokens: Tensor, mask: Tensor | None, padding: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """E after a step, and its slope where the next one begins there."""
        if not self.causal:
            return self._at(moved, mask, padding)
        with torch.no_grad():  # tells how far to go, which is a constant
            return self._at(moved, mask, padding, still=tokens)
