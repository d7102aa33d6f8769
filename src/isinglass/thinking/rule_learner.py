"""Learning rules: from answers, from wrong ones among them, and from reward alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isinglass._support.functions import check_takes
from isinglass._support.progress import progress_bar
from isinglass._support.several import check_several
from isinglass._support.validation import (
    check_above_zero,
    check_at_least_zero,
    check_count,
    check_flag,
    check_fraction,
    check_generator,
    check_kind,
)
from isinglass._support.wording import shown
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.thinking._twins import share_among_twins, twins_of
from isinglass.thinking.derivation_graph import DerivationGraph, RuleTable
from isinglass.thinking.mind import Mind
from isinglass.thinking.rule import Rule
from isinglass.thinking.rule_memory import ABSENT, PAIRS, RuleMemory
from isinglass.thinking.vocabulary import Vocabulary

__all__ = ["RuleLearner"]

#: Learning from reward: how much of what earlier rounds brought still counts; the return that is
#: hoped for of a rule that was not tried, and how many tries that weighs; how sharply the mean
#: return of rules that compete decides between them.
KEEP, HOPE, TRIES, SHARPNESS = 0.8, 0.2, 1.0, 4
#: What errors propose.
MINDS = "a Mind: Mind.from_batches([facts, ...], vocabulary)"


@dataclass(frozen=True)
class RuleLearner:
    r"""Finds the rules by which answers follow from facts; hidden units are the thoughts between.

        c_μ = E[uses of rule μ | the derivation ends in the answer] = P_μ ∂log V/∂P_μ
        P   = normalize(c + α)                                        expectation–maximization

    Two relations are *twins*, such as mother and father, if each can stand for the other as the
    first premise, or as the second where the conclusion changes to its twin. Twins are found in the
    counts, and what is seen of one speaks for the other.

    Reference: Dempster et al. 1977 (EM); Hinton & Sejnowski 1983 (clamped and free phase); Dayan &
    Hinton 1997, doi:10.1162/neco.1997.9.2.271 (EM for reward).

    Attributes:
        rounds: How many times the counts are taken.
        prior: α > 0, added to every count.
        twins: How much of a count is passed on to twins, from 0, nothing, to 1.
        contrast: How many steps of clamped minus free uses follow, with a rate of 0.1.
        least_share: The least p(conclusion | premises) of a rule that is kept.
        least_count: The least number of uses of a rule that is kept.
        shown: Whether a progress bar is shown.

    Examples:
        >>> facts = [("mother", "Ann", "Bea"), ("mother", "Bea", "Cleo")]
        >>> mind = Mind.from_batches([facts], Vocabulary(["mother", "grandmother"]))
        >>> memory = RuleLearner().fit(mind, [("grandmother", "Ann", "Cleo")])
        >>> memory.rules()[0].rule
        Rule('mother(X,Z), mother(Z,Y) -> grandmother(X,Y)')
    """

    rounds: int = 20
    prior: float = 1e-3
    twins: float = 0.3
    contrast: int = 0
    least_share: float = 0.1
    least_count: float = 0.25
    shown: bool = False

    def __post_init__(self) -> None:
        checked = {
            "rounds": check_count("rounds", self.rounds),
            "prior": check_above_zero("prior", self.prior),
            "twins": check_fraction("twins", self.twins),
            "contrast": check_count("contrast", self.contrast, 0),
            "least_share": check_fraction("least_share", self.least_share),
            "least_count": check_at_least_zero("least_count", self.least_count),
            "shown": check_flag("shown", self.shown),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # as plain numbers, whatever they were

    def fit(
        self,
        mind: Mind,
        answers: Sequence[Sequence[str]],
        *,
        generator: Generator | None = None,
    ) -> RuleMemory:
        """Learns from facts and an answer for each mind.

        Args:
            mind: The facts of each question.
            answers: What follows in each mind, a whole proposition: ``("aunt", "Ann", "Bob")``.
            generator: Where the little noise comes from that tells rules apart at the start; None
                is the same noise every time.

        Raises:
            DomainError: If an answer speaks of what is unknown, or none can be derived by any rule.
            ShapeError: If there is not one answer for each mind.
            ParameterError: If the mind, the answers or the generator are none.
        """
        check_generator(generator)
        task = _Task.of(mind, answers)
        targets = task.graph.locate(task.codes)
        task.check_some(targets)
        known = targets >= 0
        graph, weight = task.graph.toward(targets[known]), task.weight[known]
        targets = targets[known]
        generator = generator or Generator().manual_seed(0)
        # First without twins, which are told by the counts; then with them, which tells more.
        passes = 3 if self.twins else 1
        table = counts = self._start(task, generator)
        twins = None
        with progress_bar(passes * self.rounds, "rules", shown=self.shown) as report:
            for pass_ in range(passes):
                table = self._start(task, generator)
                for round_ in range(self.rounds):
                    logs = table.log().requires_grad_()
                    value = graph.values(logs, 1.0, task.depth)
                    (counts,) = torch.autograd.grad((weight * value[targets]).sum(), logs)
                    table, counts = self._normalized(counts, twins, task)
                    report(pass_ * self.rounds + round_ + 1, "")
                twins = twins_of(task.cube(counts)) if self.twins else None
        if self.contrast:
            table = self._contrasted(table, task)
            counts = table * task.per_premises(counts)[task.pair]
        return self._memory(self._confirmed(counts, graph, targets, weight, task), task)

    def fit_from_reward(
        self,
        mind: Mind,
        queries: Sequence[Sequence[str]],
        reward: Callable[[list[str | None]], Iterable[float]],
        *,
        generator: Generator | None = None,
    ) -> RuleMemory:
        """Learns from the returns of whole episodes: no answer is told, only how good one was.

        Each round draws a derivation of an answer for every mind. A rule is worth the mean return
        of the episodes that used it, and what was seldom tried is worth a try.

        Args:
            mind: The facts of each question.
            queries: What is asked of each, ``("?", "Ann", "Bob")``.
            reward: Takes the answer to every question, None where there is none, and returns a
                reward of at least 0 for each.
            generator: Where the draws come from; None is the same draws every time.

        Raises:
            DomainError: If a question speaks of what is unknown, or a reward is below 0 or none.
            ShapeError: If there is not one question for each mind, or one reward for each answer.
            ParameterError: If the mind, the questions, the reward or the generator are none.
        """
        check_kind("mind", mind, Mind, MINDS)
        check_generator(generator)
        check_takes("reward", reward, "answers")
        words = mind.vocabulary
        # Any relation of two entities stands for all, which are tried.
        some = next((r for r, n in zip(words.relations, words.arities, strict=True) if n == 2), "")
        asked = [
            check_several("a question", query, 'one for each mind: ("?", "Ann", "Bob")')
            for query in check_several("queries", queries, 'a list: [("?", "Ann", "Bob")]')
        ]
        task = _Task.of(mind, [(some or "?", *query[1:]) for query in asked])
        places = task.of_all_relations()[task.row]
        task.check_some(places)
        generator = generator or Generator().manual_seed(0)
        table, total = self._start(task, generator), torch.zeros(len(task.table.relations)).double()
        earned = torch.zeros(len(task.graph.codes), dtype=torch.float64)
        tried = counts = total
        with progress_bar(self.rounds, "rules", shown=self.shown) as report:
            for round_ in range(self.rounds):
                logs = table.log()
                value = task.graph.values(logs, 1.0, task.depth)
                odds = torch.where(places >= 0, value[places], -torch.inf)
                some = (odds > -torch.inf).any(-1)
                share = torch.softmax(odds[some], -1)
                drawn = torch.full((len(places),), -1)
                drawn[some] = torch.multinomial(share, 1, generator=generator)[:, 0]
                said = [None if index < 0 else words.relations[index] for index in drawn.tolist()]
                returns = _returns(reward(said), len(said))
                target = places[some].gather(1, drawn[some].unsqueeze(-1))[:, 0]
                rules, rows = task.graph.sample(target, logs, value, generator)
                # Old episodes count for less: they were drawn from worse rules.
                total = KEEP * total.index_add(0, rules, returns[some][rows])
                tried = KEEP * tried.index_add(0, rules, torch.ones_like(rows, dtype=total.dtype))
                earned = KEEP * earned.index_add(0, target, returns[some])
                twins = (
                    twins_of(task.cube(total)) if self.twins and round_ > self.rounds // 2 else None
                )
                table = self._by_return(total, tried, twins, task)
                counts = self._shared(total / KEEP, twins, task)
                report(round_ + 1, f"reward {float(returns.mean()):.3f}")
        targets = earned.nonzero()[:, 0]
        graph = task.graph.toward(targets)
        counts = self._confirmed(counts, graph, targets, earned[targets], task)
        return self._memory(counts, task)

    def _start(self, task: _Task, generator: Generator) -> Tensor:
        """Returns equal probabilities but for a little: rules of equal weight would stay equal."""
        noise = torch.rand(len(task.table.relations), generator=generator, dtype=torch.float64)
        weights = 1 + 0.1 * noise
        return weights / task.per_premises(weights)[task.pair]

    def _normalized(
        self, counts: Tensor, twins: Tensor | None, task: _Task
    ) -> tuple[Tensor, Tensor]:
        """Returns P from counts, and the counts with what twins pass on."""
        counts = self._shared(counts, twins, task)
        smooth = counts + self.prior
        return smooth / task.per_premises(smooth)[task.pair], counts

    def _by_return(self, total: Tensor, tried: Tensor, twins: Tensor | None, task: _Task) -> Tensor:
        """Returns P from the mean return of the episodes that used each rule.

        Counts of rewarded uses alone would trap it: a wrong rule that is made up for by another
        wrong one is rewarded at times, and what it displaced is never tried again.
        """
        gained, uses = self._shared(total, twins, task), self._shared(tried, twins, task)
        table = ((gained + HOPE * TRIES) / (uses + TRIES)) ** SHARPNESS
        return table / task.per_premises(table)[task.pair]

    def _shared(self, counts: Tensor, twins: Tensor | None, task: _Task) -> Tensor:
        """Returns counts with what twins pass on."""
        if twins is None:
            return counts
        return share_among_twins(task.cube(counts), twins, self.twins).flatten()

    def _contrasted(self, table: Tensor, task: _Task) -> Tensor:
        """Returns P after steps along uses clamped to the answer minus free uses."""
        places = task.of_all_relations()
        right = task.graph.locate(task.codes)
        kept = right >= 0
        logits = table.log().requires_grad_()
        optimizer = torch.optim.Adam([logits], 0.1)
        for _ in range(self.contrast):
            logs = logits - task.log_per_premises(logits)[task.pair]
            value = task.graph.values(logs, 1.0, task.depth)
            free = torch.where(places >= 0, value[places], -torch.inf)[kept].logsumexp(-1)
            loss = -(task.weight[kept] * (value[right[kept]] - free)).sum() / task.weight.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        logs = (logits - task.log_per_premises(logits)[task.pair]).detach()
        return logs.exp()

    def _confirmed(
        self, counts: Tensor, graph: DerivationGraph, targets: Tensor, weight: Tensor, task: _Task
    ) -> Tensor:
        """Returns the counts; at most half a use where no answer confirms the conclusion.

        A conclusion between the facts and the answer has any name that fits: renamed throughout it
        fits as well. A rule is confirmed by answers that it ends in, with premises that are given
        or come from rules that are confirmed already.
        """
        root = torch.isin(graph.conclusions, targets)
        logs = (counts / task.per_premises(counts)[task.pair].clamp_min(1e-300)).log()
        twins = twins_of(task.cube(counts)) if self.twins else None
        confirmed = torch.zeros(len(counts), dtype=torch.bool)
        while True:
            kept = graph.only(root | confirmed[graph.rules])
            leaf = logs[kept.rules].requires_grad_()
            value = kept.values_of_uses(leaf, 1.0, task.depth)[targets]
            derived = value > -torch.inf
            (uses,) = torch.autograd.grad((weight[derived] * value[derived]).sum(), leaf)
            ends = torch.isin(kept.conclusions, targets)
            found = torch.zeros_like(counts).index_add(0, kept.rules[ends], uses[ends])
            found = self._shared(found, twins, task)
            new = confirmed | (found >= self.least_count)
            if torch.equal(new, confirmed):
                break
            confirmed = new
        if not bool(confirmed.any()):  # no answer is one thought away: nothing tells names apart
            return counts
        total = task.per_premises(torch.where(confirmed, 0.0, counts))[task.pair]
        return torch.where(confirmed, counts, counts * (0.5 / total.clamp_min(0.5)))

    def _memory(self, counts: Tensor, task: _Task) -> RuleMemory:
        """Returns the rules that are used often enough."""
        share = counts / task.per_premises(counts)[task.pair].clamp_min(1e-300)
        kept = (counts >= self.least_count) & (share >= self.least_share)
        if not bool(kept.any()):
            raise DomainError("no rule that is used often enough", "Give more questions")
        memory = RuleMemory(task.mind.vocabulary)
        first, second, last = task.table.relations[kept].unbind(-1)
        (one, two, end), _, _ = task.table.forms[0]
        bound = [PAIRS.index(one), ABSENT if two is None else PAIRS.index(two), PAIRS.index(end)]
        columns = [first, bound[0], second, bound[1], last, bound[2]]
        codes = [c if isinstance(c, Tensor) else torch.full_like(first, c) for c in columns]
        memory.put(torch.stack(codes, -1), counts[kept])
        return memory


@dataclass(frozen=True)
class _Task:
    """Questions, equal ones once, with all derivations by rules that compose two relations.

    Attributes:
        mind: The different questions.
        codes: What follows in each.
        weight: How often each was asked.
        row: Which of them each question was.
        table: All rules.
        graph: All derivations.
        depth: How deep derivations can be without going in circles.
    """

    mind: Mind
    codes: Tensor
    weight: Tensor
    row: Tensor
    table: RuleTable
    graph: DerivationGraph
    depth: int

    @classmethod
    def of(cls, mind: Mind, answers: Sequence[Sequence[str]]) -> _Task:
        check_kind("mind", mind, Mind, MINDS)
        answers = check_several("answers", answers, 'a list: [("aunt", "Ann", "Bob")]')
        if not len(mind):
            raise DomainError("no mind", "Give one or more, each with its answer")
        if len(answers) != len(mind):
            raise ShapeError(f"{len(answers)} answers for {len(mind)} minds", "Give one for each")
        keys = []
        for batch, answer in enumerate(answers):
            relation, subject, other = mind.vocabulary.check(answer)
            numbers = mind.number(batch, subject), mind.number(batch, other)
            rows = mind.rows[batch][mind.held[batch]].tolist()
            keys.append((tuple(sorted(map(tuple, rows))), relation, *numbers))
        often = Counter(keys)
        place = {key: i for i, key in enumerate(often)}
        first = {place[key]: i for i, key in reversed(list(enumerate(keys)))}
        index = torch.tensor([first[i] for i in range(len(often))])
        different = Mind(
            mind.vocabulary,
            mind.rows[index],
            mind.held[index],
            mind.marks[index],
            tuple(mind.names[i] for i in index.tolist()),
        )
        table = _all_compositions(mind.vocabulary)
        graph = DerivationGraph.of(different, table)
        n, count = mind.entities, len(mind.vocabulary)
        asked = list(often)
        pairs = [(b * n + key[2]) * n + key[3] for b, key in enumerate(asked)]
        codes = torch.tensor(pairs) * count + torch.tensor([key[1] for key in asked])
        return cls(
            different,
            codes,
            torch.tensor([often[key] for key in asked], dtype=torch.float64),
            torch.tensor([place[key] for key in keys]),
            table,
            graph,
            max(int(mind.held.sum(-1).max()), 1),
        )

    @property
    def size(self) -> int:
        return len(self.mind.vocabulary)

    def of_all_relations(self) -> Tensor:
        """Returns where each relation between the entities of each question stands in the graph."""
        codes = (self.codes // self.size * self.size).unsqueeze(-1) + torch.arange(self.size)
        return self.graph.locate(codes)

    def cube(self, counts: Tensor) -> Tensor:
        """Returns numbers of all rules as first premise by second by conclusion."""
        side = round(len(counts) ** (1 / 3))
        return counts.reshape(side, side, side)

    @property
    def pair(self) -> Tensor:
        """Which premises each rule has, by number."""
        return self.table.relations[:, 0] * self.size + self.table.relations[:, 1]

    def per_premises(self, values: Tensor) -> Tensor:
        """Returns sums over the rules of the same premises."""
        return values.new_zeros(self.size**2).index_add(0, self.pair, values)

    def log_per_premises(self, logs: Tensor) -> Tensor:
        """Returns log-sums over the rules of the same premises."""
        top = logs.detach().amax()
        return (self.per_premises((logs - top).exp()) + 1e-300).log() + top

    def check_some(self, places: Tensor) -> None:
        if not bool((places >= 0).any()):
            raise DomainError(
                "no answer that follows from the facts by composing relations",
                "Give questions whose entities are linked by facts, two or more apart",
            )


def _all_compositions(vocabulary: Vocabulary) -> RuleTable:
    """Returns every rule first(X,Z), second(Z,Y) → conclusion(X,Y) of relations of two entities."""
    two = torch.tensor([i for i, arity in enumerate(vocabulary.arities) if arity == 2])
    if not len(two):
        raise ParameterError("a vocabulary without relations of two entities", "Nothing composes")
    form = Rule.compose("a", "b", "c").codes(Vocabulary(["a", "b", "c"]))[3]
    table = torch.cartesian_prod(two, two, two).reshape(-1, 3)
    return RuleTable(vocabulary, table, ((form, 0, len(table)),))


def _returns(rewards: Iterable[float], count: int) -> Tensor:
    listed = check_several("what the reward returned", rewards, f"{count} numbers, one an answer")
    try:
        found = torch.tensor([float(value) for value in listed], dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise DomainError(
            f"the rewards {shown(listed)[:60]}", f"Return {count} numbers, one an answer"
        ) from error
    if found.shape != (count,):
        raise ShapeError(f"rewards of shape {tuple(found.shape)}", f"Return {count}, one an answer")
    if not bool((found >= 0).all() & found.isfinite().all()):
        raise DomainError("a reward below 0, or none", "Return numbers of at least 0")
    return found
