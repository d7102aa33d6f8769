"""Which heads of a model are replaced, and by what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from isinglass._support.optional import require_extra
from isinglass._support.typing import Float, Int
from isinglass.errors import FileError, ShapeError
from isinglass.io.atomic import atomic_write

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FEATURES", "FixedHeads", "HeadPlan"]

#: What fixed weights are put on, in the order of their weights.
FEATURES = ("mean", "first", "self", "previous")
FORMAT = "isinglass head plan 1"


class FixedHeads(NamedTuple):
    """The heads of one module that are replaced: o ≈ c + a·mean + b·v_first + d·v_self + e·v_prev.

    Attributes:
        heads: Which heads, ascending, ``(m,)``.
        weights: a, b, d, e, ``(m, 4)``.
        constant: c, ``(m, e)``.
        explained: Share of the variance of the output, ``(m,)``; as of :class:`FixedFit`.
        error: √(Σ|W(o − ô)|²/Σ|x|²), x the residual stream, ``(m,)``.
        damage: What the loss was estimated to rise by, nats a token, ``(m,)``.
    """

    heads: Int[Tensor, " m"]
    weights: Float[Tensor, "m 4"]
    constant: Float[Tensor, "m e"]
    explained: Float[Tensor, " m"]
    error: Float[Tensor, " m"]
    damage: Float[Tensor, " m"]


@dataclass(frozen=True)
class HeadPlan:
    """Heads that are replaced by fixed weights, by the name of their module.

    Args:
        modules: The heads of each module.
        total: How many heads the model has.

    Raises:
        ShapeError: If the tensors of a module do not fit together.

    Examples:
        >>> import torch
        >>> one = FixedHeads(torch.tensor([1]), torch.zeros(1, 4), torch.zeros(1, 8),
        ...                  torch.ones(1), torch.zeros(1), torch.zeros(1))
        >>> plan = HeadPlan({"layers.0.self_attn": one}, total=4)
        >>> len(plan), plan.share
        (1, 0.25)
    """

    modules: Mapping[str, FixedHeads]
    total: int

    def __post_init__(self) -> None:
        for name, part in self.modules.items():
            count = len(part.heads)
            sizes = {len(values) for values in part}
            if sizes != {count} or part.weights.shape != (count, len(FEATURES)):
                raise ShapeError(
                    f"{name}: {count} heads, weights {tuple(part.weights.shape)}, constants "
                    f"{tuple(part.constant.shape)}",
                    "Give every head four weights and one constant vector",
                )

    def __len__(self) -> int:
        return sum(len(part.heads) for part in self.modules.values())

    @property
    def share(self) -> float:
        """The share of the heads of the model that is replaced."""
        return len(self) / max(1, self.total)

    @property
    def table(self) -> pd.DataFrame:
        """One line a head: its weights, what they explain, and what they cost."""
        with require_extra("cli"):
            import pandas as pd
        lines = []
        for name, part in self.modules.items():
            for at, head in enumerate(part.heads.tolist()):
                weights = dict(zip(FEATURES, part.weights[at].tolist(), strict=True))
                line = {"module": name, "head": head, **weights}
                line["constant"] = float(part.constant[at].norm())
                line |= {n: float(getattr(part, n)[at]) for n in ("explained", "error", "damage")}
                lines.append(line)
        return pd.DataFrame(lines)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes the plan as safetensors, whole or not at all.

        Args:
            path: Where it goes.
            overwrite: Whether a file already there may be replaced.

        Raises:
            FileError: If the file exists or cannot be written.

        Examples:
            >>> import tempfile
            >>> path = tempfile.mkdtemp() + "/plan.safetensors"
            >>> HeadPlan({}, total=4).save(path)
            >>> HeadPlan.load(path).total
            4
        """
        names = list(self.modules)
        tensors = {
            f"{number}.{field}": values.detach().cpu().contiguous()
            for number, name in enumerate(names)
            for field, values in self.modules[name]._asdict().items()
        }
        header = {"format": FORMAT, "modules": names, "total": self.total}
        with atomic_write(path, overwrite=overwrite) as aside:
            save_file(tensors, aside, metadata={"isinglass": json.dumps(header)})

    @classmethod
    def load(cls, path: str | Path) -> HeadPlan:
        """Reads a plan that :meth:`save` wrote.

        Args:
            path: The file.

        Raises:
            FileError: If it cannot be read or is no plan.
        """
        operation = f"loading {path}"
        try:
            with safe_open(path, "pt") as file:
                header = json.loads((file.metadata() or {}).get("isinglass", "{}"))
                stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, json.JSONDecodeError) as error:
            raise FileError(str(error), "Give a file that save wrote", operation) from error
        if header.get("format") != FORMAT:
            raise FileError("it is no plan of heads", "Give a file that save wrote", operation)
        try:
            modules = {
                name: FixedHeads(*(stored[f"{number}.{field}"] for field in FixedHeads._fields))
                for number, name in enumerate(header["modules"])
            }
        except KeyError as error:
            raise FileError(
                f"{error} is missing", "Give a file that save wrote", operation
            ) from error
        return cls(modules, header["total"])
