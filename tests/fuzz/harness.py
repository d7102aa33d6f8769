"""Malformed calls, made from whole ones by a seed, and what may come of them.

A call is a function with arguments that do. One or two of them are replaced by what a user may
give instead: another type, another shape, a number out of range, NaN. Then it must end in a named
error, or in numbers that are some.
"""

import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isinglass.errors import IsinglassError


@dataclass(frozen=True)
class Call:
    """A function, arguments that do, and which of them are left alone."""

    name: str
    run: Callable[..., Any]
    arguments: Mapping[str, Any]
    named: tuple[type[Exception], ...] = (IsinglassError,)
    #: Whether numbers are looked at; layers are as torch's, NaN and overflow go through them.
    looks: bool = True


#: What stands in place of anything.
NOTHING = (None, "x", "", b"x", [], {}, (), object(), int, lambda: 1, np.zeros(0), torch.zeros(0))
NUMBERS = (
    np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 1e-320, 1e-40, 1e40, 1e300, 2**70, True, "1", "nan",
    1j,
    Fraction(1, 3), np.float32(0.5), np.float64("nan"), np.array([0.5, 1]), np.array(0.5), [0.5],
    torch.tensor(0.5), torch.tensor([0.5, 1.0]), torch.tensor(np.nan), *NOTHING,
)  # fmt: skip
COUNTS = (
    0, -1, 2, 2.0, 2.5, 2**63, -(2**63), 10**30, np.nan, np.inf, True, "3", 1j, np.int64(3),
    np.array(3), np.array([3, 4]), torch.tensor(3), torch.tensor([3, 4]), torch.tensor(2.5),
    *NOTHING,
)  # fmt: skip
FLAGS = (2, -1, *NOTHING)


def _spoiled_tensor(whole: Tensor, rng: np.random.Generator) -> Any:
    """Returns a tensor, or what is none, that differs from a whole one in one way."""
    odd = whole.clone() if whole.dtype == torch.bool else whole.double().to(whole.dtype).clone()
    if odd.numel() and odd.dtype != torch.bool:
        odd.view(-1)[rng.integers(odd.numel())] = (np.nan, np.inf, -np.inf)[rng.integers(3)]
    made = [
        lambda: odd, lambda: odd, lambda: torch.full_like(whole,
        np.nan if odd.is_floating_point() else 0),
        lambda: whole * 1e30, lambda: whole * 1e-42, lambda: whole * 0, lambda: -whole.double(),
        lambda: whole.new_zeros(0, *whole.shape[1:]), lambda: whole.new_zeros(*whole.shape[:-1], 0),
        lambda: whole[..., :-1], lambda: whole[None], lambda: whole[None, None], lambda: whole[0],
        lambda: whole.flatten(), lambda: whole.new_zeros(()),
        lambda: whole.t() if whole.ndim == 2 else whole,
        lambda: torch.cat([whole, whole], -1), lambda: whole[:1].expand_as(whole),
        lambda: whole.long(), lambda: whole.int(), lambda: whole.bool(),
        lambda: whole.to(torch.uint8),
        lambda: whole.to(torch.complex64), lambda: whole.half(), lambda: whole.bfloat16(),
        lambda: whole.double(), lambda: whole.float(), lambda: whole.to("meta"),
        lambda: whole.to_sparse(), lambda: whole.tolist(), lambda: whole.numpy(),
        lambda: np.ma.masked_array(whole.numpy()), lambda: nn.Parameter(whole.float()),
        lambda: NOTHING[rng.integers(len(NOTHING))], lambda: NOTHING[rng.integers(len(NOTHING))],
    ]  # fmt: skip
    return made[rng.integers(len(made))]()


def spoiled(whole: Any, rng: np.random.Generator) -> Any:
    """Returns what a user may give instead of an argument that does."""
    if isinstance(whole, Tensor):
        return _spoiled_tensor(whole, rng)
    if isinstance(whole, np.ndarray):
        return spoiled_array(whole, rng)
    pool = {bool: FLAGS, int: COUNTS, float: NUMBERS}.get(type(whole))
    if pool is None:
        pool = (type(whole), [whole], 0, -1, 1.5, *NOTHING)
    return pool[rng.integers(len(pool))]


def spoiled_array(whole: np.ndarray, rng: np.random.Generator) -> Any:
    """Returns an array, or what is none, that differs from a whole one in one way."""
    odd = whole.astype(np.result_type(whole, np.float16))  # which has NaN
    odd.flat[rng.integers(odd.size)] = (np.nan, np.inf, -np.inf)[rng.integers(3)]
    words = whole.astype(object)
    words.flat[rng.integers(words.size)] = ("x", None, b"x", [1], {}, 1j, -1, 2**80)[
        rng.integers(8)
    ]
    made = [
        lambda: odd, lambda: odd, lambda: np.full_like(whole, np.nan), lambda: words, lambda: words,
        lambda: whole * 1e300, lambda: whole * 1e-310, lambda: whole * 0, lambda: -1.0 * whole,
        lambda: whole[:0], lambda: whole[:, :0] if whole.ndim > 1 else whole[:0], lambda: whole[:1],
        lambda: whole[:2], lambda: whole[..., :-1], lambda: whole[None], lambda: whole[0],
        lambda: whole.ravel(), lambda: np.float64(3), lambda: whole.T, lambda: whole.astype(int),
        lambda: whole.astype(bool), lambda: whole.astype(np.float32),
        lambda: whole.astype(np.float16),
        lambda: whole.astype(complex), lambda: whole.astype(str), lambda: whole.astype(bytes),
        lambda: whole.astype("M8[s]"), lambda: np.ma.masked_array(whole, whole > 0),
        lambda: whole.tolist(), lambda: torch.from_numpy(whole), lambda: whole[::-1],
        lambda: np.asfortranarray(whole), lambda: NOTHING[rng.integers(len(NOTHING))],
    ]  # fmt: skip
    with np.errstate(all="ignore"):
        return made[rng.integers(len(made))]()


def malformed(calls: list[Call], seed: int, count: int) -> Iterator[tuple[Call, dict[str, Any]]]:
    """Yields calls in turn, each with one argument of its own replaced, or two of them."""
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        call = calls[number % len(calls)]
        names = list(call.arguments)
        chosen = rng.permutation(names)[: 1 + (rng.random() < 0.2)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            changed = {str(name): spoiled(call.arguments[name], rng) for name in chosen}
        yield call, {**call.arguments, **changed}


def fault(call: Call, arguments: Mapping[str, Any]) -> str | None:
    """Returns what is wrong with how a call ended; None if nothing is."""
    shown = ", ".join(f"{name}={_shown(value)}" for name, value in arguments.items())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = call.run(**arguments)
        except call.named as error:
            if isinstance(error, IsinglassError) or _is_raised(error):
                return None
            return f"{call.name}({shown}): {type(error).__name__}: {str(error)[:200]}"
        except Exception as error:
            return f"{call.name}({shown}): {type(error).__name__}: {str(error)[:200]}"
    if not holds_nan(result) or not (call.looks or all(map(_is_moderate, arguments.values()))):
        return None
    return f"{call.name}({shown}): NaN"


def _is_moderate(value: Any) -> bool:
    """Tells whether no number of a tensor is NaN or so large that its square overflows."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
        return True
    return not value.numel() or bool(value.detach().abs().max() < 1e10)  # NaN is not


def _is_raised(error: Exception) -> bool:
    """Tells whether an error was written for who reads it, rather than met in the middle."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    if "/sklearn/" in frame.filename:  # what its own estimators say too
        return True
    return "/isinglass/" in frame.filename and (frame.line or "").startswith("raise")


def faults(calls: list[Call], seed: int, count: int) -> list[str]:
    """Returns what is wrong with so many malformed calls."""
    found = (fault(call, arguments) for call, arguments in malformed(calls, seed, count))
    return [text for text in found if text is not None]


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        values = (
            value.flatten()[:6].tolist()
            if value.layout == torch.strided and not value.is_meta
            else value.layout
        )
        return f"{value.dtype}{tuple(value.shape)}{values}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{value.ravel()[:6].tolist()}"
    return repr(value)[:80]


def holds_nan(result: Any) -> bool:
    """Tells whether there is NaN in numbers, however nested."""
    if isinstance(result, Tensor):
        if result.is_meta or result.layout != torch.strided:
            return False
        return bool(torch.isnan(result.detach()).any())
    if isinstance(result, np.ndarray):
        return result.dtype.kind in "fc" and bool(np.isnan(result).any())
    if isinstance(result, nn.Module):
        return any(holds_nan(value) for value in result.state_dict().values())
    if isinstance(result, Mapping):
        return any(holds_nan(value) for value in result.values())
    if isinstance(result, tuple | list):
        return any(holds_nan(value) for value in result)
    if is_dataclass(result) and not isinstance(result, type):
        return any(holds_nan(getattr(result, field.name)) for field in fields(result))
    return isinstance(result, float) and bool(np.isnan(result))
