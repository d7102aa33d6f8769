"""The energy of a set of tokens, and that of each token among those before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
    check_operand,
    check_positive,
)
from isinglass.core.capabilities import Serializable
from isinglass.core.numbers import Numbered
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.units import RectifiedGaussian, Unit

__all__ = ["EnergyLayerNorm", "TokenEnergy"]


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
        memory, recalled = self._memory(state, padding)
        return -(attention.sum((-2, -1)) + memory.sum(-1)), -(slope + recalled)

    def causal_with_slope(
        self,
        state: Float[Tensor, "*batch tokens dim"],
        mask: Bool[Tensor, "..."] | None = None,
        padding: Bool[Tensor, "..."] | None = None,
        *,
        still: Float[Tensor, "*batch tokens dim"] | None = None,
    ) -> tuple[Float[Tensor, "*batch tokens"], Float[Tensor, "*batch tokens dim"]]:
        r"""Computes the energy of each token among those before it, and its slope.

            E_C(g) = − β⁻¹ Σ_h log Σ_{B < C} exp(β K_h g_B · Q_h g)  −  A(Ξ g)

        The tokens before stand still, so E_C has nothing of what comes later, and its slope is
        what token C itself can do. Where a token may look at itself, B = C is in the sum and moves
        with g; where not, the first token has memories alone.

        Reference: Dehmamy et al. 2025, arXiv:2512.16762.

        Args:
            state: g of each token.
            mask: What else a token, a row, may not look at.
            padding: True where a token is none.
            still: g_B of the tokens before; None is ``state``.

        Raises:
            ShapeError: If tokens or masks have the wrong shape.
            DomainError: If the tokens' dtype is not floating, or a mask is not boolean.
        """
        self.check(state, mask, padding)
        unseen, count = self._unseen(state, mask, padding), state.shape[-2]
        later = torch.ones(count, count, dtype=torch.bool, device=state.device).triu(1)
        unseen = later if unseen is None else unseen | later
        own, query = self._heads(state, self.key), self._heads(state, self.query)
        key = own if still is None else self._heads(still, self.key)
        scores = at_least_single((self.beta * query) @ key.mT)
        if not self.exclude_self and still is not None:
            itself = at_least_single(self.beta * (query * own).sum(-1, keepdim=True))
            alone = torch.eye(count, dtype=torch.bool, device=state.device)
            scores = torch.where(alone, itself, scores)
        total, shares = _weigh(scores, unseen)
        shares = shares.to(key.dtype)
        parts = [(shares @ key, self.query)]
        if not self.exclude_self:
            share = shares.diagonal(dim1=-2, dim2=-1).unsqueeze(-1)
            parts = [(shares @ key + share * (own - key), self.query), (share * query, self.key)]
        memory, recalled = self._memory(state, padding)
        return -(total.sum(-2) / self.beta + memory), -(self._joined(parts) + recalled)

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

    def _heads(self, tokens: Tensor, weight: Tensor) -> Tensor:
        """Keys or queries, ``(*batch, heads, tokens, size)``."""
        flat = F.linear(tokens, weight.flatten(0, 1))
        return flat.unflatten(-1, weight.shape[:2]).transpose(-3, -2)

    def _joined(self, parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Slopes in keys or queries brought back to the tokens, and added."""
        slopes = [
            F.linear(part.transpose(-3, -2).flatten(-2), weight.flatten(0, 1).mT)
            for part, weight in parts
        ]
        return reduce(torch.add, slopes)

    def _attention(self, tokens: Tensor, unseen: Tensor | None) -> tuple[Tensor, Tensor]:
        """β⁻¹ log Σ_B exp(β K_B·Q_C), ``(*batch, heads, tokens)``, and the slope of their sum."""
        key, query = self._heads(tokens, self.key), self._heads(tokens, self.query)
        scores = at_least_single((self.beta * query) @ key.mT)  # a row a query
        total, shares = _weigh(scores, unseen)
        shares = shares.to(key.dtype)
        parts = [(shares @ key, self.query), (shares.mT @ query, self.key)]
        return total / self.beta, self._joined(parts)

    def _memory(self, state: Tensor, padding: Tensor | None) -> tuple[Tensor, Tensor]:
        """A(Ξ g) of each token, and its slope."""
        field = F.linear(state, self.patterns)
        memory = self.hidden.log_partition(at_least_single(field), 0.0)
        recalled = F.linear(self.hidden.mean(field, 0.0), self.patterns.mT)
        if padding is not None:
            memory = memory.masked_fill(padding, 0.0)
            recalled = recalled.masked_fill(padding.unsqueeze(-1), 0.0)
        return memory, recalled

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


def _weigh(scores: Tensor, unseen: Tensor | None) -> tuple[Tensor, Tensor]:
    """log Σ exp of each row, and its softmax."""
    if unseen is None:
        return torch.logsumexp(scores, -1), torch.softmax(scores, -1)
    blind = unseen.all(-1, keepdim=True)  # a token that may look at none takes no part as a query
    scores = scores.masked_fill(unseen & ~blind, -torch.inf)
    shares = torch.softmax(scores, -1).masked_fill(blind, 0.0)
    return torch.logsumexp(scores, -1).masked_fill(blind.squeeze(-1), 0.0), shares


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
