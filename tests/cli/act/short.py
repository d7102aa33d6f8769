"""What tests of ``isinglass act`` share: settings of short runs, and looks into checkpoints."""

import json
import zipfile
from pathlib import Path

import torch
from stable_baselines3 import PPO

from isinglass.agents import FreeEnergyQ

WALKS = (Path(__file__).parent / "walks.py").read_text()
QUICK = ["--set", "learning_starts=20", "--set", "batch_size=16", "--device", "cpu"]
SHORT = [*QUICK, "--set", "policy_kwargs={'net_arch': [16]}", "--evaluate", "4", "--peers", "none"]
WALK = ["act", "walks:Walk", *SHORT, "--steps", "120", "--every", "40"]


def newest(folder):
    return max((folder / "FreeEnergyQ").glob("checkpoint-*.zip"))


def weights(path):
    agent = FreeEnergyQ.load(path, device="cpu")
    return torch.cat([p.flatten() for p in agent.policy.parameters()]), agent.num_timesteps


def replayed(path):
    """The checkpoint's own members, byte by byte; of the history what does not tell the time."""
    with zipfile.ZipFile(path) as archive:
        history = json.loads(archive.read("history.json"))
        assert history.pop("seconds") > 0
        history["evaluations"] = [row[:1] + row[2:] for row in history["evaluations"]]
        names = [name for name in archive.namelist() if name.startswith("replay/")]
        return history, {name: archive.read(name) for name in names}


class ShortPPO(PPO):
    """Rollouts of few steps, to be quick."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs | {"n_steps": 32, "batch_size": 32, "n_epochs": 1})
