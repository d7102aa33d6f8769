"""Characters of unknown alphabets named from one or five examples each, by memories.

``shots``: 5 or 20 characters are drawn from four alphabets that no network has seen, one or five
examples of each are stored, and others are named: by the label that the memory reads, by the
nearest stored example, by the nearest mean of a class. Embeddings are raw pixels, a network at
random, and the same network trained on four other alphabets and their rotations, in episodes:
through the read-out of the memory (Vinyals et al. 2016, whose cosine read-out is one step of a
modern Hopfield net), or through class means (Snell et al. 2017), a peer with as many episodes.
``transfer``: all characters of an unknown alphabet at once, stored in the memory that was trained
on others, nothing learned, alone or beside all that it held before; and, as peers, a network
trained from nothing on the same examples and logistic regression on pixels and on the embedding.
The data are not part of the project: ISINGLASS_DATA names the folder that holds
omniglot_small/omniglot_small.npz. Prints tables; run it again to go on after a stop.
"""

from __future__ import annotations

import argparse
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from torch import Generator, Tensor, nn
from torch.nn import functional

import isinglass as ig
from benchmarks.evidence.cache import Cache
from benchmarks.evidence.image_sets import Characters, omniglot
from isinglass.nn import stochastic_attention

Record = dict[str, Any]

LEARNED = ("Japanese_(katakana)", "Sanskrit", "Korean", "Latin")
UNKNOWN = ("Greek", "Balinese", "Early_Aramaic", "Tagalog")
SETTINGS = ((5, 1), (5, 5), (20, 1), (20, 5))
READS = ("memory", "nearest", "class means")
EMBEDDINGS = ("pixels", "random network", "trained by memory", "trained by means")
BETA = 10.0  # of the memory over embeddings that were not trained; cosines are from −1 to 1
EPISODES, WAYS, QUERIES = 700, 20, 5  # of training: one example a class is stored
TESTS = 300
#: Vinyals et al. 2016, arXiv:1606.04080, table 1, in the order of SETTINGS; Snell et al. 2017.
PUBLISHED = {
    "pixels, cosine (Vinyals)": (41.7, 63.2, 26.7, 42.6),
    "matching networks (Vinyals)": (98.1, 98.9, 93.8, 98.5),
    "prototypical networks (Snell)": (98.8, 99.7, 96.0, 98.9),
}


@cache
def characters() -> Characters:
    """All alphabets there are."""
    return omniglot()


class Encoder(nn.Module):
    """Four blocks of convolution, normalization, rectification and pooling; states of length one.

    Vinyals et al. 2016 and Snell et al. 2017 have the same. β of the read-out is learned with it.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for before in (1, channels, channels, channels):
            blocks += [
                nn.Conv2d(before, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
                nn.MaxPool2d(2),
            ]  # fmt: skip
        self.body = nn.Sequential(*blocks, nn.Flatten())
        self.log_beta = nn.Parameter(torch.tensor(BETA).log())
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, images: Tensor) -> Tensor:
        """Embeds (n, side, side) as (n, features)."""
        shaped = images[:, None].to(memory_format=torch.channels_last)
        return functional.normalize(self.body(shaped), dim=-1)


def by_memory(encoder: Encoder, keys: Tensor, queries: Tensor) -> Tensor:
    """Log of the share of each class in what the memory reads; one key a class."""
    labels = torch.eye(len(keys))
    read = stochastic_attention(encoder.log_beta.exp() * queries, keys, labels, beta=1.0)
    return read.clamp_min(1e-12).log()


def by_means(encoder: Encoder, keys: Tensor, queries: Tensor) -> Tensor:
    """Log of the softmax of squared distances to the class means; one key a class."""
    return (-encoder.log_beta.exp() * torch.cdist(queries, keys).square()).log_softmax(-1)


def trained(how: str, seed: int, episodes: int) -> Encoder:
    """An encoder that learned to name characters of the learned alphabets, turned too."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = Encoder()
    if how == "random network":
        return encoder.eval()
    score = by_memory if how == "trained by memory" else by_means
    images, generator = characters().of(*LEARNED), Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, episodes)
    labels = torch.arange(WAYS).repeat_interleave(QUERIES)
    for _ in track(range(episodes), description=f"{how}, seed {seed}", transient=True):
        turn = int(torch.randint(4, (), generator=generator))
        chosen = torch.randperm(len(images), generator=generator)[:WAYS]
        drawn = torch.randperm(20, generator=generator)[: 1 + QUERIES]
        shown = images[chosen][:, drawn].rot90(turn, (-2, -1)).flatten(0, 1)
        keys, asked = encoder(shown).unflatten(0, (WAYS, -1)).split([1, QUERIES], dim=1)
        loss = functional.nll_loss(score(encoder, keys[:, 0], asked.flatten(0, 1)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return encoder.eval()


@torch.no_grad()
def embedded(encoder: Encoder | None, images: Tensor) -> Tensor:
    """States of length one, (characters, 20, features); None is pixels."""
    flat = images.flatten(0, 1)
    if encoder is None:
        states = functional.normalize(flat.flatten(1), dim=-1)
    else:
        states = torch.cat([encoder(block) for block in flat.split(256)])
    return states.unflatten(0, images.shape[:2])


def memory_of(keys: Tensor, labels: Tensor, beta: float) -> ig.HeteroMemory:
    """Keys with one-hot labels: what is read is the share of each class."""
    return ig.HeteroMemory(ig.ModernHopfield(keys, beta), functional.one_hot(labels).float())


def named(how: str, keys: Tensor, labels: Tensor, queries: Tensor, beta: float) -> Tensor:
    """The class of each query."""
    if how == "memory":
        return memory_of(keys, labels, beta).read(queries).argmax(-1)
    if how == "nearest":
        return labels[(queries @ keys.mT).argmax(-1)]
    means = torch.stack([keys[labels == label].mean(0) for label in range(int(labels.max()) + 1)])
    return torch.cdist(queries, means).argmin(-1)


def shots(states: Tensor, ways: int, examples: int, beta: float, tests: int) -> Record:
    """Accuracy of each way to read over the same episodes, and its standard error."""
    generator, found = Generator().manual_seed(0), []
    labels = torch.arange(ways).repeat_interleave(examples)
    for _ in range(tests):
        chosen = states[torch.randperm(len(states), generator=generator)[:ways]]
        drawn = torch.randperm(20, generator=generator)[: examples + QUERIES]
        keys, asked = chosen[:, drawn].split([examples, QUERIES], dim=1)
        truth = torch.arange(ways).repeat_interleave(QUERIES)
        found.append([
            float((named(how, keys.flatten(0, 1), labels, asked.flatten(0, 1), beta) == truth)
                  .float().mean())
            for how in READS
        ])  # fmt: skip
    scores = np.array(found)
    errors = scores.std(0, ddof=1) / tests**0.5
    return {
        how: [float(mean), float(error)]
        for how, mean, error in zip(READS, scores.mean(0), errors, strict=True)
    }


def from_nothing(keys: Tensor, labels: Tensor, queries: Tensor, seed: int) -> Tensor:
    """Classes named by a network trained on the examples alone, each moved by up to two pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = Encoder()
        head = nn.Linear(64, int(labels.max()) + 1)
    generator = Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([*encoder.body.parameters(), *head.parameters()], lr=1e-3)
    for _ in range(150):
        rows = torch.randint(len(keys), (64,), generator=generator)
        down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
        moved = keys[rows].roll((down, right), (-2, -1))
        loss = functional.cross_entropy(10 * head(encoder(moved)), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    encoder.eval()
    with torch.no_grad():
        return head(encoder(queries)).argmax(-1)


def probe(keys: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
    """Classes named by logistic regression, as it comes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one example a class is few, as it says
        model = LogisticRegression(max_iter=500).fit(10 * keys.numpy(), labels.numpy())
    return torch.from_numpy(model.predict(10 * queries.numpy()))


def transfer(encoder: Encoder, alphabet: str, examples: int, seed: int) -> Record:
    """All characters of an alphabet, named from a few examples each."""
    generator, beta = Generator().manual_seed(seed), float(encoder.log_beta.detach().exp())
    images, old = characters().of(alphabet), characters().of(*LEARNED)
    order = torch.randperm(20, generator=generator)
    known, asked = images[:, order].split([examples, 20 - examples], dim=1)
    labels = torch.arange(len(images)).repeat_interleave(examples)
    truth = torch.arange(len(images)).repeat_interleave(20 - examples)
    keys, queries = (embedded(encoder, part).flatten(0, 1) for part in (known, asked))
    pixels = [embedded(None, part).flatten(0, 1) for part in (known, asked)]
    # What the memory held before: as many examples of each character it learned with.
    before, later = embedded(encoder, old[:, order]).split([examples, 20 - examples], dim=1)
    old_labels = torch.arange(len(old)).repeat_interleave(examples)
    old_truth = torch.arange(len(old)).repeat_interleave(20 - examples)
    whole = (torch.cat([before.flatten(0, 1), keys]), torch.cat([old_labels, labels + len(old)]))

    def share(names: Tensor, wanted: Tensor) -> float:
        return float((names == wanted).float().mean())

    read = partial(named, "memory", beta=beta)
    alone = read(before.flatten(0, 1), old_labels, later.flatten(0, 1))
    return {
        "characters": len(images),
        "memory": share(read(keys, labels, queries), truth),
        "memory, pixels": share(named("memory", pixels[0], labels, pixels[1], BETA), truth),
        "beside all before": share(read(*whole, queries), truth + len(old)),
        "from nothing": share(
            from_nothing(known.flatten(0, 1), labels, asked.flatten(0, 1), seed), truth
        ),
        "regression, pixels": share(probe(pixels[0], labels, pixels[1]), truth),
        "regression, embedding": share(probe(keys, labels, queries), truth),
        "old, before": share(alone, old_truth),
        "old, after": share(read(*whole, later.flatten(0, 1)), old_truth),
    }  # fmt: skip


def measure(name: str, seed: int, quick: bool) -> Record:
    """Trains where there is something to train, then measures all."""
    begin = time.process_time()
    encoder = None if name == "pixels" else trained(name, seed, 20 if quick else EPISODES)
    seconds = time.process_time() - begin
    beta = BETA if encoder is None else float(encoder.log_beta.detach().exp())
    states = embedded(encoder, characters().of(*UNKNOWN))
    found: Record = {"training": seconds, "beta": beta, "transfer": {}}
    for ways, examples in SETTINGS:
        key = f"{ways}-way {examples}-shot"
        found[key] = shots(states, ways, examples, beta, 20 if quick else TESTS)
    if encoder is not None and name == "trained by memory":
        for alphabet in UNKNOWN[:1] if quick else UNKNOWN:
            for examples in (1, 5):
                found["transfer"][f"{alphabet}/{examples}"] = transfer(
                    encoder, alphabet, examples, zlib.crc32(f"{alphabet} {seed}".encode())
                )
    return found


def mean_of(runs: list[Record], read: Callable[[Record], float]) -> str:
    """Writes the mean over seeds in per cent, and the spread where there are several."""
    values = 100 * np.array([read(run) for run in runs])
    spread = f" ± {values.std(ddof=1) / len(values) ** 0.5:.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{spread}"


def as_tables(found: Record) -> Iterator[Table]:
    """Builds the tables: few shots, then whole alphabets."""
    names = [f"{ways}-way {examples}-shot" for ways, examples in SETTINGS]
    table = Table("embedding", "read by", *names, "training, s", title="characters named, %")
    by_name = {
        name: [run for key, run in found.items() if key.startswith(f"{name}/")]
        for name in EMBEDDINGS
    }
    for name, runs in by_name.items():
        if not runs:
            continue
        for how in READS:
            cells = [mean_of(runs, lambda run, k=key, h=how: run[k][h][0]) for key in names]
            table.add_row(name, how, *cells, f"{np.mean([run['training'] for run in runs]):.0f}")
    for label, scores in PUBLISHED.items():
        table.add_row(label, "published", *(f"{score:.1f}" for score in scores), "")
    yield table
    runs = by_name["trained by memory"]
    if not runs:
        return
    columns = list(next(iter(runs[0]["transfer"].values())))[1:]
    table = Table("alphabet", "examples", *columns, title="whole alphabets, %")
    for key, first in runs[0]["transfer"].items():
        alphabet, examples = key.split("/")
        cells = [mean_of(runs, lambda run, k=key, c=c: run["transfer"][k][c]) for c in columns]
        table.add_row(f"{alphabet}, {first['characters']}", examples, *cells)
    yield table


def main() -> None:
    """Measure what is missing, print the tables."""
    parser = argparse.ArgumentParser("python -m benchmarks.evidence.few_shot", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="where results go")
    parser.add_argument("--embeddings", nargs="+", choices=EMBEDDINGS, default=list(EMBEDDINGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the networks")
    parser.add_argument("--quick", action="store_true", help="few episodes: does it run?")
    given = parser.parse_args()
    torch.set_num_threads(1)
    store = Cache(given.out / f"{'quick-' * given.quick}few_shot.json")
    for seed in given.seeds:
        for name in given.embeddings:
            if name != "pixels" or seed == given.seeds[0]:
                store.get(f"{name}/{seed}", partial(measure, name, seed, given.quick))
    for table in as_tables(store.found):
        Console(width=150).print(table)


if __name__ == "__main__":
    main()
