"""Trained models heated: every head drawn m times instead of averaged, without retraining.

``error``: the distance of what a model gives from what it gives at m → ∞, in spreads of that, and
perplexity, against m: one head drawn, one layer, all heads. ``doubt``: entropies of S heated passes
beside what one pass says (token entropy, gap of the two best, attention) and attention dropout of S
passes, as scores of wrong next tokens and of foreign text: AUROC. No model here has dropout layers
of its own that were used in training; dropout of attention is switched on as ``MC dropout``.
``speed``: processor seconds of a pass, one thread, beside eager attention.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.metrics import roc_auc_score
from torch import Tensor
from transformers import logging

from benchmarks.evidence.cache import Cache
from benchmarks.evidence.models import LOADERS, Loaded, MissingModel
from benchmarks.evidence.texts import blocks, nats, own_stories, read_text, windows
from isinglass.analysis.heads import head_statistics
from isinglass.integrations import sampled_attention
from isinglass.integrations.huggingface.attention_interface import AttentionCall, replaced_attention

DRAWS = (1, 4, 16, 64, 256, 1024, 4096)
PASSES = 8
DROPOUT = 0.1
PARTS = ("error", "doubt", "speed")


def main() -> None:
    """Parse the command line, measure what is not known yet, print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evidence.heat", description=__doc__)
    parser.add_argument("models", nargs="*", default=list(LOADERS), help="which; all if none")
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="where results go")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what of it")
    parser.add_argument("--quick", action="store_true", help="stories260K alone, small windows")
    given = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    cache = Cache(given.out / ("heat-quick.json" if given.quick else "heat.json"))
    for name in ["stories260K"] if given.quick else given.models:
        try:
            loaded = LOADERS[name]()
        except MissingModel as missing:
            Console().print(f"{name} is left out: {missing}")
            continue
        if "error" in given.parts:
            errors(loaded, cache, given.quick)
        if "doubt" in given.parts and name != "all-MiniLM-L6-v2":
            doubts(loaded, cache, given.quick)
        if "speed" in given.parts:
            cache.get(f"speed/{name}", lambda one=loaded: speed(one, 3 if given.quick else 7))
    for table in as_tables(cache.found):
        Console().print(table)


class Heated:
    """Attention drawn in all heads, in those of a layer, or in one."""

    def __init__(self, layers: int, generator: torch.Generator) -> None:
        self.layers, self.calls, self.generator = layers, 0, generator
        self.layer: int | None = None
        self.head: int | None = None
        self.draws = 1

    def attend(self, call: AttentionCall) -> tuple[Tensor, None]:
        """Attends, drawing where it was asked for."""
        layer, self.calls = self.calls % self.layers, self.calls + 1
        if self.layer not in (None, layer):
            return call.fused(), None
        if self.head is None:
            return call.attend(self.draws, generator=self.generator)[0], None
        output = call.fused().clone()
        shared = call.query.shape[1] // call.key.shape[1]
        own, group = (slice(at, at + 1) for at in (self.head, self.head // shared))
        one = replace(call, query=call.query[:, own], key=call.key[:, group],
                      value=call.value[:, group])  # fmt: skip
        output[:, :, own] = one.attend(self.draws, generator=self.generator)[0]
        return output, None


def home(loaded: Loaded, length: int, count: int) -> Tensor:
    """Return a text that a model is at home in: WikiText-2, or stories of its own at T = 1."""
    if loaded.name == "stories260K":
        return own_stories(loaded, length, count, seed=0)
    return windows(loaded, read_text("WikiText-2"), length, count)


def errors(loaded: Loaded, cache: Cache, quick: bool) -> None:
    """Measure error and perplexity against m for all heads, for layers and for single heads."""
    name, model = loaded.name, loaded.model
    depth, heads = len(blocks(model)), model.config.num_attention_heads
    places: list[tuple[int | None, int | None]]
    if name == "SmolLM2-135M":
        length, count, repeats, draws = 256, 1, 1, DRAWS[:5]
        places = [(14, None), (14, 0)]
    else:
        length, count, repeats, draws = 256, 2, 2, DRAWS
        every = 1 if name == "stories260K" else 6
        places = [(layer, None) for layer in range(depth)]
        places += [divmod(at, heads) for at in range(0, depth * heads, every)]
    if quick:
        length, count, repeats, places = 128, 1, 1, places[:: len(places) // 4]
    tokens = home(loaded, length, count)
    heated = Heated(depth, torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = given(model, tokens)
    for layer, head in track([(None, None), *places], description=f"{name}, error"):
        heated.layer, heated.head = layer, head
        which = "all" if layer is None else f"layer {layer}" + ("" if head is None else f".{head}")
        some = draws if name != "SmolLM2-135M" or layer is None else (4, 64)
        cache.get(
            f"error/{name}/{which}",
            lambda m=some: error_by_draws(model, heated, tokens, exact, m, repeats),
        )


def given(model: Any, tokens: Tensor) -> Tensor:
    """Return logits, or the states of an encoder."""
    output = model(tokens)
    return output.logits if "logits" in output else output.last_hidden_state


@torch.no_grad()
def error_by_draws(
    model: Any, heated: Heated, tokens: Tensor, exact: Tensor, draws: tuple[int, ...], repeats: int
) -> dict[str, Any]:
    """Return the root-mean-square error over the spread, nats, and slopes, against m."""
    centred = exact - exact.mean(-1, keepdim=True)
    lines: dict[str, Any] = {"error": {}, "nats": {}}
    decodes = exact.shape[-1] == getattr(model.config, "vocab_size", 0)
    for m in draws:
        heated.draws, squares, losses = m, [], []
        for _ in range(repeats):
            with replaced_attention(model, heated.attend):
                found = given(model, tokens)
            off = found - found.mean(-1, keepdim=True) - centred
            squares.append(float(off.square().mean()))
            if decodes:
                losses.append(nats(found, tokens))
        lines["error"][str(m)] = float(
            (float(np.mean(squares)) / float(centred.square().mean())) ** 0.5
        )
        lines["nats"][str(m)] = float(np.mean(losses)) if decodes else None
    sizes, found = np.log(draws), np.log(list(lines["error"].values()))
    lines["slope"] = float(np.polyfit(sizes, found, 1)[0])
    lines["local slopes"] = (np.diff(found) / np.diff(sizes)).tolist()
    lines["exact nats"] = nats(exact, tokens) if decodes else None
    return lines | {"tokens": tokens.numel(), "repeats": repeats}


def doubts(loaded: Loaded, cache: Cache, quick: bool) -> None:
    """Measure what tells wrong next tokens and foreign text."""
    small = loaded.name == "stories260K"
    length, count = (128, 1) if quick else (256, 8) if small else (256, 2)
    draws = (16,) if quick else (4, 16, 64) if small else (16,)
    texts = {"home": home(loaded, length, count)}
    texts["Shakespeare"] = windows(loaded, read_text("Shakespeare"), length, count)
    if small:
        texts["WikiText-2"] = windows(loaded, read_text("WikiText-2"), length, count)
    key = f"doubt/{loaded.name}"
    if key in cache.found:
        return
    scores = {
        name: scores_of(loaded.model, tokens, draws, f"{loaded.name}, doubt, {name}")
        for name, tokens in texts.items()
    }
    found: dict[str, Any] = {"window": length, "windows": count, "passes": PASSES}
    for score in scores["home"]:
        if score == "wrong":
            continue
        line = {}
        for name, of in scores.items():
            line[f"wrong, {name}"] = auroc(of["wrong"], of[score])
            if name != "home":
                line[f"foreign, {name}"] = foreign(scores["home"][score], of[score], 1)
                line[f"foreign by 32, {name}"] = foreign(scores["home"][score], of[score], 32)
        found[score] = line
    found["share wrong"] = {name: float(of["wrong"].mean()) for name, of in scores.items()}
    cache.get(key, lambda: found)


def foreign(home_scores: np.ndarray, scores: np.ndarray, width: int) -> float:
    """Return the AUROC between texts of the mean score over so many tokens."""
    parts = []
    for of in (home_scores, scores):
        whole = of[:, : of.shape[1] // width * width]
        parts.append(whole.reshape(len(of), -1, width).mean(-1).ravel())
    labels = np.repeat([0, 1], [len(part) for part in parts])
    return auroc(labels, np.concatenate(parts))


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the chance that a positive scores higher than a negative."""
    labels = labels.ravel()
    return float(roc_auc_score(labels, scores.ravel())) if 0 < labels.mean() < 1 else float("nan")


@torch.no_grad()
def scores_of(
    model: Any, tokens: Tensor, draws: tuple[int, ...], label: str
) -> dict[str, np.ndarray]:
    """Return scores of every next token, ``(b, L − 1)`` each, higher where in doubt."""
    generator = torch.Generator().manual_seed(0)
    entropies, firsts = [], []

    def look(call: AttentionCall) -> tuple[Tensor, None]:
        seen = head_statistics(call.heads(), torch.arange(call.query.shape[2]))
        entropies.append(seen.entropy.mean(1))
        firsts.append(seen.first.mean(1))
        return call.fused(), None

    with replaced_attention(model, look):
        logits = model(tokens).logits[:, :-1]
    best = logits.softmax(-1).topk(2).values
    found = {
        "wrong": (logits.argmax(-1) != tokens[:, 1:]).float(),
        "token entropy": entropy(logits.softmax(-1)),
        "1 − best": 1 - best[..., 0],
        "gap of two best": best[..., 1] - best[..., 0],
        "attention entropy": torch.stack(entropies).mean(0)[:, :-1],
        "mass on the first": torch.stack(firsts).mean(0)[:, :-1],
    }

    def dropped(call: AttentionCall) -> tuple[Tensor, None]:
        return call.attend(None, dropout=DROPOUT, generator=generator)[0], None

    ways: dict[str, Callable[[], Any]] = {
        f"m = {m}": lambda m=m: sampled_attention(model, m, generator) for m in draws
    }
    ways["MC dropout"] = lambda: replaced_attention(model, dropped)
    for way, manager in track(ways.items(), description=label):
        probabilities = []
        for _ in range(PASSES):
            with manager():
                probabilities.append(model(tokens).logits[:, :-1].softmax(-1))
        mean = torch.stack(probabilities).mean(0)
        single = torch.stack([entropy(one) for one in probabilities]).mean(0)
        votes = torch.stack([one.argmax(-1) for one in probabilities])
        found[f"{way}, entropy"] = entropy(mean)
        found[f"{way}, 1 − best"] = 1 - mean.amax(-1)
        found[f"{way}, mutual information"] = entropy(mean) - single
        found[f"{way}, passes that differ"] = 1 - (votes == votes.mode(0).values).float().mean(0)
    return {name: score.numpy() for name, score in found.items()}


def entropy(probabilities: Tensor) -> Tensor:
    """Return −Σ p log p."""
    return torch.special.entr(probabilities).sum(-1)


@torch.no_grad()
def speed(loaded: Loaded, repeats: int) -> dict[str, Any]:
    """Return processor seconds of one pass over 512 tokens (256 of an encoder of sentences)."""
    length = 256 if loaded.name == "all-MiniLM-L6-v2" else 512
    tokens = windows(loaded, read_text("WikiText-2"), length, 1)
    model, generator = loaded.model, torch.Generator().manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ways = {
        "eager": lambda: implementation(model, "eager"),
        "fused": lambda: implementation(model, "sdpa"),
        **{f"m = {m}": lambda m=m: sampled_attention(model, m, generator) for m in (1, 4, 16, 64)},
    }
    found: dict[str, Any] = {"tokens": length}
    for name, manager in ways.items():
        with manager():
            model(tokens)
            spent = []
            for _ in range(repeats):
                start = time.process_time()
                model(tokens)
                spent.append(time.process_time() - start)
        found[name] = median(spent)
    torch.set_num_threads(threads)
    return found


@contextmanager
def implementation(model: Any, name: str) -> Iterator[None]:
    """Let a model use an attention of transformers while the block runs."""
    before = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def as_tables(found: dict[str, Any]) -> list[Table]:
    """Everything for the eye."""
    error = Table("model", "drawn", *(f"m = {m}" for m in DRAWS), "slope", title="Error")
    loss = Table("model", *(f"m = {m}" for m in DRAWS), "m → ∞", title="Perplexity")
    doubt = Table("model", "score", "what", "AUROC", title="Doubt")
    seconds = Table("model", "attention", "seconds", "of eager", title="Speed")
    for key, line in found.items():
        kind, name, *rest = key.split("/")
        if kind == "error":
            cells = [f"{line['error'][str(m)]:.4f}" if str(m) in line["error"] else ""
                     for m in DRAWS]  # fmt: skip
            error.add_row(name, rest[0], *cells, f"{line['slope']:.3f}")
            if rest[0] == "all" and line["exact nats"]:
                numbers = [*(line["nats"].get(str(m)) for m in DRAWS), line["exact nats"]]
                loss.add_row(name, *(f"{np.exp(n):.2f}" if n else "" for n in numbers))
        elif kind == "doubt":
            for score, of in line.items():
                for what, value in of.items() if isinstance(of, dict) else ():
                    doubt.add_row(name, score, what, f"{value:.3f}")
        elif kind == "speed":
            for way, value in line.items():
                if way != "tokens":
                    seconds.add_row(name, way, f"{value:.3f}", f"{value / line['eager']:.2f}")
    return [error, loss, doubt, seconds]


if __name__ == "__main__":
    main()
