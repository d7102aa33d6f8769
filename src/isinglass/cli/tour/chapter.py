"""What a chapter of the tour is made of."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isinglass._support.optional import require_extra

with require_extra("cli"):
    from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

__all__ = ["COLORS", "Chapter", "Drawing", "Fact", "Tick", "draw", "new_figure", "show_image"]

#: Called with how far a chapter is, 0 to 1, and what it is doing.
Tick = Callable[[float, str], None]

COLORS = {"ours": "#0b7285", "peer": "#c2410c", "other": "#868e96", "ink": "#1c2a33"}


@dataclass(frozen=True)
class Fact:
    """A line of the summary: what was measured, ours, and what stands beside it."""

    what: str
    ours: str
    beside: str


@dataclass(frozen=True)
class Drawing:
    """A figure as PNG, with what it shows and its width on the page in pixels."""

    png: bytes
    caption: str
    width: int

    def data_uri(self) -> str:
        """The drawing as a link that needs no network."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclass
class Chapter:
    """One verb, done."""

    verb: str
    title: str
    lead: str
    pictures: list[Drawing] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


def new_figure(width: float, height: float) -> Figure:
    """A figure of this size in inches that belongs to no window and no global state."""
    return Figure(figsize=(width, height), layout="constrained")


def draw(figure: Figure, caption: str) -> Drawing:
    """Render a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144)
    return Drawing(buffer.getvalue(), caption, round(96 * figure.get_figwidth()))


def show_image(axes: Axes, image: Tensor, title: str = "", edge: str | None = None) -> None:
    """Draw an 8 × 8 image, ink dark, without ticks."""
    axes.imshow(image.numpy(), cmap="gray_r", vmin=0, vmax=16, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    if title:
        axes.set_title(title, fontsize=10)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(edge or "#ced4da")
        spine.set_linewidth(1.6 if edge else 0.6)
