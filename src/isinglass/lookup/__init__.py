"""Looking patterns up at scale: memory does not grow with queries × patterns."""

from isinglass.lookup.mapped import map_patterns
from isinglass.lookup.screen import Screen
from isinglass.lookup.streamed import BLOCK, Lookup, streamed_lookup

__all__ = ["BLOCK", "Lookup", "Screen", "map_patterns", "streamed_lookup"]
