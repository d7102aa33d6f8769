"""What trained heads are: neither hard nor averages; which can be replaced, and by what.

Three measurements. ``heads``: for every trained model here, and for random weights of the same
configuration, how many keys hold 90 % of the mass of each head, on two texts (stories260K on its
own stories too). ``broad``: heads replaced by the mean of the values they see, or by fixed weights,
and what a language model loses. ``layers``: whether the state of a layer, corrupted and cleaned up
by a memory of states, still leads to the next token or to the right sentence
(``benchmarks.evidence.middle_layers``). Heads are ranked, weights are fitted and β is chosen on the
validation text, losses are of the test text: WikiText-2, or what stories260K tells at T = 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from transformers import logging

from benchmarks.evidence.cache import Cache
from benchmarks.evidence.middle_layers import decode_from_layers, retrieve_from_layers
from benchmarks.evidence.models import LOADERS, Loaded, MissingModel
from benchmarks.evidence.texts import (
    blocks,
    nats,
    own_stories,
    pair_of_texts,
    read_text,
    untrained,
    windows,
)
from isinglass.analysis.heads import fit_fixed_weights, fixed_features
from isinglass.integrations import inspect
from isinglass.integrations.huggingface.attention_interface import AttentionCall, replaced_attention

#: Tokens of a window, and how many windows, for the table of heads.
SIZES = {"stories260K": (512, 4), "all-MiniLM-L6-v2": (256, 4), "SmolLM2-135M": (512, 2)}
SHARES = (0.05, 0.12, 0.25)


def main() -> None:
    """Parse the command line, measure what is not known yet, print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.findings", description=__doc__
    )
    parser.add_argument("models", nargs="*", default=list(LOADERS), help="which; all if none")
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="where results go")
    parser.add_argument("--seeds", type=int, default=2, help="random weights of each model")
    parser.add_argument("--quick", action="store_true", help="stories260K alone, small windows")
    given = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    cache = Cache(given.out / ("findings-quick.json" if given.quick else "findings.json"))
    names = ["stories260K"] if given.quick else given.models
    for name in names:
        try:
            loaded = LOADERS[name]()
        except MissingModel as missing:
            Console().print(f"{name} is left out: {missing}")
            continue
        measure(loaded, cache, seeds=given.seeds, quick=given.quick)
    for table in as_tables(cache.found):
        Console().print(table)


def measure(loaded: Loaded, cache: Cache, *, seeds: int, quick: bool) -> None:
    """Measure everything of one model that the cache does not know."""
    name = loaded.name
    length, count = (128, 1) if quick else SIZES[name]
    console = Console()
    texts = {
        text: windows(loaded, read_text(text), length, count)
        for text in ("WikiText-2", "Shakespeare")
    }
    if name == "stories260K":
        texts["own stories"] = own_stories(loaded, length, count)
    for text, tokens in texts.items():
        console.print(f"{name}: heads on {text}")
        cache.get(f"heads/{name}/trained/{text}", lambda t=tokens: heads_of(loaded, t))
    for seed in range(1 if quick else seeds):
        model = untrained(loaded, seed)
        for text in ("WikiText-2", "Shakespeare"):
            key = f"heads/{name}/random {seed}/{text}"
            cache.get(key, lambda m=model, t=texts[text]: heads_of(m, t))
    if name == "all-MiniLM-L6-v2":
        console.print(f"{name}: sentences from each layer")
        cache.get(f"layers/{name}", lambda: retrieve_from_layers(loaded))
        return
    console.print(f"{name}: heads replaced")
    broad_heads(loaded, cache, *pair_of_texts(loaded, length, (count, count)), quick)
    console.print(f"{name}: next tokens from each layer")
    decode_from_layers(loaded, cache, quick=quick)


def heads_of(loaded: Loaded, tokens: Tensor) -> dict[str, Any]:
    """Return what the heads of a model do on some tokens, in all and by layer."""
    found = inspect(loaded.model, tokens, every=4, settle=0)
    table: Any = found.table
    one, half, sink = table["k90"] <= 1, table["k90_share"] >= 0.5, table["sink"] > 0.5
    queries: Any = found.queries
    late = queries[queries["keys"] >= 8]
    layers = table.groupby("layer")
    return {
        "tokens": tokens.numel(), "window": tokens.shape[1], "heads": len(table),
        "queries": int(table["queries"].iloc[0]), "one": float(one.mean()),
        "half": float(half.mean()), "sink": float(sink.mean()),
        "one_no_sink": float((one & ~sink).mean()), "k90": float(table["k90"].median()),
        "k90_no_sink": float(table["k90"][~sink].median()),
        "queries_one": float((late["k90"] <= 1).mean()),
        "queries_one_no_sink": float(((late["k90"] <= 1) & (late["first"] <= 0.5)).mean()),
        "classes": found.counts, "explained": float(table["explained"].median()),
        "k90_by_layer": layers["k90"].median().tolist(),
        "sink_by_layer": sink.groupby(table["layer"]).mean().tolist(),
        "beta_by_layer": layers["effective_beta"].mean().tolist(),
    }  # fmt: skip


class Replaced:
    """Attention with some heads replaced by c + Σ weights × fixed features."""

    def __init__(self, layers: int) -> None:
        self.layers, self.calls = layers, 0
        #: By layer and head: the weights of mean, first, self, previous, and c.
        self.fixed: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def attend(self, call: AttentionCall) -> tuple[Tensor, None]:
        """Attends as the model would, but for the heads that are fixed."""
        layer, self.calls = self.calls % self.layers, self.calls + 1
        output = call.fused()
        chosen = [head for there, head in self.fixed if there == layer]
        if chosen:
            rows = torch.arange(call.query.shape[2])
            tables = torch.stack(list(fixed_features(call.heads(), rows).values()))
            output = output.clone()
            for head in chosen:
                weights, shift = self.fixed[layer, head]
                output[:, :, head] = torch.einsum("f,fble->ble", weights, tables[:, :, head])
                output[:, :, head] += shift
        return output, None


def fits_of(model: Any, tokens: Tensor) -> dict[tuple[int, int], dict[str, Any]]:
    """Return, by layer and head, breadth, error beside the residual stream, and fixed weights."""
    fits: dict[tuple[int, int], dict[str, Any]] = {}
    inside = blocks(model)
    streams: list[float] = []

    def note(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        streams.append(float(args[0].square().sum()))

    def attend(call: AttentionCall) -> tuple[Tensor, None]:
        layer = len(streams) - 1
        output = call.fused()
        features = fixed_features(call.heads(), torch.arange(call.query.shape[2]))
        heads, size = output.shape[2:]
        metric = inside[layer].self_attn.o_proj.weight.detach().unflatten(1, (heads, size))
        moved = output.transpose(1, 2)
        fit = fit_fixed_weights(moved, features, metric=metric.transpose(0, 1))
        for head in range(heads):
            means = torch.stack([table[:, head].mean((0, 1)) for table in features.values()])
            weights = fit.weights[head].to(means)
            fits[layer, head] = {
                "error": float(fit.error[head] / streams[layer]) ** 0.5, "weights": weights,
                "shift": moved[:, head].mean((0, 1)) - weights @ means,
            }  # fmt: skip
        return output, None

    handles = [block.register_forward_pre_hook(note) for block in inside]
    with replaced_attention(model, attend), torch.no_grad():
        model(tokens)
    for handle in handles:
        handle.remove()
    table: Any = inspect(model, tokens, every=4, settle=0).table
    for line in table.to_dict("records"):
        fits[line["layer"], line["head"]]["breadth"] = line["k90_share"]
    return fits


def broad_heads(loaded: Loaded, cache: Cache, valid: Tensor, test: Tensor, quick: bool) -> None:
    """Measure the loss of the test text with heads replaced, by rank on the validation text."""
    key = f"broad/{loaded.name}/"
    wanted = [("breadth", "mean"), ("random", "mean"), ("error", "mean"), ("error", "fixed")]
    names = [f"{key}{rank}/{how}/{share}" for rank, how in wanted for share in SHARES]
    if all(name in cache.found for name in names):
        return
    fits = fits_of(loaded.model, valid)
    replaced = Replaced(len(blocks(loaded.model)))
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(fits), generator=generator).tolist()
    ranks = {
        "breadth": sorted(fits, key=lambda at: -fits[at]["breadth"]),
        "error": sorted(fits, key=lambda at: fits[at]["error"]),
        "random": [list(fits)[number] for number in order],
    }

    def loss() -> dict[str, Any]:
        with replaced_attention(loaded.model, replaced.attend), torch.no_grad():
            nats_ = nats(loaded.model(test).logits, test)
        return {"nats": nats_, "heads": len(replaced.fixed), "tokens": test.numel()}

    cache.get(f"{key}none", loss)
    for rank, how in wanted[: 1 if quick else None]:
        for share in SHARES:
            chosen = ranks[rank][: max(1, round(share * len(fits)))]
            for at in chosen:
                weights, shift = fits[at]["weights"], fits[at]["shift"]
                if how == "mean":
                    # fixed_features gives the mean first.
                    weights, shift = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.zeros_like(shift)
                replaced.fixed[at] = weights, shift
            cache.get(f"{key}{rank}/{how}/{share}", loss)
            replaced.fixed.clear()


def as_tables(found: dict[str, Any]) -> list[Table]:
    """Everything for the eye."""
    heads = Table("model", "text", "k90 = 1", "no sink", "k90 ≥ n/2", "sinks", "k90", title="Heads")
    broad = Table("model", "ranked by", "replaced by", "share", "perplexity", title="Replaced")
    layers = Table("model", "layer", "what was done", "result", title="From a layer")
    for key, line in found.items():
        kind, name, *rest = key.split("/")
        if kind == "heads":
            heads.add_row(
                f"{name}, {rest[0]}", rest[1], *(f"{100 * line[part]:.1f} %" for part in (
                    "one", "one_no_sink", "half", "sink")), f"{line['k90']:.1f}",
            )  # fmt: skip
        elif kind == "broad" and len(rest) == 3:
            more = torch.tensor(line["nats"] - found[f"broad/{name}/none"]["nats"]).exp() - 1
            broad.add_row(name, *rest, f"{100 * float(more):+.1f} %")
        elif kind == "layers":
            for what, value in line.items():
                values = value if isinstance(value, dict) else {"": value}
                shown = ", ".join(f"{part} {number:.4g}".strip() for part, number in values.items())
                layers.add_row(name, rest[0] if rest else "", what, shown)
    return [heads, broad, layers]


if __name__ == "__main__":
    main()
