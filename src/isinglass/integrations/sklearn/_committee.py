"""Learned associations with stored rows and their labels, several side by side."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from isinglass._support.typing import Bool, Float, Int

__all__ = ["Committee", "Setting", "Stored", "stratified_folds"]

#: Share of a class that no stored row speaks for: what is retrieved is never certain.
FLOOR = 0.01
#: Most stored rows that are looked at in a step of learning.
MOST_STORED = 2048


@dataclass(frozen=True)
class Setting:
    """How a committee learns.

    Attributes:
        beta: β where learning starts.
        dropout: Share of the features dropped in a step.
        memory_dropout: Share of the stored rows dropped in a step.
        weight_decay: Of AdamW.
        hidden_size: Units of relu in the projection; 0 leaves it linear.
    """

    beta: float
    dropout: float
    memory_dropout: float
    weight_decay: float
    hidden_size: int


@dataclass(frozen=True)
class Stored:
    """The rows that are remembered, their classes, and by whom each was not learned from.

    Attributes:
        rows: As the committee takes them, ``(n, features)``.
        classes: From 0, ``(n,)``.
        labels: The same, one-hot, ``(n, classes)``.
        fold: The member that did not learn from a row, ``(n,)``.
    """

    rows: Float[Tensor, "n features"]
    classes: Int[Tensor, " n"]
    labels: Float[Tensor, "n classes"]
    fold: Int[Tensor, " n"]

    def take(self, index: Tensor) -> Stored:
        """Returns some of the rows, in this order."""
        return Stored(
            self.rows[index], self.classes[index], self.labels[index], self.fold[index]
        )  # fmt: skip


def stratified_folds(classes: Int[Tensor, " n"], count: int, generator: Generator) -> Tensor:
    """Deals rows to folds at random, of each class to all in turn; sizes differ by one at most.

    Examples:
        >>> folds = stratified_folds(torch.tensor([0, 1, 0, 1]), 2, torch.Generator())
        >>> sorted(folds[[0, 2]].tolist()), sorted(folds[[1, 3]].tolist())
        ([0, 1], [0, 1])
    """
    mixed = torch.randperm(len(classes), generator=generator)
    order = mixed[classes[mixed].argsort(stable=True)]
    folds = torch.empty_like(order)
    folds[order] = torch.arange(len(order)) % count
    return folds


class Committee(nn.Module):
    r"""Associates queries with stored rows in learned projections, and reads their labels.

        z(x) = Mᵀx + Oᵀ relu(Iᵀx + c),   w = softmax_i(−β |z(x) − z(x_i)|² / 2)
        log p(class | x) = a log((1 − ε) Σ_i w_i y_i + ε/C) + Lᵀx + b   but for a constant

    Each member has parameters of its own, all in one product; w is one update of a modern
    Hopfield network whose keys are z(x_i) with biases −β|z(x_i)|²/2 and whose values are labels.

    Args:
        members: E.
        features: d.
        hidden_size: Units of relu; 0 leaves z linear.
        projection_size: Dimensions of z.
        classes: C.
        beta: β where learning starts.
        generator: Source of randomness.
    """

    def __init__(
        self, members: int, features: int, hidden_size: int, projection_size: int, classes: int,
        *, beta: float, generator: Generator,
    ) -> None:  # fmt: skip
        super().__init__()
        self.members = members

        def drawn(gain: float, rows: int, columns: int) -> nn.Parameter:
            weight = torch.randn(members, rows, columns, generator=generator)
            return nn.Parameter(gain * weight / max(rows, 1) ** 0.5)

        def zeros(rows: int, columns: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(members, rows, columns))

        self.metric = drawn(1.0, features, projection_size)
        self.inner = drawn(2**0.5, features, hidden_size)
        self.inner_bias = zeros(1, hidden_size)
        self.outer = drawn(1.0, hidden_size, projection_size)
        self.log_beta = nn.Parameter(torch.full((members, 1, 1), beta).log())
        self.trust = nn.Parameter(torch.ones(members, 1, 1))
        self.linear, self.bias = zeros(features, classes), zeros(1, classes)

    def decayed(self) -> list[nn.Parameter]:
        """Returns the weights, which are drawn toward zero."""
        return [self.metric, self.inner, self.outer, self.linear]

    def project(self, rows: Tensor) -> Float[Tensor, "members rows size"]:
        """Computes √β z of rows, the same for all members or ``(members, rows, features)``."""
        hidden = torch.relu(rows @ self.inner + self.inner_bias)
        return (self.log_beta / 2).exp() * (rows @ self.metric + hidden @ self.outer)

    def association(
        self, queries: Tensor, keys: Tensor, away: Bool[Tensor, "members queries n"] | None = None
    ) -> Float[Tensor, "members queries n"]:
        """Computes w of projected rows, which is zero where ``away``, unless all are.

        Args:
            queries: √β z of those that ask, ``(members, queries, size)``.
            keys: √β z of the stored rows, ``(members, n, size)``.
            away: Which stored rows a query must not see.
        """
        # −|z − z_i|²/2 but for |z|², which softmax does not see.
        scores = torch.baddbmm(keys.square().sum(-1).unsqueeze(1), queries, keys.mT, beta=-0.5)
        if away is not None:
            with torch.no_grad():  # softmax hands no gradient on to what has no weight
                scores.masked_fill_(away, -torch.finfo(scores.dtype).max)
        return scores.softmax(-1)

    def direct(self, rows: Tensor) -> Float[Tensor, "members rows classes"]:
        """Computes Lᵀx + b of rows, the same for all members or ``(members, rows, features)``."""
        return rows @ self.linear + self.bias

    def read(
        self,
        direct: Float[Tensor, "members queries classes"],
        queries: Float[Tensor, "members queries size"],
        keys: Float[Tensor, "members n size"],
        labels: Float[Tensor, "n classes"],
        away: Bool[Tensor, "members queries n"] | None = None,
    ) -> Float[Tensor, "members queries classes"]:
        """Computes log p of each class; a query that may see nothing hears of no class.

        Args:
            direct: Lᵀx + b of the queries.
            queries: Their √β z.
            keys: √β z of the stored rows.
            labels: Of the stored rows.
            away: Which stored rows a query must not see.
        """
        heard = self.association(queries, keys, away) @ labels
        if away is not None:
            heard = heard.masked_fill(away.all(-1, keepdim=True), 0)
        retrieved = ((1 - FLOOR) * heard + FLOOR / labels.shape[1]).log()
        return (self.trust * retrieved + direct).log_softmax(-1)

    def forward(
        self, rows: Float[Tensor, "queries features"], stored: Stored
    ) -> Float[Tensor, "members queries classes"]:
        """Computes log p of each class of new rows, which see all stored ones."""
        asked, keys = self.project(rows), self.project(stored.rows)
        return self.read(self.direct(rows), asked, keys, stored.labels)

    def loss(
        self, batch: Tensor, stored: Stored, setting: Setting, generator: Generator
    ) -> tuple[Tensor, int]:
        """Computes −log p of rows that see all stored rows but themselves, and how many rows.

        A member neither sees nor asks for the rows of its own fold.

        Args:
            batch: Which stored rows are asked for.
            stored: All there are.
            setting: What is dropped.
            generator: Source of randomness.
        """
        device, n = batch.device, len(stored.rows)
        kept = min(max(1, round((1 - setting.memory_dropout) * n)), MOST_STORED)
        seen = torch.randperm(n, generator=generator)[:kept].to(device)
        others, asked = stored.take(seen), stored.take(batch)
        drawn = torch.rand(self.members, 1, stored.rows.shape[1], generator=generator)
        keep = (drawn >= setting.dropout).to(stored.rows)
        # Rows that ask and are seen are projected once.
        both, place = torch.cat([batch, seen]).unique(return_inverse=True)
        rows = stored.rows[both] * keep
        projected = self.project(rows)
        asking, told = place[: len(batch)], place[len(batch) :]
        member = torch.arange(self.members, device=device).unsqueeze(1)
        away = (member == others.fold).unsqueeze(1) | (batch.unsqueeze(1) == seen)
        log_prob = self.read(
            self.direct(rows)[:, asking], projected[:, asking], projected[:, told],
            others.labels, away,
        )  # fmt: skip
        counts = (member != asked.fold).to(log_prob)
        surprise = -(log_prob * asked.labels).sum(-1)
        # Members add up: each is as if it learned alone.
        mean = (surprise * counts).sum(-1) / counts.sum(-1).clamp_min(1)
        return mean.sum(), len(batch)

    @torch.no_grad()
    def held_out(self, stored: Stored, most: int) -> Float[Tensor, "n classes"]:
        """Computes log p of each stored row by the member that did not learn from it.

        It sees all other rows, as it does of new ones, but not the row itself.

        Args:
            stored: The rows.
            most: Numbers that are looked at together.
        """
        n, members = len(stored.rows), self.members
        # Rows of each fold side by side; the shorter ones repeat their last.
        index = torch.nn.utils.rnn.pad_sequence(
            [(stored.fold == m).nonzero()[:, 0] for m in range(members)], True, -1
        ).to(stored.fold)
        index = torch.where(index < 0, index.amax(1, keepdim=True), index)
        found = stored.labels.new_zeros(n, stored.labels.shape[1])
        place, keys = torch.arange(n, device=index.device), self.project(stored.rows)
        for part in index.split(max(1, most // (n * members)), 1):
            rows, away = stored.rows[part], part.unsqueeze(-1) == place
            asked = self.project(rows)
            found[part] = self.read(self.direct(rows), asked, keys, stored.labels, away)
        return found
