"""The process that looks after binds in containers, and what if there is none."""

import sys
import time

import pytest

from pylxcfs.supervision.rebinding import ATTACH, LEAVE, Rebinding

_START = "pylxcfs.supervision.rebinding.start_process"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the verbs of processes that are started, with 1, 2, 3 … as their pids."""
    verbs: list[str] = []

    def start(command: list[str]) -> int:
        verbs.append(command[command.index("pylxcfs.reattach") + 1])
        return len(verbs)

    monkeypatch.setattr(_START, start)
    return verbs


def test_cannot_be_started(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is said, and tried again until it can."""
    rebinding = Rebinding((), lambda: None, enabled=True)
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/nonexistent/python3")
        rebinding.want(ATTACH)
    assert not rebinding.is_running
    assert "left as they are for now: [Errno 2]" in caplog.text
    monkeypatch.setattr(_START, lambda _command: 7)
    rebinding.start_wanted(time.monotonic())
    assert not rebinding.is_running
    rebinding.start_wanted(time.monotonic() + 1)
    assert rebinding.is_running


def test_is_not_our_business(started: list[str]) -> None:
    """Then nothing is started, at once or later."""
    rebinding = Rebinding((), lambda: None, enabled=False)
    rebinding.want(LEAVE)
    rebinding.start_wanted(time.monotonic())
    assert ([], False) == (started, rebinding.is_running)


def test_one_after_the_other(started: list[str]) -> None:
    """What is wanted meanwhile is begun when the one that runs has ended, and once."""
    rebinding = Rebinding((), lambda: None, enabled=True)
    rebinding.want(ATTACH)
    rebinding.want(LEAVE)
    assert [ATTACH] == started
    assert rebinding.has_ended(1)
    rebinding.start_wanted(time.monotonic())
    rebinding.start_wanted(time.monotonic())
    assert [ATTACH, LEAVE] == started
    assert rebinding.has_ended(2)
    rebinding.start_wanted(time.monotonic())
    assert [ATTACH, LEAVE] == started


def test_wanted_no_more(started: list[str]) -> None:
    """What was wanted and not begun can be taken back."""
    rebinding = Rebinding((), lambda: None, enabled=True)
    rebinding.want(ATTACH)
    rebinding.want(ATTACH)
    rebinding.want(None)
    assert rebinding.has_ended(1)
    rebinding.start_wanted(time.monotonic())
    assert ([ATTACH], False) == (started, rebinding.is_running)


def test_only_its_own_child_is_its_end(started: list[str]) -> None:
    """In a container the supervisor reaps children of others too."""
    rebinding = Rebinding((), lambda: None, enabled=True)
    rebinding.want(ATTACH)
    assert [ATTACH] == started
    assert (False, True) == (rebinding.has_ended(8), rebinding.is_running)
    assert (True, False) == (rebinding.has_ended(1), rebinding.is_running)
