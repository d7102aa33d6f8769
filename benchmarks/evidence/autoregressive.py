"""An autoregressive policy for Stable-Baselines3's PPO: each part of the action sees those before.

    π(a|s) = Π_i π(a_i | a_1 … a_{i−1}, φ(s))

One masked network (MADE, Germain et al. 2015, arXiv:1502.03509) gives all the logits of a known
action in one pass; a sample takes one pass a part. Clipping, baseline, advantages and entropy bonus
are PPO's. Where it is used, it is the strongest rival we know whose actions can be correlated.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["AutoregressivePolicy"]


class AutoregressivePolicy(ActorCriticPolicy):
    """Actor and critic whose actions are drawn part by part.

    Actions are ``MultiBinary``, or ``MultiDiscrete`` with as many values in each part.

    Args:
        args: As of SB3's ``ActorCriticPolicy``.
        hidden: Units of each of the two masked layers.
        kwargs: As of SB3's ``ActorCriticPolicy``.
    """

    def __init__(self, *args: Any, hidden: int = 128, **kwargs: Any) -> None:
        self.hidden = hidden
        super().__init__(*args, **kwargs)

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        space: Any = self.action_space
        values = 2 if isinstance(space, spaces.MultiBinary) else int(space.nvec.max())
        parts = int(np.prod(space.shape))
        self.action_net = Made(self.mlp_extractor.latent_dim_pi, parts, values, self.hidden)
        optimizer: Any = self.optimizer_class
        self.optimizer = optimizer(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> Any:
        return Autoregressive(self.action_net, latent_pi)


class Made(nn.Module):
    """Logits of every part, each a function of the condition and of the parts before it.

    Args:
        condition: Width of the condition.
        parts: Number of parts of an action.
        values: Number of values of a part.
        hidden: Units of each masked layer.
    """

    def __init__(self, condition: int, parts: int, values: int, hidden: int) -> None:
        super().__init__()
        self.parts, self.values = parts, values
        widths = [parts * values, hidden, hidden, parts * values]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.bends = nn.ModuleList(nn.Linear(condition, n, bias=False) for n in widths[1:])
        part = torch.arange(parts).repeat_interleave(values)
        # A hidden unit of order m sees the parts before m, and part m and later ones see it.
        order = 1 + torch.arange(hidden) % max(1, parts - 1)
        self.register_buffer("mask0", (part < order[:, None]).float())
        self.register_buffer("mask1", (order <= order[:, None]).float())
        self.register_buffer("mask2", (order <= part[:, None]).float())
        with torch.no_grad():  # at first all actions are nearly equally likely
            for parameter in (*self.layers[-1].parameters(), *self.bends[-1].parameters()):
                parameter.mul_(0.01)

    def weights(self) -> list[Tensor]:
        """Weights of the layers, zero where a part must not be seen."""
        return [layer.weight * getattr(self, f"mask{i}") for i, layer in enumerate(self.layers)]


class Autoregressive:
    """What SB3 asks of a distribution over actions.

    Args:
        network: Gives the logits.
        condition: Features of the states, (batch, width).
    """

    def __init__(self, network: Made, condition: Tensor) -> None:
        self.network = network
        self.weights = network.weights()
        self.offsets = [
            layer.bias + bend(condition)
            for layer, bend in zip(network.layers, network.bends, strict=True)
        ]
        self._logs: Tensor | None = None

    def get_actions(self, deterministic: bool = False) -> Tensor:
        """Part by part: drawn, or the likeliest."""
        (first, second, last), (field, shift, bias) = self.weights, self.offsets
        values, chosen = self.network.values, []
        for begin in range(0, self.network.parts * values, values):
            here = slice(begin, begin + values)
            hidden = F.relu(F.linear(F.relu(field), second) + shift)
            logits = F.linear(hidden, last[here]) + bias[:, here]
            chosen.append(
                logits.argmax(-1) if deterministic else logits.softmax(-1).multinomial(1)[:, 0]
            )
            field = field + first[:, begin + chosen[-1]].T
        return torch.stack(chosen, 1)

    def log_prob(self, actions: Tensor) -> Tensor:
        """Log π(a|s)."""
        actions = actions.long().reshape(len(actions), -1)
        state = F.one_hot(actions, self.network.values).flatten(1).to(self.offsets[0])
        for i, (weight, offset) in enumerate(zip(self.weights, self.offsets, strict=True)):
            state = F.linear(F.relu(state) if i else state, weight) + offset
        self._logs = logs = state.unflatten(1, (-1, self.network.values)).log_softmax(-1)
        return logs.gather(-1, actions[..., None]).sum((1, 2))

    def entropy(self) -> Tensor:
        """Σ_i of the entropy of part i given the parts before it, of the actions last scored."""
        if self._logs is None:
            self.log_prob(self.get_actions())
        logs: Any = self._logs
        return -(logs.exp() * logs).sum((1, 2))
