"""Films the first room of the lab in a headless Chromium, for the README.

    python -m benchmarks.lab.picture

A digit is broken and falls back, is heated, and the memory imagines. Needs playwright and a
Chromium.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from isinglass.cli.lab.data import page_data
from isinglass.cli.lab.page import build_page
from isinglass.io.atomic import atomic_write

OUT = Path(__file__).parents[2] / "docs" / "pictures" / "lab.gif"
WIDTH, HEIGHT, COLORS = 640, 400, 32
SMALLER = 8 / 5  # each frame, than on the page
PAUSE, FRAME = 900, 140  # milliseconds


def film(page: Any) -> list[tuple[Image.Image, int]]:
    """Returns frames with how long each is shown."""
    frames: list[tuple[Image.Image, int]] = []

    def take(milliseconds: int) -> None:
        shot = Image.open(io.BytesIO(page.screenshot()))
        size = int(WIDTH / SMALLER), int(HEIGHT / SMALLER)
        frames.append((shot.convert("RGB").resize(size), milliseconds))

    def press(name: str, shots: int, apart: int = 0) -> None:
        page.evaluate("(name) => document.getElementById('remember-' + name).click()", name)
        for _ in range(shots):
            page.wait_for_timeout(apart)
            take(FRAME)

    page.select_option("#remember-memory", "1000")
    page.wait_for_timeout(1_500)
    page.evaluate(
        "scrollTo(0, document.querySelector('#remember .stage').offsetTop"
        " - document.getElementById('bar').offsetHeight - 8)"
    )
    page.wait_for_timeout(200)
    take(PAUSE)
    press("erase", 1, 200)
    frames[-1] = frames[-1][0], PAUSE
    press("fall", 9, 30)
    frames[-1] = frames[-1][0], PAUSE
    press("heat", 4, 150)
    press("imagine", 13, 200)
    page.wait_for_function(
        "() => document.getElementById('remember-status').textContent.includes('At rest')"
    )
    take(PAUSE)
    frames[-1] = frames[-1][0], 2 * PAUSE
    return frames


def main() -> None:
    """Builds the page, films it and writes the picture."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "lab.html"
        path.write_text(build_page(page_data()), encoding="utf-8")
        sandbox = [] if os.getuid() else ["--no-sandbox"]  # root has none
        browser = playwright.chromium.launch(executable_path=chromium, args=sandbox)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(path.as_uri() + "#remember")
        page.wait_for_selector("html[data-ready=yes]")
        frames = film(page)
        browser.close()
    pictures = [frame.quantize(COLORS, dither=Image.Dither.NONE) for frame, _ in frames]
    with atomic_write(OUT, overwrite=True) as aside:
        pictures[0].save(
            aside, format="GIF", save_all=True, append_images=pictures[1:], loop=0,
            duration=[shown for _, shown in frames], optimize=True,
        )  # fmt: skip
    print(f"{OUT}: {OUT.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
