"""The TensorBoard log of an agent, which learning goes on without where the disk refuses it.

Stable-Baselines3's writes in a thread of its own: a full disk ends that thread with a traceback,
and learning with an error that names no file.
"""

from __future__ import annotations

import os
import socket
import time
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.logger import KVWriter

from isinglass._support.optional import require_extra

with require_extra("rl"):
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboard.summary.writer.record_writer import RecordWriter

__all__ = ["ScalarLog"]


class ScalarLog(KVWriter):
    """Appends numbers to a new event file of TensorBoard, each entry whole or not at all.

    Args:
        folder: Where the file goes.

    Attributes:
        path: The file.
        refused: Why entries are missing; None if none is.
    """

    def __init__(self, folder: Path) -> None:
        self.refused: OSError | None = None
        stem = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        self.path = next(p for n in count() if not (p := folder / f"{stem}.{n}").exists())
        self._size = 0
        self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Writes the numbers of one step."""
        numbers = {
            key: float(value)
            for key, value in sorted(key_values.items())
            if isinstance(value, int | float | np.number)
            and "tensorboard" not in (key_excluded.get(key) or ())
        }
        values = [Summary.Value(tag=key, simple_value=number) for key, number in numbers.items()]
        self._append(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def close(self) -> None:
        """Does nothing: every entry is written when it comes."""

    def _append(self, event: Any) -> None:
        record = BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        try:
            with self.path.open("ab", buffering=0) as file:
                file.truncate(self._size)  # what a full disk has torn is no entry
                rest = record.getbuffer()
                while len(rest):  # a disk that is nearly full takes a part, and then none
                    rest = rest[file.write(rest) :]
        except OSError as error:
            self.refused = self.refused or error
        else:
            self._size += len(record.getbuffer())
