"""Small languages, and slow plain references for what the library does fast."""

import itertools
import math

import torch

from isinglass.language import LanguageModel, Sequences, TabularLanguage
from tests.seeds import seeded

WORDS, LENGTH, END = 5, 4, 2


def random_table(seed=0, words=WORDS, length=LENGTH):
    """A language whose logits are random numbers."""
    toy = TabularLanguage(words, length)
    with torch.no_grad():
        toy.table.copy_(torch.randn(toy.table.shape, generator=seeded(seed), dtype=torch.float64))
    return toy


def all_sequences(words, length, end):
    """Whole sequences, one by one: up to the end token, or of full length."""
    for count in range(1, length + 1):
        for rest in itertools.product(range(words), repeat=count):
            if end not in rest[:-1] and (rest[-1] == end or count == length):
                yield [0, *rest]


def plain_log_prob(model, row):
    """Token by token, each prefix by itself."""
    total = 0.0
    for place in range(1, len(row)):
        logits = model(torch.tensor([row[:place]]))[0, -1].tolist()
        total += logits[row[place]] - math.log(sum(math.exp(logit) for logit in logits))
    return total


class Tiny(torch.nn.Module):
    """A Transformer of torch, causal, one layer."""

    def __init__(self, words=12, width=16, longest=32, seed=0):
        super().__init__()
        before = torch.get_rng_state()
        torch.manual_seed(seed)
        self.tokens = torch.nn.Embedding(words, width)
        self.places = torch.nn.Embedding(longest, width)
        self.layer = torch.nn.TransformerEncoderLayer(width, 2, 32, batch_first=True)
        self.head = torch.nn.Linear(width, words)
        torch.set_rng_state(before)

    def forward(self, tokens):
        length = tokens.shape[1]
        hidden = self.tokens(tokens) + self.places.weight[:length]
        mask = torch.nn.Transformer.generate_square_subsequent_mask(length)
        return self.head(self.layer(hidden, src_mask=mask, is_causal=True))


class Cached(LanguageModel):
    """A recurrent network, whose state is what is kept."""

    def __init__(self, words=12, width=16):
        super().__init__()
        self.tokens = torch.nn.Embedding(words, width)
        self.cell = torch.nn.GRU(width, width, batch_first=True)
        self.head = torch.nn.Linear(width, words)

    def logits(self, tokens):
        return self.head(self.cell(self.tokens(tokens))[0])

    def begin(self, tokens):
        hidden, state = self.cell(self.tokens(tokens))
        return self.head(hidden[:, -1]), state

    def extend(self, past, token):
        hidden, state = self.cell(self.tokens(token[:, None]), past)
        return self.head(hidden[:, -1]), state


def tiny_llama(words=12):
    """A model of transformers with grouped keys and rotary positions."""
    from transformers import LlamaConfig, LlamaForCausalLM

    before = torch.get_rng_state()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=words, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=40,
        bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    torch.set_rng_state(before)
    return model


def whole(rows):
    """Lists of tokens as sequences whose prompt is their first token."""
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    stops = torch.tensor([len(row) for row in rows])
    return Sequences(tokens, torch.ones_like(stops), stops)
