"""Reinforcement learning with Q = −F: agents for Stable-Baselines3."""

from __future__ import annotations

from isinglass.extras import needs

with needs("rl"):
    import gymnasium  # noqa: F401
    import stable_baselines3  # noqa: F401

from isinglass.agents.free_energy_q import FreeEnergyQ
from isinglass.agents.policies import (
    FreeEnergyCnnPolicy,
    FreeEnergyMultiInputPolicy,
    FreeEnergyPolicy,
)

__all__ = [
    "FreeEnergyCnnPolicy",
    "FreeEnergyMultiInputPolicy",
    "FreeEnergyPolicy",
    "FreeEnergyQ",
]
