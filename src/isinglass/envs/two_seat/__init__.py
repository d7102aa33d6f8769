"""Games of two seats: rules for many positions at once, opponents, one seat as an environment."""

from isinglass.envs.two_seat.aec_seat import AECSeat
from isinglass.envs.two_seat.game import TwoSeatGame
from isinglass.envs.two_seat.match import MatchResult, play_match
from isinglass.envs.two_seat.opponents import AgentOpponent
from isinglass.envs.two_seat.pool import OpponentPool
from isinglass.envs.two_seat.seat_env import SeatEnv

__all__ = [
    "AECSeat",
    "AgentOpponent",
    "MatchResult",
    "OpponentPool",
    "SeatEnv",
    "TwoSeatGame",
    "play_match",
]
