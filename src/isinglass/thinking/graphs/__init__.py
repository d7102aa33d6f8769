"""Graphs of facts: links that are missing, predicted by rules with learned weights."""
