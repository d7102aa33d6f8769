"""Speed beside the named peers: ``python -m benchmarks.speed`` runs all of it."""
