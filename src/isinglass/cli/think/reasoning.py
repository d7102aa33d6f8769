"""Answers from facts and rules, printed with their derivations."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from isinglass._support.optional import require_extra
from isinglass.cli._common import Output
from isinglass.cli._threads import one_thread
from isinglass.cli.think.reading import (
    Example,
    Relations,
    WeighedRule,
    read_examples,
    read_facts,
    read_groups,
    read_question,
    read_rules,
)
from isinglass.errors import FileError
from isinglass.io.atomic import atomic_write
from isinglass.thinking import (
    Answer,
    Contradiction,
    Mind,
    Proof,
    Reply,
    RuleLearner,
    RuleMemory,
    StoredRule,
    Thinker,
    Vocabulary,
)
from isinglass.thinking.vocabulary import ANYTHING, Proposition

with require_extra("cli"):
    from rich.markup import escape

__all__ = ["Asking", "Sources", "reason"]

#: More answers, rules or conclusions than this are counted, not printed; JSON has all.
MOST_LINES = 50


@dataclass(frozen=True)
class Sources:
    """Where facts and rules come from.

    Attributes:
        facts: What is given.
        rules: Rules as they are.
        learn: Questions with answers.
        exclusive: Groups of relations that exclude each other.
        seed: Seed of learning.
        save_rules: Where learned rules go.
    """

    facts: Path | None
    rules: Path | None
    learn: Path | None
    exclusive: Sequence[str]
    seed: int
    save_rules: Path | None


@dataclass(frozen=True)
class Asking:
    """What is asked, and how it is thought about.

    Attributes:
        queries: Questions; none asks for all that follows.
        budget: How many thoughts each may take.
        confidence: The share that an answer needs to be sure.
        draw: Where the derivation of the best answer goes.
        force: Whether files may be overwritten.
    """

    queries: Sequence[str]
    budget: int | None
    confidence: float
    draw: Path | None
    force: bool


def reason(output: Output, sources: Sources, asking: Asking) -> None:
    """Reads, learns, thinks and prints.

    Raises:
        FileError: If a file cannot be read or written.
        ParameterError: If a question or an option is none.
        IntractableError: If there are too many derivations.
    """
    relations = Relations()
    groups = read_groups(sources.exclusive)
    facts = [] if sources.facts is None else read_facts(sources.facts)
    given = [] if sources.rules is None else read_rules(sources.rules)
    examples = [] if sources.learn is None else read_examples(sources.learn, relations)
    if sources.facts is not None:
        relations.add(sources.facts, facts)
    if sources.rules is not None:
        for rule in (weighed.rule for weighed in given):
            relations.add(sources.rules, [*rule.premises, rule.conclusion])
        _check_variables(sources.rules, facts, given)
    words = relations.vocabulary(groups)
    memory = RuleMemory(words)
    Thinker(memory, confidence=asking.confidence)  # a wrong confidence is refused before learning
    mind = Mind.from_tuples(facts, words)
    queries = [read_question(text, mind) for text in asking.queries]
    report: dict[str, Any] = {"facts": len(set(facts)), "rules": len(given)}
    with one_thread():
        if examples:
            learned = _learn(output, examples, sources.seed, report)
            for stored in learned:
                memory.store(stored.rule, stored.count)
            if sources.save_rules is not None:
                _save(sources.save_rules, learned, asking.force)
                report["saved"] = sources.save_rules
                output.say(f"Wrote [bold]{escape(str(sources.save_rules))}[/bold].")
        for weighed in given:
            memory.store(weighed.rule, weighed.count)
        if facts:
            _warn_of_idle(output, facts, memory)
            _think(
                output, Thinker(memory, confidence=asking.confidence), mind, queries, asking, report
            )
    output.finish(report)


def _learn(
    output: Output, examples: list[Example], seed: int, report: dict[str, Any]
) -> list[StoredRule]:
    """Learns rules, prints them, and says how many of the examples they answer."""
    words = Vocabulary.of(p for example in examples for p in (*example.facts, example.answer))
    minds = Mind.from_batches([example.facts for example in examples], words)
    answers = [example.answer for example in examples]
    generator = torch.Generator().manual_seed(seed)
    shown = output.console.is_terminal and not output.console.quiet
    memory = RuleLearner(shown=shown).fit(minds, answers, generator=generator)
    learned = memory.rules()
    queries = [(ANYTHING, *answer[1:]) for answer in answers]
    replies = cast("list[Reply]", Thinker(memory).think(minds, queries))
    sure = [(r.best, answer) for r, answer in zip(replies, answers, strict=True) if r.sure]
    right = sum(best == answer for best, answer in sure)
    counts = {"right": right, "unsure": len(answers) - len(sure), "wrong": len(sure) - right}
    output.say(f"{len(learned)} rules learned from {len(answers)} answers:")
    output.say("      p  log-odds     uses  rule")
    for stored in learned[:MOST_LINES]:
        weights = f"{stored.probability:7.4f} {stored.log_odds:+9.2f} {stored.count:8.2f}"
        output.say(f"{weights}  {escape(str(stored.rule))}")
    _say_rest(output, learned)
    said = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    output.say(f"Asked again, the examples are answered by them: {said}.")
    report["learned"] = [
        {"rule": str(each.rule), "count": each.count, "probability": each.probability,
         "log_odds": each.log_odds}
        for each in learned
    ]  # fmt: skip
    report["examples"] = counts
    return learned


def _save(path: Path, learned: list[StoredRule], force: bool) -> None:
    with atomic_write(path, overwrite=force) as aside, aside.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("rule", "count", "probability", "log_odds"))
        for stored in learned:
            writer.writerow(
                (
                    stored.rule,
                    repr(stored.count),
                    f"{stored.probability:.6f}",
                    f"{stored.log_odds:.4f}",
                )
            )


def _warn_of_idle(output: Output, facts: list[Proposition], memory: RuleMemory) -> None:
    """Names premises that no fact and no rule provides: most often a slip of the pen."""
    rules = [stored.rule for stored in memory.rules()]
    provided = {fact[0] for fact in facts} | {rule.conclusion[0] for rule in rules}
    asked = {atom[0] for rule in rules for atom in rule.premises if not atom[0].startswith("=")}
    if idle := sorted(asked - provided):
        output.warn(f"No fact and no rule gives what rules ask for: {', '.join(idle[:8])}")


def _think(
    output: Output,
    thinker: Thinker,
    mind: Mind,
    queries: list[Proposition],
    asking: Asking,
    report: dict[str, Any],
) -> None:
    budget = asking.budget if queries else None
    replies = [_ask(thinker, mind, query, budget) for query in queries or [(ANYTHING,) * 3]]
    # Within a budget two questions may find different ones.
    found = {
        (c.first.proposition, c.second.proposition): c for r in replies for c in r.contradictions
    }
    contradictions = sorted(found.values(), key=lambda contradiction: len(contradiction.given()))
    _print_contradictions(output, contradictions)
    report["contradictions"] = [
        {"given": contradiction.given(), "first": _steps(contradiction.first),
         "second": _steps(contradiction.second)}
        for contradiction in contradictions
    ]  # fmt: skip
    if not queries:
        answers = [answer for answer in _shown(replies[0]) if answer.proof.rule is not None]
        _print_all(output, answers)
        report["follows"] = [_as_data(answer) for answer in answers]
        return
    report["questions"] = []
    for reply in replies:
        answers = _shown(reply)
        _print_reply(output, reply, answers, asking.budget)
        report["questions"].append({
            "query": reply.query,
            "sure": bool(answers) and answers[0].sure,
            "thoughts": reply.thoughts,
            "answers": [_as_data(answer) for answer in answers],
        })  # fmt: skip
        if asking.draw is not None:
            _draw(output, answers, asking.draw, asking.force, report)


def _ask(thinker: Thinker, mind: Mind, query: Proposition, budget: int | None) -> Reply:
    return cast("Reply", thinker.think(mind, query, budget=budget))


def _shown(reply: Reply) -> list[Answer]:
    """Returns the answers but for those that say what a named entity is."""
    return [answer for answer in reply.answers if not answer.proposition[0].startswith("=")]


def _state(answer: Answer) -> str:
    if answer.contradicted:
        return "unsure: it rests on facts that contradict each other"
    return "sure" if answer.sure else "unsure"


def _words(proposition: Sequence[str]) -> str:
    return f"{proposition[0]}({','.join(proposition[1:])})"


def _print_contradictions(output: Output, found: list[Contradiction]) -> None:
    if not found:
        return
    given = ", ".join(map(_words, found[0].given()))
    more = f"; {len(found) - 1} more" if len(found) > 1 else ""
    output.warn(f"The facts contradict each other, the fewest that do: {given}{more}")
    for proof in (found[0].first, found[0].second):
        output.say(escape(_indented(str(proof), 2)))


def _print_reply(
    output: Output,
    reply: Reply,
    answers: list[Answer],
    budget: int | None,
) -> None:
    asked = f"[bold]{escape(_words(reply.query))}[/bold]"
    thoughts = f"{reply.thoughts:g} thought{'' if reply.thoughts == 1 else 's'}"
    if not answers:
        spent = budget is not None and reply.thoughts >= budget
        why = "the budget is spent" if spent else "nothing follows"
        output.say(f"{asked}  unsure: {why}, {thoughts}")
        return
    state = "sure" if answers[0].sure else "unsure"
    output.say(f"{asked}  {state}, {thoughts}")
    for answer in answers[:MOST_LINES]:
        output.say(
            f"  [bold]{escape(_words(answer.proposition))}[/bold]  {_state(answer)}, "
            f"energy {answer.energy:.3f}, share {answer.share:.3f}"
        )
        output.say(escape(_indented(str(answer.proof), 4)))
    _say_rest(output, answers)


def _print_all(output: Output, answers: list[Answer]) -> None:
    """Prints all that follows, a line each with its last step, what is sure first."""
    if not answers:
        output.say("Nothing follows.")
        return
    ranked = sorted(answers, key=lambda answer: not answer.sure)
    count = sum(answer.sure for answer in answers)
    output.say(f"{count} sure, {len(answers) - count} unsure follow:")
    for answer in ranked[:MOST_LINES]:
        premises = ", ".join(premise.words for premise in answer.proof.premises)
        output.say(
            f"  [bold]{escape(_words(answer.proposition))}[/bold]  {_state(answer)}, "
            f"energy {answer.energy:.3f}, from {escape(premises)}"
        )
    _say_rest(output, ranked)


def _say_rest(output: Output, listed: Sequence[object]) -> None:
    if len(listed) > MOST_LINES:
        output.say(f"  … and {len(listed) - MOST_LINES} more.")


def _indented(text: str, by: int) -> str:
    return "\n".join(" " * by + line for line in text.splitlines())


def _as_data(answer: Answer) -> dict[str, Any]:
    return {
        "proposition": answer.proposition,
        "energy": answer.energy,
        "share": answer.share,
        "sure": answer.sure,
        "derivation": _steps(answer.proof),
    }


def _steps(proof: Proof) -> list[dict[str, Any]]:
    """Returns what is used, each once, premises before what follows from them."""
    steps: dict[Proposition, dict[str, Any]] = {}
    for _, node in reversed(list(proof.walk())):
        steps.setdefault(node.proposition, {
            "proposition": node.proposition,
            "rule": None if node.rule is None else str(node.rule),
            "premises": [premise.proposition for premise in node.premises],
            "energy": node.energy,
        })  # fmt: skip
    return list(steps.values())


def _draw(
    output: Output, answers: list[Answer], path: Path, force: bool, report: dict[str, Any]
) -> None:
    if not answers:
        output.warn(f"Nothing follows: {path} is not drawn")
        return
    answers[0].proof.draw(path, overwrite=force)
    report["drawn"] = path
    output.say(f"Wrote [bold]{escape(str(path))}[/bold].")


def _check_variables(path: Path, facts: list[Proposition], given: list[WeighedRule]) -> None:
    """Refuses a rule about somebody: its names are variables, and would stand for anyone.

    Raises:
        FileError: If a variable has the name of an entity among the facts.
    """
    entities = {name for fact in facts for name in fact[1:]}
    for weighed in given:
        if named := sorted(weighed.names & entities):
            raise FileError(
                f"{named[0]} in a rule for {weighed.rule.conclusion[0]}, and among the facts",
                "Names in rules are variables and stand for anyone: write X, Y, Z",
                f"reading {path}",
            )
