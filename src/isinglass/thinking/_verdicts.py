"""Which answers are sure: by their share, by their steps, and by what they rest on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from isinglass.thinking._derived import Derived
from isinglass.thinking.vocabulary import Vocabulary

__all__ = ["Judge", "Verdict", "exclusions", "least_step"]

#: A rival of this probability speaks against an answer, however certain its own steps are.
LIKELY = 0.6
#: A confidence of these odds, 0.95, asks for steps that are more likely than not.
USUAL_ODDS = 19.0


@dataclass(frozen=True)
class Verdict:
    """What is to be said of an answer.

    Attributes:
        share: Its part of exp(−energy) among the answers that compete with it.
        sure: Whether it is sure.
        contradicted: Whether it rests on givens that contradict each other.
    """

    share: float
    sure: bool
    contradicted: bool


class Judge:
    """Who says which answers are sure.

    Args:
        derived: All that was derived.
        exclusive: Which relations exclude each other, ``(R, R)``.
        spoiled: Codes of givens that contradict each other, of all minds.
        confidence: Of the thinker.
    """

    def __init__(
        self, derived: Derived, exclusive: Tensor, spoiled: set[int], confidence: float
    ) -> None:
        self.derived, self.spoiled, self.confidence = derived, spoiled, confidence
        self.exclusive: list[list[bool]] = exclusive.tolist()
        self._rests: dict[int, bool] = {}

    def judge(self, place: int, rivals: list[int]) -> Verdict:
        """Returns what is to be said of an answer.

        Args:
            place: The answer.
            rivals: The answers about the same entities, itself among them.
        """
        derived, confidence = self.derived, self.confidence
        energy = derived.energies[place]
        if derived.proved[place]:  # only what cannot hold beside it speaks against it
            against = self.exclusive[derived.row(place)[3]]
            rivals = [each for each in rivals if each == place or against[derived.row(each)[3]]]
        share = 1 / sum(math.exp(energy - derived.energies[other]) for other in rivals)
        rival = max((-derived.energies[other] for other in rivals if other != place), default=-1e9)
        weakest = derived.weakest_step(place)
        sure = share >= confidence and (weakest > least_step(confidence) or weakest == 1)
        # Certain steps prove it, whatever else might follow by steps that are not.
        sure |= energy <= -math.log(confidence) and rival <= math.log(LIKELY)
        contradicted = bool(self.spoiled) and derived.fold(place, self._rests, self._spoils, any)
        return Verdict(share, sure and not contradicted, contradicted)

    def _spoils(self, place: int, rule: int) -> bool:
        return rule < 0 and int(self.derived.codes[place]) in self.spoiled


def least_step(confidence: float) -> float:
    """Returns above which probability each step of a sure answer is.

    Its odds are in proportion to those of the confidence: 1 at 0.95, 5.2 at 0.99, ∞ at 1, where
    only certain steps are left; never below 1.
    """
    odds = confidence / max(1 - confidence, 1e-300) / USUAL_ODDS
    return max(0.5, odds / (1 + odds))


def exclusions(*vocabularies: Vocabulary) -> Tensor:
    """Returns which relations exclude each other, as one of some equal vocabularies says."""
    words = vocabularies[0]
    table = torch.zeros(len(words), len(words), dtype=torch.bool)
    for group in (group for each in vocabularies for group in each.exclusive):
        index = torch.tensor([words.index(name) for name in group], dtype=torch.long)
        table[index[:, None], index] = True
    return table.fill_diagonal_(False)
