"""Chapters of the tour: what was measured and drawn."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isinglass._support.optional import require_extra
from isinglass._support.palette import BLUE, GRAY, INK, LINE, VERMILION

with require_extra("cli"):
    from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

__all__ = ["COLORS", "Chapter", "Drawing", "Fact", "new_figure", "show_image"]

COLORS = {"own": BLUE, "peer": VERMILION, "other": GRAY, "ink": INK}


@dataclass(frozen=True)
class Fact:
    """A line of the summary: what was measured, our own figure, and what stands beside it."""

    what: str
    own: str
    beside: str


@dataclass(frozen=True)
class Drawing:
    """A figure with its caption, and what is to be seen on it, for who does not see it."""

    figure: Figure
    caption: str
    alt: str

    @property
    def width(self) -> int:
        """Width on the page in pixels."""
        return round(96 * self.figure.get_figwidth())

    def data_uri(self) -> str:
        """Renders as a link that needs no network."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=144)
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@dataclass
class Chapter:
    """One verb with its pictures, figures and notes."""

    verb: str
    title: str
    lead: str
    pictures: list[Drawing] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


def new_figure(width: float, height: float) -> Figure:
    """Makes a figure of this size in inches that belongs to no window and no global state."""
    return Figure(figsize=(width, height), layout="constrained")


def show_image(axes: Axes, image: Tensor, title: str = "", edge: str | None = None) -> None:
    """Draws an 8 × 8 image, ink dark, without ticks."""
    axes.imshow(image.numpy(), cmap="gray_r", vmin=0, vmax=16, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    if title:
        axes.set_title(title, fontsize=10)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(edge or LINE)
        spine.set_linewidth(1.6 if edge else 0.6)
