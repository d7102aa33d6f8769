"""Every error a user can meet: each says the operation, what was found, and the remedy."""

from isinglass._support.operation import public_operation


class IsinglassError(Exception):
    """Base of all errors raised on purpose by isinglass.

    The operation is what the user called, read from the stack where the error is made, so no
    function hands its name down to the helpers that check for it.

    Args:
        found: What was found, with the shapes or values that were wrong.
        remedy: What to do about it.
        operation: What was being done, where the call alone does not tell: ``"loading x.csv"``.

    Examples:
        >>> raise IsinglassError("cues of shape (3, 5), patterns of 4 units", "Pass 4", "recall")
        Traceback (most recent call last):
            ...
        isinglass.errors.IsinglassError: recall: cues of shape (3, 5), patterns of 4 units. Pass 4
    """

    def __init__(self, found: str, remedy: str, operation: str | None = None) -> None:
        operation = operation or public_operation()
        super().__init__(found, remedy, operation)  # the three parts, so that a copy is whole
        self.operation = operation
        self.found = found
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.operation}: {self.found}. {self.remedy}"


class ShapeError(IsinglassError, ValueError):
    """A tensor has the wrong shape: wrong feature size, missing batch, no patterns at all."""


class DomainError(IsinglassError, ValueError):
    """A value lies outside the states it must take: NaN, infinity, a spin that is not ±1."""


class ParameterError(IsinglassError, ValueError):
    """A parameter is out of range or of the wrong kind: ``beta <= 0``, a negative temperature."""


class IntractableError(IsinglassError, RuntimeError):
    """The quantity has no closed form for this model; the remedy names one that has."""


class DivergenceError(IsinglassError, ArithmeticError):
    """Learning ran away: a loss or a parameter is no finite number any more."""


class NoOverlapError(IsinglassError, ArithmeticError):
    """Where a walk starts and where it should end have too little in common to be compared."""


class FileError(IsinglassError, OSError):
    """A file cannot be read, is truncated or altered, or would be overwritten unasked."""


class UnknownEnvironmentError(IsinglassError, KeyError):
    """No such environment is registered."""


class MissingExtraError(IsinglassError, ImportError):
    """An optional dependency is not installed; the remedy is the command that installs it."""
