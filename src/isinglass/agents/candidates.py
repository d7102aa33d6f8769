"""Q of candidates, each a proposition that would join the set: Q(s, a) = −F(s ∪ {a})."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from stable_baselines3.common.type_aliases import GymEnv, PyTorchObs
from torch import Tensor, nn

from isinglass._support.typing import Float
from isinglass._support.validation import check_count
from isinglass.agents.actions.action_energies import ActionEnergy
from isinglass.agents.actions.action_masks import find_mask
from isinglass.agents.actions.heads import Head
from isinglass.agents.backups import ReturnBackup
from isinglass.agents.extractors.relational_extractor import RelationalExtractor
from isinglass.agents.free_energy_q import FreeEnergyQ
from isinglass.distributions import PatternMixture
from isinglass.errors import ParameterError, ShapeError
from isinglass.units import Categorical, Unit

__all__ = ["CandidateEnergy", "CandidateHead", "thinking_agent"]


@dataclass(frozen=True)
class CandidateEnergy(ActionEnergy):
    r"""The free energy of the set with the candidate in it, hidden memories summed out.

        Q(s,a) = −F(s ∪ {a}) = T log Σ_μ exp((w_μ·φ(s ∪ {a}) + b_μ)/T) − T log N + offset

    φ is one vector a candidate, as :class:`RelationalExtractor` gives it. Nothing is stored for an
    action by its number: the same weights value any number of candidates, whatever they say.
    For ``Discrete`` actions.

    Reference: Sallans & Hinton 2004, JMLR 5:1063-1088 (Q = −F).

    Args:
        memories: N.

    Raises:
        ParameterError: If ``memories`` is not a whole number of at least one.

    Examples:
        >>> CandidateEnergy(memories=8)
        CandidateEnergy(memories=8)
    """

    memories: int = 16

    def __post_init__(self) -> None:
        check_count("memories", self.memories)

    def head(self, width: int, unit: Unit, init_scale: float) -> Head:
        """Builds the memories that all candidates share.

        Raises:
            ParameterError: If the actions are no single choice.
        """
        if not isinstance(unit, Categorical) or unit.count != 1:
            raise ParameterError(f"candidates for actions of {unit}", "Use Discrete actions")
        return CandidateHead(width, unit, init_scale, self.memories)


class CandidateHead(Head):
    """Memories w_μ·φ + b_μ that all candidates share."""

    def __init__(self, width: int, unit: Unit, init_scale: float, memories: int) -> None:
        super().__init__()
        self.unit = unit
        self.memories = nn.Linear(width, memories)
        nn.init.normal_(self.memories.weight, std=init_scale / math.sqrt(width))

    def description(self) -> dict[str, object]:
        """Returns nothing: the same weights value any number of candidates."""
        return {}

    def forward(
        self, features: Float[Tensor, "batch candidates f"], temperature: float
    ) -> PatternMixture:
        """Returns the choice among candidates, whose fields are their Q."""
        self._check(features)
        values = self._values(features, temperature).unsqueeze(-2)
        return PatternMixture(self.unit, torch.zeros_like(values[..., 0]), values, temperature)

    def narrow(self, obs: PyTorchObs, state: Tensor) -> tuple[PyTorchObs, Tensor]:
        """Leaves out the candidates that were not chosen: their Q is not asked for."""
        if not isinstance(obs, dict) or state.shape[:-1] != obs["candidates"].shape[:1]:
            return obs, state
        chosen = state.argmax(-1)[:, None, None].expand(-1, 1, obs["candidates"].shape[-1])
        alone = {key: part for key, part in obs.items() if find_mask({key: part}) is None}
        narrowed = alone | {"candidates": obs["candidates"].gather(1, chosen)}
        return narrowed, torch.ones_like(state[:, :1])

    def score(
        self,
        features: Float[Tensor, "batch candidates f"],
        temperature: float,
        state: Float[Tensor, "*states d"],
    ) -> Float[Tensor, "..."]:
        """Returns Q(s, a) of actions; of those alone where :meth:`narrow` has left no others."""
        if features.shape[-2] == 1 == state.shape[-1]:
            return self._values(features, temperature).squeeze(-1)
        return super().score(features, temperature, state)

    def _values(self, features: Tensor, temperature: float) -> Tensor:
        keys = self.scale * self.memories(features) / temperature
        idle = math.log(self.memories.out_features)
        return self.shift + temperature * (torch.logsumexp(keys, -1) - idle)

    def _check(self, features: Tensor) -> None:
        if features.ndim != 3 or features.shape[-2] != self.unit.size:
            raise ShapeError(
                f"features of shape {tuple(features.shape)} for {self.unit.size} candidates",
                "Use RelationalExtractor, or another that gives a vector for each candidate",
            )


def thinking_agent(env: GymEnv | str, **settings: Any) -> FreeEnergyQ:
    """Makes the agent for :class:`~isinglass.envs.Thoughts` and other sets with candidates.

    A :class:`FreeEnergyQ` with :class:`CandidateEnergy` and :class:`RelationalExtractor`. Its
    returns are those of whole episodes: a false proposition makes a set look as good as a true
    one, and what is bootstrapped from one step to the next never finds out. Its replay is fresh,
    the last thousand steps, as returns tell what came of a thought with the thoughts of that time;
    differences between returns add up from update to update; and T does not fall below 0.1 of a
    reward of 1. Several environments at once take less time, such as 16, for 24,000 steps in all.

    Args:
        env: The environment, or several of them.
        **settings: Of :class:`FreeEnergyQ`, in place of these.

    Raises:
        ParameterError: As :class:`FreeEnergyQ`, and if observations are no propositions.

    Examples:
        >>> from isinglass.thinking.vocabulary import Vocabulary
        >>> from isinglass.envs import FactChains, Thoughts
        >>> env = Thoughts(FactChains(lengths=[1, 2]), Vocabulary({"reached": 1}))
        >>> agent = thinking_agent(env, seed=0, device="cpu").learn(200)
    """
    policy: dict[str, Any] = {"features_extractor_class": RelationalExtractor, "net_arch": []}
    count = getattr(env, "num_envs", 1)
    defaults: dict[str, Any] = {
        "energy": CandidateEnergy(),
        "backup": ReturnBackup(alpha=0.9),
        "learning_rate": 1.5e-3,
        "buffer_size": 1_000,
        "learning_starts": 200,
        "batch_size": 128,
        "n_steps": 100,
        "train_freq": max(1, 32 // count),  # a gradient step for 32 of the environment
        "gradient_steps": max(1, count // 32),
        "gamma": 1.0,
        "final_temperature": 0.1,
    }
    policy |= dict(settings.get("policy_kwargs") or {})
    given: dict[str, Any] = defaults | settings | {"policy_kwargs": policy}
    return FreeEnergyQ("MultiInputPolicy", env, **given)
