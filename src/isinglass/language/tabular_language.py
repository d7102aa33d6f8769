"""A language small enough that all its sequences can be listed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from isinglass._support.typing import Float, Int
from isinglass._support.validation import check_count, check_finite, check_kind, check_positive
from isinglass.errors import IntractableError, ShapeError
from isinglass.language.language_model import LanguageModel
from isinglass.language.sequences import Sequences

__all__ = ["TabularLanguage"]

MOST = 2**22  # numbers in the table


class TabularLanguage(LanguageModel):
    """A table of logits, one row for every prefix: any law over short sequences, exactly.

    Sequences are the token 0, which begins them, and at most ``length`` more.

    Args:
        words: Size of the vocabulary.
        length: How many tokens follow the first one at most.
        dtype: Of the table, which begins with zeros: all tokens are equally likely.

    Raises:
        IntractableError: If there are too many prefixes to list.
        ParameterError: If a number is not a whole one of at least one.

    Examples:
        >>> toy = TabularLanguage(words=3, length=2)
        >>> len(toy.sequences(end=2))  # 2, or one of 0 and 1 followed by any
        7
    """

    def __init__(self, words: int, length: int, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.words, self.length = check_count("words", words), check_count("length", length)
        sizes = [words**place for place in range(length)]
        if sum(sizes) * words > MOST:
            raise IntractableError(
                f"{words} words and {length} places have {sum(sizes)} prefixes",
                "Give fewer words or places: this is for languages that can be enumerated",
            )
        #: The longest sequence, its first token among it.
        self.longest = length + 1
        powers = torch.zeros(length, length, dtype=torch.long)
        for place in range(1, length):
            powers[place, 1 : place + 1] = words ** torch.arange(place - 1, -1, -1)
        self.powers: Tensor
        self.firsts: Tensor
        self.register_buffer("powers", powers)  # of a token in the number of its prefix
        self.register_buffer("firsts", torch.tensor([0, *sizes[:-1]]).cumsum(0))
        self.table = nn.Parameter(torch.zeros(sum(sizes), words, dtype=dtype))

    def logits(self, tokens: Int[Tensor, "rows length"]) -> Float[Tensor, "rows length words"]:
        """Looks each prefix up.

        Raises:
            ShapeError: If sequences are longer than the table.
        """
        long = tokens.shape[1]
        if long > self.length:
            raise ShapeError(
                f"prefixes of {long} tokens", f"Give at most {self.length}, the first among them"
            )
        number = (tokens[:, None, :] * self.powers[:long, :long]).sum(-1)
        return self.table[number + self.firsts[:long]]

    def sequences(self, end: int | None = None) -> Sequences:
        """Lists every whole sequence: up to ``end``, or of full length."""
        codes = torch.arange(self.words**self.length, device=self.table.device)
        digits = self.words ** torch.arange(self.length - 1, -1, -1, device=codes.device)
        tokens = torch.nn.functional.pad(codes[:, None] // digits % self.words, (1, 0))
        stops = torch.full_like(codes, self.length + 1)
        if end is not None:
            over = tokens[:, 1:] == end
            stops = torch.where(over.any(1), over.int().argmax(1) + 2, stops)
            places = torch.arange(self.length + 1, device=codes.device)
            tokens = torch.where(places < stops[:, None], tokens, 0)
            once = codes % self.words ** (self.length + 1 - stops) == 0
            tokens, stops = tokens[once], stops[once]
        return Sequences(tokens, torch.ones_like(stops), stops)

    @classmethod
    def from_energy(
        cls,
        energy: Callable[[Sequences], Float[Tensor, " rows"]],
        words: int,
        length: int,
        *,
        temperature: float,
        end: int | None = None,
        reference: TabularLanguage | None = None,
    ) -> TabularLanguage:
        r"""Turns an energy E of whole sequences into the autoregressive model of the same law.

        Soft Bellman, from the last token to the first; V after the end is 0:

            q(s, a) = −E(s a)·[s a is whole] + T log π_ref(a|s) + V(s a),   V(s) = T log Σ_a e^{q/T}

        so that π(x) = Π softmax(q/T) = π_ref(x) e^{−E(x)/T} / Z with V(first) = T log Z. The table
        holds q/T, counted from the reference's log-partition as :class:`LanguageQ` counts.

        Reference: Blondel et al. 2025, arXiv:2512.15605; Nachum et al. 2017, arXiv:1702.08892.

        Args:
            energy: One number for each whole sequence.
            words: Size of the vocabulary.
            length: How many tokens follow the first one at most.
            temperature: T.
            end: The token that ends a sequence; None is none.
            reference: π_ref; None counts every sequence alike.

        Raises:
            DomainError: If an energy is not finite.
            IntractableError: If there are too many sequences.
            ParameterError: If T is not above zero, or the reference no such table.
            ShapeError: If there is not one energy a sequence.

        Examples:
            >>> likes_ones = lambda found: -(found.tokens == 1).sum(1).double()
            >>> model = TabularLanguage.from_energy(likes_ones, 2, 3, temperature=1.0)
            >>> [round(p, 3) for p in model(torch.tensor([[0]])).softmax(-1)[0, 0].tolist()]
            [0.269, 0.731]
        """
        temperature = check_positive("temperature", temperature)
        if reference is not None:
            check_kind("reference", reference, TabularLanguage, "a TabularLanguage, or none")
        model = cls(words, length)
        whole = model.sequences(end)
        given = energy(whole)
        if given.shape != (len(whole),):
            raise ShapeError(
                f"energies of shape {tuple(given.shape)} for {len(whole)} sequences",
                "Give one number for each",
            )
        check_finite("energies", given)
        rewards = torch.zeros_like(model.table)  # of the token that makes a sequence whole
        place = whole.stops - 2
        rows = torch.arange(len(whole))
        kept = whole.tokens[:, :-1]
        number = (kept[:, None, :] * model.powers).sum(-1)[rows, place] + model.firsts[place]
        rewards[number, whole.tokens[rows, whole.stops - 1]] = -given.to(rewards)
        prior = 0.0 if reference is None else temperature * reference.table.log_softmax(-1)
        q = (rewards + prior).detach()
        following = torch.zeros(words**length, dtype=q.dtype)
        for level in range(length - 1, -1, -1):
            first = int(model.firsts[level])
            rows_q = q[first : first + words**level]  # a view: what is added stays
            value = following.view(-1, words).clone()
            if end is not None:
                value[:, end] = 0.0
            rows_q += value
            following = temperature * (rows_q / temperature).logsumexp(-1)
        with torch.no_grad():
            prior = 0.0 if reference is None else reference.table.logsumexp(-1, keepdim=True)
            model.table.copy_(q / temperature + prior)
        return model
