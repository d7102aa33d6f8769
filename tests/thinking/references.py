"""Slow, plain references: derivations one by one."""

import math
from itertools import product

from isinglass.thinking import Rule, Vocabulary


def best_energies(facts, rules, names):
    """Energy of the best derivation of every proposition, by rounds over all bindings of all rules.

    ``rules`` are pairs of a rule and its weight w, a log-probability.
    """
    best = dict.fromkeys(map(tuple, facts), 0.0)
    while True:
        new = dict(best)
        for rule, weight in rules:
            for head, cost in _conclusions(rule, best, names):
                new[head] = min(new.get(head, math.inf), cost - weight)
        if new == best:
            return best
        best = new


def summed(facts, rules, names, depth):
    """Sum of exp(−energy) over all derivations that are no deeper than ``depth``."""
    given = dict.fromkeys(map(tuple, facts), 1.0)
    total = dict(given)
    for _ in range(depth):
        new = dict(given)
        for rule, weight in rules:
            for head, cost in _conclusions(
                rule, {p: -math.log(v) for p, v in total.items()}, names
            ):
                new[head] = new.get(head, 0.0) + math.exp(weight - cost)
        total = new
    return total


def _conclusions(rule, energies, names):
    variables = sorted({v for atom in rule.premises for v in atom[1:]})
    for bound in product(names, repeat=len(variables)):
        if len(set(bound)) < len(bound):
            continue  # variables are never the same entity
        at = dict(zip(variables, bound, strict=True))
        body = [(atom[0], *(at[v] for v in atom[1:])) for atom in rule.premises]
        if all(atom in energies for atom in body):
            head = (rule.conclusion[0], *(at[v] for v in rule.conclusion[1:]))
            yield head, sum(energies[atom] for atom in body)


KIN = Vocabulary(
    {"mother": 2, "father": 2, "parent": 2, "grandparent": 2, "sibling": 2, "female": 1, "sad": 1}
)
RULES = [
    Rule.parse(text)
    for text in (
        "mother(X,Y) -> parent(X,Y)",
        "father(X,Y) -> parent(X,Y)",
        "parent(X,Z), parent(Z,Y) -> grandparent(X,Y)",
        "parent(Z,X), parent(Z,Y) -> sibling(X,Y)",
        "parent(X,Y), female(X) -> mother(X,Y)",
        "sad(X), sibling(X,Y) -> sad(Y)",
        "sibling(X,Y) -> sibling(Y,X)",
        "parent(X,Y), sad(Y) -> sad(X)",
    )
]
FACTS = [
    ("mother", "Ann", "Bea"),
    ("father", "Bob", "Bea"),
    ("parent", "Ann", "Cal"),
    ("parent", "Bea", "Dora"),
    ("parent", "Bea", "Eli"),
    ("female", "Ann"),
    ("female", "Bea"),
    ("sad", "Dora"),
]
NAMES = ["Ann", "Bea", "Bob", "Cal", "Dora", "Eli"]
