"""The server: one page, one socket, this machine only."""

from __future__ import annotations

import errno
import itertools
import socket
from collections.abc import Callable

from isinglass._support.optional import require_extra
from isinglass.cli._threads import one_thread
from isinglass.cli.lab.session import Session
from isinglass.errors import ParameterError

with require_extra("lab"):
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, PlainTextResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.types import ASGIApp, Receive, Scope, Send
    from starlette.websockets import WebSocket, WebSocketDisconnect

__all__ = ["HOST", "LARGEST_MESSAGE", "listen", "make_app", "make_server", "serve"]

HOST = "127.0.0.1"
LARGEST_MESSAGE = 64 * 1024  # bytes; a drawing takes 4 kB
MOST_VISITORS = 16
WEB_PORT = 80
TRY_LATER, NOT_TEXT = 1013, 1003  # codes of closing, RFC 6455
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class _Doorkeeper:
    """Refuses what another site or another name of this machine asks for.

    A page of another site may open a socket to a local server, and a name that suddenly stands for
    127.0.0.1 may read from it: Origin and Host tell them.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self.app = app
        names = HOST, "localhost"
        self.hosts = {f"{name}:{port}" for name in names}
        if port == WEB_PORT:  # which browsers leave out
            self.hosts |= set(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        found = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = found.get(b"host", ""), found.get(b"origin")
        same = origin == f"http://{host}"
        if host in self.hosts and (same or (scope["type"] == "http" and origin is None)):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()  # the request to connect
            await send({"type": "websocket.close", "code": 1008})  # before accepting: 403
        else:
            await PlainTextResponse("Not from here.\n", 403)(scope, receive, send)


def make_app(page: str, port: int) -> ASGIApp:
    """Makes the application: the page at ``/``, a session for each socket at ``/socket``.

    Args:
        page: As HTML.
        port: The one it is served at.
    """
    seeds, present = itertools.count(), set[WebSocket]()

    async def show(_: Request) -> HTMLResponse:
        return HTMLResponse(page, headers=HEADERS)

    async def converse(visitor: WebSocket) -> None:
        await visitor.accept()
        if len(present) >= MOST_VISITORS:
            await visitor.close(TRY_LATER, "enough pages are open")
            return
        present.add(visitor)
        try:
            await _answer_all(visitor, Session(next(seeds)))
        except WebSocketDisconnect:  # a tab was closed
            pass
        finally:
            present.discard(visitor)

    routes = [Route("/", show), WebSocketRoute("/socket", converse)]
    return _Doorkeeper(Starlette(routes=routes), port)


async def _answer_all(visitor: WebSocket, session: Session) -> None:
    while True:
        message = await visitor.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        if message.get("text") is None:
            await visitor.close(NOT_TEXT, "questions are text")
            return
        answer = await run_in_threadpool(session.answer, message["text"])
        if isinstance(answer, bytes):
            await visitor.send_bytes(answer)
        else:
            await visitor.send_text(answer)


def listen(port: int) -> socket.socket:
    """Returns a socket that listens on the loopback address alone.

    Args:
        port: 0 for any that is free.

    Raises:
        ParameterError: If the port is in use, or may not be used.
    """
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((HOST, port))
        door.listen()
    except OSError as error:
        door.close()
        taken = "is in use" if error.errno == errno.EADDRINUSE else f"is refused ({error.strerror})"
        raise ParameterError(
            f"port {port} {taken}", "Choose another, or --port 0 for any that is free"
        ) from error
    return door


def make_server(app: ASGIApp, ready: Callable[[], None]) -> uvicorn.Server:
    """Makes the server; one thread computes, and no message may be large.

    Args:
        app: As :func:`make_app` makes it.
        ready: Called once the page can be asked for.
    """
    config = uvicorn.Config(
        app, log_level="error", access_log=False, lifespan="off", server_header=False,
        ws="websockets-sansio", ws_max_size=LARGEST_MESSAGE, ws_per_message_deflate=False,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    return _Server(config, ready)


def serve(app: ASGIApp, door: socket.socket, ready: Callable[[], None]) -> None:
    """Serves the application until Ctrl-C.

    Args:
        app: As :func:`make_app` makes it.
        door: As :func:`listen` gives it.
        ready: Called once the page can be asked for.

    Raises:
        KeyboardInterrupt: At Ctrl-C.
    """
    with one_thread():
        make_server(app, ready).run(sockets=[door])
    # The server hands the signal on, which is nothing where the program was started without it.
    raise KeyboardInterrupt


class _Server(uvicorn.Server):
    """A server that says when it is there."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()
