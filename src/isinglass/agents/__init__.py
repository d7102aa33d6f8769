"""Reinforcement learning with Q = −F: agents for Stable-Baselines3."""

from __future__ import annotations

from isinglass._support.optional import require_extra

with require_extra("rl"):
    import gymnasium  # noqa: F401
    import stable_baselines3  # noqa: F401

from isinglass.agents._warnings import LearningWarning
from isinglass.agents.actions.action_energies import (
    ActionEnergy,
    DBMEnergy,
    MixtureEnergy,
    PairwiseEnergy,
    ProductOfMixtures,
    RBMEnergy,
)
from isinglass.agents.actions.action_masks import MaskLayout
from isinglass.agents.backups import (
    Backup,
    DoubleBackup,
    MunchausenBackup,
    NoveltyBackup,
    ReturnBackup,
    SoftBackup,
)
from isinglass.agents.candidates import CandidateEnergy, thinking_agent
from isinglass.agents.energy_selection import EnergyFit, candidate_energies, compare_energies
from isinglass.agents.extractors.episodic_memory import EpisodicMemory
from isinglass.agents.extractors.plain_extractors import CenteredExtractor, SetExtractor
from isinglass.agents.extractors.relational_extractor import RelationalExtractor
from isinglass.agents.free_energy_q import FreeEnergyQ
from isinglass.agents.input_policies import FreeEnergyCnnPolicy, FreeEnergyMultiInputPolicy
from isinglass.agents.mask_reader import MaskedEnv, ObservedMasks
from isinglass.agents.offline.behavior_backup import BehaviorBackup
from isinglass.agents.offline.behavior_policy import (
    BehaviorCnnPolicy,
    BehaviorMultiInputPolicy,
    BehaviorPolicy,
)
from isinglass.agents.offline.logged_data import LoggedData
from isinglass.agents.planning.imagined_replay_buffer import ImaginedReplayBuffer
from isinglass.agents.planning.planning_agent import PlanningAgent
from isinglass.agents.planning.planning_policy import PlanningPolicy
from isinglass.agents.policy import FreeEnergyPolicy
from isinglass.agents.replay.episode_replay_buffer import (
    EpisodeDictReplayBuffer,
    EpisodeReplayBuffer,
)
from isinglass.agents.retrace import RetraceBackup
from isinglass.agents.sarsa import FreeEnergySarsa
from isinglass.agents.seats.seat_vec_env import SeatVecEnv
from isinglass.agents.seats.self_play import SelfPlay
from isinglass.distributions.annealed_conditional import Annealing
from isinglass.distributions.enumerated import Enumerated

__all__ = [
    "ActionEnergy",
    "Annealing",
    "Backup",
    "BehaviorBackup",
    "BehaviorCnnPolicy",
    "BehaviorMultiInputPolicy",
    "BehaviorPolicy",
    "CandidateEnergy",
    "CenteredExtractor",
    "DBMEnergy",
    "DoubleBackup",
    "EnergyFit",
    "Enumerated",
    "EpisodeDictReplayBuffer",
    "EpisodeReplayBuffer",
    "EpisodicMemory",
    "FreeEnergyCnnPolicy",
    "FreeEnergyMultiInputPolicy",
    "FreeEnergyPolicy",
    "FreeEnergyQ",
    "FreeEnergySarsa",
    "ImaginedReplayBuffer",
    "LearningWarning",
    "LoggedData",
    "MaskLayout",
    "MaskedEnv",
    "MixtureEnergy",
    "MunchausenBackup",
    "NoveltyBackup",
    "ObservedMasks",
    "PairwiseEnergy",
    "PlanningAgent",
    "PlanningPolicy",
    "ProductOfMixtures",
    "RBMEnergy",
    "RelationalExtractor",
    "RetraceBackup",
    "ReturnBackup",
    "SeatVecEnv",
    "SelfPlay",
    "SetExtractor",
    "SoftBackup",
    "candidate_energies",
    "compare_energies",
    "thinking_agent",
]
