"""What follows each pair of state and action, by index: the world that is planned in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from isinglass._support.typing import Bool, Float, Int
from isinglass.errors import IntractableError
from isinglass.world.columns import WorldColumns
from isinglass.world.keys import Steps, foretell
from isinglass.world.moves import Changes, Moves, means, totals
from isinglass.world.sharing import Sharing, shared_chances, unblocked

__all__ = ["TransitionModel"]

MOST_PAIRS = 2**24


@dataclass(frozen=True)
class TransitionModel:
    """p(s′ | s, a) with rewards and ends, an entry for each outcome of each pair.

    Attributes:
        columns: What states and actions are made of.
        pair: s·A + a of each entry, ascending.
        after: s′ of each.
        probability: p(s′ | s, a) of each; those of a pair add up to 1.
        reward: Mean reward of each.
        done: The share of episodes that ended with each.
        told: Whether an outcome is foretold rather than met.
        stuck: How surely an outcome that was only foretold, and changes nothing, repeats itself.
        visits: n(s, a) of every pair.

    Examples:
        >>> from isinglass import Categorical
        >>> columns = WorldColumns(Categorical(2), Categorical(1))
        >>> rows = torch.tensor([[0.0, 0, 5, 1, 1]], dtype=torch.float64)
        >>> moves = Moves.of(columns, rows, torch.ones(1, dtype=torch.float64))
        >>> model = TransitionModel.of(columns, moves, None)
        >>> model.expected_reward
        tensor([5., 0.], dtype=torch.float64)
    """

    columns: WorldColumns
    pair: Int[Tensor, " E"]
    after: Int[Tensor, " E"]
    probability: Float[Tensor, " E"]
    reward: Float[Tensor, " E"]
    done: Float[Tensor, " E"]
    told: Bool[Tensor, " E"]
    stuck: Float[Tensor, " E"]
    visits: Float[Tensor, " P"]

    @cached_property
    def _ends(self) -> Float[Tensor, " E"]:
        """Sums of probabilities up to each entry, that of a pair by 1 above those before it."""
        return self.probability.cumsum(0)

    def outcomes(
        self, pairs: Int[Tensor, " B"], chances: Float[Tensor, " B"]
    ) -> tuple[Int[Tensor, " B"], Bool[Tensor, " B"]]:
        """Returns an entry of each pair by inverting its distribution, and whether there is one.

        Args:
            pairs: s·A + a.
            chances: Uniform numbers, 0 to 1, that choose among the outcomes.

        Examples:
            >>> from isinglass import Categorical
            >>> columns = WorldColumns(Categorical(2), Categorical(1))
            >>> rows = torch.tensor([[0.0, 0, 5, 0, 0], [0.0, 0, 5, 1, 1]], dtype=torch.float64)
            >>> moves = Moves.of(columns, rows, torch.ones(2, dtype=torch.float64))
            >>> model = TransitionModel.of(columns, moves, None)
            >>> entry, met = model.outcomes(torch.tensor([0, 0, 1]), torch.tensor([0.1, 0.9, 0.5]))
            >>> model.after[entry[:2]].tolist(), met.tolist()
            ([0, 1], [True, True, False])
        """
        before = torch.searchsorted(self.pair, pairs)
        start = torch.where(before > 0, self._ends[(before - 1).clamp_min(0)], 0.0)
        # Strictly inside the outcomes of the pair, whose probabilities add up to 1.
        inside = start + chances * (1 - 1e-9)
        entry = torch.searchsorted(self._ends, inside, right=True).clamp(max=len(self._ends) - 1)
        return entry, (self.visits[pairs] > 0) & (self.pair[entry] == pairs)

    @classmethod
    def of(
        cls,
        columns: WorldColumns,
        moves: Moves,
        sharing: Sharing | None,
        open_states: Int[Tensor, " G"] | None = None,
    ) -> TransitionModel:
        """Builds the model of stored transitions, pairs sharing what is met or not.

        Args:
            columns: What states and actions are made of.
            moves: What is stored.
            sharing: How pairs share it; None, where they do not.
            open_states: States that are there, met or not.

        Raises:
            IntractableError: If there are more pairs of state and action than memory holds.
        """
        pairs = columns.states * columns.actions
        if pairs > MOST_PAIRS:
            raise IntractableError(
                f"{columns.states:,} states × {columns.actions:,} actions",
                f"Describe states by fewer choices: up to {MOST_PAIRS:,} pairs are planned over",
            )
        pair = moves.state * columns.actions + moves.action
        visits = moves.counts.new_zeros(pairs).index_add(0, pair, moves.counts)
        keys, place = torch.unique(torch.stack([pair, moves.after], -1), dim=0, return_inverse=True)
        count, reward, done = means(place, moves.counts, moves.reward, moves.done)
        none = torch.zeros_like(count)
        own = _Outcomes(keys[:, 0], keys[:, 1], count, reward, done, none.bool(), none)
        if sharing is None:
            return own.normalized(columns, visits, None)
        return own.normalized(columns, visits, _foretold(moves, sharing, visits, open_states))

    @property
    def expected_reward(self) -> Float[Tensor, " P"]:
        """Σ_s′ p(s′ | s, a) r of every pair, 0 of what has no outcome."""
        return self.visits.new_zeros(len(self.visits)).index_add(
            0, self.pair, self.probability * self.reward
        )

    @property
    def final(self) -> Bool[Tensor, " S"]:
        """Which states end every episode that arrives there, and were never left."""
        lasting = (self.visits.reshape(self.columns.states, -1) > 0).any(-1)
        lasting[self.after[~self.told & (self.done < 1)]] = True
        arrived = torch.zeros_like(lasting)
        arrived[self.after[~self.told]] = True
        return arrived & ~lasting

    @property
    def known(self) -> Bool[Tensor, " P"]:
        """Which pairs have outcomes, met or foretold."""
        known = torch.zeros(len(self.visits), dtype=torch.bool, device=self.pair.device)
        known[self.pair] = True
        return known


@dataclass(frozen=True)
class _Outcomes:
    """Outcomes of pairs with weights that need not add up to one."""

    pair: Tensor
    after: Tensor
    weight: Tensor
    reward: Tensor
    done: Tensor
    told: Tensor
    stuck: Tensor

    def normalized(
        self, columns: WorldColumns, visits: Tensor, more: _Outcomes | None
    ) -> TransitionModel:
        both = self if more is None else self.with_more(more)
        total = totals(both.pair, both.weight, len(visits))
        order = torch.argsort(both.pair, stable=True)
        order = order[both.weight[order] > 0]
        return TransitionModel(
            columns, both.pair[order], both.after[order],
            (both.weight / total[both.pair])[order], both.reward[order], both.done[order],
            both.told[order], both.stuck[order], visits,
        )  # fmt: skip

    def with_more(self, more: _Outcomes) -> _Outcomes:
        return _Outcomes(
            torch.cat([self.pair, more.pair]), torch.cat([self.after, more.after]),
            torch.cat([self.weight, more.weight]), torch.cat([self.reward, more.reward]),
            torch.cat([self.done, more.done]),
            torch.cat([self.told, more.told]), torch.cat([self.stuck, more.stuck]),
        )  # fmt: skip


def _foretold(
    moves: Moves, sharing: Sharing, visits: Float[Tensor, " P"], open_states: Tensor | None
) -> _Outcomes:
    """Every change of its action in every pair, together weighing κ."""
    everyone = torch.arange(len(visits), device=visits.device)
    state, action = everyone // moves.actions, everyone % moves.actions
    changes = Changes.seen(moves, sharing.layout)
    reach = changes.reach(state, action)
    seen = moves.met() > 0
    if open_states is not None:
        seen[open_states] = True
    base, _ = unblocked(moves, changes, seen, sharing.unseen)
    chance = shared_chances(changes, reach, seen, sharing.unseen, base)
    width, strength = len(base), torch.tensor(sharing.strength).to(visits)
    # What was met in states that have the digits in common that matter to the action.
    alike = torch.unique(sharing.contexts(moves.state, moves.action), return_inverse=True)
    here = sharing.contexts(state, action)
    context = torch.searchsorted(alike[0], here).clamp(max=len(alike[0]) - 1)
    strange = alike[0][context] != here
    joint, of = torch.unique(alike[1] * width + changes.of, return_inverse=True)
    wanted = context[reach.pair] * width + reach.change
    found = torch.searchsorted(joint, wanted).clamp(max=len(joint) - 1)
    apart = torch.tensor([bool(places) for places in sharing.context], device=action.device)
    apart = apart[action[reach.pair]]
    hit = (joint[found] == wanted) & ~strange[reach.pair] & reach.fits & apart
    own = torch.where(hit, totals(of, moves.counts, len(joint))[found], 0.0)
    blend = torch.tensor(sharing.blend).to(visits)[action[reach.pair]]
    weight = own + blend * chance
    weight = weight / totals(reach.pair, weight, len(visits))[reach.pair]
    steps = Steps(moves.state, moves.action, moves.after, changes.of)
    asked = Steps(state[reach.pair], action[reach.pair], reach.after, reach.change)
    sizes = moves.states, moves.actions, width
    by, ends = sharing.reward_by, sharing.done_by
    reward, square, done = (
        foretell(keys, steps, asked, moves.counts, value, sharing.layout, sizes)
        for keys, value in ((by, moves.reward), (by, moves.reward.square()), (ends, moves.done))
    )
    # Where the world repeats itself, κ near 0, a wall that was foretold and is there stays there,
    # and so does a reward: a plan that counts on another draw knocks for ever.
    doubt = ((1 / (1 + strength))[action] * (visits == 0))[reach.pair]
    reward = reward - doubt * (square - reward.square()).clamp_min(0).sqrt()
    weight = strength[action[reach.pair]] * weight
    stuck = doubt * (reach.after == state[reach.pair])
    return _Outcomes(
        reach.pair, reach.after, weight, reward, done, torch.ones_like(reach.fits), stuck
    )
