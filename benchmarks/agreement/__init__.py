"""Agreement with the named peers: ``pytest -q benchmarks/agreement``, with the extra ``peers``."""
