"""Associative memories: energies whose minima are stored patterns."""
