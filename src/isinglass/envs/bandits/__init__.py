"""Environments of one step: a state, an action of many bits, a reward."""
