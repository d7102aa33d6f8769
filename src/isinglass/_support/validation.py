"""Argument checks shared by every public entry point: one named error, with the remedy.

Checks of values wait for the device, so they stand at the public doors (``recall``, ``log_prob``,
``fit``) and never inside a loop; they step aside where values cannot be seen: while torch traces,
under ``vmap``, on the device "meta".
"""

import math
from collections.abc import Callable, Sequence
from operator import index

import numpy as np
import torch
from torch import Tensor
from torch._C import (  # pyright: ignore[reportMissingModuleSource]
    _get_dispatch_mode,
    _TorchDispatchModeKey,
)
from torch._C._functorch import (  # pyright: ignore[reportMissingModuleSource]
    is_functorch_wrapped_tensor,
)
from torch._subclasses.fake_tensor import FakeTensor

from isinglass._support.wording import shown
from isinglass.errors import DomainError, ParameterError, ShapeError

ROWS = 65_536  # looked at together
#: Numbers that divide or multiply tensors lie between: there float32 keeps all its digits, and the
#: reciprocal is finite too.
LEAST, MOST = 2.0**-126, 2.0**126
#: No memory has addresses for more, and no loop comes to an end.
MOST_COUNTED = 2**48
DENSE = (torch.strided, torch.jagged)


def check_tensor(name: str, values: object) -> None:
    """Refuses what is no tensor, such as lists and arrays, and tensors that are not dense.

    Raises:
        DomainError: If ``values`` is not a tensor, or a sparse one.
    """
    if not isinstance(values, Tensor):
        raise DomainError(
            f"{name} of type {type(values).__name__}", "Convert it: torch.as_tensor(x)"
        )
    if values.layout not in DENSE:
        raise DomainError(f"{name} of layout {values.layout}", "Make it dense: x.to_dense()")


def check_features(state: Tensor, size: int, name: str = "states") -> None:
    """Refuses a tensor whose last dimension is not ``size`` or whose dtype is not floating.

    Raises:
        ShapeError: If the last dimension is not ``size``.
        DomainError: If it is no tensor, or the dtype is not a floating one.
    """
    check_tensor(name, state)
    if state.ndim == 0 or state.shape[-1] != size:
        raise ShapeError(
            f"{name}: expected (*batch, {size}), found {tuple(state.shape)}",
            f"Give {size} features in the last dimension",
        )
    if not state.is_floating_point():
        raise DomainError(f"{name} of dtype {state.dtype}", "Convert them first: x.float()")


def values_visible(state: Tensor) -> bool:
    """Tells whether values may be looked at: there are some, and no trace or transform runs."""
    if torch.compiler.is_compiling():  # first, as torch.compile knows nothing of the rest
        return False
    if is_hollow(state) or is_functorch_wrapped_tensor(state) or torch._C._get_tracing_state():
        return False
    if state.is_cuda and torch.cuda.is_current_stream_capturing():
        return False
    modes = _TorchDispatchModeKey.FAKE, _TorchDispatchModeKey.PROXY
    return all(_get_dispatch_mode(mode) is None for mode in modes)


def is_hollow(state: Tensor) -> bool:
    """Tells whether a tensor has a shape and no values, on the device "meta" or as a FakeTensor."""
    return state.is_meta or isinstance(state, FakeTensor)


def is_autocast(state: Tensor) -> bool:
    """Tells whether autocast chooses the dtype of products on the tensor's device."""
    kind = state.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def check_finite(name: str, values: Tensor) -> None:
    """Refuses NaN and infinity.

    Raises:
        DomainError: If any value is not finite, with how many and where the first one is.
    """
    if values.is_complex():
        raise DomainError(f"{name} of dtype {values.dtype}", "Give real numbers: x.real")
    if not values_visible(values):
        return
    # One pass and no copy, since the values may lie in a file larger than memory; NaN goes through.
    if values.numel() and not bool(torch.isfinite(torch.stack(values.detach().aminmax())).all()):
        bad = ~torch.isfinite(values)
        first = tuple(int(i) for i in bad.nonzero()[0])
        raise DomainError(
            f"{int(bad.sum())} of {values.numel()} values of {name} are NaN or infinite, "
            f"the first at index {first}",
            "Remove or fill them (torch.nan_to_num) before the call",
        )


def without_non_finite(values: Tensor, unseen: Tensor) -> Tensor:
    """Returns the values, NaN and infinity at zero where nobody looks: zero weights keep NaN.

    Finite values stay, so that padding gives what it does elsewhere.
    """
    return values.masked_fill(unseen & ~torch.isfinite(values), 0.0)


def check_above_zero(name: str, value: float) -> float:
    """Returns ``value`` as a float, refusing anything but a finite number above zero.

    For numbers that meet other numbers; those that meet tensors pass :func:`check_positive`.

    Raises:
        ParameterError: If it is not.
    """
    return _check_number(name, value, "above zero", lambda number: number > 0)


def check_positive(name: str, value: float) -> float:
    """Returns ``value`` as a float, refusing anything but a number above zero that can divide.

    Raises:
        ParameterError: If ``value`` is not a number from 2⁻¹²⁶ to 2¹²⁶, beyond which it or its
            reciprocal would be lost in float32.
    """
    number = check_above_zero(name, value)
    if not LEAST <= number <= MOST:
        raise ParameterError(
            f"{name} = {shown(value)}, which float32 cannot hold or divide by",
            f"Give {name} from {LEAST:.2g} to {MOST:.2g}",
        )
    return number


def check_at_least_zero(name: str, value: float) -> float:
    """Returns ``value`` as a float, refusing anything but a finite number of zero or above.

    Raises:
        ParameterError: If it is not.
    """
    return _check_number(name, value, "of zero or above", lambda number: number >= 0)


def check_weight(name: str, value: float) -> float:
    """Returns a weight of zero or above as a float, refusing one that tensors cannot take.

    Raises:
        ParameterError: If it is below zero, not finite, or beyond what float32 holds.
    """
    number = check_at_least_zero(name, value)
    if number > MOST:
        raise ParameterError(
            f"{name} = {shown(value)}, which float32 cannot hold", f"Give {name} less"
        )
    return number


def check_deviation(name: str, value: float) -> float:
    """Returns a standard deviation as a float: zero, or a number above zero that can divide.

    Raises:
        ParameterError: If it is neither.
    """
    return check_at_least_zero(name, value) and check_positive(name, value)


def check_number(name: str, value: float) -> float:
    """Returns ``value`` as a float, refusing anything but a finite number.

    Raises:
        ParameterError: If it is not.
    """
    return _check_number(name, value, "of any sign", math.isfinite)


def check_fraction(name: str, value: float) -> float:
    """Returns ``value`` as a float, refusing anything but a number from 0 to 1.

    Raises:
        ParameterError: If it is not.
    """
    return _check_number(name, value, "from 0 to 1", lambda number: 0 <= number <= 1)


def check_temperature(value: float) -> float:
    """Returns a temperature as a float, refusing a negative or non-finite one.

    Raises:
        ParameterError: If ``value`` is not a finite number, zero or above.
    """
    return check_at_least_zero("temperature", value)


def _check_number(name: str, value: float, wanted: str, holds: Callable[[float], bool]) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # of several, or beyond a float
        number = math.nan
    if isinstance(value, str) or not (math.isfinite(number) and holds(number)):
        raise ParameterError(f"{name} = {shown(value)}", f"Give a finite {name} {wanted}")
    return number


def check_count(name: str, value: int, least: int = 1) -> int:
    """Returns a whole number of at least ``least``.

    Raises:
        ParameterError: If ``value`` is not a whole number or is below ``least``.
    """
    try:
        whole = not isinstance(value, bool | np.ndarray | Tensor)  # but numpy's integers
        number = index(value) if whole else least - 1
    except TypeError:
        number = least - 1
    if number < least:
        raise ParameterError(
            f"{name} = {shown(value)}", f"Give {name} as a whole number of at least {least}"
        )
    if number > MOST_COUNTED:
        raise ParameterError(f"{name} = {shown(value)}, beyond any machine", f"Give {name} less")
    return number


def check_kind(name: str, value: object, kind: type, example: str) -> None:
    """Refuses what is no object of a kind, such as its class, its name or None.

    Raises:
        ParameterError: If it is none.
    """
    if not isinstance(value, kind):
        raise ParameterError(
            f"{name} = {str(value)[:60]} of type {type(value).__name__}", f"Give {example}"
        )


def check_generator(generator: object) -> None:
    """Refuses a source of randomness that is neither torch's nor None, which is the global one.

    Raises:
        ParameterError: If it is of another kind, such as a seed or a generator of numpy.
    """
    if generator is not None:
        check_kind(
            "generator", generator, torch.Generator, "None, or torch.Generator().manual_seed(0)"
        )


def check_flag(name: str, value: object) -> bool:
    """Returns a flag as True or False.

    Raises:
        ParameterError: If it is neither, such as a tensor or a word.
    """
    if not isinstance(value, bool | int | np.bool):
        found = f"{name} of type {type(value).__name__}"
        raise ParameterError(found, f"Give {name} as True or False")
    return bool(value)


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuses what is none of some words.

    Raises:
        ParameterError: If it is none.
    """
    if not (isinstance(value, str) and value in choices):
        raise ParameterError(f"{name} = {shown(value)}", f"Say one of: {', '.join(choices)}")


def check_rows(data: Tensor) -> None:
    """Refuses data that is not a matrix of at least one row.

    Raises:
        ShapeError: If it is not.
        DomainError: If it is no tensor.
    """
    check_tensor("data", data)
    if data.ndim != 2 or len(data) == 0:
        raise ShapeError(
            f"data of shape {tuple(data.shape)}",
            "Give at least one example, as rows; images as rows of pixels: x.flatten(1)",
        )


def check_means(**rows: Tensor) -> None:
    """Refuses batches without a row, over which a mean is to be taken.

    Raises:
        ShapeError: If one has no row.
    """
    for name, batch in rows.items():
        if batch.ndim > 0 and len(batch) == 0:
            raise ShapeError(
                f"{name} of shape {tuple(batch.shape)}",
                "Give at least one row: the mean over none is no number",
            )


def check_like(state: Tensor, reference: Tensor, name: str = "states") -> None:
    """Refuses a tensor of another dtype or device than the parameters it meets.

    Raises:
        DomainError: If dtype or device differs.
    """
    if state.dtype != reference.dtype or state.device != reference.device:
        raise DomainError(
            f"{name} of {state.dtype} on {state.device}, parameters of {reference.dtype} on "
            f"{reference.device}",
            "Bring them together first: x.to(parameters), or energy.to(x)",
        )


def check_operand(state: Tensor, reference: Tensor, name: str = "states") -> None:
    """Refuses as :func:`check_like` does, but leaves dtypes to autocast where that is on.

    Raises:
        DomainError: If dtype or device differs.
    """
    if not is_autocast(state):
        check_like(state, reference, name)


def check_patterns(patterns: Tensor) -> None:
    """Refuses anything but a finite floating ``(N, d)`` matrix with at least one row.

    Raises:
        ShapeError: If there is no pattern, or the tensor is not a matrix of rows.
        DomainError: If the dtype is not floating or a value is not finite.
    """
    check_tensor("patterns", patterns)
    if patterns.ndim != 2 or patterns.numel() == 0:
        raise ShapeError(
            f"patterns of shape {tuple(patterns.shape)}",
            "Give at least one pattern, as the rows of an (N, d) tensor; images: x.flatten(1)",
        )
    check_features(patterns, patterns.shape[-1])
    check_finite("patterns", patterns)


def is_symmetric(matrix: Tensor) -> bool:
    """Tells whether W = Wᵀ but for rounding, within √eps of the largest number.

    A product XᵀX need not be symmetric to the bit: a processor may add up an element in another
    order than its mirror image.
    """
    if torch.equal(matrix, matrix.mT):
        return True
    apart, largest = (matrix - matrix.mT).abs().amax(), matrix.abs().amax()
    return bool(apart <= torch.finfo(matrix.dtype).eps ** 0.5 * largest)


def check_values(values: Tensor, patterns: Tensor) -> None:
    """Refuses values that are not one row a pattern or key, of the patterns' dtype and device.

    Raises:
        ShapeError: If they are not.
        DomainError: If they are no tensor, or dtype or device differs.
    """
    check_tensor("values", values)
    if values.ndim != 2 or len(values) != len(patterns):
        raise ShapeError(
            f"values of shape {tuple(values.shape)} for {len(patterns)} patterns or keys",
            "Give one value for each, as the rows of an (N, e) tensor",
        )
    check_like(values, patterns)


def check_device_of(name: str, values: Tensor, state: Tensor) -> None:
    """Refuses a tensor on another device than the states it goes with.

    Raises:
        DomainError: If the devices differ.
    """
    if values.device != state.device:
        raise DomainError(
            f"{name} on {values.device}, states on {state.device}",
            "Bring them together first: x.to(states.device)",
        )


def check_observed(observed: Tensor, state: Tensor) -> Tensor:
    """Returns a mask of observed values, one flag for every value of the state.

    Raises:
        ShapeError: If it is not boolean, or fits neither all rows together nor each of them.
        DomainError: If it is no tensor.
    """
    check_tensor("a mask", observed)
    check_device_of("a mask", observed, state)
    if observed.dtype == torch.bool and observed.shape in (state.shape, state.shape[-1:]):
        return observed.expand(state.shape)
    raise ShapeError(
        f"a mask of shape {tuple(observed.shape)} and dtype {observed.dtype} for states of shape "
        f"{tuple(state.shape)}",
        "Give a boolean mask for all rows, or one for each, True where observed",
    )


def known_cells(cues: Tensor, known: Tensor) -> Tensor:
    """Returns the cues with zeros where they are unknown, once mask and cells are found fit.

    Raises:
        DomainError: If the mask is not of booleans, is on another device, or a known cell is not
            finite.
        ShapeError: If the mask does not fit the cues.
        ParameterError: If nothing is known of a cue.
    """
    check_tensor("cues", cues)
    size = cues.shape[-1] if cues.ndim else 0
    check_features(cues, size, "cues")
    example = f"torch.ones({size}, dtype=torch.bool)"
    if not isinstance(known, Tensor) or known.dtype != torch.bool:
        found = f"dtype {known.dtype}" if isinstance(known, Tensor) else type(known).__name__
        raise DomainError(
            f"a mask of {found}",
            f"Give a boolean tensor, True where a cell is given, such as {example}",
        )
    check_tensor("a mask", known)
    check_device_of("a mask", known, cues)
    try:
        fits = torch.broadcast_shapes(known.shape, cues.shape) == cues.shape
    except RuntimeError:
        fits = False
    if not fits or known.shape[-1:] != (size,):
        raise ShapeError(
            f"a mask of shape {tuple(known.shape)} for cues of shape {tuple(cues.shape)}",
            f"Give one boolean a cell, ({size},) or a batch of them, such as {example}",
        )
    if values_visible(known) and not bool(known.any(-1).all()):
        first = int((~known.any(-1)).flatten().nonzero()[0])
        raise ParameterError(f"nothing is known of cue {first}", "Show some part of it")
    cells = torch.where(known, cues, 0.0)
    check_finite("the known cells", cells)
    return cells


def check_attention_mask(
    name: str,
    mask: Tensor,
    shapes: Sequence[tuple[Sequence[int], str]],
    like: Tensor,
    *,
    floating: bool = True,
) -> None:
    """Refuses a mask of attention of another kind or shape.

    Args:
        name: Of the argument.
        mask: True at what must not be seen, or numbers to be added to the scores.
        shapes: Those that fit, and what their sides are.
        like: A tensor on the device where the mask belongs.
        floating: Whether numbers are allowed.

    Raises:
        DomainError: If it is neither boolean nor, where they are allowed, of numbers.
        ShapeError: If it has none of the shapes.
    """
    check_tensor(name, mask)
    check_device_of(name, mask, like)
    if mask.dtype != torch.bool and not (floating and mask.is_floating_point()):
        raise DomainError(
            f"{name} of dtype {mask.dtype}",
            "Give a boolean mask, True at what must not be seen"
            + (", or floats to be added to the scores" if floating else ""),
        )
    if not any(mask.shape == shape for shape, _ in shapes):  # by equality: a trace would fix a hash
        wanted = " or ".join(f"{tuple(shape)} {sides}".rstrip() for shape, sides in shapes)
        raise ShapeError(f"{name} of shape {tuple(mask.shape)}", f"Give it the shape {wanted}")


def check_device(device: torch.device | str | None) -> None:
    """Refuses a device that torch does not know or this machine does not have.

    Raises:
        ParameterError: If no tensor can be made there.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:  # without CUDA
        raise ParameterError(
            f"device = {shown(device)}",
            "Give a device that torch has on this machine, such as 'cpu' or 'cuda'",
        ) from error
