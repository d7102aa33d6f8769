"""Errors of the library in the words of the command line: options instead of arguments."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping

from isinglass.errors import IsinglassError, ParameterError, UnknownEnvironmentError

__all__ = ["exit_status", "lacks_memory", "lacks_space", "shell_message"]

#: Arguments of the estimators that an option with another name sets.
ARGUMENTS = {
    "n_memories": "--memories",
    "max_iter": "--steps",
    "n_init": "--starts",
    "n_samples": "--sample",
    "random_state": "--seed",
}
#: How libraries say that there is no more memory, where they raise no MemoryError.
NO_MEMORY = (
    "can't allocate memory", "Cannot allocate memory", "failed to map segment", "bad_alloc",
    "out of memory", "can't start new thread",
)  # fmt: skip
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
#: How Python says that a file of one byte can be written nowhere.
NO_TEMPORARY_FILE = "No usable temporary directory"
#: What a user of Python does, and what a user of the shell does instead.
PHRASES = (
    (r"overwrite=True", "--force"),
    (r"handle_unknown='missing'", "--unseen missing"),
    (r"Save it again with numpy\.save", "Save it again as .npy"),
    (r"HopfieldBoltzmannMachine\.save or isinglass imagine --model", "isinglass imagine --model"),
    (r"a file (written by|of) isinglass\.save", "a file that --model has kept"),
    (r"Convert (it|them)( first)?: [\w.]+\(.*?\)", r"Give \1 as floating-point numbers"),
    (r"Remove or fill them \(.*?\) before the call", "Remove them, or leave their cells empty"),
    (r"Make it dense: .*", "Give a dense array"),
    (r"; images( as rows of pixels)?: .*", "; images as rows of pixels"),
    (r"Bring them together first: .*", "Give numbers of one type"),
    (r"Go on with it: isinglass\..*", "Give a file that --model has kept"),
    (r", such as torch\..*", ""),
)


def exit_status(error: IsinglassError) -> int:
    """Returns 2 where the command line itself is wrong, 1 where files or data are."""
    return 2 if isinstance(error, ParameterError | UnknownEnvironmentError) else 1


def lacks_memory(error: BaseException | None) -> bool:
    """Returns whether numpy, torch, Python or the loader of libraries found no more memory."""
    if error is None:
        return False
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or any(words in text for words in NO_MEMORY)
        or lacks_memory(error.__cause__ or error.__context__)
    )


def lacks_space(error: BaseException) -> bool:
    """Returns whether a disk took nothing more: it is full, a quota or a limit is reached."""
    if not isinstance(error, OSError):
        return False
    return error.errno in NO_SPACE or NO_TEMPORARY_FILE in str(error)


def shell_message(error: IsinglassError, command: str, options: Mapping[str, str]) -> str:
    """Returns the error as one line without Python.

    Args:
        error: What the library raised.
        command: The command that was run, which replaces names of functions and classes.
        options: The command's option for each of its parameters.

    Examples:
        >>> error = ParameterError("beta = -1.0", "Give a finite beta above zero", "ImageMemory")
        >>> shell_message(error, "remember", {"beta": "--beta"})
        'isinglass remember: --beta -1.0. Give a finite --beta above zero'
    """
    operation = error.operation
    if re.fullmatch(r"[A-Za-z_][\w.]*", operation):  # a name in Python
        operation = f"isinglass {command}".strip()
    found, remedy = error.found, error.remedy
    for python, shell in PHRASES:
        remedy = re.sub(python, shell, remedy)
    for argument, option in {**ARGUMENTS, **options}.items():
        assigned = rf"(?<![\w-]){argument} ?= ?(?:'([^']*)'|)"
        named = re.search(assigned, found) is not None
        found = re.sub(assigned, rf"{option} \1", found)
        remedy = re.sub(assigned, rf"{option} \1", remedy)
        if named:
            remedy = re.sub(rf"(?<![\w-]){argument}(?!\w)", option, remedy)
    return f"{operation}: {found}. {remedy}"
