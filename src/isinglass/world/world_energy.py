"""One joint energy of the world: every transition a stored pattern, every question a clamping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass._support.validation import (
    check_above_zero,
    check_count,
    check_features,
    check_flag,
    check_generator,
    check_kind,
)
from isinglass.core.capabilities import Serializable
from isinglass.core.numbers import Numbered
from isinglass.distributions import PatternMixture
from isinglass.errors import ParameterError, ShapeError
from isinglass.units import Unit
from isinglass.world.columns import NAMES, REAL, WorldColumns
from isinglass.world.conditional import WorldConditional
from isinglass.world.moves import Moves
from isinglass.world.planning import Plan, Reward, plan
from isinglass.world.real_model import Prediction, RealModel
from isinglass.world.sharing import Sharing
from isinglass.world.transition_model import TransitionModel

__all__ = ["WorldEnergy"]

SMALLEST = 1e-6  # of a width, where all values of a real column are the same


class WorldEnergy(Numbered, Serializable):
    r"""Transitions (s, a, r, s′, done) as stored patterns of one energy over all their units.

        E(x) = −log Σ_μ (c_μ/n) Π_i exp(θ_μi·x_i − A(θ_μi)) + U(x)

    one pattern for each transition met c_μ times, with fields λ on its choices and x_μ/h on its
    real numbers: one Hopfield–Boltzmann machine with one hidden choice. Every conditional,
    p(s′ | s, a), p(a | s, s′), p(r | s, a), p(s | s′), is a clamping, and exact;
    log p(s, a) says whether this was ever met. Planning is soft value iteration over what is
    stored; another goal is another reward, and nothing is learned for it.

    Where ``relative`` is set, pairs (s, a) share what an action does, Δ = s′ − s:

        p(s′ | s, a) = (c(s, a, s′) + κ q(s′ | s, a)) / (n(s, a) + κ),
        q(s′ | s, a) ∝ c(a, s′ − s) m(s′)

    with m(s′) below one where s′ was never met, as walls are not; κ, whether m counts, and from
    what rewards are foretold are chosen by the leave-one-out likelihood of what is stored.

    References: Sutton 1990, "Integrated architectures for learning, planning, and reacting"
    (Dyna); Brafman & Tennenholtz 2002, JMLR 3:213-231 (optimism); Ota & Karakida 2023,
    arXiv:2212.04692 (the machine).

    Args:
        columns: What states and actions are made of.
        relative: Whether what is met in one state is shared with others.
        sharpness: λ > 0: a choice has probability 1/(1 + (k − 1) e^−λ) in its own pattern.
        width: h > 0 of real columns, in units of their standard deviation; None falls with the
            number n of what is stored as n^(−1/(4 + d)), d their number.

    Raises:
        ParameterError: If ``columns`` are none, λ or ``width`` is not above zero.

    Examples:
        A corridor of five cells, the last of which ends the episode with reward 1:

        >>> from isinglass import Categorical
        >>> world = WorldEnergy(WorldColumns(Categorical(5), Categorical(2)))
        >>> state = torch.arange(4).repeat(2)
        >>> action = torch.arange(2).repeat_interleave(4)
        >>> after = (state + 2 * action - 1).clamp(0, 4)
        >>> world.store(state, action, (after == 4).double(), after, after == 4)
        >>> world.conditional(state=[2], action=[1]).probs("next_state").round(decimals=3)
        tensor([[0., 0., 0., 1., 0.]], dtype=torch.float64)
        >>> world.plan(discount=0.9).action([0, 1, 2, 3])
        tensor([1, 1, 1, 1])
        >>> world.plan(goal=0, discount=0.9).action([1, 2, 3])
        tensor([0, 0, 0])
    """

    numbers: ClassVar[tuple[str, ...]] = ("sharpness",)
    rows: Tensor
    counts: Tensor

    def __init__(
        self,
        columns: WorldColumns,
        *,
        relative: bool = True,
        sharpness: float = 40.0,
        width: float | None = None,
    ) -> None:
        super().__init__()
        check_kind(
            "columns", columns, WorldColumns, "WorldColumns(Categorical(64), Categorical(4))"
        )
        self.columns = columns
        self.relative = check_flag("relative", relative)
        self.sharpness = check_above_zero("sharpness", sharpness)
        self.width = None if width is None else check_above_zero("width", width)
        total = sum(columns.width(name) for name in NAMES)
        self.register_buffer("rows", torch.zeros(0, total, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(0, dtype=torch.float64))
        self._model: TransitionModel | None = None
        self._sharing: Sharing | None = None
        self._real: RealModel | None = None

    @property
    def layers(self) -> tuple[Unit, ...]:
        """The units of a transition, those of every column one after another."""
        return (self.columns.unit,)

    def __len__(self) -> int:
        """Counts the transitions that were stored, equal ones too."""
        return int(self.counts.sum())

    def store(
        self, state: object, action: object, reward: object, next_state: object, done: object
    ) -> None:
        """Stores transitions, one row each; what is there already counts for more.

        Args:
            state: s, ``(N, …)``, as :class:`WorldColumns` numbers it.
            action: a, likewise.
            reward: r, ``(N,)``.
            next_state: s′, like ``state``.
            done: Whether the episode ended with it; a time limit is no end.

        Raises:
            ShapeError: If the rows are not as many everywhere.
            DomainError: If a value is NaN or infinite, or no choice of its column.
        """
        given = dict(zip(NAMES, (state, action, reward, next_state, done), strict=True))
        parts = [self.columns.encode(name, values) for name, values in given.items()]
        lengths = {name: len(part) for name, part in zip(NAMES, parts, strict=True)}
        if len(set(lengths.values())) > 1:
            raise ShapeError(
                f"rows: {', '.join(f'{count} of {name}' for name, count in lengths.items())}",
                "Give as many of each",
            )
        new = torch.cat(parts, -1).to(self.rows)
        self._put(
            torch.cat([self.rows, new]), torch.cat([self.counts, self.counts.new_ones(len(new))])
        )

    def forget(self, **given: object) -> int:
        """Forgets every transition that has the given values, all of them if none is given.

        Args:
            given: Values by column, one row: ``state=3``, ``done=True``.

        Returns:
            How many transitions were forgotten.

        Raises:
            ParameterError: If there is no such column, or no such transition.
            ShapeError: If a column has several rows.
        """
        rows = {name: self.columns.encode(name, values) for name, values in given.items()}
        for name, row in rows.items():
            if len(row) != 1:
                raise ShapeError(f"{len(row)} rows of {name}", "Forget by one row at a time")
        hit = torch.ones(len(self.rows), dtype=torch.bool, device=self.rows.device)
        for name, row in rows.items():
            hit &= (self.rows[:, self.columns.place(name)] == row.to(self.rows)).all(-1)
        if given and not bool(hit.any()):
            raise ParameterError(
                f"no transition with {', '.join(f'{k} = {v}' for k, v in given.items())}",
                "See rows for those that are stored",
            )
        gone = int(self.counts[hit].sum())
        self._put(self.rows[~hit], self.counts[~hit])
        return gone

    def mixture(self) -> PatternMixture:
        """Returns the distribution of transitions, a normalized pattern for each that is stored.

        Raises:
            ParameterError: If none is stored.
        """
        self._check_stored()
        unit, sizes = self.columns.unit, self._sizes()
        fields = self.columns.one_hot(self.rows, self._scales())
        choice = [n > 0 for n in sizes for _ in range(max(n, 2) if n else 1)]
        steep = torch.tensor([self.sharpness if flag else 1.0 for flag in choice])
        fields = fields * steep.to(fields)
        keys = (self.counts / self.counts.sum()).log() - unit.log_partition(fields)
        return PatternMixture(unit, keys, fields)

    def forward(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Computes E = −log p of transitions, real numbers in units of their width."""
        check_features(state, self.columns.unit.size)
        return -self.mixture().score(state)

    def conditional(self, **given: object) -> WorldConditional:
        """Returns the distribution of all other columns, given some.

        Args:
            given: Values by column, one row a question: ``state=[3, 4], action=[0, 0]``.

        Raises:
            ParameterError: If nothing is stored, or there is no such column.
            ShapeError: If the columns have different numbers of rows.
        """
        mixture, scales = self.mixture(), self._scales()
        parts = {name: self.columns.encode(name, values) for name, values in given.items()}
        lengths = {len(part) for part in parts.values()} or {1}
        if len(lengths) > 1:
            raise ShapeError(
                f"rows: {', '.join(f'{len(v)} of {k}' for k, v in parts.items())}",
                "Give as many of each",
            )
        rows = self.rows.new_zeros(lengths.pop(), self.rows.shape[1])
        known = torch.zeros(rows.shape[1], dtype=torch.bool)
        for name, part in parts.items():
            rows[:, self.columns.place(name)] = part.to(rows)
            known[self.columns.place(name)] = True
        sizes = torch.tensor([max(n, 2) if n else 1 for n in self._sizes()])
        observed = known.repeat_interleave(sizes).to(rows.device)
        state = torch.where(observed, self.columns.one_hot(rows, scales), 0.0)
        held = mixture.condition(state, observed.expand_as(state))
        return WorldConditional(self.columns, held, scales, tuple(given))

    def log_prob(self, **given: object) -> Float[Tensor, " B"]:
        """Computes log p of the values of some columns, by which what was never met is told.

        Real numbers count as densities in units of their width.

        Args:
            given: As :meth:`conditional` takes them.

        Raises:
            ParameterError: If nothing is stored, or there is no such column.
        """
        return self.conditional(**given).log_evidence

    def sample(self, count: int, generator: Generator | None = None) -> dict[str, Tensor]:
        """Draws transitions from the energy, exactly.

        Args:
            count: How many.
            generator: Where the draws come from.

        Returns:
            Values by column, one row each.

        Raises:
            ParameterError: If nothing is stored.
        """
        check_count("count", count)
        check_generator(generator)
        drawn = self.mixture().sample_n(count, generator)
        return WorldConditional(self.columns, self.mixture(), self._scales(), ()).decode(drawn)

    def model(self, goal: object = None, sharing: Sharing | None = None) -> TransitionModel:
        """Returns p(s′ | s, a) with rewards, by index: what is planned in.

        Args:
            goal: States that are there, though they may never have been met.
            sharing: Choices of :meth:`sharing` made before, which take long; None makes them.

        Raises:
            IntractableError: If there are more pairs of state and action than memory holds.
            ParameterError: If nothing is stored, or states or actions are real.
        """
        self._check_stored()
        if not self.columns.finite:
            raise ParameterError(
                "real states or actions, which no table can list",
                "Act by isinglass.agents.PlanningAgent, which predicts along its plans",
            )
        if goal is None and sharing is None and self._model is not None:
            return self._model
        there = None
        if goal is not None:
            there = self.columns.index("state", self.columns.encode("state", goal))
        moves = Moves.of(self.columns, self.rows, self.counts)
        chosen = self.sharing() if sharing is None else sharing
        if chosen is not None:
            check_kind("sharing", chosen, Sharing, "what sharing() of this world gave")
            if math.prod(chosen.layout) != self.columns.states:
                raise ParameterError(
                    f"sharing among {math.prod(chosen.layout)} states, in a world of "
                    f"{self.columns.states}",
                    "Give what sharing() of this world gave",
                )
        model = TransitionModel.of(self.columns, moves, chosen, there)
        if goal is None and sharing is None:
            self._model = model
        return model

    def sharing(self) -> Sharing | None:
        """Returns how pairs (s, a) share what is met, as chosen; None where they do not."""
        if self._sharing is None and self.relative and self.columns.finite and len(self.rows):
            moves = Moves.of(self.columns, self.rows, self.counts)
            self._sharing = Sharing.chosen(moves, self.columns.choices("state"))
        return self._sharing

    def real_model(self, start: RealModel | None = None) -> RealModel:
        """Returns what reads s′, r and done of real columns from stored transitions.

        Args:
            start: An earlier one to go on from.

        Raises:
            ParameterError: If nothing is stored.
        """
        self._check_stored()
        return RealModel.fitted(self.columns, self.rows, start)

    def predict(self, state: object, action: object) -> Prediction:
        """Foretells what follows states and actions, by lines through what was met nearby.

        Args:
            state: s, one row a question.
            action: a.

        Raises:
            ParameterError: If nothing is stored.
        """
        self._check_stored()
        if self._real is None:
            self._real = self.real_model()
        encoded = (self.columns.encode("state", state), self.columns.encode("action", action))
        if len(encoded[0]) != len(encoded[1]):
            raise ShapeError(
                f"rows: {len(encoded[0])} of state, {len(encoded[1])} of action",
                "Give as many of each",
            )
        return self._real.predict(*(values.to(self.rows) for values in encoded))

    def plan(
        self,
        reward: Reward | None = None,
        goal: object = None,
        *,
        horizon: int | None = None,
        discount: float = 0.99,
        temperature: float = 0.0,
        unmet: str | None = None,
        allowed: Bool[Tensor, "S A"] | None = None,
        start: Plan | None = None,
        sharing: Sharing | None = None,
    ) -> Plan:
        """Plans by soft value iteration, exactly for what is stored.

            Q(s, a) = Σ_s′ p(s′ | s, a) (r + γ (1 − done) V(s′)),   V(s) = T log Σ_a exp(Q(s, a)/T)

        Args:
            reward: The reward in place of what was stored: of arriving in each state, ``(S,)``,
                or of each pair, ``(S, A)``. None is what was stored.
            goal: A state, or several, that end the episode with reward 1, all else 0.
            horizon: How many steps to look ahead; None is without end.
            discount: γ, 0 to 1; below 1 where there is no horizon.
            temperature: T ≥ 0, in units of the reward; 0 takes the best action.
            unmet: What a pair (s, a) that was never met is worth: ``"refuse"``, it is not taken;
                ``"optimistic"``, as much as anything can be, so that it is tried; ``"share"``,
                what is foretold of it. None shares where the world is ``relative``, or refuses.
            allowed: Which actions may be taken in each state; None is all.
            start: An earlier plan to go on from, which saves steps.
            sharing: Choices of :meth:`sharing` made before; None makes them.

        Raises:
            DomainError: If nothing that is stored or foretold leads to the goal, or a reward is
                not finite.
            ParameterError: If nothing is stored, states are real, both a reward and a goal are
                given, or an argument is out of its range.
            ShapeError: If the reward fits neither states nor pairs, or ``allowed`` not the pairs.
        """
        return plan(
            self.model(goal, sharing), reward, goal, horizon=horizon, discount=discount,
            temperature=temperature, unmet=unmet,
            allowed=allowed, start=start,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Returns the columns, and how much is stored."""
        return f"{self.columns.state}, {self.columns.action}, {len(self)} transitions"

    def _apply(self, fn: Any, recurse: bool = True) -> WorldEnergy:
        rows, counts = self.rows, self.counts
        super()._apply(fn, recurse)
        # Numbers of states are counted in these: half precision would merge them.
        self.rows, self.counts = rows.to(self.rows.device), counts.to(self.rows.device)
        self._model = self._real = None
        return self

    def config(self) -> dict[str, Any]:
        """Returns the columns and the number of stored patterns."""
        return {
            "state": self.columns.state.config(),
            "action": self.columns.action.config(),
            "patterns": len(self.rows),
            "relative": self.relative,
            "sharpness": self.sharpness,
            "width": self.width,
        }

    def description(self) -> dict[str, Any]:
        """Returns the configuration without the number of patterns, which the rows show."""
        return {name: value for name, value in super().description().items() if name != "patterns"}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WorldEnergy:
        """Returns a world of the same columns, its transitions to be loaded."""
        columns = WorldColumns(
            Unit.from_config(config["state"]), Unit.from_config(config["action"])
        )
        world = cls(
            columns,
            relative=config["relative"],
            sharpness=config["sharpness"],
            width=config["width"],
        )
        world.rows = world.rows.new_zeros(config["patterns"], world.rows.shape[1])
        world.counts = world.counts.new_ones(config["patterns"])
        return world

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        rows = state_dict.get(prefix + "rows")
        if rows is not None and rows.ndim == 2 and rows.shape[1] == self.rows.shape[1]:
            self._put(self.rows.new_zeros(rows.shape), self.counts.new_ones(len(rows)), merge=False)
        super()._load_from_state_dict(dict(state_dict), prefix, *args, **kwargs)

    def _put(self, rows: Tensor, counts: Tensor, *, merge: bool = True) -> None:
        """Replaces all that is stored, equal transitions becoming one."""
        # Real transitions hardly ever repeat; they stay in the order in which they were met.
        if merge and len(rows) and self.columns.finite:
            rows, place = torch.unique(rows, dim=0, return_inverse=True)
            counts = counts.new_zeros(len(rows)).index_add(0, place, counts)
        self.rows, self.counts = rows, counts
        self._model = self._sharing = self._real = None

    def _sizes(self) -> list[int]:
        return [n for name in NAMES for n in self.columns.choices(name)]

    def _scales(self) -> dict[int, float]:
        """The width of each real number, by its place in a transition."""
        real = [place for place, n in enumerate(self._sizes()) if n == REAL]
        total = float(self.counts.sum())
        narrow = self.width or max(total, 1.0) ** (-1 / (4 + len(real)))
        values = self.rows[:, real]
        weights = (self.counts / max(total, 1.0)).unsqueeze(-1)
        mean = (weights * values).sum(0)
        spread = (weights * (values - mean).square()).sum(0).sqrt()
        floor = SMALLEST * values.abs().amax(0).clamp_min(1.0) if len(values) else spread
        widths = torch.maximum(narrow * spread, floor)
        return {place: float(width) or 1.0 for place, width in zip(real, widths, strict=True)}

    def _check_stored(self) -> None:
        if not len(self.rows):
            raise ParameterError("a world without transitions", "Store some first")
