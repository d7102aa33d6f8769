"""Calls of environments, and agents that learn in environments that are odd, as they come."""

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from isinglass import agents, envs
from isinglass.envs import Assignment, Blockers, LargeAction, Parity, TicTacToe, Trap, tictactoe
from isinglass.errors import IsinglassError
from tests.agents.small import QUICK, SMALL, small_agent
from tests.fuzz.harness import Call

#: What Gymnasium says of calls in the wrong order.
NAMED = (IsinglassError, gym.error.ResetNeeded)
SEEN = spaces.Box(-1, 1, (2,), np.float32)
SETS = spaces.Dict(
    {"propositions": spaces.Box(0, 2, (4, 3), np.int8), "mask": spaces.MultiBinary(4)}
)
#: Spaces that there are; those that an agent does not take are refused by name.
SPACES = [
    spaces.Box(-np.inf, np.inf, (2,), np.float64), spaces.Box(0, 9, (2,), np.int64),
    spaces.Box(0, 1, (0,)), spaces.Box(0, 1, ()), spaces.Box(1, 1, (2,)), spaces.Box(0, 1, (2, 2)),
    spaces.Box(0, 255, (40, 40, 3), np.uint8), spaces.Box(0, 255, (4, 4, 3), np.uint8),
    spaces.Box(-1e300, 1e300, (2,), np.float64), spaces.Discrete(1), spaces.Discrete(3, start=-2),
    spaces.MultiBinary(1), spaces.MultiBinary((2, 2)), spaces.MultiDiscrete([2, 1]),
    spaces.MultiDiscrete([[2, 3], [2, 2]]), spaces.Text(3), spaces.Tuple([SEEN, SEEN]),
    spaces.Dict({"a": SEEN}), spaces.Dict({"a": spaces.Dict({"b": SEEN})}), spaces.Dict({}),
    spaces.Dict({"action_mask": spaces.MultiBinary(3)}), spaces.Sequence(SEEN),
    spaces.Dict({"a": SEEN, "action_mask": spaces.MultiBinary(3)}), SEEN, None, 3, "Box", {},
    spaces.MultiBinary(40), spaces.Box(-1e30, 1e30, (1,)),
]  # fmt: skip
POLICIES = ["MlpPolicy", "MultiInputPolicy", "CnnPolicy"]


class Told(gym.Env):
    """An environment that says what it was told to, in every third step."""

    observation_space: Any = SEEN
    action_space: Any = spaces.Discrete(3)

    def __init__(self, **told: Any):
        self.told, self.time = told, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        told = self.told
        return told.get("first", np.zeros(2, np.float32)), told.get("first_info", {})

    def step(self, action):
        self.time += 1
        usual = {"observation": np.ones(2, np.float32), "reward": 0.5, "ended": False}
        said = usual | (self.told if self.time % 3 == 0 else {})
        seen, reward = said["observation"], said["reward"]
        return (
            seen,
            reward,
            said["ended"],
            said.get("cut", self.time % 4 == 0),
            said.get("info", {}),
        )

    def close(self):
        """Keeps nothing."""


class Asked(Told):
    """The same, that tells masks if asked."""

    def action_masks(self):
        return self.told["masks"]


def learned(kind: Any, **told: Any) -> Any:
    """Learns in an environment of a kind, told what to say; returns the weights."""
    agent = agents.FreeEnergyQ("MlpPolicy", kind(**told), **QUICK | {"learning_starts": 4})
    return agent.learn(12).policy.state_dict()


def _learn_steps(**given: Any) -> Any:
    return small_agent().learn(**given).policy.state_dict()


def in_space(seen: int, acted: int, policy: int) -> Any:
    """Learns and acts in spaces of the list, by their numbers."""
    first, second = SPACES[seen], SPACES[acted]
    env: Any = gym.Env()
    env.observation_space, env.action_space = first, second
    env.reset = lambda *, seed=None, options=None: (first.sample(), {})
    env.step = lambda action: (first.sample(), 0.0, False, False, {})
    agent = agents.FreeEnergyQ(POLICIES[policy], env, **QUICK | {"learning_starts": 2})
    agent.learn(4)
    return agent.predict(first.sample())[0]


def _spaces() -> list[Call]:
    """Every space beside one that does, seen by every policy, as a call of its own."""
    usual = SPACES.index(SEEN)
    pairs = [(i, usual, policy) for i in range(len(SPACES)) for policy in range(3)]
    pairs += [(usual, i, 0) for i in range(len(SPACES))]
    return [
        Call(f"spaces {SPACES[pair[0]]}, {SPACES[pair[1]]}", partial(in_space, *pair), {})
        for pair in pairs
    ]


def _envs() -> list[Call]:
    large, parity = LargeAction(**SMALL), Parity(blocks=2, block_bits=3)
    bits, seen = np.ones((2, 8), np.int8), np.zeros((2, 4), np.int8)
    assignment, trap = Assignment(n=2), Trap(blocks=2, block_bits=3)
    values = np.array([0.2, 0.75, 0.5, 0.9])

    def stepped(make: Any) -> Any:
        def step(action: Any, seed: Any = 0) -> Any:
            env = make()
            env.reset(seed=seed)
            return env.step(action)[1]

        return step

    made = [
        ("LargeAction", large, bits, seen), ("Parity", parity, np.ones((2, 6), np.int8), None),
        ("Trap", trap, np.ones((2, 6), np.int8), None),
        ("Assignment", assignment, np.array([[1, 0, 0, 1]]), values),
    ]  # fmt: skip
    calls = []
    for name, env, actions, observed in made:
        given = {} if observed is None else {"observation": observed}
        calls += [
            Call(f"{name}.reward_of", env.reward_of, {"actions": actions, **given}),
            *(
                Call(f"{name}.{method}", getattr(env, method), given)
                for method in ("optimal_action", "best_reward")
                if given
            ),
            Call(f"{name}.step", stepped(lambda kind=env: kind), {"action": actions[0]}),
        ]
    return [
        *calls,
        Call("Assignment.is_valid", assignment.is_valid, {"actions": np.array([[1, 0, 0, 1]])}),
        Call(
            "LargeAction", LargeAction,
            {"state_bits": 3, "action_bits": 4, "keys": 2, "key_seed": 0, "render_mode": "ansi"},
        ),
        Call(
            "Parity", Parity,
            {"blocks": 2, "block_bits": 3, "permute_seed": 1, "render_mode": "ansi"},
        ),
        Call(
            "Trap", Trap, {"blocks": 2, "block_bits": 3, "permute_seed": 1, "render_mode": "ansi"}
        ),
        Call("Assignment", Assignment, {"n": 3, "render_mode": "rgb_array"}),
        Call(
            "Blockers", Blockers,
            {"rows": 4, "columns": 4, "agents": 2, "blockers": 1, "cap": 5,
             "render_mode": "rgb_array"},
        ),
        Call("Blockers.step", stepped(Blockers), {"action": np.array([0, 1])}),
        Call("TicTacToe.step", stepped(lambda: TicTacToe(seat="first")),
             {"action": np.array([0, 1, 0])}, NAMED),
        Call(
            "TicTacToe", TicTacToe,
            {"opponent": ["random", "minimax"], "seat": "first", "shuffle": False,
             "render_mode": "ansi"},
        ),
        Call(
            "play", tictactoe.env.play,
            {"agent": "random", "games": 3, "opponent": "minimax", "seat": "random", "seed": 0,
             "shuffle": True},
        ),
        Call("Erring", tictactoe.env.Erring, {"share": 0.5}),
        Call("make_env", lambda env_id, keys: envs.make_env(env_id, keys=keys).unwrapped.np_random,
             {"env_id": "isinglass/LargeAction-v0", "keys": 2}),
    ]  # fmt: skip


def _parts() -> list[Call]:
    """Parts of agents that are public by themselves."""
    box = spaces.Box(-1.0, 1.0, (2,))
    layout = agents.MaskLayout.of(spaces.MultiDiscrete([2, 3]))
    policy = agents.FreeEnergyPolicy
    return [
        Call("MaskLayout.of", agents.MaskLayout.of, {"space": spaces.Discrete(3)}),
        Call("MaskLayout.rows", layout.rows, {"masks": np.ones((2, 5), bool), "count": 2}),
        Call("MaskLayout.joint", layout.joint, {"masks": np.ones((2, 5), bool)}),
        Call("CenteredExtractor", agents.CenteredExtractor, {"observation_space": box}),
        Call("SetExtractor", agents.SetExtractor, {"observation_space": SETS, "features_dim": 4}),
        Call(
            "RelationalExtractor", agents.RelationalExtractor,
            {"observation_space": SETS, "features_dim": 4, "num_heads": 2, "layers": 1},
        ),
        Call("CandidateEnergy", agents.CandidateEnergy, {"memories": 2}),
        Call("ReturnBackup", agents.ReturnBackup, {"alpha": 0.5}),
        Call("ObservedMasks", agents.ObservedMasks, {"venv": small_agent().env, "joint": False}),
        Call(
            "Annealing", agents.Annealing,
            {"chains": 2, "levels": 3, "greedy_chains": 2, "greedy_levels": 2, "greedy_sweeps": 1,
             "refinements": 1},
        ),
        Call(
            "FreeEnergyPolicy",
            lambda **given: policy(lr_schedule=lambda _: 1e-3, **given).state_dict(),
            {"observation_space": box, "action_space": spaces.Discrete(3),
             "energy": agents.MixtureEnergy(2), "temperature": 0.5, "net_arch": [3],
             "activation_fn": torch.nn.Tanh, "normalize_images": True},
        ),
    ]  # fmt: skip


def calls() -> list[Call]:
    """Returns environments and their methods, learning in odd ones, parts of agents."""
    mask = np.array([True, False, True])
    learning = [
        Call(
            "FreeEnergyQ.learn, told", partial(learned, Told),
            {"observation": np.ones(2, np.float32), "reward": 0.5, "ended": True, "cut": False,
             "first": np.zeros(2, np.float32)},
        ),
        Call("FreeEnergyQ.learn, infos", partial(learned, Told),
             {"info": {"action_mask": mask}, "first_info": {"action_mask": mask}}),
        Call("FreeEnergyQ.learn, a mask",
             lambda mask: partial(learned, Told)(info={"action_mask": mask},
                                       first_info={"action_mask": mask}), {"mask": mask}),
        Call("FreeEnergyQ.learn, masks", partial(learned, Asked), {"masks": mask}),
        Call(
            "FreeEnergyQ.learn", _learn_steps,
            {"total_timesteps": 30, "log_interval": 4, "reset_num_timesteps": True,
             "progress_bar": False},
        ),
    ]  # fmt: skip
    return [*_envs(), *_parts(), *learning, *_spaces()]
