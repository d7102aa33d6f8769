"""The options of the Hopfield layers, under the names that hflayers gave them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from isinglass._support.functions import check_takes
from isinglass._support.validation import check_count, check_fraction, check_positive
from isinglass.errors import ParameterError

__all__ = ["UNTIL_REST", "HopfieldOptions", "find_activation", "name_of_activation"]

OPERATION = "Hopfield"
UNTIL_REST = 10_000  # updates; in low precision a state can go to and fro for ever
PATTERNS = ("stored_pattern", "state_pattern", "pattern_projection")


@dataclass(frozen=True, kw_only=True)
class HopfieldOptions:
    """What a Hopfield layer is made of; sizes left out are filled in, and checked together.

    A pattern that is *static* enters the association space as it is given; one that is not goes
    through a learned linear map. Without a word about one, a layer has all three maps, all three
    normalizations and the output map.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217.

    Args:
        input_size: Features of a state; needed unless everything is static.
        hidden_size: Features of the association space of one head; ``input_size // num_heads``.
        output_size: Features of the output; ``input_size``.
        pattern_size: Features of a projected pattern of one head; ``hidden_size``.
        num_heads: Heads, which associate each by itself.
        update_steps_max: Updates, the last being the one that reads out: 1 is attention. None is
            until rest. One number, or one a head.
        update_steps_eps: A row whose state moves by no more, in 2-norm, rests. One, or one a head.
        normalize_stored_pattern: Whether stored patterns pass a LayerNorm first.
        normalize_stored_pattern_affine: Whether it learns scale and shift; None is yes.
        normalize_stored_pattern_eps: Its ε.
        normalize_state_pattern: Whether states pass a LayerNorm first.
        normalize_state_pattern_affine: Whether it learns scale and shift; None is yes.
        normalize_state_pattern_eps: Its ε.
        normalize_pattern_projection: Whether the input of the projection passes a LayerNorm first.
        normalize_pattern_projection_affine: Whether it learns scale and shift; None is yes.
        normalize_pattern_projection_eps: Its ε.
        normalize_hopfield_space: Whether states and stored patterns pass a LayerNorm in the
            association space, once, before the first update.
        normalize_hopfield_space_affine: Whether it learns scale and shift, shared by all heads.
        normalize_hopfield_space_eps: Its ε.
        stored_pattern_as_static: Whether stored patterns have no linear map.
        state_pattern_as_static: Whether states have none.
        pattern_projection_as_static: Whether what is read out has none.
        pattern_projection_as_connected: Whether what is read out goes through the map of the stored
            patterns before its own.
        stored_pattern_size: Features of a stored pattern; ``input_size``.
        pattern_projection_size: Features of what is read out; ``input_size``.
        batch_first: Whether patterns are ``(batch, rows, features)``, not ``(rows, batch, …)``.
        association_activation: Applied to the output: a function, or the name of one in torch.
        dropout: Share of association weights dropped in training, in the last update only.
        input_bias: Whether the linear maps, the output's too, have biases.
        concat_bias_pattern: Whether every head learns one more pattern of its own.
        add_zero_association: Whether every head has one more pattern, zero: something to look at
            when nothing fits.
        disable_out_projection: Whether the heads' results are joined without a linear map.

    Raises:
        ParameterError: If an option is unknown, out of range, or contradicts another.

    Examples:
        >>> options = HopfieldOptions(input_size=8, num_heads=2)
        >>> options.hidden_size, options.pattern_size, options.output_size
        (4, 4, 8)
    """

    input_size: int | None = None
    hidden_size: int | None = None
    output_size: int | None = None
    pattern_size: int | None = None
    num_heads: int = 1
    update_steps_max: int | Sequence[int | None] | Tensor | None = 1
    update_steps_eps: float | Sequence[float] | Tensor = 1e-4
    normalize_stored_pattern: bool = True
    normalize_stored_pattern_affine: bool | None = None
    normalize_stored_pattern_eps: float = 1e-5
    normalize_state_pattern: bool = True
    normalize_state_pattern_affine: bool | None = None
    normalize_state_pattern_eps: float = 1e-5
    normalize_pattern_projection: bool = True
    normalize_pattern_projection_affine: bool | None = None
    normalize_pattern_projection_eps: float = 1e-5
    normalize_hopfield_space: bool = False
    normalize_hopfield_space_affine: bool = False
    normalize_hopfield_space_eps: float = 1e-5
    stored_pattern_as_static: bool = False
    state_pattern_as_static: bool = False
    pattern_projection_as_static: bool = False
    pattern_projection_as_connected: bool = False
    stored_pattern_size: int | None = None
    pattern_projection_size: int | None = None
    batch_first: bool = True
    association_activation: str | Callable[[Tensor], Tensor] | None = None
    dropout: float = 0.0
    input_bias: bool = True
    concat_bias_pattern: bool = False
    add_zero_association: bool = False
    disable_out_projection: bool = False

    @classmethod
    def of(cls, options: dict[str, Any]) -> HopfieldOptions:
        """Collects the options given by keyword to a layer.

        Raises:
            ParameterError: If one is unknown; the nearest that exists is named.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in options:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                raise ParameterError(
                    f"no option {name!r}",
                    f"Did you mean {near[0]!r}?" if near else "See isinglass.nn.HopfieldOptions",
                )
        return cls(**options)

    def __post_init__(self) -> None:
        """Check what was given and fill in what was not."""
        for name in (field.name for field in dataclasses.fields(self)):
            if name.endswith("_size") and getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        check_count("num_heads", self.num_heads)
        check_fraction("dropout", self.dropout)
        self._fill("update_steps_max", _per_head("update_steps_max", self.update_steps_max, _steps))
        self._fill("update_steps_eps", _per_head("update_steps_eps", self.update_steps_eps, _eps))
        for name in ("update_steps_max", "update_steps_eps"):
            self._check_one_a_head(name)
        self._fill_affine()
        if not self.static:
            self._fill_sizes()
        self._fill_output()
        self._check_static()

    def _fill(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # once, while the frozen object is made

    def _check_one_a_head(self, name: str) -> None:
        given = getattr(self, name)
        if isinstance(given, tuple) and len(given) != self.num_heads:
            raise ParameterError(
                f"{len(given)} values of {name} for {self.num_heads} heads",
                "Give one number, or one for every head",
            )

    def _fill_affine(self) -> None:
        for pattern in PATTERNS:
            name = f"normalize_{pattern}"
            if getattr(self, f"{name}_affine") is None:
                self._fill(f"{name}_affine", getattr(self, name))
        for name in (*(f"normalize_{pattern}" for pattern in PATTERNS), "normalize_hopfield_space"):
            check_positive(f"{name}_eps", getattr(self, f"{name}_eps"))
            if getattr(self, f"{name}_affine") and not getattr(self, name):
                raise ParameterError(
                    f"{name}_affine=True with {name}=False",
                    f"Set {name}=True, or leave {name}_affine out",
                )

    def _fill_sizes(self) -> None:
        if self.input_size is None:
            raise ParameterError(
                "no input_size, and not everything is static",
                "Give input_size, or ask for Hopfield.static(…), which has nothing to learn",
            )
        if self.hidden_size is None:
            if self.input_size % self.num_heads:
                raise ParameterError(
                    f"input_size {self.input_size} cannot be shared by {self.num_heads} heads",
                    "Give hidden_size, the features of one head, or another number of heads",
                )
            self._fill("hidden_size", self.input_size // self.num_heads)
        self._fill("pattern_size", self.pattern_size or self.hidden_size)

    def _fill_output(self) -> None:
        if not self.disable_out_projection:
            self._fill("output_size", self.output_size or self.input_size)
            return
        if self.output_size is not None:
            raise ParameterError(
                f"output_size {self.output_size} with disable_out_projection",
                "Leave one out: without a map the output is as large as the heads' projections",
            )
        mapped = not self.pattern_projection_as_static
        one = self.pattern_size if mapped else self.pattern_projection_dim
        self._fill("output_size", one and one * self.num_heads)

    def _check_static(self) -> None:
        if self.concat_bias_pattern and (
            self.stored_pattern_as_static or self.pattern_projection_as_static
        ):
            raise ParameterError(
                "concat_bias_pattern with a static stored pattern or projection",
                "Leave it out, or use add_zero_association, which needs no linear map",
            )
        if self.pattern_projection_as_connected:
            self._check_connected()
        outer = (self.stored_pattern_dim, self.state_pattern_dim, self.pattern_projection_dim)
        for pattern, own, inner in zip(PATTERNS, outer, self._inner_sizes, strict=True):
            if not getattr(self, f"normalize_{pattern}"):
                continue
            if own is None:
                raise ParameterError(
                    f"normalize_{pattern} of unknown size",
                    f"Give its size, or set normalize_{pattern}=False",
                )
            if getattr(self, f"{pattern}_as_static") and inner not in (own, None):
                raise ParameterError(
                    f"a static {pattern} of {inner} features, normalized over {own}",
                    f"Set normalize_{pattern}=False, or make the two sizes the same",
                )

    def _check_connected(self) -> None:
        if self.stored_pattern_dim != self.pattern_projection_dim or (
            self.pattern_size != self.hidden_size
        ):
            raise ParameterError(
                f"connected patterns of {self.stored_pattern_dim} and {self.pattern_projection_dim}"
                f" features, {self.hidden_size} and {self.pattern_size} a head",
                "What shares the map of the stored patterns needs their sizes: leave out "
                "pattern_size and pattern_projection_size",
            )

    def description(self) -> dict[str, Any]:
        """Returns what results depend on in evaluation, but for the order of dimensions."""
        said = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del said["batch_first"], said["dropout"]
        return said | {"association_activation": name_of_activation(self.association_activation)}

    @property
    def static(self) -> bool:
        """Whether nothing stands between the patterns and the association."""
        return (
            all(getattr(self, f"{pattern}_as_static") for pattern in PATTERNS)
            and not self.pattern_projection_as_connected
            and not self.normalize_hopfield_space
            and self.disable_out_projection
        )

    @property
    def updates_before(self) -> tuple[int, ...]:
        """How often each head updates its states before the update that reads out."""
        steps = self._one_a_head(self.update_steps_max)
        return tuple(UNTIL_REST if count is None else count - 1 for count in steps)

    @property
    def rest(self) -> tuple[float, ...]:
        """What change of a state is rest, for each head."""
        return self._one_a_head(self.update_steps_eps)

    def _one_a_head(self, given: Any) -> tuple[Any, ...]:
        return given if isinstance(given, tuple) else (given,) * self.num_heads

    @property
    def stored_pattern_dim(self) -> int | None:
        """Features of a stored pattern before its map."""
        return self.stored_pattern_size or self.input_size

    @property
    def state_pattern_dim(self) -> int | None:
        """Features of a state before its map."""
        return self.input_size

    @property
    def pattern_projection_dim(self) -> int | None:
        """Features of what is read out before its map."""
        return self.pattern_projection_size or self.input_size

    @property
    def norms(self) -> dict[str, dict[str, Any]]:
        """The normalizations that the layer has, each as arguments of a LayerNorm."""
        sizes = {
            "stored_pattern": self.stored_pattern_dim,
            "state_pattern": self.state_pattern_dim,
            "pattern_projection": self.pattern_projection_dim,
            "hopfield_space": self.hidden_size,
        }
        return {
            f"norm_{name}": {
                "normalized_shape": size,
                "eps": getattr(self, f"normalize_{name}_eps"),
                "elementwise_affine": getattr(self, f"normalize_{name}_affine"),
            }
            for name, size in sizes.items()
            if getattr(self, f"normalize_{name}")
        }

    @property
    def maps(self) -> dict[str, dict[str, Any]]:
        """The linear maps that the layer has, each as arguments of a Linear."""
        inner, outer = (
            (size or 0) * self.num_heads for size in (self.hidden_size, self.pattern_size)
        )
        read = inner if self.connected else self.pattern_projection_dim
        sizes = {
            "stored": (self.stored_pattern_as_static, self.stored_pattern_dim, inner),
            "state": (self.state_pattern_as_static, self.state_pattern_dim, inner),
            "projection": (self.pattern_projection_as_static, read, outer),
            "out": (self.disable_out_projection, outer, self.output_size),
        }
        return {
            f"project_{name}": {"in_features": size, "out_features": out, "bias": self.input_bias}
            for name, (missing, size, out) in sizes.items()
            if not missing
        }

    @property
    def expected_sizes(self) -> tuple[int | None, int | None, int | None]:
        """Features that stored patterns, states and projections must have; None is any."""
        inner = self._inner_sizes
        outer = (self.stored_pattern_dim, self.state_pattern_dim, self.pattern_projection_dim)
        bare = (
            getattr(self, f"{name}_as_static") and not getattr(self, f"normalize_{name}")
            for name in PATTERNS
        )
        stored, state, projection = (
            inner[i] if is_bare else outer[i] for i, is_bare in enumerate(bare)
        )
        return stored, state, projection

    @property
    def _inner_sizes(self) -> tuple[int | None, int | None, int | None]:
        """What each must measure if it has no map; None is any."""
        both = self.stored_pattern_as_static and self.state_pattern_as_static
        association = None if both and not self.normalize_hopfield_space else self.hidden_size
        if self.connected:
            return association, association, self.pattern_projection_dim
        read = None if self.disable_out_projection else self.pattern_size
        return association, association, read

    @property
    def connected(self) -> bool:
        """Whether what is read out goes through the map of the stored patterns."""
        return self.pattern_projection_as_connected and not self.stored_pattern_as_static


def find_activation(
    activation: str | Callable[[Tensor], Tensor],
) -> Callable[[Tensor], Tensor]:
    """Returns the function itself, or the one of that name in torch or in torch.nn.functional.

    Raises:
        ParameterError: If there is none.
    """
    if callable(activation):
        check_takes("activation", activation, "a tensor")
        return activation
    found = getattr(torch, str(activation), None) or getattr(F, str(activation), None)
    if not isinstance(found, Callable):
        raise ParameterError(
            f"activation {activation!r}",
            "Name a function of torch, such as 'relu' or 'tanh', or give the function itself",
        )
    return found


def name_of_activation(activation: str | Callable[[Tensor], Tensor] | None) -> str | None:
    """Returns the name of an activation; functions of like names are taken as the same.

    Examples:
        >>> name_of_activation("relu"), name_of_activation(torch.relu)
        ('relu', 'relu')
    """
    if activation is None or isinstance(activation, str):
        return activation
    return getattr(activation, "__name__", None) or type(activation).__name__


def _per_head(name: str, given: Any, check: Callable[[str, Any], Any]) -> Any:
    """One value, or a tuple of one a head."""
    if isinstance(given, Tensor):
        given = given.tolist()
    if isinstance(given, (tuple, list)):
        return tuple(check(name, value) for value in given)
    return check(name, given)


def _steps(name: str, given: Any) -> int | None:
    if given is None:
        return None
    if isinstance(given, int) and given == 0:
        raise ParameterError(
            f"{name} = 0",
            "Give 1 for one update, which is attention: where hflayers says k, say k + 1",
        )
    return check_count(name, given)


def _eps(name: str, given: Any) -> float:
    return check_positive(name, given)
