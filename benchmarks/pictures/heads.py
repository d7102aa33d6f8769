"""What the heads of SmolLM2-135M do on a story; of stories260K where that is not installed."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

from benchmarks.evidence.models import MissingModel, smollm2, stories260k
from isinglass.integrations import inspect

TEXT = """Once upon a time, there was a little girl named Lily. She loved to play outside in the
park. One day, she saw a big, red ball in a tree. She wanted to play with it, but it was too
high. A small dog came and looked at the ball. "Can you help me?" asked Lily. The dog jumped and
jumped, and the ball fell down. Lily was very happy. She gave the dog a big hug. They played
with the ball until the sun went down. Then Lily went home and told her mom about the dog and
the red ball. Her mom smiled and said, "You have made a new friend." From that day on, Lily and
the dog played every day."""


def draw() -> dict[str, Figure]:
    """All pictures of this topic."""
    try:
        loaded = smollm2()
    except MissingModel:
        loaded = stories260k()
    tokens = torch.tensor([loaded.tokenizer(TEXT.replace("\n", " "))["input_ids"]])
    found = inspect(loaded.model, tokens, every=1)
    return {
        "heads-classes": found.draw_classes(),
        "heads-sizes": found.draw_sizes(),
        "heads-energy": found.draw_energy_paths(),
    }
