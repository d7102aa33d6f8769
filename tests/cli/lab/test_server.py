"""The server of the lab answers this machine's own page, and nobody else."""

import asyncio
import base64
import contextlib
import http.client
import itertools
import json
import socket
import struct
import time
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from isinglass.cli.lab.server import HOST, LARGEST_MESSAGE, MOST_VISITORS, listen, make_app
from isinglass.cli.lab.session import Session
from isinglass.errors import ParameterError

D = 784


def visit(port: int, origin: str | None = "", host: str = HOST) -> Any:
    origin = f"http://{host}:{port}" if origin == "" else origin
    line = socket.create_connection((HOST, port), timeout=10)
    return connect(f"ws://{host}:{port}/socket", origin=origin, sock=line)


def ask(visitor: ClientConnection, do: str, **rest: object) -> dict:
    visitor.send(json.dumps({"id": 7, "room": "remember", "do": do, **rest}))
    found = visitor.recv(timeout=10)
    if isinstance(found, bytes):
        assert struct.unpack("<I", found[:4]) == (7,)
        return {"numbers": np.frombuffer(found[4:], "<f4")}
    assert json.loads(found)["id"] == 7
    return json.loads(found)


def packed(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def fetch(port: int, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    line = http.client.HTTPConnection(HOST, port, timeout=10)
    line.request("GET", "/", headers=headers or {})
    reply = line.getresponse()
    found = reply.status, dict(reply.getheaders()), reply.read()
    line.close()
    return found


def test_the_page_is_served_to_this_machine(port):
    status, headers, body = fetch(port)
    assert (status, body) == (200, b"<p>the lab</p>")
    lower = {name.lower(): value for name, value in headers.items()}
    assert lower["x-frame-options"] == "DENY"
    assert lower["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("name", ["evil.example", "evil.example:{port}", HOST, "127.0.0.1:1"])
def test_other_names_of_this_machine_are_refused(port, name):
    assert fetch(port, {"Host": name.format(port=port)})[0] == 403


def test_other_sites_may_not_fetch(port):
    assert fetch(port, {"Origin": "http://evil.example"})[0] == 403


@pytest.mark.parametrize(
    "origin",
    [None, "null", "http://evil.example", "http://127.0.0.1:1", "https://127.0.0.1:{port}"],
)
def test_other_origins_get_no_socket(port, origin):
    with (
        pytest.raises(InvalidStatus, match="403"),
        visit(port, origin and origin.format(port=port)),
    ):
        pass


def test_localhost_is_this_machine_too(port):
    with visit(port, host="localhost") as visitor:
        assert ask(visitor, "open", count=10) == {"id": 7, "memories": 10, "units": D}


def test_a_large_message_closes_the_socket(port):
    with visit(port) as visitor:
        visitor.send("x" * (LARGEST_MESSAGE + 1))
        with pytest.raises(ConnectionClosed) as closed:
            visitor.recv(timeout=10)
        assert closed.value.rcvd.code == 1009
    with visit(port) as visitor:  # the server goes on
        assert ask(visitor, "open", count=10)["memories"] == 10


def test_bytes_close_the_socket_and_nothing_else(port):
    with visit(port) as visitor:
        visitor.send(b"\0\1")
        with pytest.raises(ConnectionClosed):
            visitor.recv(timeout=10)
    assert fetch(port)[0] == 200


def test_two_visitors_do_not_disturb_each_other(port):
    with visit(port) as one, visit(port) as two:
        states = np.random.default_rng(0).normal(size=(2, D)).astype(np.float32) / 28
        for visitor, state, count in ((one, states[0], 10), (two, states[1], 100)):
            assert ask(visitor, "open", count=count)["memories"] == count
            ask(visitor, "set", state=packed(state))
        assert ask(one, "store")["memories"] == 11
        settings = {"steps": 0, "temperature": 0, "beta": 40}
        for visitor, state in ((two, states[1]), (one, states[0])):
            numbers = ask(visitor, "advance", **settings)["numbers"]
            np.testing.assert_array_equal(numbers[13 : 13 + D], state)
        best = ask(one, "advance", **settings)["numbers"][3]
        assert best == 10  # what it stored itself


def test_a_closed_tab_leaves_its_place(port):
    for _ in range(2 * MOST_VISITORS):
        with visit(port) as visitor:
            visitor.send('{"id": 1, "room": "remember", "do": "open", "count": 1000}')
            visitor.socket.shutdown(socket.SHUT_RDWR)  # without a word, a question unanswered
    deadline = time.monotonic() + 10
    while True:
        with contextlib.suppress(InvalidStatus, ConnectionClosed), visit(port) as visitor:
            assert ask(visitor, "open", count=10)["memories"] == 10
            return
        assert time.monotonic() < deadline  # those that have gone are still counted
        time.sleep(0.05)


def test_visitors_are_limited(port):
    with contextlib.ExitStack() as visitors:
        for _ in range(MOST_VISITORS):
            visitors.enter_context(visit(port))
        with visit(port) as one_more:
            with pytest.raises(ConnectionClosed) as closed:
                one_more.recv(timeout=10)
            assert closed.value.rcvd.code == 1013  # which the page tells from a server that is gone


def test_what_is_no_text_closes_the_socket_and_nothing_else(port, capfd):
    with visit(port) as visitor:
        visitor.send(b"\x00\xff")
        with pytest.raises(ConnectionClosed) as closed:
            visitor.recv(timeout=10)
    assert closed.value.rcvd.code == 1003
    with visit(port) as visitor:
        assert ask(visitor, "open", count=10)["memories"] == 10
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(("at", "status"), [(80, 200), (8470, 403)])
def test_the_port_of_the_web_is_not_named(at, status):
    """By browsers: the Host of http://127.0.0.1:80 is 127.0.0.1."""
    told = []

    async def listen_to(message):
        told.append(message)

    async def nothing():
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"",
        "headers": [(b"host", HOST.encode())], "http_version": "1.1", "scheme": "http",
        "server": (HOST, at), "client": (HOST, 5), "root_path": "",
    }  # fmt: skip
    asyncio.run(make_app("page", at)(scope, nothing, listen_to))
    assert told[0]["status"] == status


def test_heat_is_drawn_and_falls_go_downhill():
    session = Session(0)
    answer(session, "open", count=100)
    answer(session, "set", state=packed(np.random.default_rng(1).normal(size=D) / 28))
    energies = [
        answer(session, "advance", steps=1, temperature=0, beta=40)[0] for _ in range(60)
    ]  # fmt: skip
    assert all(later <= before + 1e-6 for before, later in itertools.pairwise(energies))
    assert abs(energies[-1] - energies[-2]) < 1e-3 < energies[0] - energies[-1]
    hot = answer(session, "advance", steps=20, temperature=0.01, beta=40)
    assert hot[0] > energies[-1] + 1  # half a T for each of 784 units, about


def answer(session: Session, do: str, **rest: object) -> np.ndarray | dict:
    found = session.answer(json.dumps({"id": 1, "room": "remember", "do": do, **rest}))
    return np.frombuffer(found[4:], "<f4") if isinstance(found, bytes) else json.loads(found)


@pytest.mark.parametrize(
    "message",
    [
        "", "{", "[]", "7", "[" * 5_000, '{"id": 1}',
        '{"id": -1, "room": "remember", "do": "open"}',
        '{"id": true, "room": "remember", "do": "open", "count": 10}',
        '{"id": 1, "room": "remember", "do": "__init__"}',
        '{"id": 1, "room": ["remember"], "do": {"open": 1}}',
        '{"id": 1, "room": "remember", "do": "open"}',
        '{"id": 1, "room": "remember", "do": "open", "count": 0}',
        '{"id": 1, "room": "remember", "do": "open", "count": 1e9}',
        '{"id": 1, "room": "remember", "do": "open", "count": 1.5}',
        '{"id": 1, "room": "remember", "do": "open", "count": NaN}',
        '{"id": 1, "room": "remember", "do": "set"}',
        '{"id": 1, "room": "remember", "do": "set", "state": "!!"}',
        '{"id": 1, "room": "remember", "do": "set", "state": "AAAA"}',
        '{"id": 1, "room": "remember", "do": "store"}',
        '{"id": 1, "room": "remember", "do": "advance", "steps": 1, "temperature": 0, "beta": 9}',
        '{"id": 1, "room": "remember", "do": "advance", "steps": 1e6, "temperature": 0, "beta": 9}',
        '{"id": 1, "room": "remember", "do": "advance", "steps": 1, "temperature": -1, "beta": 9}',
        '{"id": 1, "room": "remember", "do": "advance", "steps": 1, "temperature": 0, "beta": 0}',
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_said(message):
    found = json.loads(Session(0).answer(message))
    assert found["error"].count(". ") >= 1, found


def test_values_that_are_not_finite_are_refused():
    session = Session(0)
    answer(session, "open", count=10)
    state = np.full(D, np.nan)
    assert "finite" in answer(session, "set", state=packed(state))["error"]


def test_a_port_in_use_is_told_in_one_line():
    said = r"is in use\. Choose another, or --port 0"
    with listen(0) as door, pytest.raises(ParameterError, match=said):
        listen(door.getsockname()[1])


def test_only_loopback_is_listened_to():
    with listen(0) as door:
        assert door.getsockname()[0] == HOST == "127.0.0.1"
    assert callable(make_app("", 1))
