"""A features extractor that recalls, by association, what the episode has shown before."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    NatureCNN,
)
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn

from isinglass._support.typing import Bool, Float
from isinglass._support.validation import check_count
from isinglass.agents.extractors.episode_past import State, each, part_past, take_past
from isinglass.agents.extractors.plain_extractors import SMALLEST_PICTURE
from isinglass.errors import ParameterError, ShapeError

__all__ = ["LENGTH", "EpisodicMemory", "recall_past"]

LENGTH = 128  # different observations that are held
#: From observations to what a features extractor gets of them.
See: TypeAlias = Callable[[PyTorchObs], Any]


class EpisodicMemory(BaseFeaturesExtractor):
    r"""Features of an observation, and what it brings back of the episode's past observations.

    The different observations e_i that an episode has shown so far, as the ``encoder`` sees them,
    are the stored patterns of a modern Hopfield network. The present one e makes a cue for each
    head, and one update retrieves by it; the null pattern, of score 0, is for when nothing fits:

        ξ_h  = K_hᵀ (Q_h e + b_h),     p_hi = exp(β ξ_h·e_i) / (1 + Σ_j exp(β ξ_h·e_j))
        features = (e, V_1 Σ_i p_1i e_i, …, V_H Σ_i p_Hi e_i),     β = 1/√Y

    Y the features of a head. Nothing of a pattern but itself is stored, so that a long past costs
    little. An observation is stored once, however often it was seen, the order is not seen, and
    the ``length + 1``-th different one displaces the oldest.

    With ``policy_kwargs={"features_extractor_class": EpisodicMemory}`` an agent of isinglass learns
    from replayed pasts, by :class:`EpisodeReplayBuffer`, and acts with the past of the
    episode. ``predict`` keeps it in its ``state``, one row an environment, as that of recurrent
    policies does: give it the state that it gave back, and ``episode_start``, as
    Stable-Baselines3's ``evaluate_policy`` does. Without a state there is no past.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217 (the update); Blundell et al. 2016,
    arXiv:1606.04460, and Pritzel et al. 2017, arXiv:1703.01988 (episodic memories of agents).

    Args:
        observation_space: Space of one observation.
        length: Most different past observations that are held.
        recall_dim: Length of what is recalled, of all heads together.
        num_heads: H, how many things are asked of the past at once; it divides ``recall_dim``.
        encoder: Class of the features extractor of one observation; None is SB3's: ``NatureCNN``
            for pictures of 36 × 36 or more, ``CombinedExtractor`` for a ``Dict``, otherwise
            ``FlattenExtractor``.

    Raises:
        ParameterError: If a number is no whole number of at least one, heads do not divide
            ``recall_dim``, or the encoder is no class of features extractors.

    Examples:
        >>> memory = EpisodicMemory(spaces.Box(-1, 1, (3,)), recall_dim=8)
        >>> now, past = torch.rand(2, 3), torch.rand(2, 5, 3)
        >>> memory(now, past, held=torch.ones(2, 5, dtype=torch.bool)).shape
        torch.Size([2, 11])
        >>> bool((memory(now)[:, 3:] == 0).all())  # without a past nothing is recalled
        True
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        length: int = LENGTH,
        recall_dim: int = 64,
        num_heads: int = 4,
        encoder: type[BaseFeaturesExtractor] | None = None,
    ) -> None:
        for name, count in (("length", length), ("num_heads", num_heads)):
            check_count(name, count)
        if check_count("recall_dim", recall_dim) % num_heads:
            raise ParameterError(
                f"recall_dim = {recall_dim} for {num_heads} heads",
                "Give a multiple of the number of heads",
            )
        kind: Any = _usual_encoder(observation_space) if encoder is None else encoder
        if not (isinstance(kind, type) and issubclass(kind, BaseFeaturesExtractor)):
            raise ParameterError(
                f"encoder = {encoder!r}", "Give a subclass of SB3's BaseFeaturesExtractor, or None"
            )
        sight = kind(observation_space)
        seen, size = int(sight.features_dim), recall_dim // num_heads
        super().__init__(observation_space, seen + recall_dim)
        self.length, self.num_heads, self.beta = length, num_heads, 1 / math.sqrt(size)
        self.encoder = sight
        self.query, self.key, self.value = (
            nn.Parameter(torch.randn(num_heads, size, seen) / math.sqrt(seen)) for _ in range(3)
        )
        self.query_bias = nn.Parameter(torch.zeros(num_heads, size))

    def forward(
        self,
        observations: PyTorchObs,
        past: PyTorchObs | None = None,
        held: Bool[Tensor, "batch slots"] | None = None,
    ) -> Float[Tensor, "batch features"]:
        """Returns the features of observations and what they recall.

        Args:
            observations: A batch, as SB3's extractors get it.
            past: Past observations, with an axis of slots after that of the batch; None is none.
            held: Which slots are filled.

        Raises:
            ShapeError: If only one of ``past`` and ``held`` is given.
        """
        now = self.encoder(observations)
        if past is None and held is None:
            return torch.cat([now, now.new_zeros(len(now), self.features_dim - now.shape[1])], -1)
        if past is None or held is None:
            raise ShapeError("a past without held, or held without a past", "Give both, or neither")
        patterns = self.encode(past, held)
        recalled = self.association(now, patterns, held) @ patterns
        found = torch.einsum("bhe,hye->bhy", recalled, self.value).flatten(1)
        return torch.cat([now, found], -1)

    def encode(
        self, past: PyTorchObs, held: Bool[Tensor, "batch slots"]
    ) -> Float[Tensor, "batch slots e"]:
        """Returns the patterns of past observations."""
        rows = each(past, lambda part: part.flatten(0, 1))
        return self.encoder(rows).unflatten(0, held.shape)

    def association(
        self,
        now: Float[Tensor, "batch e"],
        patterns: Float[Tensor, "batch slots e"],
        held: Bool[Tensor, "batch slots"],
    ) -> Float[Tensor, "batch heads slots"]:
        """Computes p_hi, how much each head recalls each pattern; the rest to 1 is nothing."""
        query = torch.einsum("be,hye->bhy", now, self.query) + self.query_bias
        cue = torch.einsum("bhy,hye->bhe", query, self.key)
        scores = (self.beta * cue) @ patterns.mT
        scores = scores.masked_fill(~held.unsqueeze(1), -torch.inf)
        return torch.softmax(nn.functional.pad(scores, (1, 0)), -1)[..., 1:]

    def look_back(self, obs: PyTorchObs, see: See) -> Float[Tensor, "batch features"]:
        """Returns the features of observations that were joined with their past.

        Args:
            obs: As :func:`~isinglass.agents.extractors.episode_past.join_past` gives them; without
                a past they are taken for the first of an episode.
            see: Turns observations into what the encoder gets.
        """
        now, past, held = part_past(obs, isinstance(self._observation_space, spaces.Dict))
        if past is None or held is None:
            return self(see(now))
        rows = see(each(past, lambda part: part.flatten(0, 1)))
        return self(see(now), each(rows, lambda part: part.unflatten(0, held.shape)), held)


def recall_past(
    extractor: object, obs: PyTorchObs, state: State | None, episode_start: object
) -> tuple[PyTorchObs, State | None]:
    """Returns observations joined with their past, and the next state, for a memory.

    For another features extractor both are given back as they are.

    Raises:
        ShapeError: If the state or the starts do not fit the observations.
    """
    if not isinstance(extractor, EpisodicMemory):
        return obs, state
    return take_past(obs, state, episode_start, extractor.length)


def _usual_encoder(space: spaces.Space) -> type[BaseFeaturesExtractor]:
    if isinstance(space, spaces.Dict):
        return CombinedExtractor
    picture = is_image_space(space) and sorted(space.shape or ())[1] >= SMALLEST_PICTURE
    return NatureCNN if picture else FlattenExtractor
