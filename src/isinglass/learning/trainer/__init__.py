"""The loop behind ``fit``: data, steps, evaluation, checkpoints, history."""
