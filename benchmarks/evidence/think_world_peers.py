"""PPO and DQN on sets of propositions, with the extractor that ours has.

Both are Stable-Baselines3's (PPO with sb3-contrib's masks). What they lack is a head for
candidates: here each has a logit or a value from its own vector, by weights that all of them share,
so that what was learned in small worlds can be asked about in large ones, as with ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.policies import MaskableMultiInputActorCriticPolicy
from stable_baselines3 import DQN
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.dqn.policies import MultiInputPolicy, QNetwork
from torch import Tensor, nn

from isinglass.agents import RelationalExtractor

WIDTH = 32


class FlatCandidates(RelationalExtractor):
    """The vectors of all candidates in one row, as Stable-Baselines3 wants features."""

    def __init__(self, observation_space: Any) -> None:
        super().__init__(observation_space, WIDTH)
        self._features_dim = WIDTH * len(observation_space["candidates"].high)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Returns φ of shape (batch, candidates · features)."""
        return super().forward(observations).flatten(1)


class EachCandidate(nn.Module):
    """One number for each candidate, by the same hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Returns the numbers, ``(batch, candidates)``."""
        return self.score(features.unflatten(-1, (-1, WIDTH))).squeeze(-1)


class AllCandidates(EachCandidate):
    """The value of a state: the largest of what its candidates are given."""

    def forward(self, features: Tensor) -> Tensor:
        """Returns one number a row."""
        return super().forward(features).amax(-1, keepdim=True)


class CandidateActorCritic(MaskableMultiInputActorCriticPolicy):
    """PPO's policy with a logit for each candidate."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(
            *args, net_arch=[], ortho_init=False, features_extractor_class=FlatCandidates,
            **settings,
        )  # fmt: skip

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        self.action_net, self.value_net = EachCandidate(), AllCandidates()  # pyright: ignore[reportAttributeAccessIssue]
        self.optimizer = self.optimizer_class(
            self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs
        )


class CandidateQNetwork(QNetwork):
    """DQN's network with a value for each candidate, −∞ for what is forbidden."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.q_net = EachCandidate()  # pyright: ignore[reportAttributeAccessIssue]

    def forward(self, obs: Any) -> Tensor:
        """Returns Q of all candidates."""
        return super().forward(obs).masked_fill(obs["action_mask"] == 0, -torch.inf)


class CandidateQPolicy(MultiInputPolicy):
    """DQN's policy on them."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, net_arch=[], features_extractor_class=FlatCandidates, **settings)

    def make_q_net(self) -> QNetwork:
        """Makes the network with its extractor."""
        kwargs = self._update_features_extractor(self.net_args, features_extractor=None)
        return CandidateQNetwork(**kwargs).to(self.device)


class MaskedPPO(MaskablePPO):
    """PPO that finds the mask of an observation by itself when it predicts."""

    def predict(self, observation: Any, *args: Any, **settings: Any) -> Any:
        """Returns actions and no state."""
        masks = np.asarray(observation["action_mask"]).astype(bool)
        return super().predict(observation, *args, action_masks=masks, **settings)


def learn_ppo(trained: VecEnv, seed: int, steps: int) -> MaskedPPO:
    """Learns by PPO: short rollouts and the rate of ours, as there are few steps."""
    agent = MaskedPPO(
        CandidateActorCritic, trained, learning_rate=1.5e-3, n_steps=32, batch_size=128,
        n_epochs=4, gamma=1.0, gae_lambda=1.0, ent_coef=0.01, seed=seed, device="cpu",
    )  # fmt: skip
    return agent.learn(steps)


def learn_dqn(trained: VecEnv, seed: int, steps: int) -> DQN:
    """Learns by DQN, with the rate, replay and gradient steps of ours."""
    agent = DQN(
        CandidateQPolicy, trained, learning_rate=1.5e-3, buffer_size=5_000, learning_starts=200,
        batch_size=128, gamma=1.0, train_freq=1, gradient_steps=2, target_update_interval=200,
        exploration_fraction=0.5, seed=seed, device="cpu",
    )  # fmt: skip
    return agent.learn(steps)


def moved(agent: Any, larger: VecEnv) -> Any:
    """Returns an agent with the same weights for worlds that have room for more."""
    other = type(agent)(type(agent.policy), larger, device="cpu")
    other.policy.load_state_dict(agent.policy.state_dict())
    return other
