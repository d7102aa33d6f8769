"""What looks at the heads of a model while it runs: statistics, weights behind, residual stream."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from isinglass.analysis.heads import (
    FixedFit,
    HeadClass,
    HeadStatistics,
    Settled,
    classify_heads,
    fit_fixed_weights,
    fixed_features,
    head_statistics,
    settle,
)
from isinglass.errors import DomainError
from isinglass.integrations.huggingface.attention_interface import AttentionCall
from isinglass.integrations.huggingface.residual_stream import ResidualStream

__all__ = ["CROSS", "HeadRecorder", "LayerRecord", "QueryRecorder", "QueryView"]

#: Names of attention to another sequence.
CROSS = re.compile(r"cross|encoder_attn|encdec|multihead_attn", re.IGNORECASE)


@dataclass(frozen=True)
class LayerRecord:
    """What was found of one call of attention.

    Attributes:
        layer: The number of the call, from 0.
        module: The name of the module that called.
        kind: ``"self"``, or ``"cross"`` where another sequence is looked at.
        rows: Which queries were looked at, ``(R,)``.
        valid: Which of them count, being no padding, ``(b, R)``.
        statistics: What was found of them.
        settled_rows: Which queries had their step iterated.
        settled: What was found of these; None if there are none.
        fit: What fixed weights explain.
        stream: Σ|x|² of the residual stream over the queries that count; NaN if it is not known.
    """

    layer: int
    module: str
    kind: str
    rows: Tensor
    valid: Tensor
    statistics: HeadStatistics
    settled_rows: Tensor
    settled: Settled | None
    fit: FixedFit
    stream: float

    def classes(self) -> Tensor:
        """Returns the class of each head, ``(H,)``."""
        found = self.statistics
        keys = found.keys.where(self.valid[:, None], 0)
        flat = (part.transpose(0, 1).flatten(1) for part in (found.k90, keys, self.sink()))
        return classify_heads(*flat)

    def sink(self) -> Tensor:
        """Returns the mass on the first key and on the null pattern, ``(b, H, R)``.

        A query that sees one key alone has nowhere else to look.
        """
        return self.statistics.first + self.statistics.null

    def lines(self) -> list[dict[str, Any]]:
        """Returns one line of the table for each head."""
        found, kinds = self.statistics, self.classes()
        valid = self.valid[:, None].expand_as(found.energy)
        share = found.k90 / found.keys.clamp(min=1)
        medians = {"k90": found.k90, "k90_share": share, "separation": found.separation}
        means = {
            "keys": found.keys, "entropy": found.entropy, "effective_beta": found.effective_beta,
            "energy": found.energy, "energy_after": found.energy_after, "sink": self.sink(),
            "first": found.first, "null": found.null,
        }  # fmt: skip
        columns = {name: _over_queries(part, valid, True) for name, part in medians.items()}
        columns |= {name: _over_queries(part, valid, False) for name, part in means.items()}
        columns |= {"explained": self.fit.explained, "error": (self.fit.error / self.stream).sqrt()}
        if self.settled is not None:
            columns["rests"] = self.settled.rests.double().mean((0, 2))
            columns["steps"] = self.settled.steps.double().mean((0, 2))
            columns["k90_at_rest"] = (
                self.settled.k90.double().transpose(0, 1).flatten(1).quantile(0.5, -1)
            )
        values = {name: part.tolist() for name, part in columns.items()}
        shared = {"layer": self.layer, "module": self.module, "kind": self.kind}
        titles = [HeadClass(int(kind)).title for kind in kinds]
        return [
            {**shared, "head": head, "class": title, "queries": int(self.valid.sum())}
            | {name: part[head] for name, part in values.items()}
            for head, title in enumerate(titles)
        ]

    def query_columns(self) -> dict[str, Any]:
        """Returns the columns of the table of queries, of those that count."""
        found = self.statistics
        valid = self.valid[:, None].expand_as(found.energy)
        sequence, head, row = valid.nonzero(as_tuple=True)
        columns: dict[str, Any] = {
            "layer": self.layer, "module": self.module, "head": head.tolist(),
            "sequence": sequence.tolist(), "query": self.rows[row].tolist(),
        }  # fmt: skip
        return columns | {name: part[valid].tolist() for name, part in found._asdict().items()}


def _over_queries(values: Tensor, valid: Tensor, median: bool) -> Tensor:
    """The median or the mean of each head over the queries that count, ``(H,)``."""
    flat = values.double().masked_fill(~valid, torch.nan).transpose(0, 1).flatten(1)
    return flat.nanquantile(0.5, -1) if median else flat.nanmean(-1)


class HeadRecorder:
    """Computes the statistics of every call of attention, beside the call.

    Args:
        model: The model.
        every: Every so manieth query is looked at.
        settle: How many queries have their step iterated.
        padding: Masks of the inputs, for models whose masks do not tell.
        notify: Called with the number of layers after each.
    """

    def __init__(
        self,
        model: nn.Module,
        every: int,
        settle: int,
        padding: list[Tensor],
        notify: Callable[[int], None] | None = None,
    ) -> None:
        self.layers: list[LayerRecord] = []
        self._every, self._settle, self._padding = every, settle, padding
        self._notify = notify
        self._names = {id(module): name for name, module in model.named_modules()}
        self._stream = ResidualStream(model)

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Watches residual stream and output weights while the block runs."""
        with self._stream.hooked():
            yield

    def attend(self, call: AttentionCall) -> tuple[Tensor, None]:
        """Attends as the model would, and looks at the heads beside."""
        self._stream.finish()
        output = call.fused()
        self._record(call, output)
        return output, None

    def _record(self, call: AttentionCall, output: Tensor) -> None:
        heads, length = call.heads(), call.query.shape[2]
        name = self._names.get(id(call.module), type(call.module).__name__)
        cross = bool(CROSS.search(f"{name} {type(call.module).__name__}"))
        device, sequences = call.query.device, len(call.key)
        rows = torch.arange(length - 1, -1, -self._every, device=device).flip(0)
        padding = call.padding
        if padding is None and not cross:
            fits = (m for m in self._padding if tuple(m.shape) == (sequences, heads.key.shape[2]))
            padding = next(fits, None)
        first = None if padding is None else padding.to(device).long().argmax(-1)
        found = head_statistics(heads, rows, first=first)
        for energy in (found.energy, found.energy_after):
            if bool(energy.isnan().any()):
                raise DomainError(
                    f"NaN in the scores of {name}", "Give inputs and weights that are finite"
                )
        valid = found.keys[:, 0] > 0
        if padding is not None and not cross:
            own = (rows + call.offset).clamp(max=padding.shape[1] - 1)
            valid = valid & padding.to(device)[:, own]
        elif cross:
            fits = (m for m in self._padding if tuple(m.shape) == (sequences, length))
            valid = valid & next(fits, torch.ones(sequences, length, device=device) > 0)[:, rows]
        some, at_rest = self._settle_some(heads, rows)
        features = fixed_features(heads, rows, first=first, offset=None if cross else call.offset)
        given = output[:, rows].transpose(1, 2)
        layer = len(self.layers)
        stream = self._stream.squares(name, rows, valid, length)

        def record(metric: Tensor | None) -> None:
            fit = fit_fixed_weights(given, features, metric=metric, valid=valid)
            self.layers.append(LayerRecord(
                layer, name, "cross" if cross else "self", rows.cpu(), valid.cpu(),
                HeadStatistics(*(part.cpu() for part in found)), some.cpu(), at_rest,
                FixedFit(*(part.cpu() for part in fit)),
                stream if metric is not None else float("nan"),
            ))  # fmt: skip
            if self._notify is not None:
                self._notify(len(self.layers))

        self._stream.expect(output, record)

    def _settle_some(self, heads: Any, rows: Tensor) -> tuple[Tensor, Settled | None]:
        count = min(self._settle, len(rows))
        if not count:
            return rows[:0], None
        # Evenly over the rows, the last among them.
        places = (len(rows) * torch.arange(1, count + 1, device=rows.device)) // count - 1
        some = rows[places]
        return some, Settled(*(part.cpu() for part in settle(heads, some)))


@dataclass(frozen=True)
class QueryView:
    """One query of every head, layer by layer.

    Attributes:
        query: Its place in the sequence.
        modules: The names of the modules.
        attention: p over the keys, ``(H, S)`` each.
        energies: E before and after each step, ``(H, steps + 1)`` each.

    Examples:
        >>> QueryView(query=3).attention
        []
    """

    query: int
    modules: list[str] = field(default_factory=list)
    attention: list[Tensor] = field(default_factory=list)
    energies: list[Tensor] = field(default_factory=list)


class QueryRecorder:
    """Keeps attention and energy path of one query of every head.

    Args:
        query: Its place in the sequence; negative counts from the end.
        sequence: Which of the batch.
        steps: How often the step is iterated.
    """

    def __init__(self, query: int, sequence: int, steps: int) -> None:
        self._sequence, self._steps = sequence, steps
        self.view = QueryView(query)

    def attend(self, call: AttentionCall) -> tuple[Tensor, None]:
        """Attends as the model would, and looks at the query beside."""
        length, at = call.query.shape[2], self.view.query
        if -length <= at < length and 0 <= self._sequence < len(call.key):
            heads, row = call.heads(), torch.tensor([at % length], device=call.query.device)
            self.view.modules.append(type(call.module).__name__)
            self.view.attention.append(heads.weights(row)[self._sequence, :, 0].cpu())
            energies = settle(heads, row, steps=self._steps).energies
            self.view.energies.append(energies[self._sequence, :, 0].cpu())
        return call.fused(), None
