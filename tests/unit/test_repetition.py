"""Warnings that repeat."""

import io
import logging

import pytest

from pylxcfs.console import RepetitionFilter


class _Log:
    """A logger with the filter, on a clock that the test turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)
        self._stream = io.StringIO()
        self.repetition = RepetitionFilter()
        handler = logging.StreamHandler(self._stream)
        handler.addFilter(self.repetition)
        self.logger = logging.Logger("pylxcfs.test")  # noqa: LOG001 - for this test alone
        self.logger.addHandler(handler)

    @property
    def text(self) -> str:
        """What was written."""
        return self._stream.getvalue()

    def fail(self, text: str) -> None:
        """Log an exception, always from the same line."""
        try:
            int(text)
        except ValueError:
            self.logger.exception("it failed")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> _Log:
    """Return a logger."""
    return _Log(monkeypatch)


def test_identical_warnings(log: _Log) -> None:
    """One in ten seconds is logged, and how many were not; others, and what is no warning, always are."""
    for number in range(1000):
        log.logger.warning("server %s died", "a")
        if number < 2:
            log.logger.warning("server %s died", number)
            log.logger.info("hello")
    log.now += 10
    log.logger.warning("server %s died", "a")
    assert [
        "server a died",
        "server 0 died",
        "hello",
        "server 1 died",
        "hello",
        "server a died (999 more like it before)",
    ] == log.text.splitlines()


def test_warnings_of_a_kind(log: _Log) -> None:
    """What differs in a number only is logged 32 times in ten seconds; another format is another kind."""
    for number in range(1000):
        log.logger.warning("container %d is odd", number)
    log.logger.warning("another thing: %d", 1)
    log.now += 10
    log.logger.warning("container %d is odd", 7)
    assert [
        *(f"container {number} is odd" for number in range(32)),
        "another thing: 1",
        "container 7 is odd (968 more like it before)",
    ] == log.text.splitlines()


def test_identical_exceptions(log: _Log) -> None:
    """The same exception from the same line has one traceback, another one its own."""
    for text in ("x", "x", "y"):
        log.fail(text)
    try:
        raise KeyError("x")
    except KeyError:
        log.logger.exception("it failed")
    assert 2 == log.text.count("Traceback")


def test_memory_is_bounded(log: _Log) -> None:
    """However many different warnings there are, few are remembered."""
    for number in range(10_000):
        log.logger.warning(f"{number}")  # noqa: G004 - so that each is of a kind of its own
    assert 256 == len(log.repetition._kinds)
    assert 10_000 == len(log.text.splitlines())
