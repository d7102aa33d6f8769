"""Attention by draws: as a function and as a module."""
