"""The first Ctrl-C asks, the second interrupts, and the handler before is put back."""

import os
import signal
import threading

import pytest

from isinglass._support.interrupts import interrupts


@pytest.fixture(autouse=True)
def _heard():
    """A job in the background is started deaf to Ctrl-C, and so are its tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press():
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_asks_and_the_second_interrupts():
    before = signal.getsignal(signal.SIGINT)
    with interrupts() as wanted:
        assert not wanted.is_set()
        press()
        assert wanted.is_set()
        with pytest.raises(KeyboardInterrupt):
            press()
    assert signal.getsignal(signal.SIGINT) is before


def test_the_handler_before_is_put_back_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), interrupts():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_hears_nothing_and_fails_at_nothing():
    found = []

    def work():
        before = signal.getsignal(signal.SIGINT)
        with interrupts() as wanted:
            found.append(signal.getsignal(signal.SIGINT) is before and not wanted.is_set())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True]
