"""Agents with a model of the world: planning, and transitions that are imagined."""
