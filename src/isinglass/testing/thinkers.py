"""Properties of a thinker: only what propositions say counts, not names and not order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator

from isinglass.testing.property import PropertyViolation
from isinglass.testing.tolerance import IDENTITY
from isinglass.thinking import Mind, Thinker
from isinglass.thinking.thinker import Reply
from isinglass.thinking.vocabulary import Proposition

__all__ = ["check_exchangeable"]


def check_exchangeable(
    thinker: Thinker, facts: Sequence[Proposition], query: Proposition, generator: Generator
) -> None:
    """Holds a thinker to it that entities are exchangeable and that minds are sets.

    * facts in another order give the same answers with the same energies;
    * entities under other names, in another alphabetical order, give the answers under those names.

    Entities that the vocabulary names keep their names.

    Args:
        thinker: Who is asked.
        facts: What is given.
        query: What is asked.
        generator: Source of the permutations.

    Raises:
        PropertyViolation: If an answer or an energy differs.

    Examples:
        >>> from isinglass.thinking import RuleMemory, Vocabulary
        >>> rules = RuleMemory(Vocabulary(["aunt", "niece"]), ["aunt(X,Y) -> niece(Y,X)"])
        >>> facts = [("aunt", "Ann", "Bea"), ("aunt", "Bea", "Cleo")]
        >>> draws = torch.Generator().manual_seed(0)
        >>> check_exchangeable(Thinker(rules), facts, ("niece", "?", "?"), draws)
    """
    words = thinker.rules.vocabulary
    names = sorted({name for fact in [*facts, query] for name in fact[1:]} - {"?", *words.named})
    shuffled = torch.randperm(len(names), generator=generator).tolist()
    other = {name: f"entity {place}" for name, place in zip(names, shuffled, strict=True)}
    order = torch.randperm(len(facts), generator=generator).tolist()
    renamed = [_renamed(facts[i], other) for i in order]
    expected = _energies(thinker, facts, query)
    found = _energies(thinker, renamed, _renamed(query, other))
    wanted = {_renamed(answer, other): energy for answer, energy in expected.items()}
    if found.keys() != wanted.keys():
        raise PropertyViolation(
            f"exchangeable entities: answers {sorted(found)}, and {sorted(wanted)} before renaming"
        )
    for answer, energy in wanted.items():
        if not abs(found[answer] - energy) <= IDENTITY * max(1.0, abs(energy)):
            raise PropertyViolation(
                f"exchangeable entities: {answer} has the energy {found[answer]}, and {energy} "
                "before renaming"
            )


def _renamed(proposition: Proposition, names: dict[str, str]) -> tuple[str, ...]:
    return (proposition[0], *(names.get(name, name) for name in proposition[1:]))


def _energies(
    thinker: Thinker, facts: Sequence[Proposition], query: Proposition
) -> dict[tuple[str, ...], float]:
    reply = thinker.think(Mind.from_tuples(facts, thinker.rules.vocabulary), query)
    assert isinstance(reply, Reply)  # one mind, one question
    return {answer.proposition: answer.energy for answer in reply.answers}
