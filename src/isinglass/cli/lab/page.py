"""The page of the lab: markup, style, scripts and data in one file that fetches nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from isinglass import __version__

__all__ = ["ROOMS", "build_page", "content_security_policy", "pack"]

#: The rooms in their order; each has a script, and markup of the same name.
ROOMS = ("remember", "compare", "play", "attend", "world", "think")
SCRIPTS = ("core", "draw", "socket", *ROOMS, "main")


def build_page(data: Mapping[str, Any], *, live: bool = False) -> str:
    """Builds the page as HTML, with a policy under which it can load nothing else.

    Args:
        data: What the rooms show, by name; arrays as :func:`pack` gives them.
        live: Whether Python answers behind a WebSocket of the same address.
    """
    style, script = _asset("style.css"), "".join(_asset(f"{name}.js") for name in SCRIPTS)
    rooms = "".join(_asset(f"rooms/{name}.html") for name in ROOMS)
    return Template(_asset("page.html")).substitute(
        policy=content_security_policy(style, script, live),
        style=style,
        script=script,
        rooms=rooms,
        version=__version__,
        # Inside a script element only "</" could end it, and "<!--" begin what hides its end.
        data=json.dumps({**data, "live": live}, separators=(",", ":")).replace("<", "\\u003c"),
    )


def content_security_policy(style: str, script: str, live: bool) -> str:
    """Returns a policy that allows this style and this script, and a socket to the same address.

    Args:
        style: The one style sheet of the page.
        script: Its one script.
        live: Whether it may open a WebSocket.
    """
    return "; ".join([
        "default-src 'none'",
        f"script-src '{_digest(script)}'",
        f"style-src '{_digest(style)}'",
        "img-src data:",
        "connect-src 'self'" if live else "connect-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    ])  # fmt: skip


def pack(values: np.ndarray) -> dict[str, str]:
    """Returns an array as text: bytes as they are, all else as float32, little-endian.

    Examples:
        >>> pack(np.array([1, 2], dtype=np.uint8))
        {'type': 'u1', 'data': 'AQI='}
    """
    kind = "u1" if values.dtype == np.uint8 else "f4"
    return {"type": kind, "data": base64.b64encode(values.astype(f"<{kind}").tobytes()).decode()}


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(name: str) -> str:
    return files("isinglass.cli.lab").joinpath("assets", *name.split("/")).read_text("utf-8")
