"""Files written whole or not at all, read without running code, mapped if larger than memory."""

from isinglass.io.archive import load, read_note, save
from isinglass.io.atomic import atomic_write
from isinglass.io.memory_map import map_patterns

__all__ = ["atomic_write", "load", "map_patterns", "read_note", "save"]
