"""Colors and marks of every picture: Okabe and Ito's, told apart without color too."""

from __future__ import annotations

__all__ = [
    "BLACK",
    "BLUE",
    "GRAY",
    "GREEN",
    "INK",
    "LINE",
    "ORANGE",
    "PURPLE",
    "SERIES",
    "SKY",
    "VERMILION",
    "YELLOW",
    "contrast",
]

# Okabe & Ito 2008, "Color universal design", jfly.uni-koeln.de/color.
BLACK, ORANGE, SKY, GREEN = "#000000", "#e69f00", "#56b4e9", "#009e73"
YELLOW, BLUE, VERMILION, PURPLE = "#f0e442", "#0072b2", "#d55e00", "#cc79a7"

#: For words and thin frames: on white, a contrast of 4.5 and more but for ``LINE``.
INK, GRAY, LINE = "#1c2a33", "#5c6670", "#ced4da"

#: Color, marker and line of the first curve of a picture, of the second, ...
SERIES = (
    (BLUE, "o", "-"),
    (VERMILION, "s", "--"),
    (GREEN, "^", "-."),
    (PURPLE, "D", ":"),
    (BLACK, "v", "-"),
    (ORANGE, "P", "--"),
    (SKY, "X", "-."),
)


def contrast(color: str, ground: str = "#ffffff") -> float:
    """Computes how far two colors are apart in luminance, (L₁ + 0.05)/(L₂ + 0.05), from 1 to 21.

    Reference: Web Content Accessibility Guidelines 2.2, "contrast ratio".

    Args:
        color: As #rrggbb.
        ground: What it is seen on, as #rrggbb.

    Examples:
        >>> from isinglass._support.palette import BLUE, contrast
        >>> round(contrast(BLUE), 2)
        5.19
    """
    light, dark = sorted((_luminance(color), _luminance(ground)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
