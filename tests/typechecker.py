"""The run-time type checker of the tests: beartype, taking an int where a float is asked for.

It is made of a function when that is first called, not when it is imported, and in each test looks
at the first calls of every function only: what a loop calls a thousand times it has seen by then.
Functions inside of functions, which are made anew at every call, are left alone.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

#: Calls of a function that are checked in each test.
CALLS = 20

_eager = jaxtyping.jaxtyped
_tests = 0


def next_test() -> None:
    """Check the first calls again."""
    global _tests
    _tests += 1


def _checked(function: Callable[..., Any], typechecker: Any) -> Callable[..., Any]:
    """Return the function with its first calls checked."""
    if "<locals>" in function.__qualname__:
        return function
    checked: Callable[..., Any] | None = None
    test, calls = -1, 0

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal checked, test, calls
        __tracebackhide__ = True
        if jaxtyping.config.jaxtyping_disable:
            return function(*args, **kwargs)
        if test != _tests:
            test, calls = _tests, 0
        if calls == CALLS:
            return function(*args, **kwargs)
        calls += 1
        if checked is None:
            checked = _eager(function, typechecker=typechecker)
        return checked(*args, **kwargs)

    # Errors read their operation from the stack, through frames of beartype's.
    code = call.__code__  # pyright: ignore[reportAttributeAccessIssue]
    code = code.replace(co_filename="<@beartype(tests.typechecker)>")
    call.__code__ = code  # pyright: ignore[reportAttributeAccessIssue]
    call.first_calls_are_checked = True  # pyright: ignore[reportAttributeAccessIssue]
    return call


def _lazily(*, typechecker: Any) -> Callable[[Any], Any]:
    """Do what jaxtyped does to functions and classes, later."""

    def decorate(thing: Any) -> Any:
        if inspect.isclass(thing):
            if dataclasses.is_dataclass(thing) and not hasattr(
                thing.__init__, "first_calls_are_checked"
            ):
                thing.__init__ = _checked(thing.__init__, typechecker)
            return thing
        if isinstance(thing, classmethod | staticmethod):
            return type(thing)(decorate(thing.__func__))
        if isinstance(thing, property):
            accessors = (thing.fget, thing.fset, thing.fdel)
            return property(*(one and decorate(one) for one in accessors))
        return _checked(thing, typechecker)

    return decorate


jaxtyping.jaxtyped = _lazily  # pyright: ignore[reportAttributeAccessIssue]
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
