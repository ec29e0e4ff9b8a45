"""The process that looks after binds in containers, and what if there is none."""

import sys

import pytest

from pylxcfs.supervision.rebinding import Rebinding


def test_cannot_be_started(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is to be tried again, and said."""
    monkeypatch.setattr(sys, "executable", "/nonexistent/python3")
    rebinding = Rebinding((), enabled=True)
    assert (False, False) == (rebinding.start("plant"), rebinding.is_running)
    assert "left as they are for now: [Errno 2]" in caplog.text


def test_is_not_our_business(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Then there is nothing to be tried again."""
    monkeypatch.setattr(sys, "executable", "/nonexistent/python3")
    rebinding = Rebinding((), enabled=False)
    assert (True, False) == (rebinding.start("detach"), rebinding.is_running)
    assert caplog.text == ""


def test_only_its_own_child_is_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the supervisor reaps children of others too."""
    monkeypatch.setattr("pylxcfs.supervision.rebinding.start_process", lambda _command: 7)
    rebinding = Rebinding((), enabled=True)
    assert rebinding.start("plant")
    assert (False, True) == (rebinding.has_ended(8), rebinding.is_running)
    assert (True, False) == (rebinding.has_ended(7), rebinding.is_running)
