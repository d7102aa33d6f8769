"""The modern continuous Hopfield network, one head of attention."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass._support.validation import values_visible
from isinglass.core.capabilities import Gibbs
from isinglass.dynamics import Kernel
from isinglass.dynamics.kernels.quantized_cccp import QuantizedCCCP
from isinglass.energies.hopfield.continuous import ContinuousHopfield
from isinglass.retrieval import BLOCK, Lookup, streamed_lookup
from isinglass.retrieval.scores import everywhere, nearest_keys, overlaps
from isinglass.units import Multinomial

__all__ = ["ModernHopfield"]

MANY = 50_000  # patterns from which on an index pays
OFTEN = 1_000  # cues after which it has paid for being built
LARGEST = 2**30  # bytes of patterns of which one is built unasked


class ModernHopfield(Gibbs, ContinuousHopfield):
    """The modern continuous network: E(ξ) = ½|ξ|² − β⁻¹ log Σ_μ exp(β x_μ·ξ).

    One step, ξ ← Xᵀ softmax(βXξ), is one head of a Transformer's attention. It is the one-group
    Hopfield–Boltzmann machine with Gaussian visible units, its hidden softmax summed out, so at
    T = 1/(mβ) it can also be sampled exactly, m look-ups at a time.

    Where no gradient is wanted, many patterns are looked at block by block, so that memory does
    not grow with cues × patterns; for millions of them there is :meth:`build_index`.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217; its E includes β⁻¹ log N + ½M², as here
    with ``constants=True``.

    Args:
        patterns: ``(N, d)``, one pattern a row; an ``nn.Parameter`` is learned.
        beta: β > 0, inverse temperature of the softmax, in inverse units of x·x. Larger recalls
            single patterns, smaller blends of them.
        learn_beta: Whether β is learned too; it is kept as ``log_beta``, so that it stays above
            zero.
        constants: Whether E includes the paper's constants, which make 0 ≤ E ≤ 2M² for |ξ| ≤ M,
            the norm of the longest pattern. Neither recall nor sampling depends on them.
        copy: Whether a plain tensor is copied; False keeps it itself, which may lie in a file
            (:func:`isinglass.io.map_patterns`).

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not finite.
        ParameterError: If ``beta`` is not one number above zero.

    Examples:
        >>> memory = ModernHopfield(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), beta=8.0)
        >>> found = memory.recall(torch.tensor([[0.8, 0.3]]))
        >>> found.state.round(decimals=3), bool(found.converged)
        (tensor([[1., 0.]]), True)
    """

    _hidden: Multinomial | None = None
    _index: QuantizedCCCP | None = None
    _asked: int = 0

    @property
    def hidden(self) -> Multinomial:
        """The softmax over patterns, as a layer of units."""
        if self.log_beta is not None:  # each time anew, so that gradients reach it
            return Multinomial(len(self.patterns), beta=self.beta)
        # A step of recall asks for this several times. What is kept says what it was made of, so
        # that it follows whatever is done to beta and patterns: set, loaded, copied.
        kept = self._hidden
        if kept is None or kept.beta != self._beta or kept.size != len(self.patterns):
            self._hidden = kept = Multinomial(len(self.patterns), beta=self._beta)
        return kept

    def weigh(self, scores: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch N"]:
        """Computes p = softmax(βs), the association weights."""
        return self.hidden.mean(scores)

    def negentropy(self, weights: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch"]:
        """Computes Σ p log p, Shannon's."""
        return torch.special.xlogy(weights, weights).sum(-1)

    def potential(self, scores: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch"]:
        """Computes Φ(s) = lse_β(s) = β⁻¹ log Σ_μ exp(β s_μ)."""
        return self.hidden.log_partition(scores)

    def forward(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Computes E(ξ) = ½|ξ|² − lse_β(Xξ), plus :attr:`offset` where ``constants`` are wanted."""
        if not self._streams(state):
            return super().forward(state)
        return self.energy_from(state, self._lookup(state).log_partition)

    def average(
        self,
        state: Float[Tensor, "*batch d"],
        values: Float[Tensor, "N e"],
        known: Bool[Tensor, "*mask d"] | None = None,
    ) -> Float[Tensor, "*batch e"]:
        """Computes Σ_μ p_μ value_μ, block by block where patterns are many."""
        if not self._streams(state):
            return super().average(state, values, known)
        return self._lookup(state, values, known).average

    def energy_of_distance(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Computes −β⁻¹ log Σ_μ exp(−½β|x_μ − ξ|²)."""
        if not self._streams(state):
            return super().energy_of_distance(state)
        found = nearest_keys(state, everywhere(state), self.patterns, float(self.beta))
        return -found.log_mass / self.beta

    def build_index(self, *, tolerance: float = 1e-4, cells: int = 16) -> QuantizedCCCP:
        """Builds an 8-bit index of the patterns, by which recall then looks them up.

        From now on :meth:`recall` uses it unless another kernel is named, until the patterns
        change; copied or loaded together with the memory it goes on. A memory of many patterns
        that is asked again and again builds it by itself (:meth:`choose_kernel`).

        Args:
            tolerance: Largest softmax mass, 0 to 1, that a step may leave out; ``recall`` reports a
                bound on it as ``info["omitted_mass_bound"]``.
            cells: How many cells of 256 patterns a cue may draw on before it is summed in full.

        Returns:
            The kernel that recall uses.

        Raises:
            ParameterError: If ``tolerance`` is not from 0 to 1, or ``cells`` not at least one.

        Examples:
            >>> generator = torch.Generator().manual_seed(0)
            >>> patterns = torch.randn(10_000, 64, generator=generator)
            >>> memory = ModernHopfield(patterns, beta=1.0)
            >>> index = memory.build_index()
            >>> found = memory.recall(patterns[:5] + 0.1)
            >>> bool((found.state - patterns[:5]).abs().max() < 1e-3)
            True
            >>> bool((found.info["omitted_mass_bound"] <= 1e-4).all())
            True
        """
        self._index = QuantizedCCCP(self, tolerance=tolerance, cells=cells)
        return self._index

    def choose_kernel(self, cues: Float[Tensor, "*batch d"]) -> Kernel:
        """Chooses the index of the patterns where there is one, otherwise :class:`CCCP`.

        The index is built by :meth:`build_index`, or here, once a memory of 50,000 patterns or
        more has been asked for 1,000 cues: by then it has paid for itself. It takes a quarter of
        the memory of float32 patterns, and none is built of more than 1 GiB of them.
        """
        index = self._index
        if index is not None and index.fits(self):
            return index
        self._index = None
        if isinstance(cues, Tensor):  # what is none is refused by recall itself
            self._asked += cues.numel() // self.patterns.shape[-1]
        small = self.patterns.nbytes <= LARGEST
        if len(self.patterns) >= MANY and self._asked >= OFTEN and small:
            self._asked = 0
            return self.build_index()
        return self.default_kernel()

    def _lookup(
        self, state: Tensor, values: Tensor | None = None, known: Tensor | None = None
    ) -> Lookup:
        beta = torch.as_tensor(self.beta).item()
        return streamed_lookup(state, self.patterns, beta, values, known=known)

    def _streams(self, state: Tensor) -> bool:
        """Whether to go block by block: many patterns, and nothing to differentiate or trace."""
        if len(self.patterns) <= BLOCK or not values_visible(state):
            return False
        learned = (state, self.patterns, self.log_beta)
        wanted = any(tensor is not None and tensor.requires_grad for tensor in learned)
        return not (torch.is_grad_enabled() and wanted)

    def sweep(
        self,
        state: Float[Tensor, "*batch d"],
        temperature: float,
        generator: Generator | None = None,
    ) -> Float[Tensor, "*batch d"]:
        """Looks up m = 1/(βT) patterns by attention weight, then copies their average with noise.

        Raises:
            ParameterError: If T is not 1/(mβ) for a whole m.
        """
        if temperature == 0:
            return self.cccp_update(state)
        lookup = self.hidden.sample(overlaps(state, self.patterns), temperature, generator)
        lookup = lookup.to(state.dtype)
        return self.unit.sample(lookup @ self.patterns, temperature, generator)
