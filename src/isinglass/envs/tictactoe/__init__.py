"""Tic-tac-toe by proposition: the environment, the rules of the game, its symmetries."""

from isinglass.envs.tictactoe.env import TicTacToe

__all__ = ["TicTacToe"]
