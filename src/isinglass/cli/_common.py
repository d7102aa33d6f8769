"""What several commands share."""

from __future__ import annotations

from pathlib import Path

__all__ = ["LARGEST_SEED", "free_name"]

LARGEST_SEED = 2**32 - 1  # numpy's, which seeds scikit-learn and the agents


def free_name(path: Path) -> Path:
    """The path, or the first of path-2, path-3, … that is not taken."""
    number, free = 2, path
    while free.exists():
        free = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return free
