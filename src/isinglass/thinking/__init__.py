"""Thinking: sets of propositions, rules as stored patterns, derivations with their energies."""

from isinglass.thinking.derivation_graph import DerivationGraph, RuleTable
from isinglass.thinking.graphs.link_predictor import LinkPredictor
from isinglass.thinking.graphs.weighted_rule import Explanation, Reason, WeightedRule
from isinglass.thinking.guides import BestFirst, BreadthFirst, Guide, Possible, TowardQuery
from isinglass.thinking.mind import Mark, Mind
from isinglass.thinking.proof import Proof
from isinglass.thinking.puzzles.constraint_network import ConstraintNetwork
from isinglass.thinking.puzzles.guess_orders import ContradictionAhead, GuessOrder, SmallestGroup
from isinglass.thinking.puzzles.learned_order import LearnedOrder
from isinglass.thinking.puzzles.puzzle_answers import PuzzleAnswer, PuzzleAnswers
from isinglass.thinking.puzzles.puzzle_thinker import PuzzleThinker
from isinglass.thinking.rule import Rule
from isinglass.thinking.rule_learner import RuleLearner
from isinglass.thinking.rule_memory import RuleMemory, StoredRule
from isinglass.thinking.thinker import Answer, Contradiction, Reply, Thinker
from isinglass.thinking.vocabulary import Vocabulary

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
