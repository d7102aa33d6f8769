"""A Transformer block that descends one energy of all its tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isinglass._support.precision import at_least_single
from isinglass._support.typing import Bool, Float
from isinglass._support.validation import (
    check_count,
    check_features,
    check_finite,
    check_operand,
    check_positive,
    values_visible,
)
from isinglass.core.capabilities import Serializable
from isinglass.core.described import Described, as_it_is
from isinglass.core.numbers import Numbered
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.units import RectifiedGaussian, Unit

__all__ = ["Descent", "EnergyLayerNorm", "EnergyTransformerBlock", "TokenEnergy"]


class EnergyLayerNorm(Numbered, nn.Module):
    r"""Layer normalization as the slope of a convex function, so that descent stays descent.

        L(x) = D γ √(Var x + ε) + δ·x,   g = ∂L/∂x = γ (x − x̄)/√(Var x + ε) + δ

    γ is one number above zero, learned by its logarithm: so L is convex, and moving x against the
    slope of an energy in g cannot raise that energy, to first order.

    Reference: Hoover et al. 2023, arXiv:2302.07253, eq. 1; Krotov & Hopfield 2021,
    arXiv:2008.06996.

    Args:
        dim: D, features of a token.
        eps: ε, added to the variance.

    Examples:
        >>> norm = EnergyLayerNorm(3, eps=1e-12)
        >>> norm(torch.tensor([1.0, 2.0, 3.0])).detach()
        tensor([-1.2247,  0.0000,  1.2247])
    """

    numbers: ClassVar[tuple[str, ...]] = ("eps",)

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = check_positive("eps", eps)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(check_count("dim", dim)))

    def forward(self, tokens: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Computes the normalized tokens g."""
        scaled = F.layer_norm(tokens, tokens.shape[-1:], eps=self.eps)
        return self.log_scale.exp() * scaled + self.bias

    def lagrangian(self, tokens: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Computes L(x), one number a token."""
        deviation = (tokens.var(-1, correction=0) + self.eps).sqrt()
        return tokens.shape[-1] * self.log_scale.exp() * deviation + tokens @ self.bias


class TokenEnergy(Numbered, Serializable):
    r"""The energy of a set of tokens: that each is foretold by others, and that each is familiar.

        E(g) = − β⁻¹ Σ_h Σ_C log Σ_{B ≠ C} exp(β K_hB · Q_hC)  −  Σ_C A(Ξ g_C)
        K_hB = W^K_h g_B,   Q_hC = W^Q_h g_C

    The first term is attention: a token's query lies near the keys of tokens it may look at.
    Its slope has two parts: the attention of a Transformer, and what the tokens that look at
    this one ask of it. The second is a Hopfield net on every token by itself, its hidden units'
    log-partition A at T = 0: of the paper's ReLU units ½ Σ_μ max(ξ_μ·g, 0)², of
    ``Multinomial(beta=b)`` the log-sum-exp of a modern net.

    Reference: Hoover et al. 2023, arXiv:2302.07253, eqs. 3–5.

    Args:
        dim: D, features of a token.
        num_heads: H.
        head_dim: Y, features of keys and queries.
        memories: The hidden units of the Hopfield term; a number is that of ReLU units.
        beta: β > 0; None is 1/√Y.
        exclude_self: Whether a token may not look at itself, as in the paper.

    Raises:
        ParameterError: If a number is out of range.

    Examples:
        >>> energy = TokenEnergy(4, num_heads=2, head_dim=3, memories=8)
        >>> tokens = torch.randn(5, 6, 4)
        >>> energy(tokens).shape, energy.grad(tokens).shape
        (torch.Size([5]), torch.Size([5, 6, 4]))
    """

    numbers: ClassVar[tuple[str, ...]] = ("beta",)
    adopts: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"exclude_self": bool}

    def __init__(
        self,
        dim: int,
        num_heads: int,
        head_dim: int,
        memories: int | Unit,
        *,
        beta: float | None = None,
        exclude_self: bool = True,
    ) -> None:
        super().__init__()
        check_count("dim", dim)
        if isinstance(beta, Tensor) and beta.requires_grad:
            raise ParameterError(
                "a beta that wants gradients",
                "Give a number: keys and queries learn their own scale, which does the same",
            )
        shape = (check_count("num_heads", num_heads), check_count("head_dim", head_dim))
        self.beta = 1 / math.sqrt(head_dim) if beta is None else check_positive("beta", beta)
        self.hidden = memories if isinstance(memories, Unit) else RectifiedGaussian(memories)
        self.exclude_self = exclude_self
        self.key = nn.Parameter(torch.randn(*shape, dim) / math.sqrt(dim))
        self.query = nn.Parameter(torch.randn(*shape, dim) / math.sqrt(dim))
        self.patterns = nn.Parameter(
            torch.randn(self.hidden.size, dim) / math.sqrt(self.hidden.size)
        )

    @property
    def dim(self) -> int:
        """D, features of a token."""
        return self.patterns.shape[-1]

    def forward(
        self,
        state: Float[Tensor, "*batch tokens dim"],
        mask: Bool[Tensor, "..."] | None = None,
        padding: Bool[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "*batch"]:
        """Computes E(g), one number a set; masks as for :class:`EnergyTransformerBlock`."""
        return self.with_slope(state, mask, padding)[0]

    def grad(
        self,
        state: Float[Tensor, "*batch tokens dim"],
        mask: Bool[Tensor, "..."] | None = None,
        padding: Bool[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "*batch tokens dim"]:
        """Computes ∂E/∂g in closed form, which can be differentiated again."""
        return self.with_slope(state, mask, padding)[1]

    def with_slope(
        self,
        state: Float[Tensor, "*batch tokens dim"],
        mask: Bool[Tensor, "..."] | None = None,
        padding: Bool[Tensor, "..."] | None = None,
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch tokens dim"]]:
        """Computes E(g) and ∂E/∂g from one look at the tokens.

        Raises:
            ShapeError: If tokens or masks have the wrong shape.
            DomainError: If the tokens' dtype is not floating, or a mask is not boolean.
        """
        self.check(state, mask, padding)
        attention, slope = self._attention(state, self._unseen(state, mask, padding))
        field = F.linear(state, self.patterns)
        memory = self.hidden.log_partition(at_least_single(field), 0.0)
        recalled = F.linear(self.hidden.mean(field, 0.0), self.patterns.mT)
        if padding is not None:
            memory = memory.masked_fill(padding, 0.0)
            recalled = recalled.masked_fill(padding.unsqueeze(-1), 0.0)
        return -(attention.sum((-2, -1)) + memory.sum(-1)), -(slope + recalled)

    def check_state(self, state: Float[Tensor, "*batch tokens dim"]) -> None:
        """Refuses every kernel: kernels move rows each by itself, these are coupled in sets.

        Raises:
            IntractableError: Always.
        """
        raise IntractableError(
            f"{type(self).__name__} has one energy for a whole set of tokens, kernels move rows",
            "Descend it with EnergyTransformerBlock.descend, or by gradient: energy.grad(tokens)",
        )

    def config(self) -> dict[str, Any]:
        """Returns all arguments, β as it is."""
        heads, size, dim = self.key.shape
        return {
            "dim": dim, "num_heads": heads, "head_dim": size, "memories": self.hidden.config(),
            "beta": self.beta, "exclude_self": self.exclude_self,
        }  # fmt: skip

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TokenEnergy:
        """Builds an energy of the same shape, its parameters at zero: nothing is drawn."""
        settings: dict[str, Any] = config | {"memories": Unit.from_config(config["memories"])}
        place = torch.get_default_device()
        with torch.device("meta"):
            energy = cls(**settings)
        energy.to_empty(device=place)
        for parameter in energy.parameters():
            nn.init.zeros_(parameter)
        return energy

    def extra_repr(self) -> str:
        """Shows what the configuration holds."""
        values = self.config() | {"memories": self.hidden}
        return ", ".join(f"{name}={value}" for name, value in values.items())

    def _attention(self, tokens: Tensor, unseen: Tensor | None) -> tuple[Tensor, Tensor]:
        """β⁻¹ log Σ_B exp(β K_B·Q_C), ``(*batch, heads, tokens)``, and the slope of their sum."""
        heads, size, _ = self.key.shape
        key, query = (
            F.linear(tokens, weight.flatten(0, 1)).unflatten(-1, (heads, size)).transpose(-3, -2)
            for weight in (self.key, self.query)
        )
        scores = at_least_single((self.beta * query) @ key.mT)  # a row a query
        if unseen is None:
            shares, total = torch.softmax(scores, -1), torch.logsumexp(scores, -1)
        else:  # a token that may look at none takes no part as a query
            blind = unseen.all(-1, keepdim=True)
            scores = scores.masked_fill(unseen & ~blind, -torch.inf)
            shares = torch.softmax(scores, -1).masked_fill(blind, 0.0)
            total = torch.logsumexp(scores, -1).masked_fill(blind.squeeze(-1), 0.0)
        shares = shares.to(key.dtype)
        slopes = (
            F.linear(part.transpose(-3, -2).flatten(-2), weight.flatten(0, 1).mT)
            for part, weight in ((shares @ key, self.query), (shares.mT @ query, self.key))
        )
        return total / self.beta, sum(slopes, torch.zeros_like(tokens))

    def _unseen(self, tokens: Tensor, mask: Tensor | None, padding: Tensor | None) -> Tensor | None:
        """True where a query, a row, may not look at a key, with a dimension for the heads."""
        count = tokens.shape[-2]
        reasons = []
        if self.exclude_self:
            reasons.append(torch.eye(count, dtype=torch.bool, device=tokens.device))
        if mask is not None:
            reasons.append(~mask.expand(*tokens.shape[:-1], count))
        if padding is not None:
            reasons.append(padding.unsqueeze(-2) | padding.unsqueeze(-1))
        return reduce(torch.logical_or, reasons).unsqueeze(-3) if reasons else None

    def check(self, state: Tensor, mask: Tensor | None, padding: Tensor | None) -> None:
        """Refuses tokens and masks that do not fit.

        Raises:
            ShapeError: If tokens or masks have the wrong shape.
            DomainError: If the tokens' dtype is not floating, or a mask is not boolean.
        """
        check_features(state, self.dim)
        if state.ndim < 2:
            raise ShapeError(
                f"tokens of shape {tuple(state.shape)}", f"Give (*batch, tokens, {self.dim})"
            )
        check_operand(state, self.patterns)
        pairs = torch.Size((*state.shape[:-1], state.shape[-2]))
        for name, values, shape in (("mask", mask, pairs), ("padding", padding, pairs[:-1])):
            if values is not None:
                _check_mask(name, values, shape)


def _check_mask(name: str, values: object, shape: torch.Size) -> None:
    if not isinstance(values, Tensor) or values.dtype != torch.bool:
        raise DomainError(f"a {name} that is not boolean", "Compare first: values > 0")
    try:
        fits = torch.broadcast_shapes(values.shape, shape) == shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ShapeError(
            f"a {name} of shape {tuple(values.shape)}",
            f"Give one that can be broadcast to {tuple(shape)}",
        )


@dataclass(frozen=True)
class Descent:
    """What a block did to its tokens.

    Attributes:
        tokens: The tokens after the last step.
        energies: E before the first step and after each, ``(steps + 1, *batch)``.
        step_sizes: α as it was taken by each set of tokens, ``(steps, *batch)``; zero where none
            lowered the energy.

    Examples:
        >>> block = EnergyTransformerBlock(8, num_heads=2, memories=16, steps=3)
        >>> found = block.descend(torch.randn(2, 5, 8))
        >>> found.tokens.shape, found.energies.shape, found.step_sizes.shape
        (torch.Size([2, 5, 8]), torch.Size([4, 2]), torch.Size([3, 2]))
    """

    tokens: Float[Tensor, "*batch tokens dim"]
    energies: Float[Tensor, "times *batch"]
    step_sizes: Float[Tensor, "steps *batch"]


class EnergyTransformerBlock(Numbered, Described, nn.Module):
    r"""A Transformer block whose forward pass descends an energy of its tokens.

        x ← x − α ∂E/∂g,   g = EnergyLayerNorm(x),   E = :class:`TokenEnergy`

    Since g is the slope of a convex function, E falls along τ dx/dt = −∂E/∂g. A step of finite
    size could raise it all the same: a set of tokens whose energy would rise takes half the step
    instead, up to ``halvings`` times, and else stays. So E never rises, to the bit as the energies
    that are reported are those compared. Each set has its own step, so its result does not depend,
    but for rounding, on the others of the batch. The slope is a closed form; training goes through
    the steps, their sizes taken as constants.

    Masks follow :func:`stochastic_attention`: ``mask`` is True where a token, a row, may look at
    another, ``(tokens, tokens)`` or with a batch. ``padding``, ``(*batch, tokens)``, is True where
    a token is none: it has no part in the energy and stays as it is.

    Reference: Hoover et al. 2023, arXiv:2302.07253.

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
    ) -> None:
        super().__init__()
        check_count("dim", dim)
        check_count("num_heads", num_heads)
        self.steps = check_count("steps", steps)
        self.step_size = check_positive("step_size", step_size)
        self.halvings = None if halvings is None else check_count("halvings", halvings, 0)
        self.norm = EnergyLayerNorm(dim, eps)
        self.token_energy = TokenEnergy(
            dim, num_heads, max(1, dim // num_heads) if head_dim is None else head_dim,
            4 * dim if memories is None else memories, beta=beta, exclude_self=exclude_self,
        )  # fmt: skip

    def description(self) -> dict[str, Any]:
        """Returns how often a step may be halved, for the state dict."""
        return {"halvings": self.halvings}

    def forward(
        self,
        tokens: Float[Tensor, "*batch tokens dim"],
        mask: Bool[Tensor, "..."] | None = None,
        padding: Bool[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "*batch tokens dim"]:
        """Returns the tokens after all steps; arguments and errors as for :meth:`descend`."""
        return self.descend(tokens, mask, padding).tokens

    def energy(
        self,
        tokens: Float[Tensor, "*batch tokens dim"],
        mask: Bool[Tensor, "..."] | None = None,
        padding: Bool[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "*batch"]:
        """Computes E at the normalized tokens, one number a set; errors as for :meth:`descend`."""
        tokens = self._check_tokens(tokens, mask, padding)
        return self.token_energy(self.norm(tokens), mask, padding)

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
        energies, sizes = [energy], []
        for _ in range(steps):
            tokens, energy, slope, size = self._step(tokens, energy, slope, mask, padding)
            energies.append(energy)
            sizes.append(size)
        taken = torch.stack(sizes) if sizes else energy.new_zeros(0, *energy.shape)
        if padding is not None:
            tokens = torch.where(padding.unsqueeze(-1), given, tokens)
        return Descent(tokens, torch.stack(energies), taken)

    def extra_repr(self) -> str:
        """Shows the number and length of steps."""
        return f"steps={self.steps}, step_size={self.step_size}, halvings={self.halvings}"

    def _check_tokens(self, tokens: Tensor, mask: Tensor | None, padding: Tensor | None) -> Tensor:
        """Checks tokens, and sets those that are none to zero: there may be anything, NaN too."""
        self.token_energy.check(tokens, mask, padding)
        if padding is not None:
            tokens = tokens.masked_fill(padding.unsqueeze(-1), 0.0)
        check_finite("the tokens", tokens)
        return tokens

    def _at(
        self, tokens: Tensor, mask: Tensor | None, padding: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        return self.token_energy.with_slope(self.norm(tokens), mask, padding)

    def _step(
        self,
        tokens: Tensor,
        energy: Tensor,
        slope: Tensor,
        mask: Tensor | None,
        padding: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tokens, energy and slope after a step, and the size it had."""
        size = torch.full_like(energy, self.step_size, requires_grad=False)
        if self.halvings is None:
            moved = tokens - self.step_size * slope
            return moved, *self._at(moved, mask, padding), size
        rises = torch.ones_like(energy, dtype=torch.bool)
        found = (tokens, energy, slope)
        for attempt in range(self.halvings + 1):
            size = size if attempt == 0 else torch.where(rises, size / 2, size)
            moved = tokens - size[..., None, None].to(tokens.dtype) * slope
            found = (moved, *self._at(moved, mask, padding))
            rises = ~(found[1] <= energy)  # NaN rises too
            if values_visible(rises) and not bool(rises.any()):
                return *found, size
        stays = rises[..., None, None]
        return (
            torch.where(stays, tokens, found[0]),
            torch.where(rises, energy, found[1]),
            torch.where(stays, slope, found[2]),
            size.masked_fill(rises, 0.0),
        )
