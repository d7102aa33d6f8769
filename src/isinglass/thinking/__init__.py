"""Thinking: sets of propositions, rules as stored patterns, derivations with their energies."""
