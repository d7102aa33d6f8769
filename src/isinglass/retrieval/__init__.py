"""Looking patterns up at scale: memory does not grow with queries × patterns."""

from isinglass.retrieval.chunked import Lookup, streamed_lookup
from isinglass.retrieval.int8_index import Int8Index
from isinglass.retrieval.scores import BLOCK

__all__ = ["BLOCK", "Int8Index", "Lookup", "streamed_lookup"]
