"""The lab in a real Chromium, served and from a file, which can reach nothing but this machine.

Screenshots of both widths and both schemes are left in the folder ``ISINGLASS_SCREENSHOTS`` where
that is set.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from isinglass.cli.lab.data import page_data
from isinglass.cli.lab.page import ROOMS, build_page
from isinglass.cli.lab.server import HOST
from tests.cli.lab.conftest import running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("lab") / "lab.html"
    path.write_text(build_page(page_data()), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    with running(build_page(page_data(live=True), live=True)) as port:
        yield f"http://{HOST}:{port}/"


@pytest.fixture(params=["exported", "served"])
def address(request) -> str:
    return request.getfixturevalue(request.param)


@pytest.fixture
def visit(browser) -> Iterator[Callable[..., Any]]:
    """Opens a room; at the end nothing may have been asked for beyond the page, nor any error."""
    heard, contexts = [], []

    def opened(address: str, room: str, width: int = 1280, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        allowed = (address, "data:", address.replace("http", "ws"))
        page.on(
            "request",
            lambda asked: asked.url.startswith(allowed) or heard.append(f"asked for {asked.url}"),
        )
        page.goto(f"{address}#{room}")
        page.wait_for_selector("html[data-ready=yes]")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not heard


def text(page: Any, name: str) -> str:
    return page.text_content(f"#{name}")


def wait_for(page: Any, name: str, words: str) -> str:
    page.wait_for_function(
        "([id, words]) => document.getElementById(id).textContent.includes(words)",
        arg=[name, words],
        timeout=60_000,
    )
    return text(page, name)


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_every_room_fits(visit, exported, room, scheme, width):
    page = visit(exported, room, width, color_scheme=scheme)
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.is_visible(f"#{room} h2")
    bar = page.locator("#bar").bounding_box()
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    assert page.locator("#bar").bounding_box()["y"] <= max(0, bar["y"])  # in view all the same
    folder = os.environ.get("ISINGLASS_SCREENSHOTS")
    if folder:
        page.evaluate("scrollTo(0, 0)")
        path = Path(folder) / f"{room}-{width}-{scheme}.png"
        page.screenshot(path=path, full_page=True)


@pytest.mark.parametrize("room", ROOMS)
def test_every_control_has_a_name_and_is_reached_by_tab(visit, exported, room):
    page = visit(exported, room)
    nameless = page.evaluate(
        """(room) => [...document.querySelectorAll(
        `#${room} :is(button, input, select, [tabindex])`)]
        .filter((e) => !(e.textContent.trim() || e.ariaLabel || e.labels?.length
          || e.hasAttribute("aria-labelledby")))
        .map((e) => e.id)""",
        room,
    )
    assert nameless == []
    wanted = page.evaluate(
        """(room) => [...document.querySelectorAll(
        `#${room} :is(button, input, select, [tabindex="0"])`)]
        .filter((e) => e.checkVisibility() && !e.disabled).map((e) => e.id)""",
        room,
    )
    reached = set()
    for _ in range(len(wanted) + 20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert set(wanted) <= reached


def test_a_broken_digit_falls_back(visit, address):
    page = visit(address, "remember")
    page.select_option("#remember-memory", "10")
    wait_for(page, "remember-status", "Break it")
    name = text(page, "remember-status").split(",")[0].removeprefix("This is ")
    page.click("#remember-erase")
    wait_for(page, "remember-status", "lower half")
    page.click("#remember-fall")
    assert name in wait_for(page, "remember-status", "At rest")


def test_heat_and_imagination(visit, address):
    page = visit(address, "remember")
    page.click("#remember-heat")
    wait_for(page, "remember-status", "Heated")
    page.wait_for_timeout(300)
    assert float(text(page, "bar-value").replace("−", "-")) > 0  # above every valley
    page.click("#remember-imagine")
    wait_for(page, "remember-status", "At rest")
    assert float(text(page, "bar-value").replace("−", "-")) < -0.45


def test_a_drawing_is_stored_by_keyboard_alone(visit, address):
    page = visit(address, "remember")
    page.focus("#remember-clear")
    page.keyboard.press("Enter")
    wait_for(page, "remember-status", "empty")
    page.focus("#remember-state")
    for _ in range(6):
        page.keyboard.press("Space")
        page.keyboard.press("ArrowDown")
    wait_for(page, "remember-status", "Drawn")
    page.focus("#remember-store")
    page.keyboard.press("Enter")
    wait_for(page, "remember-status", "Stored: yours 1")
    page.focus("#remember-noise")
    page.keyboard.press("Enter")
    wait_for(page, "remember-status", "Noise")
    page.focus("#remember-fall")
    page.keyboard.press("Enter")
    assert "yours 1" in wait_for(page, "remember-status", "At rest")


def test_thirty_frames_a_second(visit, address):
    """784 units and a thousand memories, in Python where it is served, else in the page."""
    page = visit(address, "remember")
    page.select_option("#remember-memory", "1000")
    wait_for(page, "remember-speed", "1,000 memories of 784 units")
    page.click("#remember-heat")
    page.wait_for_timeout(3000)
    assert ("Python" in text(page, "remember-speed")) == address.startswith("http")
    assert int(page.get_attribute("#remember-speed", "data-rate")) >= 30


def test_two_browsers_do_not_disturb_each_other(visit, served):
    pages = [visit(served, "remember") for _ in range(2)]
    wait_for(pages[1], "remember-status", "Break it")
    before = text(pages[1], "bar-value")
    pages[0].click("#remember-heat")
    pages[0].wait_for_timeout(500)
    pages[1].click("#remember-step")
    wait_for(pages[1], "remember-status", "Step 1")
    assert abs(float(text(pages[1], "bar-value")[1:]) - float(before[1:])) < 0.01


def test_the_page_goes_on_when_python_stops(browser):
    with running(build_page(page_data(live=True), live=True)) as port:
        page = browser.new_context().new_page()
        page.goto(f"http://{HOST}:{port}/#remember")
        page.wait_for_selector("html[data-ready=yes]")
        wait_for(page, "where", "in Python")
    wait_for(page, "where", "goes on by itself")
    page.click("#remember-noise")
    wait_for(page, "remember-status", "Noise")
    page.click("#remember-fall")
    wait_for(page, "remember-status", "At rest")
    page.context.close()


def test_little_motion_where_that_is_wished(visit, exported):
    page = visit(exported, "remember", reduced_motion="reduce")
    page.click("#remember-heat")
    page.wait_for_timeout(3000)
    rate = page.get_attribute("#remember-speed", "data-rate")
    assert rate == "–" or int(rate) <= 2


def test_the_classical_net_forgets_first(visit, exported):
    page = visit(exported, "compare")
    assert "classical recalls it, dense recalls it, modern recalls it" not in wait_for(
        page, "compare-status", "stored"
    )
    page.focus("#compare-stored")
    page.keyboard.press("Home")
    wait_for(page, "compare-status", "2 patterns stored: classical recalls it, dense recalls it")
    page.keyboard.press("End")
    told = wait_for(page, "compare-status", "1,000 patterns stored: classical does not")
    assert "modern recalls it" in told
    wait_for(page, "compare-note", "Measured at 14")
    page.focus("#compare-flipped")
    page.keyboard.press("ArrowRight")
    page.click("#compare-curve")
    wait_for(page, "compare-note", "Measured at 14")


def test_a_sudoku_is_thought_through(visit, address):
    page = visit(address, "think")
    page.click("#think-run")
    assert "2 guesses, 2 retractions" in wait_for(page, "think-status", "Sure: energy 0")
    assert page.locator("#think-log li").count() == 6
    assert text(page, "bar-value") == "0.000"
    cells = [page.input_value(f"#think-cell-{at}") for at in range(36)]
    assert "".join(cells) == "642513135264321645456132263451514326"
    page.select_option("#think-puzzle", label="4 × 4: a contradiction")
    page.click("#think-run")
    wait_for(page, "think-status", "Contradictory")
    page.click("#think-empty")
    page.fill("#think-cell-0", "3")
    wait_for(page, "think-status", "1 given.")
    page.click("#think-run")
    wait_for(page, "think-status", "not the only one")


def test_python_is_asked_for_its_own_order(visit, served):
    page = visit(served, "think")
    page.select_option("#think-puzzle", label="9 × 9: 17 givens")
    wait_for(page, "think-python", "sure, the only solution, 6 guesses, 6 retractions")


def test_a_family_thinks(visit, exported):
    page = visit(exported, "think")
    assert text(page, "think-answer") == "Unsure: nothing follows."
    page.focus("#think-rule-2")
    page.keyboard.press("Space")
    assert "great-grandparent(Ada,Dan)" in wait_for(page, "think-answer", "Sure")
    assert page.locator("#think-proof li").count() == 8


def test_a_game_against_the_net(visit, exported):
    """Played by its own advice, which is no worse than what it plays itself."""
    page = visit(exported, "play")
    for _ in range(5):
        if not text(page, "play-status").startswith("Your move"):
            break
        told = text(page, "play-status")
        row, column = (int(digit) for digit in told if digit.isdigit())
        page.click(f"#play-cell-{3 * row + column - 4}")
        page.wait_for_function(
            "() => document.getElementById('play-status').textContent !== 'The net thinks.'"
        )
    assert "draw" in text(page, "play-status")
    assert page.locator("#play-moves li").count() == 9
    page.click("#play-net")
    wait_for(page, "play-status", "Your move")
    assert page.locator("#play-moves li").count() == 1
    label = page.get_attribute("#play-cell-8", "aria-label")
    assert label.startswith("row 3 column 3, ")
    page.click("#play-show")
    assert page.locator("#play-board .q:not(:empty)").count() == 0


def test_the_walker_follows_the_goal(visit, address):
    page = visit(address, "world")
    page.click("#world-walk")
    wait_for(page, "world-status", "At the goal after 14 moves")
    assert text(page, "bar-value") == "−1.000"
    page.focus("#world-map")
    page.keyboard.press("ArrowDown")
    wait_for(page, "world-status", "row 2 column 9")
    page.click("#world-step")
    wait_for(page, "world-status", "At the goal after 1 moves")
    page.select_option("#world-met", "0")
    page.select_option("#world-shared", "0")
    page.click("#world-goal")
    page.click("#world-walk")
    page.wait_for_function(
        "() => /nothing that is known|At the goal/.test("
        "document.getElementById('world-status').textContent)"
    )


def test_heads_are_heated(visit, exported):
    page = visit(exported, "attend")
    page.fill("#attend-text", "isngfoisngfoisngfo")
    warm = int(wait_for(page, "attend-status", "at T = 1.0").split(" of ")[0])
    assert warm >= 11  # of the twelve that repeat
    label = page.get_attribute("#attend-map", "aria-label")
    page.focus("#attend-map")
    page.keyboard.press("ArrowUp")
    assert page.get_attribute("#attend-map", "aria-label") != label
    page.focus("#attend-temperature")
    page.keyboard.press("End")
    hot = int(wait_for(page, "attend-status", "at T = 20").split(" of ")[0])
    assert hot < warm
    page.click("#attend-trained")
    wait_for(page, "attend-status", f"{warm} of 17")
    page.fill("#attend-text", "123 <b>")
    wait_for(page, "attend-status", "0 of 0")
    page.fill("#attend-text", "")
    wait_for(page, "attend-status", "Type some letters")
