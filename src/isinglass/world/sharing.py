"""What one state shares with others: how an action changes it, chosen by leaving out one by one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isinglass._support.typing import Bool, Float, Int
from isinglass.world.columns import digits
from isinglass.world.keys import Key, Steps, better_keys, subsets
from isinglass.world.moves import Changes, Moves, Reach, totals

__all__ = ["Sharing", "shared_chances", "unblocked"]

STRENGTHS = torch.logspace(-4, 3, 29, dtype=torch.float64)  # of κ
CONTEXT_STRENGTHS = (1e-4, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0)
ITERATIONS = 15  # of EM, between moves that were blocked and those that lead nowhere
EVENNESS = torch.logspace(-2, 6, 33, dtype=torch.float64)  # of α
AS_LIKELY = 0.1  # nats
TINY = 1e-300


@dataclass(frozen=True)
class Sharing:
    """How pairs (s, a) share what is met, with the choices made.

    Attributes:
        layout: As which digits a state is read: what is shared are changes of them.
        unseen: m(s′), how open a state is that was never met, beside 1 of others.
        strength: κ of each action, in transitions: how many of its own a pair needs to count as
            much as what is shared.
        blend: κ of each action's contexts, beside what it does everywhere.
        context: The digits of a state on which each action's effect depends.
        reward_by: From what each action's reward is foretold where (s, a, s′) was never met.
        done_by: Likewise for the end of an episode.

    Examples:
        A grid of 4 × 4 whose cells are numbered, walked to the right everywhere:

        >>> from isinglass.units import Categorical
        >>> from isinglass.world import WorldColumns, WorldEnergy
        >>> world = WorldEnergy(WorldColumns(Categorical(16), Categorical(2)))
        >>> cell = torch.arange(16)
        >>> row, column = cell // 4, cell % 4
        >>> right, down = row * 4 + (column + 1).clamp(max=3), (row + 1).clamp(max=3) * 4 + column
        >>> for action, after in enumerate((right, down)):
        ...     world.store(cell, 0 * cell + action, 0.0 * cell, after, 0 * cell)
        >>> world.sharing().layout
        (4, 4)
    """

    layout: tuple[int, ...]
    unseen: float
    strength: tuple[float, ...]
    blend: tuple[float, ...]
    context: tuple[tuple[int, ...], ...]
    reward_by: tuple[Key, ...]
    done_by: tuple[Key, ...]

    @classmethod
    def chosen(cls, moves: Moves, layout: tuple[int, ...]) -> Sharing:
        """Chooses by the likelihood of every transition, foretold from all others.

        Args:
            moves: What is stored.
            layout: The digits of a state. A single one is split as long as that makes what is
                stored likelier: the number of a grid's cell becomes row and column.
        """
        best = _LeaveOneOut(moves, layout)
        more = len(layout) == 1
        while more:
            split = [_LeaveOneOut(moves, finer) for finer in _finer(best.changes.layout)]
            found = max(split, key=lambda table: table.log_likelihood, default=best)
            more = found.log_likelihood > best.log_likelihood
            best = found if more else best
        strength, blend, context = zip(*best.by_action(), strict=True)
        steps = Steps(moves.state, moves.action, moves.after, best.changes.of)
        sizes = moves.states, moves.actions, len(best.changes.count)
        reward_by, done_by = (
            better_keys(steps, moves.counts, values, best.changes.layout, sizes)
            for values in (moves.reward, moves.done)
        )
        return cls(best.changes.layout, best.unseen, strength, blend, context, reward_by, done_by)

    def contexts(self, state: Int[Tensor, " P"], action: Int[Tensor, " P"]) -> Int[Tensor, " P"]:
        """Returns a number for the digits of each state that matter to its action."""
        numbers = torch.zeros_like(state)
        for index, places in enumerate(self.context):
            mine = action == index
            numbers[mine] = _context(state[mine], self.layout, places)
        return numbers * len(self.context) + action


def shared_chances(
    changes: Changes,
    reach: Reach,
    seen: Bool[Tensor, " S"],
    unseen: float,
    base: Float[Tensor, " D"],
) -> Float[Tensor, " E"]:
    """Computes q₀ of every entry: the chance of its change, of none where others are blocked.

    Args:
        changes: The changes of every action.
        reach: Where they lead.
        seen: Which states were met.
        unseen: How open others are.
        base: p(Δ | a) of every change, were none blocked.
    """
    passes = torch.where(seen[reach.after], 1.0, unseen) * reach.fits
    still = changes.still[changes.action[reach.change]] == reach.change
    passes = torch.where(still, 1.0, passes).to(base)
    chance = base[reach.change] * passes
    blocked = totals(reach.pair, base[reach.change] - chance, int(reach.pair[-1]) + 1)
    return torch.where(still, chance + blocked[reach.pair], chance)


def unblocked(
    moves: Moves, changes: Changes, seen: Bool[Tensor, " S"], unseen: float
) -> tuple[Float[Tensor, " D"], Float[Tensor, " A"]]:
    """Computes p(Δ | a) of moves by EM: a transition that changes nothing may be a blocked one.

    Args:
        moves: What is stored.
        changes: The changes of every action.
        seen: Which states were met.
        unseen: How open others are.

    Returns:
        p(Δ | a) of every change, and how many transitions of each action were added to it, as
        :func:`_evened` does.
    """
    pairs, pair = torch.unique(moves.pair, return_inverse=True)
    reach = changes.reach(pairs // moves.actions, pairs % moves.actions)
    action = changes.action
    total = totals(action, changes.count, moves.actions)[action].clamp_min(1)
    still = changes.still[action] == torch.arange(len(action), device=action.device)
    stays = totals(pair, torch.where(still[changes.of], moves.counts, 0.0), len(pairs))
    passes = torch.where(seen[reach.after], 1.0, unseen) * reach.fits
    closed = torch.where(still[reach.change], 1.0, 1.0 - passes).to(total)
    base = changes.count / total
    for _ in range(ITERATIONS):
        blame = base[reach.change] * closed
        whole = totals(reach.pair, blame, len(pairs)).clamp_min(TINY)
        share = blame * (stays / whole)[reach.pair]
        moved = torch.where(still, 0.0, changes.count)
        base = (moved + totals(reach.change, share, len(base))) / total
    return _evened(changes, base * total, still)


def _evened(
    changes: Changes, count: Float[Tensor, " D"], still: Bool[Tensor, " D"]
) -> tuple[Float[Tensor, " D"], Float[Tensor, " A"]]:
    """Draws the chances of the moves of an action towards each other, as far as all actions say.

        p(Δ | a) ∝ c(a, Δ) + α,   α = argmax Π_a p(c(a, ·) | Dirichlet(α, …, α))

    Where a slip to either side is as likely as no slip, α is large, and the chances of all actions
    are one number. What changes nothing is left as it is.

    Reference: Minka 2000, "Estimating a Dirichlet distribution" (the evidence).
    """
    action, actions = changes.action, len(changes.still)
    moves = ((~still) & (changes.count > 0)).to(count)
    many, whole = (
        totals(action, part * moves, actions) for part in (torch.ones_like(count), count)
    )
    alpha = EVENNESS.to(count).unsqueeze(-1)
    each = torch.lgamma(count + alpha) - torch.lgamma(alpha)
    among = torch.lgamma(many.clamp_min(1) * alpha)
    among = among - torch.lgamma(many.clamp_min(1) * alpha + whole)
    evidence = (each * moves).sum(-1) + among.sum(-1)
    best = EVENNESS.to(count)[int(evidence.argmax())]
    added = torch.where(many > 1, best * many, 0.0)  # one alone has no other to be drawn to
    pulled = (count + best) * (whole / (whole + added).clamp_min(TINY))[action]
    total = totals(action, count, actions)[action].clamp_min(TINY)
    drawn = (moves > 0) & (added[action] > 0)
    return torch.where(drawn, pulled, count) / total, added


class _LeaveOneOut:
    """How likely each stored transition is, foretold from all others."""

    def __init__(self, moves: Moves, layout: tuple[int, ...]) -> None:
        self.moves, self.counts = moves, moves.counts
        self.changes = Changes.seen(moves, layout)
        pairs, self.pair = torch.unique(moves.pair, return_inverse=True)
        self.reach = self.changes.reach(pairs // moves.actions, pairs % moves.actions)
        triples = torch.stack([self.pair, moves.after], -1)
        _, triple = torch.unique(triples, dim=0, return_inverse=True)
        self.of_triple = _total_of(triple, self.counts)
        self.of_pair = _total_of(self.pair, self.counts)
        met = moves.met()
        self.seen = met > 0
        self.only_here = (met[moves.after] == 1) & (moves.after != moves.state)
        self.log_likelihood = -torch.inf
        for unseen in {1.0, _rarity(met)}:
            prior = self._prior(unseen, *unblocked(moves, self.changes, self.seen, unseen))
            score = float(self._logs(prior).sum(-1).max())
            if score > self.log_likelihood:
                self.log_likelihood, self.unseen, self.prior = score, unseen, prior

    def _prior(
        self, unseen: float, base: Float[Tensor, " D"], added: Float[Tensor, " A"]
    ) -> Float[Tensor, " N"]:
        """q₀ of every transition, without itself."""
        changes, of = self.changes, self.changes.of
        chance = shared_chances(changes, self.reach, self.seen, unseen, base)
        width = len(base)
        key = self.reach.pair * width + self.reach.change  # ascending
        own = chance[torch.searchsorted(key, self.pair * width + of)]
        many = (totals(changes.action, changes.count, self.moves.actions) + added)[
            self.moves.action
        ]
        mine = torch.where(self.only_here, unseen, 1.0).to(own)
        whole = torch.where(self.only_here, own / unseen, own)  # as if its state had been met
        rest = (whole * many - 1).clamp_min(0) / (many - 1).clamp_min(1) * mine
        once = totals(changes.action, (changes.count == 1).to(own), self.moves.actions)
        novel = (once + 1) / (totals(changes.action, changes.count, self.moves.actions) + 2)
        novel = novel[self.moves.action]  # of a change that was never seen, Good and Turing
        return (1 - novel) * rest + novel / self.moves.states

    def _logs(self, prior: Float[Tensor, " N"]) -> Float[Tensor, "K N"]:
        """log p of transitions given the others, as often as they were met, for each κ."""
        kappa = STRENGTHS.to(self.counts).unsqueeze(-1)
        chance = (self.of_triple - 1 + kappa * prior) / (self.of_pair - 1 + kappa)
        return self.counts * chance.clamp_min(TINY).log()

    def by_action(self) -> list[tuple[float, float, tuple[int, ...]]]:
        """Each action's strengths κ, of what is shared and in a context, and its digits."""
        moves, layout = self.moves, self.changes.layout
        tried = subsets(len(layout))[:-1]  # that of all digits is the pair's own count
        scores, names = [], []
        for subset in tried:
            for blend in CONTEXT_STRENGTHS if subset else (1.0,):
                prior = self._in_context(subset, blend) if subset else self.prior
                logs = self._logs(prior)
                zeros = logs.new_zeros(len(logs), moves.actions)
                scores.append(zeros.index_add(1, moves.action, logs))
                names.append((blend, subset))
        table = torch.stack(scores, 1).flatten(0, 1)  # (κ, the rest) of each action, small κ first
        # Where nothing was met twice all κ are alike: what was met then counts.
        best = (table >= table.amax(0) - AS_LIKELY).double().argmax(0).tolist()
        return [(float(STRENGTHS[i // len(names)]), *names[i % len(names)]) for i in best]

    def _in_context(self, subset: tuple[int, ...], blend: float) -> Float[Tensor, " N"]:
        """q of every transition, without itself: what was met where some digits are the same."""
        moves = self.moves
        context = _context(moves.state, self.changes.layout, subset) * moves.actions + moves.action
        _, context = torch.unique(context, return_inverse=True)
        width = len(self.changes.count)
        _, joint = torch.unique(context * width + self.changes.of, return_inverse=True)
        alike = _total_of(joint, self.counts) - 1
        return (alike + blend * self.prior) / (_total_of(context, self.counts) - 1 + blend)


def _context(
    state: Int[Tensor, " N"], layout: tuple[int, ...], places: tuple[int, ...]
) -> Int[Tensor, " N"]:
    """A number for some digits of a state."""
    value = torch.zeros_like(state)
    if places:
        every = digits(state, layout)
        for place in places:
            value = value * layout[place] + every[:, place]
    return value


def _finer(layout: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Every layout with one digit split into two."""
    found: list[tuple[int, ...]] = []
    for place, count in enumerate(layout):
        found += [
            (*layout[:place], first, count // first, *layout[place + 1 :])
            for first in range(2, count // 2 + 1)
            if count % first == 0
        ]
    return found


def _total_of(key: Int[Tensor, " N"], values: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """The sum over all of the same key, of each."""
    return totals(key, values, int(key.max()) + 1)[key]


def _rarity(met: Float[Tensor, " S"]) -> float:
    """How likely a state that was never met is beside one that was, by Good and Turing."""
    seen = met > 0
    unseen = int((~seen).sum())
    if not unseen:
        return 1.0
    new = float((met == 1).sum() + 0.5) / float(met.sum() + 1)
    return min(new / unseen * int(seen.sum()) / max(1 - new, 1e-12), 1.0)
