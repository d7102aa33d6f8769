"""The loop closed in one file: remember, attend, imagine and learn by Bellman, in one network.

    python examples/closed_loop.py            # minutes on one thread
    python examples/closed_loop.py --quick    # seconds, to see it run

A small language model answers questions about facts. A fact "key → middle → last" is not in its
weights: it lies in a long-term memory of stored patterns, other facts for every seed. A sentence is

    begin, key, filler, middle, last

The model sees the first three words; each of the last two that is right is worth 1/2.

    attend      one head looks back over the sentence: a Hopfield memory of the words so far
    remember    one head looks facts up: a Hopfield memory of the stored patterns
    imagine     both are heated: m draws at T = 1/(mβ) instead of the average, a Boltzmann machine
    Bellman     LanguageQ learns π ∝ π_ref e^{R/T} from the rewards of whole sentences

First the model learns the form of sentences by likelihood (words of the right kinds, facts at
random), then the facts' use from rewards. Half of the keys are never asked in learning. In the
table each part is switched off in turn; chance is one in eight.
"""

from __future__ import annotations

import argparse
import math

import torch
from torch import Generator, Tensor, nn

from isinglass.language import LanguageQ
from isinglass.nn import stochastic_attention

KEYS, MIDDLES, LASTS, FILLERS = 64, 8, 8, 8
BEGIN = 0
FIRST = {"key": 1, "filler": 1 + KEYS, "middle": 1 + KEYS + FILLERS}
FIRST["last"] = FIRST["middle"] + MIDDLES
WORDS = FIRST["last"] + LASTS
WIDTH, BETA, DRAWS = 48, 16.0, 64
PARTS = ("all parts", "no store", "no heat", "no attention", "no Bellman")


class Facts:
    """What is true for one seed: a middle word for each key, a last word for each middle one."""

    def __init__(self, generator: Generator) -> None:
        self.middle = torch.randint(MIDDLES, (KEYS,), generator=generator)
        self.last = torch.randperm(LASTS, generator=generator)
        order = torch.randperm(KEYS, generator=generator)
        self.asked, self.never_asked = order[: KEYS // 2], order[KEYS // 2 :]

    def answer(self, key: int) -> list[int]:
        """The two words that are right after a key."""
        middle = int(self.middle[key])
        return [FIRST["middle"] + middle, FIRST["last"] + int(self.last[middle])]

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Every fact as two words: what is looked up, and what is found."""
        keys, middles = torch.arange(KEYS), torch.arange(MIDDLES)
        looked_up = torch.cat([FIRST["key"] + keys, FIRST["middle"] + middles])
        found = torch.cat([FIRST["middle"] + self.middle, FIRST["last"] + self.last])
        return looked_up, found

    def reward(self, sentences: list[list[int]]) -> list[float]:
        """One half for each of the two last words that is right."""
        answers = [self.answer(words[1] - FIRST["key"]) for words in sentences]
        return [
            sum(a == b for a, b in zip(words[3:], answer, strict=True)) / 2
            for words, answer in zip(sentences, answers, strict=True)
        ]

    @staticmethod
    def prompts(keys: Tensor, generator: Generator) -> list[list[int]]:
        """Questions: begin, key, a filler at random."""
        fillers = torch.randint(FILLERS, (len(keys),), generator=generator)
        return [
            [BEGIN, FIRST["key"] + int(key), FIRST["filler"] + int(filler)]
            for key, filler in zip(keys, fillers, strict=True)
        ]


class Network(nn.Module):
    """A Transformer of one layer with two memories: the sentence so far, and the store."""

    def __init__(self, facts: Facts, part: str, generator: Generator) -> None:
        super().__init__()
        self.part, self.draws = part, None if part == "no heat" else DRAWS
        self.knows_facts = False  # until it has learned the form
        words = torch.randn(WORDS, WIDTH, generator=generator)
        for kind, first in FIRST.items():  # words of one kind have something in common
            size = {"key": KEYS, "filler": FILLERS, "middle": MIDDLES, "last": LASTS}[kind]
            words[first : first + size] += 0.5 * torch.randn(WIDTH, generator=generator)
        self.words: Tensor
        self.register_buffer("words", nn.functional.normalize(words, dim=-1))
        looked_up, found = facts.pairs()
        self.store_keys: Tensor
        self.store_values: Tensor
        self.register_buffer("store_keys", self.words[looked_up])
        self.register_buffer("store_values", self.words[found])

        def matrix(columns: int, rows: int) -> nn.Parameter:
            return nn.Parameter(
                torch.randn(rows, columns, generator=generator) / math.sqrt(columns)
            )

        self.query, self.key = matrix(WIDTH, WIDTH), matrix(WIDTH, WIDTH)
        self.value = nn.Parameter(torch.eye(WIDTH))
        self.look_up = nn.Parameter(torch.eye(WIDTH))
        self.gates = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.read_out = nn.Parameter(4 * self.words.clone())

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next word after each word."""
        x = self.words[tokens]
        if self.part != "no attention":
            sees = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).tril()
            seen = stochastic_attention(
                x @ self.query.T, x @ self.key.T, x @ self.value.T, self.draws, mask=sees
            )
            x = x + self.gates[0] * seen
        if self.part != "no store" and self.knows_facts:
            cue = nn.functional.normalize(x @ self.look_up.T, dim=-1)
            found = stochastic_attention(
                cue, self.store_keys, self.store_values, self.draws, beta=BETA
            )
            x = x + self.gates[1] * found
        return x @ self.read_out.T


def learn_form(network: Network, steps: int, generator: Generator) -> None:
    """Likelihood of sentences whose words are of the right kinds, and whose facts are random."""
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    sizes = {"key": KEYS, "filler": FILLERS, "middle": MIDDLES, "last": LASTS}
    for _ in range(steps):
        rows = [torch.zeros(64, dtype=torch.long)]
        rows += [FIRST[k] + torch.randint(n, (64,), generator=generator) for k, n in sizes.items()]
        tokens = torch.stack(rows, 1)
        logits = network(tokens[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.knows_facts = True


def run(part: str, seed: int, form: int, steps: int) -> tuple[float, float]:
    """The share of right words for keys that were asked in learning, and for others."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # of the draws inside the network
    facts = Facts(generator)
    network = Network(facts, part, generator)
    learn_form(network, form, generator)
    judge = LanguageQ(network, temperature=0.05)
    asked = facts.prompts(facts.asked.repeat(4), generator)
    if part != "no Bellman":
        # the rate is given, as heat would be taken for what a step changes
        settings = {"steps": steps, "max_tokens": 2, "learning_rate": 3e-3, "generator": generator}
        settings |= {"updates": 4, "replay_batch": 128, "cooling": 0.5}
        judge.fit(asked, facts.reward, progress=False, **settings)
    shares = []
    for keys in (facts.asked, facts.never_asked):
        prompts = facts.prompts(keys.repeat(8), generator)
        found = facts.reward(judge.sample(prompts, 2, generator).lists())
        shares.append(sum(found) / len(found))
    return shares[0], shares[1]


def main() -> None:
    """Parse the command line, switch each part off in turn, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--form", type=int, default=300, help="steps of likelihood")
    parser.add_argument("--steps", type=int, default=300, help="steps of LanguageQ")
    parser.add_argument("--quick", action="store_true", help="one seed, few steps: does it run?")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.form, given.steps = given.seeds[:1], 20, 3
    torch.set_num_threads(1)
    print(f"right words of two, chance 12.5 %, seeds {given.seeds}")
    print(f"{'':14}{'asked':>10}{'never asked':>14}")
    for part in PARTS:
        found = torch.tensor([run(part, seed, given.form, given.steps) for seed in given.seeds])
        asked, never = (100 * found.mean(0)).tolist()
        worst = 100 * found.min(0).values
        print(f"{part:14}{asked:8.1f} %{never:12.1f} %   worst {worst[0]:.1f}, {worst[1]:.1f}")


if __name__ == "__main__":
    main()
