"""Reinforcement learning with Q = −F: agents for Stable-Baselines3."""

from __future__ import annotations

from isinglass.extras import needs

with needs("rl"):
    import gymnasium  # noqa: F401
    import stable_baselines3  # noqa: F401

from isinglass.agents.backups import Backup, DoubleBackup, SoftBackup
from isinglass.agents.free_energy_q import FreeEnergyQ
from isinglass.agents.heads import ActionEnergy, Deep, Groups, Mixture, Pairs, Restricted
from isinglass.agents.masks import MaskLayout
from isinglass.agents.network import CentredExtractor
from isinglass.agents.oracle import Enumerated
from isinglass.agents.policies import (
    FreeEnergyCnnPolicy,
    FreeEnergyMultiInputPolicy,
    FreeEnergyPolicy,
)
from isinglass.agents.sarsa import FreeEnergySarsa
from isinglass.agents.sets import SetExtractor
from isinglass.energies.driven_law import Annealing

__all__ = [
    "ActionEnergy",
    "Annealing",
    "Backup",
    "CentredExtractor",
    "Deep",
    "DoubleBackup",
    "Enumerated",
    "FreeEnergyCnnPolicy",
    "FreeEnergyMultiInputPolicy",
    "FreeEnergyPolicy",
    "FreeEnergyQ",
    "FreeEnergySarsa",
    "Groups",
    "MaskLayout",
    "Mixture",
    "Pairs",
    "Restricted",
    "SetExtractor",
    "SoftBackup",
]
