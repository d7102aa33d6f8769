"""Association of states with stored patterns, head by head: the maths under the Hopfield layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isinglass._support.precision import at_least_single
from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import (
    check_attention_mask,
    check_finite,
    check_positive,
    values_visible,
)
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.nn.attention.fused import fused_attention

__all__ = [
    "Association", "Gathered", "Mask", "Resting", "check_above_zero", "common_batch",
    "inverse_temperatures",
]  # fmt: skip


@dataclass(frozen=True)
class Mask:
    """Which stored patterns a state may look at.

    Attributes:
        visible: True where it may, or numbers that are added to the scores; broadcast to
            ``(batch, heads, states, patterns)``. Rows that may look at none are opened here.
        blind: Those rows, ``(…, 1)``: their weights are zero, not NaN.
        unseen: Patterns that no state of any head may look at, ``(batch, patterns)``.
    """

    visible: Tensor
    blind: Bool[Tensor, "..."]
    unseen: Bool[Tensor, "..."]

    @classmethod
    def of(
        cls,
        padding: Tensor | None,
        mask: Tensor | None,
        shape: tuple[int, int, int, int],
        like: Tensor,
        extra: int = 0,
    ) -> Mask | None:
        """Joins the two masks of a layer.

        Args:
            padding: True at stored patterns that are no patterns, ``(batch, patterns)`` or
                ``(patterns,)``.
            mask: True where a state must not look, or numbers added to the scores: ``(states,
                patterns)``, ``(batch · heads, states, patterns)`` or with four dimensions.
            shape: ``(batch, heads, states, patterns)``.
            like: A tensor on the device where they belong.
            extra: How many patterns the layer itself adds at the end, which all may look at.

        Raises:
            ShapeError: If a shape fits none of these.
            DomainError: If ``padding`` is not boolean, or ``mask`` neither that nor floating.
        """
        if mask is not None:
            mask = _score_mask(mask, shape, like)
        if padding is not None:
            padding = _padding_mask(padding, shape, like)
            if mask is None or mask.dtype == torch.bool:
                mask = padding if mask is None else mask | padding
            else:
                mask = mask.masked_fill(padding, -torch.inf)
        if mask is None:
            return None
        hides = mask if mask.dtype == torch.bool else mask == -torch.inf
        unseen = hides.all(-2).all(1)
        blind = F.pad(hides, (0, extra)).all(-1, keepdim=True)
        if mask.dtype == torch.bool:
            return cls(F.pad(~mask, (0, extra), value=True) | blind, blind, unseen)
        return cls(F.pad(mask, (0, extra)).masked_fill(blind, 0.0), blind, unseen)

    def add_to(self, scores: Float[Tensor, "B H L S"]) -> Float[Tensor, "B H L S"]:
        """Sets the scores of what may not be seen to −∞."""
        if self.visible.dtype == torch.bool:
            return scores.masked_fill(~self.visible, -torch.inf)
        return scores + self.visible.to(scores.dtype)


Rests = TypeVar("Rests", bound="Resting")  # beartype knows no Self in methods


@dataclass(frozen=True)
class Resting(ABC):
    """States that are updated until they rest; what they associate with is said by the subclass."""

    state: Float[Tensor, "_ H L d"]

    @property
    @abstractmethod
    def traced(self) -> bool:
        """Whether values cannot be looked at, as under ``torch.compile`` or ``vmap``."""

    @abstractmethod
    def update(self: Rests) -> Rests:
        """Takes one step, ξ ← Kᵀ softmax(βKξ), in every row."""

    def converge(
        self: Rests, updates: Int[Tensor, "H 1 1"], most: int, eps: Float[Tensor, "H 1 1"]
    ) -> Rests:
        """Updates each row until it moves by ``eps`` or less or its head's ``updates`` are done.

        A row at rest keeps its state, whatever its neighbors do. While torch traces, all ``most``
        updates are laid out, and rest is a choice between old and new.
        """
        association, moving = self, updates > 0
        for done in range(1, most + 1):
            old, new = association.state, association.update().state
            association = replace(self, state=torch.where(moving, new, old))
            if done == most:
                break
            change = torch.linalg.vector_norm((new - old).detach(), dim=-1, keepdim=True)
            moving = moving & (change > eps) & (done < updates)
            if not self.traced and not bool(moving.any()):
                break
        return association


class Gathered(NamedTuple):
    """What states read from some of the patterns, and how much these weigh.

    Attributes:
        average: Vᵀ softmax(βKξ) over them, zero where a state may look at none of them.
        log_mass: log Σ_μ exp(β k_μ·ξ) over them, the lowest number there is, halved, in place of
            −∞: sums and gradients of it are no NaN.
    """

    average: Float[Tensor, "B H L e"]
    log_mass: Float[Tensor, "B H L"]

    def joined(self, other: Gathered) -> Gathered:
        """Returns what states read from the patterns of both."""
        log_mass = torch.logaddexp(self.log_mass, other.log_mass)
        shares = [(part.log_mass - log_mass).exp().unsqueeze(-1) for part in (self, other)]
        return Gathered(shares[0] * self.average + shares[1] * other.average, log_mass)


@dataclass(frozen=True)
class Association(Resting):
    """States, the patterns they associate with, and what is read out, in every head.

        ξ ← Kᵀ softmax(βKξ)          update
        Vᵀ softmax(βKξ)              read-out
        E(ξ) = ½|ξ|² − β⁻¹ log Σ_μ exp(β k_μ·ξ)      which no update raises

    Reference: Ramsauer et al. 2020, arXiv:2008.02217.

    Attributes:
        state: ξ, ``(batch, heads, states, d)``.
        stored: K, ``(batch, heads, patterns, d)``.
        projection: V, ``(batch, heads, patterns, e)``.
        beta: β of each head, ``(heads, 1, 1)``.
        mask: Which patterns a state may look at; None is all.

    A batch of one goes with any batch.
    """

    state: Float[Tensor, "_ H L d"]
    stored: Float[Tensor, "_ H S d"]
    projection: Float[Tensor, "_ H S e"]
    beta: Float[Tensor, "H 1 1"]
    mask: Mask | None = None

    @property
    def batch(self) -> int:
        """The batch that results have."""
        seen = () if self.mask is None else (self.mask.visible,)
        return common_batch(self.state, self.stored, self.projection, *seen)

    @property
    def traced(self) -> bool:
        """Whether values cannot be looked at, as under ``torch.compile`` or ``vmap``."""
        seen = [] if self.mask is None else [self.mask.visible]
        return not all(map(values_visible, (self.state, self.stored, self.projection, *seen)))

    def weights(self) -> Float[Tensor, "B H L S"]:
        """Computes softmax(βKξ): the association matrix; rows that may look at nothing are zero."""
        weights = torch.softmax(self._scores(), -1).to(self.state.dtype)
        return weights if self.mask is None else weights.masked_fill(self.mask.blind, 0.0)

    def energy(self) -> Float[Tensor, "B H L"]:
        """Computes E(ξ); ½|ξ|² alone where nothing may be looked at."""
        scores = self._scores()
        pull = scores.logsumexp(-1) / self.beta[..., 0]
        if scores.shape[-1] == 0:
            pull = torch.zeros_like(pull)
        if self.mask is not None:
            pull = pull.masked_fill(self.mask.blind[..., 0], 0.0)
        return (self.state.to(pull.dtype).square().sum(-1) / 2 - pull).to(self.state.dtype)

    def read(self, dropout: float = 0.0) -> Float[Tensor, "B H L e"]:
        """Computes Vᵀ softmax(βKξ), a share of the weights dropped; the matrix is not formed."""
        return self._look_up(self.projection, dropout)

    def gather(self, values: Float[Tensor, "_ H S e"], dropout: float = 0.0) -> Gathered:
        """Averages values of the patterns as the states look at them, with the patterns' mass.

        Args:
            values: What is averaged: K or V.
            dropout: Share of the weights dropped from the average, not from the mass.
        """
        scores = at_least_single(self._scores())
        log_mass = scores.logsumexp(-1)
        if self.mask is not None:
            lowest = torch.finfo(scores.dtype).min / 2
            log_mass = log_mass.masked_fill(self.mask.blind[..., 0], lowest)
            scores = scores.masked_fill(self.mask.blind, -torch.inf)
        weights = F.dropout((scores - log_mass.unsqueeze(-1)).exp(), dropout)
        return Gathered(weights @ values.to(weights.dtype), log_mass)

    def update(self) -> Association:
        """Takes one step, ξ ← Kᵀ softmax(βKξ), in every row."""
        return replace(self, state=self._look_up(self.stored))

    def _scores(self) -> Float[Tensor, "B H L S"]:
        state, stored = self._scaled_state(), self.stored
        if state.dtype == torch.float16:  # whose largest number scores soon exceed
            state, stored = state.float(), stored.float()
        scores = state @ stored.mT
        return scores if self.mask is None else self.mask.add_to(scores)

    def _scaled_state(self) -> Tensor:
        return (self.beta * self.state).to(self.state.dtype)  # autocast's halves stay halves

    def _look_up(self, values: Tensor, dropout: float = 0.0) -> Tensor:
        query, key = self._scaled_state(), self.stored
        if self.mask is None:
            return _fuse(query, key, values, None, dropout)
        visible = self.mask.visible
        if visible.dtype != torch.bool:
            visible = visible.to(query.dtype)
        return _fuse(query, key, values, visible, dropout).masked_fill(self.mask.blind, 0.0)


def common_batch(*tables: Tensor) -> int:
    """Finds the batch of all, where one goes with any, none too."""
    return next((table.shape[0] for table in tables if table.shape[0] != 1), 1)


def _fuse(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """softmax(QKᵀ)V by torch's fused kernel, which wants one batch size and one width."""
    batch, width = query.shape[0], value.shape[-1]
    shared = mask is None and key.shape[0] == value.shape[0] == 1 < batch
    if shared:  # one memory for all: read once, as rows of one batch
        query = query.transpose(0, 1).flatten(1, 2).unsqueeze(0)
    else:
        batch = common_batch(query, key, value, *(() if mask is None else (mask,)))
        query, key, value = (x.expand(batch, -1, -1, -1) for x in (query, key, value))
    widest = max(key.shape[-1], width)
    query, key, value = (
        x if x.shape[-1] == widest else F.pad(x, (0, widest - x.shape[-1]))
        for x in (query, key, value)
    )
    found = fused_attention(query, key, value, mask, dropout)[..., :width]
    return found.squeeze(0).unflatten(1, (batch, -1)).transpose(0, 1) if shared else found


def _padding_mask(padding: Tensor, shape: tuple[int, int, int, int], like: Tensor) -> Tensor:
    batch, _, _, patterns = shape
    known = [((patterns,), "(patterns,)"), ((batch, patterns), "(batch, patterns)")]
    check_attention_mask("stored_pattern_padding_mask", padding, known, like, floating=False)
    return padding.reshape(-1, 1, 1, patterns)


def _score_mask(mask: Tensor, shape: tuple[int, int, int, int], like: Tensor) -> Tensor:
    batch, heads, states, patterns = shape
    known = [
        ((states, patterns), "(states, patterns)"),
        ((batch * heads, states, patterns), "(batch · heads, states, patterns)"),
        (shape, "(batch, heads, states, patterns)"),
    ]
    check_attention_mask("association_mask", mask, known, like)
    return mask.reshape(-1, heads if mask.ndim > 2 else 1, states, patterns)


def inverse_temperatures(
    scaling: float | Tensor,
    heads: int,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Float[Tensor, "heads"]:
    """Computes β of each head, checked; a parameter of one value a head is kept, to be learned.

    Raises:
        ShapeError: If there is neither one value nor one a head.
        DomainError: If one is NaN or infinite, zero or below.
        ParameterError: If it wants gradients but cannot be kept as a parameter, or is one of
            another dtype or device.
    """
    like = torch.empty(0, device=device, dtype=dtype)  # as the layer's other parameters are
    if not isinstance(scaling, Tensor):
        number = check_positive("scaling", scaling)
        scaling = torch.tensor(number, dtype=like.dtype, device="cpu")
    if scaling.shape not in ((), (heads,)) or not scaling.is_floating_point():
        raise ShapeError(
            f"scaling of shape {tuple(scaling.shape)} and {scaling.dtype} for {heads} heads",
            f"Give one number above zero, or a floating tensor of shape ({heads},)",
        )
    if scaling.requires_grad and not (isinstance(scaling, nn.Parameter) and scaling.ndim == 1):
        raise ParameterError(
            f"a scaling of shape {tuple(scaling.shape)} that wants gradients",
            f"To learn β give an nn.Parameter of shape ({heads},), else scaling.detach()",
        )
    check_finite("scaling", scaling)
    check_above_zero(scaling)
    if not (isinstance(scaling, nn.Parameter) and scaling.ndim == 1):
        return scaling.to(like).expand(heads).clone()
    if (scaling.dtype, scaling.device) != (like.dtype, like.device):
        raise ParameterError(
            f"a scaling of {scaling.dtype} on {scaling.device} for a layer of {like.dtype} on "
            f"{like.device}",
            "Make the parameter with the layer's dtype and device, or give the layer those of it",
        )
    return scaling


def check_above_zero(scaling: Tensor) -> None:
    """Refuses a β that is not above zero, where training has led it.

    Raises:
        DomainError: If one is zero or below.
    """
    if values_visible(scaling) and bool((scaling <= 0).any()):
        raise DomainError(f"a scaling of {float(scaling.detach().min()):g}", "β must be above zero")
