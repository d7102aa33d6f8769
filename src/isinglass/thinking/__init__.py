"""Thinking: sets of propositions, rules as stored patterns, derivations with their energies."""

from isinglass.thinking.constraints import ConstraintNetwork
from isinglass.thinking.derivation_graph import DerivationGraph, RuleTable
from isinglass.thinking.guess_orders import ContradictionAhead, GuessOrder, SmallestGroup
from isinglass.thinking.guides import BestFirst, BreadthFirst, Guide, Possible, TowardQuery
from isinglass.thinking.learned_order import LearnedOrder
from isinglass.thinking.link_predictor import LinkPredictor
from isinglass.thinking.mind import Mark, Mind
from isinglass.thinking.proof import Proof
from isinglass.thinking.puzzle_answers import PuzzleAnswer, PuzzleAnswers
from isinglass.thinking.puzzle_solver import PuzzleThinker
from isinglass.thinking.rule import Rule
from isinglass.thinking.rule_learner import RuleLearner
from isinglass.thinking.rule_memory import RuleMemory, StoredRule
from isinglass.thinking.thinker import Answer, Contradiction, Reply, Thinker
from isinglass.thinking.vocabulary import Vocabulary
from isinglass.thinking.weighted_rule import Explanation, Reason, WeightedRule

__all__ = [
    "Answer",
    "BestFirst",
    "BreadthFirst",
    "ConstraintNetwork",
    "Contradiction",
    "ContradictionAhead",
    "DerivationGraph",
    "Explanation",
    "GuessOrder",
    "Guide",
    "LearnedOrder",
    "LinkPredictor",
    "Mark",
    "Mind",
    "Possible",
    "Proof",
    "PuzzleAnswer",
    "PuzzleAnswers",
    "PuzzleThinker",
    "Reason",
    "Reply",
    "Rule",
    "RuleLearner",
    "RuleMemory",
    "RuleTable",
    "SmallestGroup",
    "StoredRule",
    "Thinker",
    "TowardQuery",
    "Vocabulary",
    "WeightedRule",
]
