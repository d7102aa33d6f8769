"""Functions of users, checked before they are called in the middle of something."""

from __future__ import annotations

from inspect import signature

from isinglass.errors import ParameterError

__all__ = ["check_takes"]


def check_takes(
    name: str, function: object, *arguments: str, remedy: str | None = None, classes: bool = True
) -> None:
    """Refuses what is no function, or one that does not take these arguments by their places.

    Args:
        name: What the function is given as.
        function: What was given.
        arguments: In words, what the function will be called with.
        remedy: What to give; None is a function of these arguments.
        classes: Whether a class will do, which is called to make an object of it.

    Raises:
        ParameterError: If it cannot be called with so many arguments.

    Examples:
        >>> check_takes("learning_rate", lambda progress: 0.01 * progress, "the progress")
    """
    wanted = " and ".join(arguments)
    remedy = remedy or f"Give a function of {wanted}"
    if not callable(function) or (isinstance(function, type) and not classes):
        raise ParameterError(f"{name} = {function!r}", remedy)
    try:
        taken = signature(function)
    except (TypeError, ValueError):  # of C, which does not say
        return
    try:
        taken.bind(*arguments)
    except TypeError as error:
        found = f"{name} = {function!r}, which does not take {wanted}"
        raise ParameterError(found, remedy) from error
