"""A features extractor of propositions that knows them by what they share, never by name."""

from __future__ import annotations

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn
from torch.nn import functional as F

from isinglass._support.typing import Bool, Int
from isinglass._support.validation import check_count
from isinglass.agents.actions.action_masks import find_mask
from isinglass.agents.extractors.plain_extractors import proposition_spaces
from isinglass.errors import ParameterError
from isinglass.nn.relational_hopfield import RelationalHopfield

__all__ = ["RelationalExtractor"]


class RelationalExtractor(BaseFeaturesExtractor):
    r"""Set attention over propositions (relation, argument, …), layer by layer down an energy.

    A proposition starts as a learned vector of its relation. In each layer,
    a :class:`~isinglass.nn.RelationalHopfield`, it recalls those with which it shares an entity;
    the ways to share one, subject = subject, subject = object and so on, have learned fields. So
    names of entities never enter the weights, the order of the rows is of no effect, and the same
    weights serve sets of every size.

    Where the observations have ``"candidates"``, the features are one vector a candidate,
    φ(s ∪ {a}), for :class:`CandidateEnergy`: a candidate sees the set as if it was part of it, and
    the set does not see the candidate. Else they are the sum over what is held.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217 (the layers); Zaheer et al. 2017,
    arXiv:1703.06114 (sets).

    Args:
        observation_space: ``Dict`` with ``"propositions"``, a ``Box`` of whole numbers of shape
            (rows, parts) whose first column is the relation; ``"mask"``, which rows are held; and,
            if actions are propositions, ``"candidates"``, such rows as well, with
            ``"action_mask"``.
        features_dim: Length of the vectors.
        num_heads: Heads of each layer.
        layers: Layers: over how many facts an inference goes.

    Raises:
        ParameterError: If the space is another, or a number is out of range.

    Examples:
        >>> from isinglass.thinking.vocabulary import Vocabulary
        >>> from isinglass.envs import FactChains, Thoughts
        >>> env = Thoughts(FactChains(), Vocabulary({"reached": 1}))
        >>> extractor = RelationalExtractor(env.observation_space, features_dim=16)
        >>> seen, _ = env.reset(seed=0)
        >>> extractor({key: torch.as_tensor(part)[None] for key, part in seen.items()}).shape
        torch.Size([1, 10, 16])
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        features_dim: int = 32,
        num_heads: int = 4,
        layers: int = 2,
    ) -> None:
        rows, _ = proposition_spaces(observation_space)
        candidates = observation_space.spaces.get("candidates")  # pyright: ignore[reportAttributeAccessIssue]
        super().__init__(observation_space, check_count("features_dim", features_dim))
        tables = [rows] if candidates is None else [rows, candidates]
        if any(t.shape[1:] != rows.shape[1:] or t.shape[1] < 2 or t.low.min() < 0 for t in tables):
            raise ParameterError(
                f"propositions and candidates in {tables}",
                "Give rows of a relation and its arguments alike in both, all at least 0",
            )
        relations = max(int(table.high[:, 0].max()) for table in tables) + 1
        self.relations = nn.Embedding(relations, features_dim)
        self.layers = nn.ModuleList(
            RelationalHopfield(features_dim, (rows.shape[1] - 1) ** 2, num_heads)
            for _ in range(check_count("layers", layers))
        )

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Returns φ, ``(batch, candidates, features)``, or ``(batch, features)`` without any."""
        held = observations["mask"].bool()
        width = _last(held)
        held, rows = held[:, :width], observations["propositions"][:, :width].long()
        among = shared_entities(rows, rows) & held[:, None, :, None]
        among = among & ~torch.eye(width, dtype=torch.bool, device=rows.device).unsqueeze(-1)
        tokens = self.relations(rows[..., 0])
        if "candidates" not in observations:
            for layer in self.layers:
                tokens = layer(tokens, tokens, among)
            return (tokens * held.unsqueeze(-1)).sum(-2)
        actions = observations["candidates"].long()
        count = actions.shape[1]
        if (allowed := find_mask(observations)) is not None:  # what is cut off is forbidden
            actions = actions[:, : max(1, _last(allowed.bool()))]
        across = shared_entities(actions, rows) & held[:, None, :, None]
        both = torch.cat([tokens, self.relations(actions[..., 0])], 1)
        shared = torch.cat([among, across], 1)
        for layer in self.layers[:-1]:
            both = layer(both, both[:, :width], shared)
        found = self.layers[-1](both[:, width:], both[:, :width], across)
        return F.pad(found, (0, 0, 0, count - found.shape[1]))


def shared_entities(
    queries: Int[Tensor, "batch queries parts"], patterns: Int[Tensor, "batch patterns parts"]
) -> Bool[Tensor, "batch queries patterns ways"]:
    """Returns in which ways propositions share entities: argument i of one is argument j of other.

    Examples:
        >>> rows = torch.tensor([[[0, 4, 5], [0, 5, 6]]])  # a fact 4 → 5 and a fact 5 → 6
        >>> shared_entities(rows, rows)[0, 0, 1].tolist()  # the first object is the second subject
        [False, False, True, False]
    """
    first, second = queries[..., 1:], patterns[..., 1:]
    same = first[:, :, None, :, None] == second[:, None, :, None, :]
    return same.flatten(-2)


def _last(flags: Bool[Tensor, "batch width"]) -> int:
    """Returns how many columns there are up to the last that is true anywhere."""
    used = flags.any(0).nonzero()
    return int(used[-1]) + 1 if len(used) else 0
