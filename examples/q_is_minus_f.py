"""Q is minus F: learn among 2^20 actions in one file, with torch and gymnasium alone.

    python examples/q_is_minus_f.py --steps 6000

An agent with d binary actuators has 2^d actions. It cannot list them, so it can neither find the
best nor draw one in proportion to exp(Q/T) by looking at each. Sallans & Hinton (2004) let an
energy do it: an action is a state of units, its value Q(s, a) is minus a free energy F, and what is
hidden is summed out in closed form. Here the hidden part is one choice among N patterns, so that
nothing is approximate. The library does the same (`isinglass.agents`), with more energies and care.

Reference: Sallans & Hinton 2004, "Reinforcement learning with factored states and actions",
JMLR 5:1063-1088; Haarnoja et al. 2017, arXiv:1702.08165 (the soft value).
"""

from __future__ import annotations

import argparse
import math

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Generator, Tensor, nn

# 1. The task. -----------------------------------------------------------------------------------


class KeyAction(gymnasium.Env):
    """A bandit whose best action is that of the key state nearest to the observed state.

    A state is drawn, an action is taken, the episode ends. The reward is the number of bits of the
    action that are right: a random action earns half of them, 10 of 20.
    """

    def __init__(self, state_bits: int = 8, action_bits: int = 20, keys: int = 5) -> None:
        self.observation_space = spaces.MultiBinary(state_bits)
        self.action_space = spaces.MultiBinary(action_bits)
        draw = np.random.default_rng(0)  # the problem is always the same; states are not
        self.key_states = draw.integers(0, 2, (keys, state_bits))
        self.key_actions = draw.integers(0, 2, (keys, action_bits))

    def best_action(self, state: np.ndarray) -> np.ndarray:
        """Returns the action of the nearest key state, in Hamming's distance."""
        return self.key_actions[(self.key_states != state).sum(-1).argmin()]

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """Draws a state uniformly."""
        super().reset(seed=seed)
        self.state = self.np_random.integers(0, 2, self.observation_space.shape, dtype=np.int8)
        return self.state, {}

    def step(self, action: np.ndarray):
        """Counts the bits that are right; the episode is over."""
        reward = float((action == self.best_action(self.state)).sum())
        return self.state, reward, True, False, {}


# 2. The energy. ---------------------------------------------------------------------------------
#
# Bits are seen as spins a = ±1. One hidden unit chooses a pattern μ out of N: it fits the state s
# by its key k_μ(s), from a network, and wants the action by its field θ_μ. Their energy is
#
#     E(a, μ | s) = −k_μ(s) − θ_μ·a
#
# and summing out μ gives the free energy, whose negative is the value of the action:
#
#     Q(s, a) = −F(s, a) = T log Σ_μ exp((k_μ(s) + θ_μ·a)/T)
#
# The sum over all 2^d actions is closed too, since given μ every spin is by itself:
#
#     V(s) = T log Σ_a exp(Q(s, a)/T) = T log Σ_μ exp(k_μ(s)/T) Π_i 2cosh(θ_μi/T)
#
# It costs O(N·d). V is the soft value of the state, and π(a|s) = exp((Q(s, a) − V(s))/T).


class MinusFreeEnergy(nn.Module):
    """Q(s, ·) as a mixture of N patterns over spins: values, exact draws, greedy actions."""

    def __init__(self, state_bits: int, action_bits: int, patterns: int = 16) -> None:
        super().__init__()
        self.keys = nn.Sequential(
            nn.Linear(state_bits, 64), nn.ReLU(), nn.Linear(64, patterns)
        )  # k(s)
        self.fields = nn.Parameter(torch.randn(patterns, action_bits) / math.sqrt(action_bits))  # θ
        self.offset = nn.Parameter(torch.zeros(()))  # added to all values

    def log_weights(self, states: Tensor, temperature: float) -> Tensor:
        """Returns log Σ_a exp((k_μ + θ_μ·a)/T) of each pattern, ``(batch, N)``."""
        angles = self.fields / temperature
        log_cosh = angles.abs() + torch.nn.functional.softplus(-2 * angles.abs())  # log 2cosh
        return self.keys(states) / temperature + log_cosh.sum(-1)

    def q(self, states: Tensor, actions: Tensor, temperature: float) -> Tensor:
        """Returns Q(s, a) = −F(s, a), ``(batch,)``."""
        fit = self.keys(states) + actions @ self.fields.T
        idle = temperature * math.log(len(self.fields))  # so that idle patterns add nothing
        return temperature * torch.logsumexp(fit / temperature, -1) - idle + self.offset

    def v(self, states: Tensor, temperature: float) -> Tensor:
        """Returns V(s) = T log Σ_a exp(Q(s, a)/T) over all 2^d actions, ``(batch,)``."""
        idle = temperature * math.log(len(self.fields))
        total = torch.logsumexp(self.log_weights(states, temperature), -1)
        return temperature * total - idle + self.offset

    def sample(self, states: Tensor, temperature: float, generator: Generator) -> Tensor:
        """Draws a ~ π(a|s) exactly: first a pattern μ, then every spin by itself."""
        shares = self.log_weights(states, temperature).softmax(-1)
        chosen = torch.multinomial(shares, 1, generator=generator).squeeze(-1)
        up = torch.sigmoid(2 * self.fields[chosen] / temperature)  # p(a_i = 1 | μ)
        return 2 * torch.bernoulli(up, generator=generator) - 1

    def greedy(self, states: Tensor, temperature: float) -> Tensor:
        """Finds an action of high Q: the best pattern's, then spins in their mean field."""
        best = (self.keys(states) + self.fields.abs().sum(-1)).argmax(-1)
        actions = self.fields[best].sign()
        for _ in range(3):  # a concave-convex step: it never lowers Q
            fit = self.keys(states) + actions @ self.fields.T
            actions = ((fit / temperature).softmax(-1) @ self.fields).sign()
        return actions


def check_sums(model: MinusFreeEnergy, state_bits: int, temperature: float = 0.7) -> float:
    """Compares V with the sum over all actions, one by one; returns the largest difference."""
    bits = model.fields.shape[1]
    states = torch.randint(0, 2, (3, state_bits)).float() * 2 - 1
    actions = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * bits)
    with torch.no_grad():
        q = torch.stack([model.q(s.expand(len(actions), -1), actions, temperature) for s in states])
        exact = temperature * torch.logsumexp(q / temperature, -1)
        return float((model.v(states, temperature) - exact).abs().max())


# 3. Learning by Bellman's equation. -------------------------------------------------------------
#
#     loss = (Q(s, a) − r − γ (1 − done) V_target(s'))²
#
# Exploration is a draw from π and nothing else; T falls from 1 to 0.1, in units of the reward. A
# bandit is always done, so that V_target is multiplied by zero here: in a longer task it is not.


def learn(env: KeyAction, steps: int, seed: int, gamma: float = 0.99) -> MinusFreeEnergy:
    """Learns Q from replayed transitions, and prints the mean reward on the way."""
    torch.manual_seed(seed)
    generator = Generator().manual_seed(seed)
    state_bits, action_bits = env.observation_space.n, env.action_space.n
    model, target = (MinusFreeEnergy(state_bits, action_bits) for _ in range(2))
    target.load_state_dict(model.state_dict())
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    replay: list[tuple[Tensor, Tensor, float, Tensor, float]] = []
    state, _ = env.reset(seed=seed)
    for step in range(steps):
        temperature = 0.1 ** min(1.0, step / (0.8 * steps))
        seen = spins(state)
        with torch.no_grad():
            action = model.sample(seen[None], temperature, generator)[0]
        bits = ((action + 1) / 2).to(torch.int8).numpy()
        following, reward, terminated, truncated, _ = env.step(bits)
        replay.append((seen, action, reward, spins(following), float(terminated)))
        state = env.reset()[0] if terminated or truncated else following
        if step == 200:  # values start at the mean reward, or getting there takes long
            start = sum(transition[2] for transition in replay) / len(replay)
            for network in (model, target):
                network.offset.data.fill_(start)
        if step < 200 or step % 2:
            continue
        rows = torch.randint(len(replay), (128,), generator=generator).tolist()
        s, a, r, s_next, done = (
            torch.stack([torch.as_tensor(part) for part in column]).float()
            for column in zip(*(replay[row] for row in rows), strict=True)
        )
        with torch.no_grad():
            goal = r + gamma * (1 - done) * target.v(s_next, temperature)
        loss = (model.q(s, a, temperature) - goal).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():  # the target network follows slowly
            for slow, fast in zip(target.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 0.01)
        if (step + 2) % max(2, steps // 6) < 2:
            recent = [transition[2] for transition in replay[-300:]]
            print(f"step {step + 2:6d}   T = {temperature:.2f}   reward {np.mean(recent):.2f}")
    return model


def spins(bits: np.ndarray) -> Tensor:
    """Returns bits 0, 1 as spins −1, 1."""
    return torch.as_tensor(2.0 * bits - 1, dtype=torch.float32)


def greedy_reward(model: MinusFreeEnergy, env: KeyAction, episodes: int = 500) -> float:
    """Returns the mean reward of greedy actions in fresh states."""
    total = 0.0
    for episode in range(episodes):
        state, _ = env.reset(seed=10_000 + episode)
        with torch.no_grad():
            action = model.greedy(spins(state)[None], temperature=0.1)[0]
        total += env.step((action > 0).numpy().astype(np.int8))[1]
    return total / episodes


def main() -> None:
    """Checks the sums, learns, and prints how good the greedy actions are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    error = check_sums(MinusFreeEnergy(state_bits=8, action_bits=10), state_bits=8)
    print(f"V against the sum over 1,024 actions: differs by {error:.1e}")
    env = KeyAction()
    model = learn(env, options.steps, options.seed)
    most = env.action_space.n
    print(f"greedy reward {greedy_reward(model, env):.2f} (random {most / 2:.0f}, most {most})")


if __name__ == "__main__":
    main()
