"""Transitions met: what is kept of them, and how batches are drawn."""
