"""Connect Four: the environment, the rules for many boards at once, a solver, mirrored boards."""

from isinglass.envs.connect_four.augmentation import random_mirror_augmentation
from isinglass.envs.connect_four.env import ConnectFour
from isinglass.envs.connect_four.game import ConnectFourGame
from isinglass.envs.connect_four.solver import ConnectFourSolver, Lookahead

__all__ = [
    "ConnectFour",
    "ConnectFourGame",
    "ConnectFourSolver",
    "Lookahead",
    "random_mirror_augmentation",
]
