"""What was measured is kept, so that a second call goes on where the first was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isinglass.errors import FileError
from isinglass.io.atomic import atomic_write

__all__ = ["Cache", "read_json"]

_REMEDY = "Delete it, and what it held is measured again"


def read_json(path: Path) -> Any:
    """Returns what a JSON file holds; one that is truncated, altered or hidden is a FileError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        found, remedy = f"it cannot be read ({error.strerror})", "Allow it, or name another folder"
        raise FileError(found, remedy, f"reading {path}") from error
    except ValueError as error:  # of the text or of its encoding
        raise FileError(f"it is no JSON ({error})", _REMEDY, f"reading {path}") from error


@dataclass
class Cache:
    """What was measured, by key, in a JSON file that is written after each."""

    path: Path
    found: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            found, remedy = f"it cannot be a folder ({error.strerror})", "Name another folder"
            raise FileError(found, remedy, f"making {self.path.parent}") from error
        if self.path.exists():
            self.found = read_json(self.path)
            if not isinstance(self.found, dict):
                problem = "it holds no records by name"
                raise FileError(problem, _REMEDY, f"reading {self.path}")

    def get(self, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what is known of the key, or measure it."""
        if key not in self.found:
            self.found[key] = measure()
            with atomic_write(self.path, overwrite=True) as aside:
                aside.write_text(json.dumps(self.found, indent=1))
        return self.found[key]
