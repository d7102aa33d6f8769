"""Thinking: sets of propositions, rules as stored patterns, derivations with their energies."""

from isinglass.thinking.derivation_graph import DerivationGraph, RuleTable
from isinglass.thinking.guides import BestFirst, BreadthFirst, Guide, Possible, TowardQuery
from isinglass.thinking.link_predictor import LinkPredictor
from isinglass.thinking.mind import Mark, Mind
from isinglass.thinking.proof import Proof
from isinglass.thinking.rule import Rule
from isinglass.thinking.rule_memory import RuleMemory, StoredRule
from isinglass.thinking.thinker import Answer, Contradiction, Reply, Thinker
from isinglass.thinking.vocabulary import Vocabulary
from isinglass.thinking.weighted_rule import Explanation, Reason, WeightedRule

__all__ = [
    "Answer",
    "BestFirst",
    "BreadthFirst",
    "Contradiction",
    "DerivationGraph",
    "Explanation",
    "Guide",
    "LinkPredictor",
    "Mark",
    "Mind",
    "Possible",
    "Proof",
    "Reason",
    "Reply",
    "Rule",
    "RuleMemory",
    "RuleTable",
    "StoredRule",
    "Thinker",
    "TowardQuery",
    "Vocabulary",
    "WeightedRule",
]
