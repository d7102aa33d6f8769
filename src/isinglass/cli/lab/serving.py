"""Serving the lab: port, page, browser, and what the terminal says."""

from __future__ import annotations

import sys
import webbrowser

from isinglass.cli._common import Output
from isinglass.cli.lab.data import page_data
from isinglass.cli.lab.page import build_page
from isinglass.cli.lab.server import HOST, listen, make_app, serve

__all__ = ["serve_lab"]


def serve_lab(output: Output, port: int, browser: bool) -> None:
    """Serves the lab until Ctrl-C.

    Args:
        output: Where the address is said.
        port: 0 for any that is free.
        browser: Whether the page is opened.

    Raises:
        ParameterError: If the port is in use.
        KeyboardInterrupt: At Ctrl-C.
    """
    with listen(port) as door:  # first, so that a port in use is told at once
        port = door.getsockname()[1]
        address = f"http://{HOST}:{port}/"
        app = make_app(build_page(page_data(live=True), live=True), port)

        def ready() -> None:
            output.say(f"The lab is open at [bold]{address}[/bold]. Ctrl-C ends it.")
            output.finish({"address": address})
            sys.stdout.flush()  # a program that waits for the address reads it now
            if browser:
                webbrowser.open(address)

        serve(app, door, ready)
