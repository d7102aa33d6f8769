"""The assignment task: bits that must add up, and a reward for each."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from isinglass._support.optional import require_extra
from isinglass._support.validation import check_count
from isinglass.envs.bandits.base import BinaryBandit

__all__ = ["Assignment"]


class Assignment(BinaryBandit):
    r"""Give every row one column and every column one row, so that the chosen cells are worth most.

        r(c, a) = Σ_ij c_ij a_ij − Σ_i (Σ_j a_ij − 1)² − Σ_j (Σ_i a_ij − 1)²

    Every episode is one step: values c are drawn uniformly from [0, 1), cells are chosen, the
    episode ends. No action earns more than the best assignment, which SciPy finds; a uniformly
    random action earns −n²/4 − 2n(n/2 − 1)² on average, −57 for n = 6. Registered as
    ``isinglass/Assignment-v0``.

    Reference: Kuhn 1955, "The Hungarian method for the assignment problem",
    doi:10.1002/nav.3800020109 (the problem); Crouse 2016, doi:10.1109/TAES.2016.140952 (SciPy's
    way to the optimum).

    Args:
        n: Number of rows, and of columns. The observation is the values and the action the
            chosen cells, both of n² numbers, row by row.
        render_mode: None, ``"rgb_array"``, rows of squares, or
            ``"ansi"``, the values as a square, the chosen cells in brackets.

    Raises:
        ParameterError: If ``n`` is not a whole number of at least one.

    Examples:
        >>> env = Assignment(n=2)
        >>> values = np.array([0.2, 0.75, 0.5, 0.9])
        >>> env.optimal_action(values)
        array([0, 1, 1, 0], dtype=int8)
        >>> env.reward_of(np.array([[0, 1, 1, 0], [1, 0, 0, 1], [0, 1, 0, 1]]), values)
        array([ 1.25,  1.1 , -0.35])
    """

    def __init__(self, n: int = 6, render_mode: str | None = None) -> None:
        self.n = check_count("n", n)
        cells = self.n * self.n
        super().__init__(spaces.Box(0.0, 1.0, (cells,), np.float32), cells, render_mode)

    def is_valid(self, actions: np.ndarray) -> np.ndarray | np.bool_:
        """Tells whether each action is an assignment: one cell in every row and every column.

        Args:
            actions: ``(*batch, n²)``, in {0, 1}.

        Returns:
            ``(*batch,)``, bool.

        Raises:
            ShapeError: If the last dimension is not n².
            DomainError: If a bit is neither 0 nor 1.
        """
        return self._misfit(self._bits("is_valid", actions)) == 0

    def _draw(self) -> np.ndarray:
        return self.np_random.random(self._observation.shape, dtype=np.float32)

    def _reward(self, observation: np.ndarray, bits: np.ndarray) -> np.ndarray | np.generic:
        return (observation.astype(np.float64) * bits).sum(-1) - self._misfit(bits)

    def _misfit(self, bits: np.ndarray) -> np.ndarray | np.generic:
        """Squares of what rows and columns have too much or too little, summed."""
        cells = bits.reshape(*bits.shape[:-1], self.n, self.n)
        return ((cells.sum(-1) - 1) ** 2).sum(-1) + ((cells.sum(-2) - 1) ** 2).sum(-1)

    def _optimal(self, observation: np.ndarray) -> np.ndarray:
        with require_extra("rl"):
            from scipy.optimize import linear_sum_assignment
        squares = observation.reshape(-1, self.n, self.n)
        cells = np.zeros(squares.shape, dtype=np.int8)
        for square, chosen in zip(squares, cells, strict=True):  # scipy solves one at a time
            chosen[linear_sum_assignment(square, maximize=True)] = 1
        return cells.reshape(observation.shape)

    def _text(self, observation: np.ndarray, action: np.ndarray | None) -> str:
        chosen = np.zeros(observation.shape) if action is None else action
        cells = [
            f"[{value:.2f}]" if bit else f" {value:.2f} "
            for value, bit in zip(observation, chosen, strict=True)
        ]
        return "\n".join("".join(cells[i : i + self.n]) for i in range(0, len(cells), self.n))
