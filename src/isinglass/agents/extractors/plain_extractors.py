"""Features extractors: boxes centered at zero, and sets of propositions in no order."""

from __future__ import annotations

import math

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor
from torch import Tensor, nn

from isinglass._support.typing import Float
from isinglass._support.validation import check_count
from isinglass.errors import ParameterError

__all__ = ["SMALLEST_PICTURE", "CenteredExtractor", "SetExtractor", "proposition_spaces"]

SMALLEST_PICTURE = 36  # a side, for the layers of SB3's NatureCNN
MOST_PROPOSITIONS = 2**16


class CenteredExtractor(FlattenExtractor):
    """A features extractor that scales a bounded ``Box`` to −1 … 1 and flattens it.

    Centered features learn faster where the network has no hidden layers. Not with
    ``VecNormalize``, which centers by itself.

    Args:
        observation_space: Space of the observations, a ``Box`` with finite bounds.

    Raises:
        ParameterError: If the space is no bounded ``Box``.

    Examples:
        >>> CenteredExtractor(spaces.Box(0, 1, (2,)))(torch.tensor([[0.0, 0.75]]))
        tensor([[-1.0000,  0.5000]])
    """

    middle: Tensor
    half_range: Tensor

    def __init__(self, observation_space: spaces.Box) -> None:
        if not isinstance(observation_space, spaces.Box) or not observation_space.is_bounded():
            raise ParameterError(f"observations of {observation_space}", "Use FlattenExtractor")
        super().__init__(observation_space)
        low, high = (
            torch.as_tensor(b.reshape(-1), dtype=torch.float32)
            for b in (observation_space.low, observation_space.high)
        )
        self.register_buffer("middle", (low + high) / 2, persistent=False)
        # What never varies is seen as 0.
        half_range = torch.where(high > low, (high - low) / 2, 1.0)
        self.register_buffer("half_range", half_range, persistent=False)

    def forward(self, observations: Tensor) -> Tensor:
        """Returns (x − middle) / half the range, from −1 to 1."""
        return (super().forward(observations) - self.middle) / self.half_range


class SetExtractor(BaseFeaturesExtractor):
    r"""A features extractor of sets: Σ_i mask_i e(p_i), over the propositions p_i that are held.

    Every different proposition p has a learned vector e(p); what the network sees is their sum,
    the same for every order of the rows.

    Reference: Zaheer et al. 2017, "Deep sets", arXiv:1703.06114.

    Args:
        observation_space: ``Dict`` with ``"propositions"``, a ``Box`` of whole numbers of shape
            (rows, parts), and ``"mask"``, which rows are filled, of shape (rows,).
        features_dim: Length of the vectors.

    Raises:
        ParameterError: If the space is another, or has more than 2¹⁶ different propositions, or
            ``features_dim`` is not a whole number of at least one.

    Examples:
        >>> from isinglass.envs import TicTacToe
        >>> env = TicTacToe()
        >>> extractor = SetExtractor(env.observation_space, features_dim=16)
        >>> rows = torch.tensor([[[0, 1, 0], [2, 2, 1]], [[2, 2, 1], [0, 1, 0]]])
        >>> seen = extractor({"propositions": rows, "mask": torch.ones(2, 2)})
        >>> torch.allclose(seen[0], seen[1])
        True
    """

    least: Tensor
    strides: Tensor

    def __init__(self, observation_space: spaces.Space, features_dim: int = 64) -> None:
        rows, mask = proposition_spaces(observation_space)
        super().__init__(observation_space, check_count("features_dim", features_dim))
        least, most = rows.low.min(0).tolist(), rows.high.max(0).tolist()
        counts = [high - low + 1 for low, high in zip(least, most, strict=True)]
        total = math.prod(counts)
        if total > MOST_PROPOSITIONS or mask.shape != rows.shape[:1]:
            raise ParameterError(
                f"{total:,} different propositions with a mask of shape {mask.shape}",
                f"At most {MOST_PROPOSITIONS:,}, and one flag of the mask a row",
            )
        strides = np.append(np.cumprod(counts[:0:-1])[::-1], 1)
        self.register_buffer("least", torch.as_tensor(least), persistent=False)
        self.register_buffer("strides", torch.as_tensor(strides.copy()), persistent=False)
        self.vectors = nn.Embedding(total, features_dim)

    def forward(self, observations: dict[str, Tensor]) -> Float[Tensor, "batch features"]:
        """Returns Σ_i mask_i e(p_i), the sum of the vectors of the filled rows."""
        index = ((observations["propositions"].long() - self.least) * self.strides).sum(-1)
        held = observations["mask"].bool()
        vectors = self.vectors(index.where(held, 0))
        return (vectors * held.unsqueeze(-1)).sum(-2)


def proposition_spaces(space: object) -> tuple[spaces.Box, spaces.Space]:
    """Returns the spaces of propositions and of the mask that says which rows are filled.

    Raises:
        ParameterError: If the space is none of propositions.
    """
    parts = space.spaces if isinstance(space, spaces.Dict) else {}
    rows, mask = parts.get("propositions"), parts.get("mask")
    table = isinstance(rows, spaces.Box) and len(rows.shape) == 2
    if isinstance(rows, spaces.Box) and table and rows.dtype.kind in "iu" and mask is not None:
        return rows, mask
    raise ParameterError(
        f"observations of {space}",
        "Give a Dict of 'propositions', a Box of whole numbers (rows, parts), and 'mask'",
    )
