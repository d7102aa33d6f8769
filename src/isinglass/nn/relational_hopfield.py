"""A Hopfield layer on sets of propositions: each recalls those that it shares entities with."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isinglass._support.typing import Bool, Float
from isinglass._support.validation import check_count, check_features
from isinglass.core.numbers import Numbered
from isinglass.errors import ShapeError
from isinglass.nn.token_energy import EnergyLayerNorm
from isinglass.units import RectifiedGaussian

__all__ = ["RelationalHopfield"]

FIRST_FIELD = 4.0


class RelationalHopfield(Numbered, nn.Module):
    r"""Modern Hopfield retrieval with a learned field for each way to share an entity.

    Every proposition is a query ξ, and the others are the stored patterns g_B that it may recall:
    those it shares an entity with, and a null pattern for when none is of use. With s_w = 1 where
    a query and a pattern share an entity in the way w (subject = subject, subject = object, …):

        E(ξ) = ½|ξ − g|² − β⁻¹ Σ_h log(exp(β q_h·n_h) + Σ_B exp(β q_h·k_hB + Σ_w s_w f_hw))
               − ½|(Ξξ)₊|²
        q_h  = Q_h ξ,   k_hB = K_h g_B,   g = EnergyLayerNorm(x),   β = 1/√Y
        ξ ← g + Σ_h Q_hᵀ Σ_B p_hB k_hB + Ξᵀ(Ξξ)₊

    with p_h the softmax of head h, the null pattern in it. All terms but the first are concave, so
    the update, the concave-convex procedure, never raises E, for every query by itself: what is
    recalled depends on nothing that shares no entity, however large the set is. Who the entities
    are does not enter, only which are the same.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217 (update and energy); Shaw, Uszkoreit &
    Vaswani 2018, arXiv:1803.02155 (fields by relation); Yuille & Rangarajan 2003,
    doi:10.1162/08997660360581958 (concave-convex procedure).

    Args:
        dim: D, features of a proposition.
        ways: W, in how many ways two may share an entity.
        num_heads: H.
        head_dim: Y, features of queries and keys; None is D/H.
        memories: Rows of Ξ; None is 2D.
        steps: Updates, of the same energy.

    Raises:
        ParameterError: If a number is out of range.

    Examples:
        >>> layer = RelationalHopfield(8, ways=4, num_heads=2)
        >>> tokens, shared = torch.randn(2, 5, 8), torch.rand(2, 5, 5, 4) < 0.3
        >>> layer(tokens, tokens, shared).shape
        torch.Size([2, 5, 8])
    """

    numbers: ClassVar[tuple[str, ...]] = ("steps",)

    def __init__(
        self,
        dim: int,
        ways: int,
        num_heads: int = 4,
        head_dim: int | None = None,
        memories: int | None = None,
        steps: int = 1,
    ) -> None:
        super().__init__()
        self.dim, self.ways = check_count("dim", dim), check_count("ways", ways)
        self.num_heads = check_count("num_heads", num_heads)
        size = max(1, dim // num_heads) if head_dim is None else check_count("head_dim", head_dim)
        self.steps, self.beta = check_count("steps", steps), 1 / math.sqrt(size)
        self.norm = EnergyLayerNorm(dim)
        self.hidden = RectifiedGaussian(2 * dim if memories is None else memories)
        self.query, self.key = (
            nn.Parameter(torch.randn(num_heads, size, dim) / math.sqrt(dim)) for _ in range(2)
        )
        self.null = nn.Parameter(torch.zeros(num_heads, size))
        # Each head begins with one way to share an entity, or all would recall the same mean.
        self.fields = nn.Parameter(FIRST_FIELD * torch.eye(ways)[torch.arange(num_heads) % ways])
        self.patterns = nn.Parameter(
            torch.randn(self.hidden.size, dim) / math.sqrt(dim * self.hidden.size)
        )

    def forward(
        self,
        tokens: Float[Tensor, "*batch queries dim"],
        stored: Float[Tensor, "*batch patterns dim"],
        shared: Bool[Tensor, "*batch queries patterns ways"],
    ) -> Float[Tensor, "*batch queries dim"]:
        """Returns the propositions after the updates.

        Args:
            tokens: x of the queries.
            stored: x of the patterns.
            shared: In which ways a query and a pattern share an entity; none means that the query
                does not see the pattern, as it should not see itself, nor padding.

        Raises:
            ShapeError: If sizes do not fit.
        """
        self._check(tokens, stored, shared)
        anchor, keys = self.norm(tokens), self._keys(stored)
        offsets, state = self._offsets(shared), anchor
        for _ in range(self.steps):
            state = anchor + self._pull(state, keys, offsets)
        return state

    def energy(
        self,
        state: Float[Tensor, "*batch queries dim"],
        tokens: Float[Tensor, "*batch queries dim"],
        stored: Float[Tensor, "*batch patterns dim"],
        shared: Bool[Tensor, "*batch queries patterns ways"],
    ) -> Float[Tensor, "*batch queries"]:
        """Computes E(ξ) of every query; arguments as for :meth:`forward`, and ξ first.

        Raises:
            ShapeError: If sizes do not fit.
        """
        self._check(tokens, stored, shared)
        logits = self._logits(state, self._keys(stored), self._offsets(shared))
        away = (state - self.norm(tokens)).square().sum(-1) / 2
        familiar = self.hidden.log_partition(F.linear(state, self.patterns), 0.0)
        return away - torch.logsumexp(logits, -1).sum(-2) / self.beta - familiar

    def _check(self, tokens: Tensor, stored: Tensor, shared: Tensor) -> None:
        check_features(tokens, self.dim)
        check_features(stored, self.dim)
        wanted = (*tokens.shape[:-1], stored.shape[-2], self.ways)
        if shared.shape != wanted:
            raise ShapeError(f"ways of shape {tuple(shared.shape)}", f"Give {wanted}")

    def _keys(self, stored: Tensor) -> Tensor:
        """k_hB with the null pattern first, ``(*batch, heads, 1 + patterns, Y)``."""
        heads, size, _ = self.key.shape
        keys = F.linear(self.norm(stored), self.key.flatten(0, 1)).unflatten(-1, (heads, size))
        keys = torch.cat([self.null.expand(*keys.shape[:-3], 1, heads, size), keys], -3)
        return keys.transpose(-3, -2)

    def _offsets(self, shared: Tensor) -> Tensor:
        """Σ_w s_w f_hw with 0 for the null pattern first, −∞ where nothing is shared."""
        ways = shared.to(self.fields).movedim(-1, -3).flatten(-2)
        fields = (self.fields @ ways).unflatten(-1, shared.shape[-3:-1])
        seen = fields.masked_fill(~shared.any(-1).unsqueeze(-3), -torch.inf)
        return F.pad(seen, (1, 0))

    def _logits(self, state: Tensor, keys: Tensor, offsets: Tensor) -> Tensor:
        heads, size, _ = self.query.shape
        query = F.linear(state, self.query.flatten(0, 1)).unflatten(-1, (heads, size))
        return (self.beta * query).transpose(-3, -2) @ keys.mT + offsets

    def _pull(self, state: Tensor, keys: Tensor, offsets: Tensor) -> Tensor:
        """The slope of all that is concave, downhill."""
        shares = torch.softmax(self._logits(state, keys, offsets), -1)
        recalled = (shares @ keys).transpose(-3, -2).flatten(-2)
        familiar = self.hidden.mean(F.linear(state, self.patterns), 0.0)
        attended = F.linear(recalled, self.query.flatten(0, 1).mT)
        return attended + F.linear(familiar, self.patterns.mT)
