"""A language model as an energy of whole sequences, learned by Bellman's equation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from isinglass._support.precision import at_least_single
from isinglass._support.typing import Float, Int
from isinglass._support.validation import (
    check_count,
    check_generator,
    check_positive,
)
from isinglass.errors import ParameterError, ShapeError
from isinglass.language.language_model import LanguageModel, as_language_model
from isinglass.language.options import LearningOptions
from isinglass.language.report import Evaluation, LanguageReport, evaluation
from isinglass.language.residuals import Scores, score
from isinglass.language.rewards import Reward, RewardOf
from isinglass.language.sampler import draw_sequences
from isinglass.language.sequences import Sequences, as_rows, check_length, check_words, pad

__all__ = ["LanguageQ"]

CHUNK = 256  # sequences drawn or scored together

Prompts = Sequence[str] | Sequence[Any] | Tensor


class LanguageQ(nn.Module):
    r"""Reads a causal language model as soft Q-values and as an energy of whole sequences.

    A prefix s is a state, the next token a an action, logits are q/T. Soft Bellman joins both:

        q(s, a) = r(s, a) + T log π_ref(a|s) + V(s a),   V(s) = T log Σ_a e^{q(s,a)/T},
        π(a|s) = e^{(q(s,a) − V(s))/T},
        E(x) = −Σ_t r(s_t, a_t) = −V(s₀) − T log π(x|s₀)/π_ref(x|s₀)

    V is 0 after the end token and at the length where a sequence is cut, so that
    π(x|s₀) = π_ref(x|s₀) e^{−E(x)/T} / Z with V(s₀) = T log Z: every autoregressive model is an
    energy, and :meth:`TabularLanguage.from_energy` goes back. Without a reference π_ref is left
    out. With one, logits are counted from the reference's log-partition, so that where both are the
    same model q is T log π_ref, and V and E are 0.

    :meth:`fit` learns the energy −R from rewards of whole sequences.

    Reference: Blondel et al. 2025, arXiv:2512.15605; Nachum et al. 2017, arXiv:1702.08892.

    Args:
        model: A causal model of transformers, a module or function that gives logits
            ``(rows, length, words)`` for tokens ``(rows, length)``, or a
            :class:`~isinglass.language.LanguageModel`.
        reference: π_ref, of the same kinds; it is not learned. None is none, until :meth:`fit`
            makes a copy of the model as it stands.
        temperature: T > 0, in units of the reward.
        end: The token that ends a sequence; None asks the tokenizer, then the model; if they know
            none, sequences end at their greatest length.
        tokenizer: Turns texts into tokens (``encode``) and back (``decode``), as those of
            transformers do; None: prompts and rewards are of tokens.

    Raises:
        ParameterError: If the temperature is not above zero, or the model is none.
        ShapeError: If model and reference have different vocabularies.

    Examples:
        >>> from isinglass.language import TabularLanguage
        >>> judge = LanguageQ(TabularLanguage(words=3, length=2), temperature=0.5, end=2)
        >>> every = judge.model.sequences(end=2)
        >>> judge.log_prob(every).exp().sum().item() - 1 < 1e-9
        True
        >>> weights = (-judge.energy(every) / 0.5).exp()
        >>> torch.allclose(weights / weights.sum(), judge.log_prob(every).exp())
        True
    """

    def __init__(
        self,
        model: object,
        reference: object | None = None,
        temperature: float = 0.1,
        *,
        end: int | None = None,
        tokenizer: Any = None,
    ) -> None:
        super().__init__()
        self.temperature = check_positive("temperature", temperature)
        self.model = as_language_model(model)
        self.reference = None if reference is None else as_language_model(reference)
        self.tokenizer = tokenizer
        if tokenizer is not None and not (
            callable(getattr(tokenizer, "encode", None))
            and callable(getattr(tokenizer, "decode", None))
        ):
            raise ParameterError(
                f"tokenizer of type {type(tokenizer).__name__}",
                "Give one that can encode and decode",
            )
        #: How many tokens there are.
        self.words = _words(self.model)
        if self.reference is not None:
            self.reference.requires_grad_(False)
            if _words(self.reference) != self.words:
                raise ShapeError(
                    f"a model of {self.words} words, a reference of {_words(self.reference)}",
                    "Give a reference with the same vocabulary",
                )
        self.end = _end(end, tokenizer, self.model, self.words)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    def q(
        self, tokens: Int[Tensor, "rows length"], start: int = 1
    ) -> Float[Tensor, "rows length words"]:
        """Computes the soft value q of every token after every prefix of the rows.

        Args:
            tokens: Rows of tokens.
            start: How many of them are the prompt, in which an end token ends nothing.

        Raises:
            DomainError: If a token is not in the vocabulary.
            ShapeError: If they are no rows of tokens.
        """
        table = self._table(tokens, start)
        logits = at_least_single(self.model(table))
        return self.temperature * (logits - self._prior(table)[..., None])

    def value(
        self, tokens: Int[Tensor, "rows length"], start: int = 1
    ) -> Float[Tensor, "rows length"]:
        """Computes V(s) for every prefix s of the rows: 0 from the end token on.

        Args:
            tokens: Rows of tokens.
            start: How many of them are the prompt, in which an end token ends nothing.

        Raises:
            DomainError: If a token is not in the vocabulary.
            ShapeError: If they are no rows of tokens.
        """
        value = self.temperature * (self.q(tokens, start) / self.temperature).logsumexp(-1)
        if self.end is None:
            return value
        over = tokens.to(value.device) == self.end
        over[:, :start] = False
        return value.masked_fill(over.cummax(1).values if over.numel() else over, 0.0)

    def log_prob(self, sequences: Any, start: int = 1) -> Float[Tensor, " rows"]:
        """Computes log π(x|s₀) = Σ_t (q(s_t, a_t) − V(s_t))/T of whole sequences.

        Args:
            sequences: :class:`Sequences`, texts if there is a tokenizer, or lists of tokens; what
                follows an end token is not counted.
            start: How many tokens of each are the prompt s₀; :class:`Sequences` say so themselves.

        Raises:
            DomainError: If a token is not in the vocabulary.
            ShapeError: If there is no sequence, or one is empty.
            ParameterError: If a sequence is longer than the model reads.
        """
        return score(self.model, self.sequences(sequences, start)).log_p.sum(1)

    def energy(self, sequences: Any, start: int = 1) -> Float[Tensor, " rows"]:
        """Computes E(x) = −V(s₀) − T log π(x|s₀)/π_ref(x|s₀) of whole sequences.

        Args:
            sequences: As :meth:`log_prob` takes them.
            start: How many tokens of each are the prompt s₀.

        Raises:
            DomainError: If a token is not in the vocabulary.
            ShapeError: If there is no sequence, or one is empty.
            ParameterError: If a sequence is longer than the model reads.
        """
        found = self.sequences(sequences, start)
        mine = score(self.model, found)
        theirs = None if self.reference is None else score(self.reference, found)
        ratio = mine.log_p if theirs is None else mine.log_p - theirs.log_p
        first = (found.starts - 1)[:, None]
        return -self.values(mine, theirs).gather(1, first)[:, 0] - self.temperature * ratio.sum(1)

    def values(self, mine: Scores, theirs: Scores | None) -> Float[Tensor, "rows steps"]:
        """Computes V before each token from what was scored already.

        Args:
            mine: Of the model.
            theirs: Of the reference, if there is one.
        """
        return self.temperature * (
            mine.partition if theirs is None else mine.partition - theirs.partition
        )

    @torch.no_grad()
    def sample(
        self,
        prompts: Prompts,
        max_tokens: int = 48,
        generator: Generator | None = None,
    ) -> Sequences:
        """Draws a sequence from π after each prompt, all prompts together.

        Args:
            prompts: Texts if there is a tokenizer, or tokens, of any lengths.
            max_tokens: How many tokens are chosen at most.
            generator: Source of randomness, on the model's device; None is torch's global one.

        Raises:
            DomainError: If a token is not in the vocabulary.
            ShapeError: If there is no prompt, or one is empty.
            ParameterError: If prompt and ``max_tokens`` are more than the model reads.
            DivergenceError: If the model gives logits that are no numbers.
        """
        check_generator(generator)
        rows = self.prompts(prompts, check_count("max_tokens", max_tokens))
        parts = [
            draw_sequences(
                self.model, rows[i : i + CHUNK], self.end, max_tokens, generator, self.device
            )[0]
            for i in range(0, len(rows), CHUNK)
        ]
        return Sequences.join(parts)

    def texts(self, sequences: Sequences) -> list[str]:
        """Returns sequences as texts, their prompts among them, special tokens left out.

        Raises:
            ParameterError: If there is no tokenizer.
        """
        if self.tokenizer is None:
            raise ParameterError("no tokenizer", "Give one: LanguageQ(model, tokenizer=...)")
        rows = sequences.lists()
        try:
            return [self.tokenizer.decode(row, skip_special_tokens=True) for row in rows]
        except TypeError:  # a tokenizer that knows of no special tokens
            return [self.tokenizer.decode(row) for row in rows]

    @torch.no_grad()
    def evaluate(
        self,
        prompts: Prompts,
        reward: Reward,
        *,
        rollouts: int = 512,
        max_tokens: int = 48,
        base_rate: float | None = None,
        generator: Generator | None = None,
    ) -> Evaluation:
        """Draws sequences and measures reward, KL to the reference, and E[R] − T·KL.

        Args:
            prompts: As :meth:`sample` takes them; they are drawn for in turn.
            reward: Takes whole sequences, texts if there is a tokenizer and lists of tokens
                otherwise, and gives a number for each.
            rollouts: How many are drawn.
            max_tokens: How many tokens are chosen at most.
            base_rate: p₀, the mean of a reward of 0 or 1 under the reference, if it is known; the
                optimum V* = T log(1 − p₀ + p₀e^{1/T}) is.
            generator: Source of randomness; None is torch's global one.

        Raises:
            ParameterError: If a number is out of range or there is no reference.
            DomainError: If a reward is not finite.
            ShapeError: If there is not one reward a sequence.
        """
        if self.reference is None:
            raise ParameterError("no reference, to which KL could be measured", "Give one, or fit")
        rows = self.prompts(prompts, check_count("max_tokens", max_tokens))
        wanted = [rows[i % len(rows)] for i in range(check_count("rollouts", rollouts))]
        judge = RewardOf(reward, self)
        ratios, rewards = [], []
        for i in range(0, rollouts, CHUNK):
            found = self.sample(wanted[i : i + CHUNK], max_tokens, generator)
            ratios.append(
                (score(self.model, found).log_p - score(self.reference, found).log_p).sum(1)
            )
            rewards.append(judge(found))
        return evaluation(torch.cat(rewards), torch.cat(ratios), self.temperature, base_rate)

    def fit(
        self,
        prompts: Prompts,
        reward: Reward,
        options: LearningOptions | None = None,
        *,
        steps: int = 80,
        base_rate: float | None = None,
        checkpoint: str | Path | None = None,
        resume: bool = False,
        on_step: Callable[[dict[str, float]], None] | None = None,
        progress: bool = True,
        generator: Generator | None = None,
        **settings: Any,
    ) -> LanguageReport:
        r"""Learns π ∝ π_ref e^{R/T} from a reward R of whole sequences, in place.

        Each step draws sequences and squares how far they, and others met before, are from
        Bellman's equation along the whole path:

            (V₀ + T Σ_t log π(a_t|s_t)/π_ref(a_t|s_t) − R)²

        which is zero for every sequence at the optimum, whoever drew it, so that replay needs no
        importance weights. V₀ is, for each prompt, what makes the mean of the squares least. The
        gradient on new sequences is that of REINFORCE with a KL penalty and a baseline.

        The first draws of the reference must have two rewards that differ: begin with a reward that
        is had more often than once in a few hundred sequences. Dropout is off while it learns.
        Ctrl-C keeps what was learned.

        Args:
            prompts: Texts if there is a tokenizer, or tokens, of any lengths.
            reward: Takes whole sequences, prompts among them, texts if there is a tokenizer and
                lists of tokens otherwise, and gives a number for each; about 1 at best, or give
                the temperature in units of it.
            options: How a step is made; None is ``LearningOptions()``.
            steps: How many, counted from the beginning, also of a resumed run. A run that is done
                goes on from its checkpoint if there are to be more: learning rate and ``change``
                are then those of so many steps, and cooling is not begun again.
            base_rate: p₀, if it is known; else the first draws of the reference estimate it, for
                rewards of 0 and 1.
            checkpoint: A file for the whole state of learning (safetensors), written aside and
                renamed.
            resume: Whether to go on from it, if it is there already: a killed run to the same
                weights, one that is done if ``steps`` are more.
            on_step: Called with the track of each step.
            progress: Whether to show a bar on a terminal (extra ``cli``).
            generator: Source of randomness; None is torch's global one, for a seed.
            **settings: Fields of :class:`LearningOptions` that are to be others, such as
                ``residual="suffix"``, ``replay=0`` or ``max_tokens=20``.

        Raises:
            ParameterError: If a setting is out of range, the model has nothing to learn, or
                learns in half precision.
            DomainError: If a reward is not finite, all rewards of the first draws are the same, or
                a token is not in the vocabulary.
            ShapeError: If there is no prompt, one is empty, or there is not one reward a sequence.
            DivergenceError: If a loss is not finite.
            FileError: If the checkpoint is of another run or cannot be written.

        Examples:
            >>> from isinglass.language import TabularLanguage
            >>> learner = LanguageQ(TabularLanguage(words=3, length=3), temperature=0.2)
            >>> count_ones = lambda found: [row.count(1) / 3 for row in found]
            >>> generator = torch.Generator().manual_seed(0)
            >>> report = learner.fit([[0]], count_ones, steps=60, max_tokens=3, generator=generator)
            >>> report.history[-1]["reward"] > 0.6
            True
        """
        from isinglass.language.learner import learn  # which knows this class

        options = _with(options, settings)
        rows = self.prompts(prompts, options.max_tokens)
        if self.reference is None:
            self.reference = copy.deepcopy(self.model).requires_grad_(False)
        return learn(
            self, self.reference, rows, RewardOf(reward, self), options, steps=steps,
            base_rate=base_rate,
            checkpoint=checkpoint, resume=resume, on_step=on_step, progress=progress,
            generator=generator,
        )  # fmt: skip

    def prompts(self, given: Prompts, more: int = 0) -> list[Tensor]:
        """Returns prompts as rows of tokens, once they are found fit.

        Args:
            given: Texts, or tokens.
            more: How many tokens will follow.

        Raises:
            DomainError: If a token is not in the vocabulary, or they are no tokens.
            ShapeError: If there is none, or one is empty.
            ParameterError: If one is too long, or a text and there is no tokenizer.
        """
        rows = as_rows(self._encoded(given), "prompts")
        check_words(rows, self.words, "prompts")
        longest = max(len(row) for row in rows) + more
        check_length(longest, getattr(self.model, "longest", None), "prompts and what follows")
        return rows

    def sequences(self, given: Any, start: int = 1) -> Sequences:
        """Returns sequences as one table, each cut after its end token.

        Args:
            given: :class:`Sequences`, texts, or lists of tokens.
            start: How many tokens of each are the prompt.

        Raises:
            DomainError: If a token is not in the vocabulary, or they are no tokens.
            ShapeError: If there is none, or one is not longer than its prompt.
            ParameterError: If one is too long, or a text and there is no tokenizer.
        """
        if isinstance(given, Sequences):
            return given
        rows = as_rows(self._encoded(given))
        check_words(rows, self.words, "sequences")
        check_count("start", start)
        if min(len(row) for row in rows) <= start:
            raise ShapeError(
                f"a sequence of {min(len(row) for row in rows)} tokens with a prompt of {start}",
                "Give sequences that go on after their prompt",
            )
        tokens, stops = pad(rows, self.device)
        longest = getattr(self.model, "longest", None)
        check_length(tokens.shape[1], longest, "sequences")
        if self.end is not None:
            over = tokens == self.end
            over[:, :start] = False
            stops = torch.where(over.any(1), (over.int().argmax(1) + 1).minimum(stops), stops)
        return Sequences(tokens, torch.full_like(stops, start), stops)

    def _encoded(self, given: Any) -> Any:
        """Texts as lists of tokens."""
        texts = [given] if isinstance(given, str) else given
        listed = isinstance(texts, list | tuple)
        if not listed or not any(isinstance(text, str) for text in texts):
            return texts
        if self.tokenizer is None:
            raise ParameterError("texts, and no tokenizer", "Give one: LanguageQ(..., tokenizer=)")
        return [self.tokenizer.encode(text) for text in texts]

    def _table(self, tokens: Tensor, start: int) -> Tensor:
        rows = as_rows(tokens, "tokens")
        check_words(rows, self.words, "tokens")
        check_count("start", start)
        table = torch.stack(rows).to(self.device)
        check_length(table.shape[1], getattr(self.model, "longest", None), "tokens")
        return table

    def _prior(self, table: Tensor) -> Tensor:
        """What logits are counted from."""
        if self.reference is None:
            return torch.zeros(table.shape, device=table.device)
        return at_least_single(self.reference(table)).logsumexp(-1)


def _words(model: LanguageModel) -> int:
    """Asks the model for the size of its vocabulary."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with torch.no_grad():
        return model(torch.zeros(1, 1, dtype=torch.long, device=device)).shape[-1]


def _end(given: int | None, tokenizer: Any, model: LanguageModel, words: int) -> int | None:
    """The end token: as given, the tokenizer's, or the model's."""
    config = getattr(getattr(model, "function", None), "config", None)
    theirs = [getattr(knows, "eos_token_id", None) for knows in (tokenizer, config)]
    for known in (given, *theirs):
        first: Any = known[0] if isinstance(known, list | tuple) and known else known
        if first is not None:
            number = check_count("end", first, 0)
            if number >= words:
                raise ParameterError(f"end = {number}", f"Give a token below {words}")
            return number
    return None


def _with(options: LearningOptions | None, settings: dict[str, Any]) -> LearningOptions:
    """The options with some fields changed."""
    options = options or LearningOptions()
    if not isinstance(options, LearningOptions):
        raise ParameterError(f"options of type {type(options).__name__}", "Give LearningOptions()")
    unknown = settings.keys() - {field.name for field in fields(options)}
    if unknown:
        raise ParameterError(
            f"no setting {sorted(unknown)[0]!r}",
            f"There are: {', '.join(field.name for field in fields(options))}",
        )
    return replace(options, **settings)
