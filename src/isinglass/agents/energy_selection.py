"""Which energy of actions fits a task: told by the Bellman error on transitions kept aside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from isinglass._support.typing import Float
from isinglass.agents.actions.action_codec import ActionCode
from isinglass.agents.actions.action_energies import (
    ActionEnergy,
    MixtureEnergy,
    PairwiseEnergy,
    ProductOfMixtures,
    RBMEnergy,
)
from isinglass.agents.defaults import default_energy
from isinglass.agents.policy import FreeEnergyPolicy
from isinglass.agents.replay.replay_buffer import MaskedReplayBuffer
from isinglass.agents.replay.transitions import Transitions, take_rows
from isinglass.agents.temperature import action_parts
from isinglass.distributions import Annealing
from isinglass.distributions.hybrid_mixture import real_components
from isinglass.errors import ParameterError

__all__ = [
    "EnergyFit",
    "candidate_energies",
    "choose_energy",
    "compare_energies",
    "untold_energies",
]

HELD_OUT = 0.25  # the share of transitions that candidates are judged by
FEWEST = 8  # transitions, of which two judge
STEPS = 1_000  # of the optimizer, for each candidate
BATCH = 128
SURE = 2.0  # standard errors by which a candidate has to be better than the default
GREEDY_SWEEPS = 300  # of hidden units that were taken up: what called for them may be deceptive
FOLLOWS = 0.03  # the fraction of the way that target networks move a step


@dataclass(frozen=True)
class EnergyFit:
    """How well an energy foretells transitions it has not seen.

    Attributes:
        energy: The energy.
        policy: The policy that was fitted with it.
        errors: Squared Bellman errors of the transitions kept aside, ``(n,)``.
        share: Their mean as a share of the variance of the rewards there: 1 is no better than
            the mean reward in tasks of one step.

    Examples:
        >>> from isinglass.agents import FreeEnergyQ
        >>> agent = FreeEnergyQ("MlpPolicy", "isinglass/Parity-v0", learning_starts=80).learn(80)
        >>> (fit,) = compare_energies(agent, [MixtureEnergy(memories=4)])
        >>> fit.energy, len(fit.errors)
        (MixtureEnergy(memories=4, state_fields=False), 20)
    """

    energy: ActionEnergy
    policy: FreeEnergyPolicy
    errors: Float[Tensor, " n"]
    share: float

    def better_than(self, other: EnergyFit) -> bool:
        """Tells whether it is better by more than chance: two standard errors of the difference.

        Examples:
            >>> first, second = torch.zeros(100), torch.rand(100)
            >>> better, worse = (EnergyFit(MixtureEnergy(), None, e, 0.0) for e in (first, second))
            >>> better.better_than(worse), worse.better_than(better)
            (True, False)
        """
        gain = other.errors - self.errors
        return float(gain.mean()) > SURE * float(gain.std()) / len(gain) ** 0.5


def candidate_energies(space: spaces.Space) -> tuple[ActionEnergy, ...]:
    """Returns the energies that are worth a comparison for actions of this space, default first.

    One choice, and real actions, have the default alone: it writes down any values there are.

    Examples:
        >>> candidate_energies(spaces.Discrete(3))
        (MixtureEnergy(memories=1, state_fields=True),)
        >>> [type(energy).__name__ for energy in candidate_energies(spaces.MultiBinary(3))]
        ['MixtureEnergy', 'MixtureEnergy', 'ProductOfMixtures', 'PairwiseEnergy', 'RBMEnergy']
    """
    first = default_energy(space)
    if real_components(ActionCode.of(space).unit).any() or action_parts(space) == 1:
        return (first,)
    bent = MixtureEnergy(state_fields=True)
    return (first, bent, ProductOfMixtures(), PairwiseEnergy(), RBMEnergy())


def untold_energies(space: spaces.Space) -> tuple[ActionEnergy, ...]:
    """Returns what is compared where nothing was said: what few transitions tell apart first.

    A few actions each have a value of their own by default, which no other energy surpasses.

    Examples:
        >>> [len(untold_energies(spaces.MultiBinary(count))) for count in (3, 40)]
        [1, 3]
    """
    first, *others = candidate_energies(space)
    if not others or ActionCode.of(space).has_few_actions:
        return (first,)
    deep = Annealing(greedy_sweeps=GREEDY_SWEEPS)
    return (first, PairwiseEnergy(), RBMEnergy(annealing=deep))


def compare_energies(agent: Any, energies: Iterable[ActionEnergy] | None = None) -> list[EnergyFit]:
    """Fits each energy to three quarters of an agent's replay, and judges it by the rest.

        error = E[(Q(s,a) − y)²],   y the agent's backup of the candidate's own target network

    Args:
        agent: A :class:`FreeEnergyQ` that has stored transitions.
        energies: What is compared, default first; those of :func:`candidate_energies` if None.

    Raises:
        ParameterError: If fewer than 8 transitions are stored, its replay buffer cannot be
            divided, or there is no energy to compare.

    Examples:
        >>> from isinglass.agents import FreeEnergyQ
        >>> from isinglass.envs import Assignment
        >>> agent = FreeEnergyQ("MlpPolicy", Assignment(3), learning_starts=300, seed=0).learn(300)
        >>> fits = compare_energies(agent, [MixtureEnergy(), PairwiseEnergy()])
        >>> min(fits, key=lambda fit: fit.share).energy
        PairwiseEnergy(annealing=Annealing(...))
    """
    given = candidate_energies(agent.action_space) if energies is None else tuple(energies)
    if not given:
        raise ParameterError("no energies to compare", "Give at least one")
    buffer = agent.replay_buffer
    if not isinstance(buffer, MaskedReplayBuffer):
        raise ParameterError(
            f"a {type(buffer).__name__}, which cannot be divided",
            "Leave replay_buffer_class out, or call learn() first",
        )
    fitted, aside = _divided(buffer, agent.policy.generator, agent.get_vec_normalize_env())
    return [_fit(agent, energy, fitted, aside) for energy in given]


def _divided(
    buffer: MaskedReplayBuffer, stream: torch.Generator, env: VecNormalize | None
) -> tuple[Transitions, Transitions]:
    """Returns what is stored in two parts drawn at random, the second to judge by."""
    places = buffer.places(aside=False)
    if len(places) < FEWEST:
        raise ParameterError(
            f"{len(places)} transitions stored, to compare energies by",
            "Step the environment first",
        )
    drawn = torch.randperm(len(places), generator=stream, device=stream.device).cpu().numpy()
    count = round(HELD_OUT * len(places))
    return buffer.take(places[drawn[count:]], env), buffer.take(places[drawn[:count]], env)


def choose_energy(agent: Any) -> EnergyFit:
    """Returns the best fit to an agent's replay: the default unless another is surely better."""
    fits = compare_energies(agent)
    best = min(fits, key=lambda fit: float(fit.errors.mean()))
    return best if best.better_than(fits[0]) else fits[0]


def _fit(agent: Any, energy: ActionEnergy, fitted: Transitions, aside: Transitions) -> EnergyFit:
    policy = agent.policy_with(energy)
    optimizer, count = policy.optimizer, len(fitted.rewards)
    stream = torch.Generator(policy.device).manual_seed(policy.generator.initial_seed())
    for _ in range(STEPS):
        drawn = torch.randint(count, (BATCH,), generator=stream, device=policy.device)
        loss = _errors(agent, policy, _rows(fitted, drawn)).mean()
        optimizer.zero_grad()
        (loss / policy.q_net.head.reward_size**2).backward()
        policy.clip_gradients(agent.max_grad_norm)
        optimizer.step()
        policy.update_target(FOLLOWS)
    with torch.no_grad():
        rows = torch.arange(len(aside.rewards), device=policy.device).split(BATCH)
        errors = torch.cat([_errors(agent, policy, _rows(aside, part)) for part in rows])
    variance = float(aside.rewards.var(correction=0)) or 1.0
    return EnergyFit(energy, policy, errors, float(errors.mean()) / variance)


def _errors(agent: Any, policy: FreeEnergyPolicy, batch: Transitions) -> Tensor:
    """Returns (Q(s, a) − y)² of each transition."""
    with torch.no_grad():
        targets = agent.backup.target(policy, batch, agent.discounts(batch))
    return (policy.action_values(batch.observations, batch.actions) - targets).square()


def _rows(batch: Any, rows: Tensor) -> Any:
    """Returns some rows of a batch of transitions, and of what followed them."""
    if batch is None or not isinstance(batch, tuple):
        return batch if batch is None else take_rows(batch, rows)
    return type(batch)(*(_rows(part, rows) for part in batch))
