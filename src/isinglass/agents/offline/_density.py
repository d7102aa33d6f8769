"""The density of logged actions, learned by maximum likelihood and stopped by rows kept aside."""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecNormalize
from torch import Generator, Tensor

from isinglass.agents._faults import finite_loss
from isinglass.agents.offline.behavior_policy import BehaviorPolicy
from isinglass.agents.replay.replay_buffer import MaskedReplayBuffer
from isinglass.agents.replay.transitions import Transitions

__all__ = ["keep_some_aside", "learn_density"]

RATE = 1e-3  # of Adam
KEPT_ASIDE = 0.1, 4_096  # of the steps: a share, and the most
FEW = 20  # steps, of which none is kept aside
LOOK_EVERY = 100  # steps
PATIENCE = 5  # looks without a better one
LEAST_BETTER = 1e-4  # nats


def keep_some_aside(buffer: MaskedReplayBuffer, stream: Generator) -> None:
    """Keeps a tenth of all steps aside, drawn at random; none where there are hardly any."""
    places = np.sort(np.concatenate([buffer.places(aside=True), buffer.places(aside=False)]))
    share, most = KEPT_ASIDE
    count = 0 if len(places) < FEW else min(int(share * len(places)), most)
    order = torch.randperm(len(places), generator=stream, device=stream.device).cpu().numpy()
    buffer.keep_aside(places[order[:count]])


def learn_density(
    policy: BehaviorPolicy,
    buffer: MaskedReplayBuffer,
    steps: int,
    batch_size: int,
    env: VecNormalize | None = None,
) -> float:
    """Learns log π_β(a|s) of what a buffer holds, and returns it for the steps kept aside, in nats.

    The steps that the buffer keeps aside are not learned from. The weights are those that were
    the best for them, whether or not there were better ones for the rest: a behavior that was
    random is known to be random, whatever was drawn.

    Args:
        policy: Its behavior learns; then it counts alone, without a uniform share.
        buffer: What was done.
        steps: Gradient steps at most.
        batch_size: Rows of each.
        env: By which observations are normalized, if they are.

    Raises:
        DivergenceError: If the loss is NaN or infinite.
    """
    stream, rest = policy.generator, buffer.places(aside=False)
    held = buffer.places(aside=True)
    held = held if len(held) else rest
    behavior = policy.behavior
    optimizer = torch.optim.Adam(behavior.parameters(), lr=RATE)
    best, kept, waited = math.inf, deepcopy(behavior.state_dict()), 0
    for step in range(steps + 1):
        if step % LOOK_EVERY == 0 or step == steps:
            found = _held_out(policy, buffer, held, batch_size, env)
            waited = 0 if found < best - LEAST_BETTER else waited + 1
            if found < best:
                best, kept = found, deepcopy(behavior.state_dict())
            if waited == PATIENCE or step == steps:
                break
        behavior.set_training_mode(True)
        drawn = torch.randint(len(rest), (batch_size,), generator=stream, device=stream.device)
        loss = -_log_density(policy, buffer.take(rest[drawn.cpu().numpy()], env)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    behavior.load_state_dict(kept)
    behavior.set_training_mode(False)
    policy.uniform_share.fill_(0.0)
    return -finite_loss(best)


@torch.no_grad()
def _held_out(
    policy: BehaviorPolicy,
    buffer: MaskedReplayBuffer,
    rows: np.ndarray,
    batch_size: int,
    env: VecNormalize | None,
) -> float:
    """Returns the mean of −log π_β(a|s) over rows."""
    policy.behavior.set_training_mode(False)
    total = 0.0
    for start in range(0, len(rows), batch_size):
        some = buffer.take(rows[start : start + batch_size], env)
        total -= float(_log_density(policy, some).sum(dtype=torch.float64))
    return finite_loss(total / len(rows))


def _log_density(policy: BehaviorPolicy, batch: Transitions) -> Tensor:
    found = policy.behavior(batch.observations, 1.0)
    return found.score(policy.code.encode(batch.actions)) - found.value()
