"""Puzzles: a pairwise energy learned from solved examples, and a search for energy 0."""
