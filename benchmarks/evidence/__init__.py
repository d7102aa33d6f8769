"""Experiments behind the figures of the documentation, one command each."""
