"""The Hopfield layer: heads that associate states with stored patterns, again and again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar, Unpack, cast

import torch
from torch import Tensor, nn

from isinglass._support.typing import Float, Int
from isinglass._support.validation import (
    check_count,
    check_device,
    check_finite,
    is_hollow,
    without_non_finite,
)
from isinglass.analysis.metastability import metastable_size
from isinglass.core.described import Labeled
from isinglass.errors import ParameterError
from isinglass.nn.hopfield.association import (
    Association,
    Mask,
    Resting,
    check_above_zero,
    common_batch,
    inverse_temperatures,
)
from isinglass.nn.hopfield.keywords import HopfieldKeywords, LayerKeywords
from isinglass.nn.hopfield.options import UNTIL_REST, HopfieldOptions, find_activation
from isinglass.nn.hopfield.patterns import NAMES, Triple, batch_first, tensors_of

__all__ = ["Hopfield"]

Layer = TypeVar("Layer", bound="Hopfield")  # beartype knows no Self in methods
Rests = TypeVar("Rests", bound=Resting)
NORMS = (
    "norm_stored_pattern", "norm_state_pattern", "norm_pattern_projection", "norm_hopfield_space",
)  # fmt: skip
MAPS = ("project_stored", "project_state", "project_projection", "project_out")


class _Option:
    """An option of the layer, read under its own name."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, layer: Hopfield | None, owner: type) -> Any:
        return self if layer is None else getattr(layer.options, self.name)


class Hopfield(Labeled, nn.Module):
    r"""Heads that associate each state with stored patterns; with one update, attention.

        ξ ← Kᵀ softmax(βKξ)                  k − 1 times, k = ``update_steps_max``
        output = W (Vᵀ softmax(βKξ))         the k-th, of all heads joined

    ξ, K and V are the linear maps of states, stored patterns and pattern projections. An update
    never raises a head's energy ½|ξ|² − β⁻¹ log Σ_μ exp(β k_μ·ξ). Each row stops by itself.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217.

    Args:
        input_size: Features of a state; None if everything is static.
        scaling: β > 0 of the softmax, one number or ``(num_heads,)``; an ``nn.Parameter`` is
            learned. None is 1/√hidden_size, or 1 if everything is static.
        device: Where parameters are made.
        dtype: Of which type.
        options: Fields of :class:`HopfieldOptions`, by keyword.

    Raises:
        ParameterError: If an option is unknown, out of range, or contradicts another, or if
            ``scaling`` is a parameter of another dtype or device than the layer.
        ShapeError: If ``scaling`` is neither one number nor one a head.
        DomainError: If ``scaling`` has NaN or infinity.

    Examples:
        >>> layer = Hopfield(8, num_heads=2, update_steps_max=3)
        >>> stored, state = torch.randn(4, 10, 8), torch.randn(4, 5, 8)
        >>> layer((stored, state, stored)).shape  # or layer(state): states that are stored
        torch.Size([4, 5, 8])
        >>> layer.association((stored, state, stored)).shape
        torch.Size([4, 2, 5, 10])
    """

    norm_stored_pattern: nn.LayerNorm | None
    norm_state_pattern: nn.LayerNorm | None
    norm_pattern_projection: nn.LayerNorm | None
    norm_hopfield_space: nn.LayerNorm | None
    project_stored: nn.Linear | None
    project_state: nn.Linear | None
    project_projection: nn.Linear | None
    project_out: nn.Linear | None
    bias_stored: nn.Parameter | None
    bias_projection: nn.Parameter | None
    scaling: Tensor

    batch_first = _Option()
    input_size = _Option()
    hidden_size = _Option()
    output_size = _Option()
    pattern_size = _Option()
    num_heads = _Option()
    stored_pattern_dim = _Option()
    state_pattern_dim = _Option()
    pattern_projection_dim = _Option()
    update_steps_max = _Option()
    update_steps_eps = _Option()
    stored_pattern_as_static = _Option()
    state_pattern_as_static = _Option()
    pattern_projection_as_static = _Option()
    normalize_stored_pattern = _Option()
    normalize_stored_pattern_affine = _Option()
    normalize_state_pattern = _Option()
    normalize_state_pattern_affine = _Option()
    normalize_pattern_projection = _Option()
    normalize_pattern_projection_affine = _Option()
    normalize_hopfield_space = _Option()
    normalize_hopfield_space_affine = _Option()

    def __init__(
        self,
        input_size: int | None = None,
        *,
        scaling: float | Tensor | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Unpack[HopfieldKeywords],
    ) -> None:
        super().__init__()
        check_device(device)
        self.options = HopfieldOptions.of({"input_size": input_size, **options})
        placed: dict[str, Any] = {"device": device, "dtype": dtype}
        norms, maps = self.options.norms, self.options.maps
        for name in NORMS:
            norm = nn.LayerNorm(**norms[name], **placed) if name in norms else None
            self.add_module(name, norm)
        for name in MAPS:
            linear = nn.Linear(**maps[name], **placed) if name in maps else None
            self.add_module(name, linear)
        activation = self.options.association_activation
        self._activation = None if activation is None else find_activation(activation)
        self._make_bias_patterns(placed)
        self._make_scaling(scaling, placed)
        self.reset_parameters()

    @classmethod
    def static(
        cls: type[Layer], input_size: int | None = None, **options: Unpack[LayerKeywords]
    ) -> Layer:
        """Builds a layer with nothing to learn: no maps, no normalization.

        With one head, ``Hopfield.static(scaling=β)`` is a step of
        :class:`isinglass.ModernHopfield`, and with ``update_steps_max=None`` its recall.

        Args:
            input_size: Features of a state, where a layer keeps states or patterns of its own.
            options: As of the layer; those given go before the ones that make it static.

        Examples:
            >>> memory = Hopfield.static(scaling=8.0)
            >>> stored, cue = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.8, 0.3]])
            >>> memory((stored, cue, stored)).round(decimals=2)
            tensor([[0.9800, 0.0200]])
        """
        bare: LayerKeywords = {
            "stored_pattern_as_static": True,
            "state_pattern_as_static": True,
            "pattern_projection_as_static": True,
            "normalize_stored_pattern": False,
            "normalize_state_pattern": False,
            "normalize_pattern_projection": False,
            "disable_out_projection": True,
        }
        return cls(input_size, **cast("LayerKeywords", {**bare, **options}))

    def reset_parameters(self) -> None:
        """Draws all weights anew from N(0, 0.02²), biases at zero; β stays."""
        for module in self.children():
            if isinstance(module, nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for name, patterns in self.named_parameters(recurse=False):
            if name != "scaling":
                nn.init.normal_(patterns, std=0.02)

    def forward(
        self,
        input: Tensor | Sequence[Tensor],  # noqa: A002 - as hflayers calls it
        stored_pattern_padding_mask: Tensor | None = None,
        association_mask: Tensor | None = None,
    ) -> Float[Tensor, "*batch output"]:
        """Returns what each state retrieves, W (Vᵀ softmax(βKξ)), of all heads joined.

        Args:
            input: ``(stored patterns, states, pattern projections)``, each ``(batch, rows,
                features)``, or ``(rows, features)`` for one that all of a batch share; or one
                tensor that is all three.
            stored_pattern_padding_mask: True at stored patterns to be ignored, ``(batch,
                patterns)`` or ``(patterns,)``.
            association_mask: True where a state must not look at a pattern, or floats added to
                β times the score: ``(states, patterns)``, ``(batch · num_heads, states,
                patterns)`` or ``(batch, num_heads, states, patterns)``.

        Returns:
            ``(batch, states, output_size)``; without batch if nothing has one. A state that may
            look at nothing associates with zero.

        Raises:
            ShapeError: If features, rows, batches or masks do not fit.
            DomainError: If dtypes or devices differ, a value is not finite where it is seen, a mask
                is neither boolean nor floating, or a learned β is no longer above zero.
            ParameterError: If ``update_steps_max`` is None under ``torch.compile`` or ``vmap``.
        """
        association = self._converge(input, stored_pattern_padding_mask, association_mask)
        found = self._output(association.read(self._dropout))
        if self._is_unbatched(input):
            return found.squeeze(0)
        return found if self.options.batch_first else found.transpose(0, 1)

    def association(
        self,
        input: Tensor | Sequence[Tensor],  # noqa: A002
        stored_pattern_padding_mask: Tensor | None = None,
        association_mask: Tensor | None = None,
    ) -> Float[Tensor, "*batch H L S"]:
        """Computes the weights of the last update, ``(batch, num_heads, states, patterns)``.

        Arguments as of :meth:`forward`.
        """
        found = self._converge(input, stored_pattern_padding_mask, association_mask)
        return self._like(input, found.weights())

    def energy(
        self,
        input: Tensor | Sequence[Tensor],  # noqa: A002
        stored_pattern_padding_mask: Tensor | None = None,
        association_mask: Tensor | None = None,
        *,
        updates: int = 0,
    ) -> Float[Tensor, "*batch H L"]:
        """Computes E = ½|ξ|² − β⁻¹ log Σ_μ exp(β k_μ·ξ), ``(batch, num_heads, states)``.

        Args:
            input: As of :meth:`forward`.
            stored_pattern_padding_mask: As of :meth:`forward`.
            association_mask: As of :meth:`forward`; numbers m_μ stand in the exponent, beside β.
            updates: How often ξ is updated first; no update raises the energy.
        """
        association = self._associate(input, stored_pattern_padding_mask, association_mask)
        for _ in range(check_count("updates", updates, least=0)):
            association = association.update()
        return self._like(input, association.energy())

    def metastable_size(
        self,
        input: Tensor | Sequence[Tensor],  # noqa: A002
        stored_pattern_padding_mask: Tensor | None = None,
        association_mask: Tensor | None = None,
        *,
        mass: float = 0.9,
    ) -> Int[Tensor, "*batch H L"]:
        """Counts the patterns that hold ``mass`` of the weight, ``(batch, num_heads, states)``.

        One is retrieval of a single pattern, many is an average; see
        :func:`isinglass.analysis.metastability.metastable_size`. Other arguments are those of
        :meth:`forward`.
        """
        weights = self.association(input, stored_pattern_padding_mask, association_mask)
        return metastable_size(weights.detach(), mass)

    @torch.no_grad()
    def get_association_matrix(
        self,
        input: Tensor | Sequence[Tensor],  # noqa: A002
        stored_pattern_padding_mask: Tensor | None = None,
        association_mask: Tensor | None = None,
    ) -> Float[Tensor, "*batch H L S"]:
        """Computes :meth:`association` without gradients, by the name in hflayers."""
        return self.association(input, stored_pattern_padding_mask, association_mask)

    @torch.no_grad()
    def get_projected_pattern_matrix(
        self,
        input: Tensor | Sequence[Tensor],  # noqa: A002
        stored_pattern_padding_mask: Tensor | None = None,
        association_mask: Tensor | None = None,
    ) -> Float[Tensor, "*batch H S e"]:
        """Computes V, ``(batch, num_heads, patterns, pattern_size)``, without gradients."""
        found = self._associate(input, stored_pattern_padding_mask, association_mask)
        return self._like(input, found.projection.expand(found.batch, -1, -1, -1))

    def description(self) -> dict[str, Any]:
        """Returns the options that change results, for the metadata of the state dict."""
        return self.options.description()

    def extra_repr(self) -> str:
        """Shows sizes, heads and updates."""
        of = self.options
        return (
            f"{of.input_size}, hidden_size={of.hidden_size}, output_size={of.output_size}, "
            f"num_heads={of.num_heads}, update_steps_max={of.update_steps_max}"
        )

    def _patterns(self, input: Tensor | Sequence[Tensor]) -> Triple:  # noqa: A002
        """Stored patterns, states, pattern projections; layers that keep some put them in here."""
        if isinstance(input, Tensor):
            return input, input, input
        return tensors_of(input, "stored pattern", "state", "pattern projection")

    def _is_unbatched(self, input: Tensor | Sequence[Tensor]) -> bool:  # noqa: A002
        return all(patterns.ndim == 2 for patterns in self._patterns(input))

    def _like(self, input: Tensor | Sequence[Tensor], found: Tensor) -> Tensor:  # noqa: A002
        return found.squeeze(0) if self._is_unbatched(input) else found

    @property
    def _dropout(self) -> float:
        return self.options.dropout if self.training else 0.0

    def _output(self, found: Float[Tensor, "B H L e"]) -> Float[Tensor, "B L output"]:
        """What the heads have read, joined and mapped."""
        found = _through(self.project_out, found.transpose(1, 2).flatten(2))
        return found if self._activation is None else self._activation(found)

    def _converge(
        self,
        input: Tensor | Sequence[Tensor],  # noqa: A002
        padding: Tensor | None,
        mask: Tensor | None,
    ) -> Association:
        """The association whose read-out is the layer's last update."""
        return self._rest(self._associate(input, padding, mask))

    def _rest(self, association: Rests) -> Rests:
        """The states before the layer's last update."""
        most = max(self.options.updates_before)
        if most == 0:
            return association
        if most == UNTIL_REST and is_hollow(association.state):
            most = 1  # of shapes alone, which one update has already
        elif most == UNTIL_REST and association.traced:
            raise ParameterError(
                "update_steps_max=None, updates until rest, under torch.compile or vmap",
                "Give a number of updates: rest cannot be seen while tracing",
            )
        device = association.state.device
        updates, eps = (
            torch.tensor(values, device=device)[:, None, None]
            for values in (self.options.updates_before, self.options.rest)
        )
        return association.converge(updates, most, eps)

    def _associate(
        self,
        input: Tensor | Sequence[Tensor],  # noqa: A002
        padding: Tensor | None,
        mask: Tensor | None,
        *,
        lengthen: bool = True,
    ) -> Association:
        """States and patterns in the association space of every head, before any update.

        ``lengthen`` tells whether the patterns that the layer itself adds are among them.
        """
        if isinstance(self.scaling, nn.Parameter):
            check_above_zero(self.scaling)
        maps = [module for module in self.children() if isinstance(module, nn.Linear)]
        given = self._patterns(input)
        stored, state, projection = batch_first(
            given, self.options, like=maps[0].weight if maps else None
        )
        batch = common_batch(stored, state, projection)
        shape = (batch, self.options.num_heads, state.shape[1], stored.shape[1])
        seen = Mask.of(padding, mask, shape, state, self._extra if lengthen else 0)
        if seen is not None:  # what nobody sees may be anything, NaN too
            stored, projection = _clear(stored, seen.unseen), _clear(projection, seen.unseen)
            if padding is not None and given[1] is given[0]:
                state = _clear(state, padding.reshape(-1, state.shape[1]))
        for name, patterns in zip(NAMES, (stored, state, projection), strict=True):
            check_finite(f"a {name}", patterns)
        projection = _through(self.norm_pattern_projection, projection)
        if self.options.pattern_projection_as_connected:
            projection = _through(self.project_stored, projection)
        projection = self._heads(
            _through(self.project_projection, projection),
            joined=self.project_projection is not None or self.options.connected,
        )
        stored = self._enter(stored, self.norm_stored_pattern, self.project_stored)
        state = self._enter(state, self.norm_state_pattern, self.project_state)
        if lengthen:
            stored = self._lengthen(stored, self.bias_stored)
            projection = self._lengthen(projection, self.bias_projection)
        return Association(state, stored, projection, self.scaling[:, None, None], seen)

    def _enter(
        self, patterns: Tensor, norm: nn.LayerNorm | None, linear: nn.Linear | None
    ) -> Float[Tensor, "B H rows d"]:
        """Patterns or states in the association space of every head."""
        heads = self._heads(_through(linear, _through(norm, patterns)), joined=linear is not None)
        return _through(self.norm_hopfield_space, heads)

    def _heads(self, patterns: Tensor, *, joined: bool) -> Tensor:
        """``(batch, rows, …)`` → ``(batch, heads, rows, features)``.

        Each head gets its own part of what a map has joined, all of what is static.
        """
        if joined:
            return patterns.unflatten(-1, (self.options.num_heads, -1)).transpose(1, 2)
        return patterns.unsqueeze(1).expand(-1, self.options.num_heads, -1, -1)

    @property
    def _extra(self) -> int:
        return self.options.concat_bias_pattern + self.options.add_zero_association

    def _lengthen(self, patterns: Tensor, bias: Tensor | None) -> Tensor:
        """The patterns, then the head's own one, then the zero one."""
        if bias is not None:
            own = bias[:, None].to(patterns.dtype).expand(patterns.shape[0], -1, -1, -1)
            patterns = torch.cat([patterns, own], dim=2)
        if self.options.add_zero_association:
            patterns = nn.functional.pad(patterns, (0, 0, 0, 1))
        return patterns

    def _own_patterns(self, quantity: int, size: int | None, *, trainable: bool) -> nn.Parameter:
        """Patterns that a layer keeps, for those that do."""
        if size is None:
            raise ParameterError(
                "patterns of its own of unknown size",
                "Give input_size, their features, for a static layer too",
            )
        made = nn.Parameter(self.scaling.new_empty(quantity, size), requires_grad=trainable)
        return nn.init.normal_(made, std=0.02)  # pyright: ignore[reportReturnType]

    def _make_bias_patterns(self, placed: dict[str, Any]) -> None:
        of = self.options
        for name, size in (("bias_stored", of.hidden_size), ("bias_projection", of.pattern_size)):
            wanted = of.concat_bias_pattern
            own = nn.Parameter(torch.empty(of.num_heads, size or 0, **placed)) if wanted else None
            self.register_parameter(name, own)

    def _make_scaling(self, scaling: float | Tensor | None, placed: dict[str, Any]) -> None:
        of = self.options
        usual = 1.0 if of.static or of.hidden_size is None else 1 / math.sqrt(of.hidden_size)
        given = usual if scaling is None else scaling
        beta = inverse_temperatures(given, of.num_heads, **placed)
        if isinstance(beta, nn.Parameter):
            self.register_parameter("scaling", beta)
        else:
            self.register_buffer("scaling", beta)


def _clear(patterns: Tensor, unseen: Tensor) -> Tensor:
    """Clears unseen rows of NaN; of rows that a batch shares, those that none of it sees."""
    if patterns.shape[0] == 1:
        unseen = unseen.all(0, keepdim=True)
    return without_non_finite(patterns, unseen.unsqueeze(-1))


def _through(module: nn.Module | None, patterns: Tensor) -> Tensor:
    return patterns if module is None else module(patterns)
