"""Rules that turn data into parameters."""

from isinglass.learning.contrastive import contrastive_loss
from isinglass.learning.likelihood import (
    EMReport,
    em_step,
    expectation_maximization,
    seed_memories,
)
from isinglass.learning.objective import Objective

__all__ = [
    "EMReport",
    "Objective",
    "contrastive_loss",
    "em_step",
    "expectation_maximization",
    "seed_memories",
]
