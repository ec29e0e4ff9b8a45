"""Processes that are not ours to signal."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylxcfs.containers.processes import is_alive
from tests.support.waiting import wait_for

_ASK = """
import os, sys
from pylxcfs.containers.processes import is_alive
fd = os.pidfd_open(int(sys.argv[1]))
print(is_alive(fd), flush=True)
sys.stdin.read()
print(is_alive(fd))
"""
_WITHOUT_KILL = ("setpriv", "--inh-caps=-kill", "--bounding-set=-kill")


@pytest.fixture
def others() -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process of another user."""
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_alive_without_the_right_to_signal(others: "subprocess.Popen[bytes]") -> None:
    """Without CAP_KILL another user's process is seen to live, and to have ended."""
    wait_for(
        "it is another user's", lambda: b"\nUid:\t65534\t" in Path(f"/proc/{others.pid}/status").read_bytes()
    )
    command = [*_WITHOUT_KILL, sys.executable, "-c", _ASK, str(others.pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdout is not None
        assert "True\n" == asking.stdout.readline()
        others.kill()
        others.wait()
        assert "False\n" == asking.communicate()[0]


def test_alive() -> None:
    """A process lives until it is reaped."""
    with subprocess.Popen(["sleep", "infinity"]) as process:
        fd = os.pidfd_open(process.pid)
        assert is_alive(fd)
        process.kill()
        process.wait()
        assert not is_alive(fd)
        os.close(fd)
