"""The world in one joint energy: what follows an action, where it leads, what is best."""

from isinglass.world.columns import WorldColumns
from isinglass.world.conditional import WorldConditional
from isinglass.world.keys import Key
from isinglass.world.local_linear import LocalLinear
from isinglass.world.path_planner import PathPlanner
from isinglass.world.planning import Plan
from isinglass.world.real_model import Prediction, RealModel
from isinglass.world.sharing import Sharing
from isinglass.world.transition_model import TransitionModel
from isinglass.world.world_energy import WorldEnergy

__all__ = [
    "Key",
    "LocalLinear",
    "PathPlanner",
    "Plan",
    "Prediction",
    "RealModel",
    "Sharing",
    "TransitionModel",
    "WorldColumns",
    "WorldConditional",
    "WorldEnergy",
]
