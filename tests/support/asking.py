"""pylxcfsctl's own account of a daemon: status and doctor."""

import json
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.daemon import REPOSITORY, Daemon
from tests.support.operator import CTL


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command has answered, and its exit status."""

    status: int
    document: dict[str, Any]

    def verdict(self, subject: str) -> str:
        """Return the doctor's verdict on a subject."""
        return str(self._finding(subject)["verdict"])

    def found(self, subject: str) -> str:
        """Return what the doctor has found about a subject."""
        return str(self._finding(subject)["found"])

    def subjects(self, verdict: str) -> set[str]:
        """Return the subjects of this verdict."""
        return {each["subject"] for each in self.document["findings"] if each["verdict"] == verdict}

    def _finding(self, subject: str) -> dict[str, Any]:
        (finding,) = (each for each in self.document["findings"] if each["subject"] == subject)
        assert isinstance(finding, dict)
        return finding


def runtime_directory(daemon: Daemon) -> Path:
    """Return the daemon's --runtime-dir."""
    return daemon.pidfile.parent


def ask_text(
    daemon: Daemon, command: str, *options: str, within: Iterable[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a command of pylxcfsctl about a daemon as an operator does; `within` stands before it."""
    words = [*within, *CTL, command, "--runtime-dir", str(runtime_directory(daemon)), *options]
    return subprocess.run(words, cwd=REPOSITORY, check=False, capture_output=True, text=True)


def ask(daemon: Daemon, command: str, *options: str, within: Iterable[str] = ()) -> Answer:
    """Run a command of pylxcfsctl about a daemon, and understand its answer."""
    done = ask_text(daemon, command, "--json", *options, within=within)
    assert done.stderr == ""
    return Answer(done.returncode, json.loads(done.stdout))


@contextmanager
def stopped(daemon: Daemon) -> Iterator[None]:
    """Stop server and supervisor, as a debugger or an operator does."""
    server: int = ask(daemon, "status").document["processes"]["server"]["pid"]
    pids = (daemon.process.pid, server)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
