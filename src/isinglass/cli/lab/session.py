"""One visitor: what a socket asks is answered here, and nothing of it is seen by another."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from isinglass.cli.lab.remembering import Remembering
from isinglass.cli.lab.thoughts import wonder
from isinglass.cli.lab.worlds import answer_plan
from isinglass.errors import IsinglassError, ParameterError

__all__ = ["Session"]

Answer: TypeAlias = "dict[str, object] | np.ndarray"
Question: TypeAlias = Callable[[dict[str, object]], Answer]


class Session:
    """The rooms of one visitor.

    Args:
        seed: Of everything random.
    """

    def __init__(self, seed: int) -> None:
        remembering = Remembering(seed)
        self._questions: dict[tuple[str, str], Question] = {
            ("remember", "open"): remembering.open,
            ("remember", "set"): remembering.set,
            ("remember", "store"): remembering.store,
            ("remember", "advance"): remembering.advance,
            ("think", "wonder"): wonder,
            ("world", "plan"): answer_plan,
        }

    def answer(self, message: str) -> str | bytes:
        """Answers a question, ``{"id": …, "room": …, "do": …}``, in JSON or as float32.

        Bytes are the number of the question, four of them, and then the numbers, all
        little-endian. What cannot be answered is said under ``"error"``.
        """
        number = 0
        try:
            asked = json.loads(message)
            if not isinstance(asked, dict):
                raise ParameterError("a message that is no object", "Send a JSON object")
            number = _identity(asked)
            answer = self._find(asked)(asked)
        except IsinglassError as error:
            return json.dumps({"id": number, "error": f"{error.found}. {error.remedy}"})
        except (ValueError, RecursionError):  # json's
            return json.dumps({"id": number, "error": "no JSON. Send a JSON object"})
        if isinstance(answer, np.ndarray):
            return struct.pack("<I", number) + answer.astype("<f4").tobytes()
        return json.dumps({**answer, "id": number})

    def _find(self, asked: dict[str, object]) -> Question:
        question = self._questions.get((str(asked.get("room")), str(asked.get("do"))))
        if question is None:
            raise ParameterError("no such question", "Name a room and what to do there")
        return question


def _identity(asked: dict[str, object]) -> int:
    number = asked.get("id")
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**32:
        raise ParameterError("a message without its number", "Give id, a whole number")
    return number
